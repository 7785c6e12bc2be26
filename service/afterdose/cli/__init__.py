"""The command line. Each command lives in a module of its own and is imported only when it is called."""

import resource
from contextlib import suppress
from importlib import import_module

import click

from afterdose.core.errors import AfterdoseError

_COMMANDS = {
    "audit": "audit",
    "backfill": "backfill",
    "backup": "copies",
    "check": "check",
    "demo": "demo",
    "explain": "explain",
    "keys": "keys",
    "migrate": "serve",
    "mllp": "mllp",
    "parked": "operate",
    "pause": "operate",
    "plan": "plan",
    "quarantine": "quarantine",
    "render-profiles": "render_profiles",
    "replay": "operate",
    "restore": "copies",
    "resume": "operate",
    "reviews": "reviews",
    "run": "work",
    "serve": "serve",
    "settings": "serve",
    "subscribe": "subscribe",
    "validate": "validate",
    "work": "work",
}
"""Command -> module of this package that defines it under the same name, with "_" for "-"."""


class _Commands(click.Group):
    """Finds commands by name without importing the others; an error of ours, or a file in the way, is one line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(import_module(f"afterdose.cli.{module}"), cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> object:
        _leave_no_core()
        try:
            return super().invoke(ctx)
        except AfterdoseError as error:
            raise click.ClickException(str(error)) from error
        except OSError as error:
            if error.filename is None:
                raise
            raise click.ClickException(f"{error.filename}: {error.strerror}") from error


def _leave_no_core() -> None:
    """Let no crash of this process, or of one that it starts, write its memory to disk: patients are in it.

    Where a sandbox forbids to say so, whoever set it up has to have said it.
    """
    with suppress(OSError, ValueError):
        _, most = resource.getrlimit(resource.RLIMIT_CORE)
        resource.setrlimit(resource.RLIMIT_CORE, (0, most))


@click.group(cls=_Commands)
@click.version_option(package_name="afterdose")
def main() -> None:
    """Plan integration care inside the plasticity window after a dose, in the EHR the staff already use."""
