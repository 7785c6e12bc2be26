"""Reads the settings: one TOML file, over it the AFTERDOSE_* variables; checked as a whole."""

import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError

from afterdose.core.errors import BadSettings
from afterdose.settings.authentication import build_auth
from afterdose.settings.bearer import check_told_apart
from afterdose.settings.fields import FileText, certificates, is_loopback
from afterdose.settings.mllp import listeners
from afterdose.settings.model import (
    LogSettings,
    SenderSecret,
    Settings,
    SourceSettings,
    TargetSettings,
    WebSettings,
    WorkSettings,
)
from afterdose.settings.schema import SettingsSchema
from afterdose.settings.sources import build_source, sender_secrets

PREFIX = "AFTERDOSE_"
CONFIG = "AFTERDOSE_CONFIG"
DATA_DIR = Path("/var/lib/afterdose")

_SQLITE, _MEMORY = "sqlite:///", ":memory:"
_NAMED = ("targets", "sources")
_FROM_FILES = ("value", "secret", "database")
_KEYS = frozenset(SettingsSchema().fields)
# A lease is renewed once a third of it has passed; what is left has to outlast one call.
_LEASE_IN_DEADLINES = 1.5
# Kubernetes sets these for a Service that is called afterdose:
# https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
_KUBERNETES = re.compile(r"SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?")


