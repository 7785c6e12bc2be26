"""The examples of `profiles/examples/` are what the cases lead to, and nothing else."""

from examples import EXAMPLES, examples

ADVICE = "run `python tests/cases/examples.py`"


def test_the_examples_are_what_the_cases_lead_to() -> None:
    there = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("*.json")}

    assert sorted(there) == sorted(examples()), ADVICE
    assert [name for name, text in examples().items() if there[name] != text] == [], ADVICE
