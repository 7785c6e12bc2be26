"""What several commands read from the command line: files, and refusals that name place and cause."""

from collections.abc import Iterable
from typing import BinaryIO

import click

from afterdose.core.errors import Problem


class Unreadable(click.ClickException):
    """What was given cannot be read."""

    exit_code = 2


FILES = click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.File("rb"))
"""The input files of a command; ``-`` is standard input."""


def name_of(file: BinaryIO) -> str:
    """How a file is called in messages."""
    name = getattr(file, "name", "<stdin>")
    return "standard input" if name == "<stdin>" else str(name)


def bytes_of(file: BinaryIO) -> bytes:
    """What a file holds. Raises Unreadable."""
    try:
        return file.read()
    except OSError as error:
        raise Unreadable(f"{name_of(file)}: cannot be read ({error.strerror})") from error


def described(name: str, problems: Iterable[Problem]) -> str:
    """Problems of one file, one a line, each with its place; never with a value that was received."""
    return "\n".join(": ".join(part for part in (name, problem.path, problem.text) if part) for problem in problems)