def load_settings(path: Path | None, environ: Mapping[str, str]) -> Settings:
    """The settings of ``path`` (without it, of ``AFTERDOSE_CONFIG``; without that, of no file) and of ``environ``.

    A variable wins over the file. Raises ``BadSettings`` that names each key that is wrong and what was expected
    there, and never holds a value.
    """
    if path is None and environ.get(CONFIG):
        path = Path(environ[CONFIG])
    folder = path.parent if path else Path()
    document = _read(path) if path else {}
    _overlay(document, environ)
    _fetch_files(document, folder, "")
    try:
        loaded = SettingsSchema().load(document)
    except ValidationError as error:
        raise BadSettings("\n".join(_sentences(error.messages, ""))) from None
    return _build(loaded, folder)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BadSettings(f"{path}: cannot be read ({error.strerror})") from error
    except tomllib.TOMLDecodeError as error:
        raise BadSettings(f"{path}: is not TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"{path}: is not UTF-8") from error


def _overlay(document: dict[str, Any], environ: Mapping[str, str]) -> None:
    """Put each variable where its name says: ``AFTERDOSE_SOURCES__EHR__SECRETS__0__VALUE``."""
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if name != variable and variable != CONFIG and not _KUBERNETES.fullmatch(name):
            parts = _path_of(name)
            if parts[0].removesuffix("_file") not in _KEYS:
                raise BadSettings(f"{variable}: is no setting; two underscores go one table down: {PREFIX}WEB__PORT")
            _put(document, parts, environ[variable], variable)


def _path_of(name: str) -> list[str]:
    parts = name.lower().split("__")
    if len(parts) > 1 and parts[0] in _NAMED:
        parts[1] = parts[1].replace("_", "-")
    return parts


def _put(document: dict[str, Any], parts: list[str], value: str, variable: str) -> None:
    place: Any = document
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        last = following is None
        fresh: Any = value if last else [] if following and following.isdecimal() else {}
        if isinstance(place, list):
            if not part.isdecimal() or int(part) > len(place):
                raise BadSettings(f"{variable}: expected the position of an entry, from 0 to {len(place)}")
            if int(part) == len(place):
                place.append(fresh)
            elif last:
                place[int(part)] = value
            place = place[int(part)]
        elif isinstance(place, dict):
            if last:
                place.pop(part.removesuffix("_file") if part.endswith("_file") else f"{part}_file", None)
                place[part] = value
            place = place.setdefault(part, fresh)
        else:
            raise BadSettings(f"{variable}: is no setting, because {'.'.join(parts[:-1])} holds nothing further")


def _fetch_files(node: Any, folder: Path, path: str) -> None:
    """Replace ``value_file``, ``secret_file`` and ``database_file`` by what the file holds, without the line's end."""
    if isinstance(node, list):
        for position, entry in enumerate(node):
            _fetch_files(entry, folder, f"{path}[{position}]")
    elif isinstance(node, dict):
        for key in list(node):
            below = f"{path}.{key}" if path else key
            target = key.removesuffix("_file")
            if target != key and target in _FROM_FILES:
                if target in node:
                    raise BadSettings(f"{below}: expected either {target} or {key}, not both")
                node[target] = _content(node.pop(key), folder, below)
            else:
                _fetch_files(node[key], folder, below)


def _content(name: object, folder: Path, key: str) -> str:
    if not isinstance(name, str) or not name or "\0" in name:
        raise BadSettings(f"{key}: expected the path of a file")
    try:
        return FileText.read(folder / name)
    except OSError as error:
        start = "" if Path(name).is_absolute() else f"; it was looked for from {folder.absolute()}"
        raise BadSettings(f"{key}: the file cannot be read ({error.strerror}){start}") from error
    except UnicodeDecodeError:
        raise BadSettings(f"{key}: the file is not UTF-8") from None


def _sentences(messages: Any, path: str) -> Iterator[str]:
    """One line a wrong key: its dotted path and what was expected."""
    if isinstance(messages, dict):
        for key, below in messages.items():
            step = f"[{key}]" if isinstance(key, int) else f".{key}" if path else str(key)
            yield from _sentences(below, path if key == "_schema" else f"{path}{step}")
    else:
        yield f"{path or '(file)'}: {'; '.join(messages)}"


def _build(loaded: dict[str, Any], folder: Path) -> Settings:
    data_dir = folder / (loaded["data_dir"] or DATA_DIR)
    insecure_dev: bool = loaded["insecure_dev"]
    web = WebSettings(**loaded["web"])
    if insecure_dev and not is_loopback(web.host):
        raise BadSettings("web.host: expected a loopback address (127.0.0.1), because insecure_dev is on")
    targets = {name: _target(name, entry, folder) for name, entry in loaded["targets"].items()}
    work = WorkSettings(**loaded["work"])
    for target in targets.values():
        if work.lease <= target.deadline * _LEASE_IN_DEADLINES:
            wanted = target.deadline * _LEASE_IN_DEADLINES
            key = f"targets.{target.name}.deadline"
            raise BadSettings(f"work.lease: expected more than {wanted.total_seconds():g}s, one and a half times {key}")
    sources = {name: build_source(name, entry, targets, folder) for name, entry in loaded["sources"].items()}
    for source in sources.values():
        if source.max_body_bytes is not None and source.max_body_bytes > web.max_body_bytes:
            raise BadSettings(f"sources.{source.name}.max_body_bytes: expected no more than web.max_body_bytes")
    operations = sender_secrets("operations", loaded["operations"])
    mllp = listeners(loaded["mllp"], sources, folder, is_loopback=is_loopback)
    _check_senders(sources, operations, insecure_dev, listened={listener.source for listener in mllp})
    return Settings(
        data_dir=data_dir,
        database=_database(loaded["database"], folder) or f"sqlite:///{data_dir / 'afterdose.db'}",
        site_overlay=folder / loaded["site_overlay"] if loaded["site_overlay"] else None,
        insecure_dev=insecure_dev,
        web=web,
        work=work,
        log=LogSettings(**loaded["log"]),
        operations=operations,
        targets=targets,
        sources=sources,
        mllp=mllp,
    )


def _database(url: str | None, folder: Path) -> str | None:
    """A relative file starts where every other path does: not where whoever calls a command happens to be."""
    file = (url or "").removeprefix(_SQLITE)
    return f"{_SQLITE}{folder.absolute() / file}" if url and url.startswith(_SQLITE) and file != _MEMORY else url


def _target(name: str, entry: dict[str, Any], folder: Path) -> TargetSettings:
    parts = urlsplit(entry["base_url"])
    if parts.scheme == "http" and not entry["plain_http"] and not is_loopback(parts.hostname or ""):
        raise BadSettings(f"targets.{name}.base_url: expected https:// (http:// elsewhere needs plain_http = true)")
    auth = build_auth(f"targets.{name}.auth", entry.pop("auth"), folder)
    ca_bundle = certificates(f"targets.{name}.ca_bundle", entry.pop("ca_bundle"), folder)
    rungs = {artifact: rung for artifact, rung in entry.pop("rungs").items() if rung is not None}
    return TargetSettings(name=name, auth=auth, ca_bundle=ca_bundle, rungs=rungs, **entry)


def _check_senders(
    sources: Mapping[str, SourceSettings],
    operations: tuple[SenderSecret, ...],
    insecure_dev: bool,
    *,
    listened: Collection[str],
) -> None:
    """Every sender can be told from every other one by what it shows; one that is ``listened`` to may show nothing."""
    owner: dict[bytes, str] = {secret.sha256: "operations" for secret in operations}
    for source in sources.values():
        held = [(secret.sha256, f"sources.{source.name}.secrets") for secret in source.secrets]
        signed = [(key.sha256, f"sources.{source.name}.signatures") for key in source.signatures]
        for digest, place in (*held, *signed):
            other = owner.setdefault(digest, place)
            if other != place:
                raise BadSettings(f"{place}: expected a secret that {other} does not hold too")
    check_told_apart({source.name: source.bearer for source in sources.values() if source.bearer is not None})
    proofless = [source.name for source in sources.values() if not source.is_proven]
    without = [name for name in proofless if name not in listened]
    if without and not insecure_dev:
        raise BadSettings(f"sources.{without[0]}.secrets: expected at least one secret (or insecure_dev = true)")
    if len(without) > 1:
        raise BadSettings(f"sources.{without[1]}.secrets: expected a secret; only one source can go without")
