"""The commands that README.md tells people to type, each in the fenced block under `<!-- command: NAME -->`.

`python tests/repository/readme_commands.py test` prints one, so that what is run elsewhere cannot drift from it.
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


class NoCommand(ValueError):
    """The marker is missing, stands there more than once, or no fenced block follows it."""


def command(text: str, name: str) -> str:
    """The lines of the fenced block that follows the marker, without the fence."""
    marker = f"<!-- command: {name} -->"
    if (count := text.count(marker)) != 1:
        raise NoCommand(f"expected {marker} once, found it {count} times")
    block = re.match(r"\s*```[^\n`]*\n(.*?)\n```[ \t]*$", text.partition(marker)[2], re.DOTALL | re.MULTILINE)
    if block is None or not block[1].strip():
        raise NoCommand(f"expected a fenced block with a command right below {marker}")
    return block[1].strip()


if __name__ == "__main__":
    try:
        print(command(README.read_text(encoding="utf-8"), sys.argv[1]))
    except NoCommand as missing:
        sys.exit(f"{README.name}: {missing}")
