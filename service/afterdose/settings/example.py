"""Writes the example settings file from the schema, so that the manual cannot drift from the program."""

import json
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any, cast

from marshmallow import Schema, fields, missing

from afterdose.settings.fields import Table
from afterdose.settings.schema import SettingsSchema

_HEAD = """\
# Settings of afterdose. Each key shows its default, or an example where it has none; a key behind "#" is optional.
#
# A variable AFTERDOSE_KEY wins over this file; two underscores go one table down: AFTERDOSE_WEB__PORT,
# AFTERDOSE_SOURCES__EHR__SECRETS__0__VALUE (in a name, an underscore of the variable stands for a hyphen).
# AFTERDOSE_CONFIG names this file. Paths that are not absolute start at this file's folder.
"""


def example_toml() -> str:
    """The example file: every key with its meaning; it loads once the files of its secrets exist."""
    return "\n".join([_HEAD, *_table(SettingsSchema(), ""), ""])


def _table(schema: Schema, path: str, secret: str = "") -> Iterator[str]:
    """The plain keys of a table first, as TOML wants it, then the tables in it; ``secret``: the file to name in it."""
    inner: list[tuple[str, Any]] = []
    for key, field in schema.fields.items():
        if field.metadata.get("elsewhere"):
            yield from ("", *_comment(field), f"# [{path}.{key}]")
        elif isinstance(field, fields.Nested | fields.List | Table):
            inner.append((f"{path}.{key}" if path else key, field))
        else:
            yield from _comment(field)
            yield _line(key, field, secret)
    for below, field in inner:
        yield ""
        yield from _comment(field)
        if isinstance(field, fields.List):
            rows = _table(cast(fields.Nested, field.inner).schema, below, field.metadata["file"])
            lines = (f"[[{below}]]", *rows)
            yield from _behind_hashes(lines) if field.metadata.get("optional") else lines
        elif isinstance(field, Table):
            name = f"{below}.{field.metadata['example']}"
            yield f"[{name}]"
            yield from _table(field.schema(), name)
        else:
            lines = (f"[{below}]", *_table(field.schema, below, field.metadata.get("file", "")))
            yield from _behind_hashes(lines) if field.metadata.get("optional") else lines


def _behind_hashes(lines: Iterable[str]) -> Iterator[str]:
    return (line if line.startswith("#") else f"# {line}" for line in lines)


def _comment(field: fields.Field[Any]) -> Iterator[str]:
    for line in field.metadata["help"].splitlines():
        yield f"# {line}"


def _line(key: str, field: fields.Field[Any], secret: str) -> str:
    metadata = field.metadata
    if secret and (field.required or metadata.get("secret")):
        return f"{key}_file = {json.dumps(secret)}"
    if "example" in metadata:
        return f"{key} = {json.dumps(metadata['example'])}"
    default = field.load_default
    if default in (None, missing) or isinstance(default, timedelta):
        return f'# {key} = ""'
    return f"{key} = {json.dumps(default)}"
