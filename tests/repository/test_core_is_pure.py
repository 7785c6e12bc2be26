"""What decides reads no clock, no file, no environment and no chance; and the check for that catches who does."""

import pytest
from purity import impurities, pure_modules

PURE = frozenset({"core/window.py", "fhir/times.py", "fhir/conform/check.py", "ehr/wire.py"})


@pytest.mark.parametrize("module", sorted(pure_modules()))
def test_the_module_is_pure(module: str) -> None:
    modules = pure_modules()

    assert impurities(modules[module].read_text(encoding="utf-8"), module, frozenset(modules)) == []


def test_every_pure_place_exists() -> None:
    modules = pure_modules()

    for place in (
        "core/window.py",
        "fhir/times.py",
        "ehr/wire.py",
        "ehr/answers.py",
        "work/retry.py",
        "work/delivery/merge.py",
    ):
        assert place in modules


@pytest.mark.parametrize(
    "offence",
    [
        "import os",
        "import time",
        "import random",
        "import secrets",
        "import logging",
        "import requests",
        "import pathlib",
        "from os import environ",
        "from os import getenv",
        "from time import time",
        "from uuid import uuid4",
        "from pathlib import Path",
        "from . import window",
        "from afterdose.store import facts",
        "from afterdose.ehr import client",
        "import afterdose.ehr.client",
        "import fhir.resources",
        "import datetime\ndatetime.datetime.now()",
        "from datetime import datetime\ndatetime.now(None)",
        "from datetime import datetime\ndatetime.utcnow()",
        "from datetime import datetime\nclock = datetime.now",
        "from datetime import date\ndate.today()",
        "import uuid\nuuid.uuid4()",
        "import uuid\nuuid.uuid1()",
        "open('file')",
        "def late():\n    import os",
    ],
)
def test_an_offender_is_caught(offence: str) -> None:
    assert impurities(offence, "core/window.py", PURE)


@pytest.mark.parametrize(
    "innocent",
    [
        "from datetime import UTC, date, datetime, time, timedelta",
        "from uuid import UUID, uuid5",
        "from afterdose.core.window import window_after",
        "from afterdose.core import window",
        "from afterdose.ehr import wire",
        "def decide(snapshot):\n    return snapshot.now",
        "opens = hours.open",
    ],
)
def test_what_is_pure_is_let_through(innocent: str) -> None:
    assert impurities(innocent, "core/window.py", PURE) == []


def test_only_the_conformance_check_may_use_the_models_of_fhir() -> None:
    models = "from fhir.resources.R4B import get_fhir_model_class"

    assert impurities(models, "fhir/conform/check.py", PURE) == []
    assert impurities(models, "fhir/times.py", PURE)
