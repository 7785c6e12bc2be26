"""How we prove ourselves to an EHR: the ``auth`` table of a target or a source, as schema and as value.

Which keys may stand in it depends on ``kind``; whatever does not belong to the kind is refused by its name.
"""

import re
from pathlib import Path
from typing import Any

from marshmallow import fields, validate

from afterdose.core.errors import BadSettings
from afterdose.settings.fields import HEADER, Location, Url
from afterdose.settings.model import Authentication, ClientSecret, NoAuthentication, Smart, StaticHeader

_KINDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "header": (frozenset({"value"}), frozenset({"header"})),
    "smart": (
        frozenset({"client_id"}),
        frozenset({"key_file", "key_id", "algorithm", "token_url", "scopes", "audience"}),
    ),
    "client-secret-basic": (frozenset({"client_id", "secret"}), frozenset({"token_url", "scopes"})),
    "client-secret-post": (frozenset({"client_id", "secret"}), frozenset({"token_url", "scopes"})),
    "none": (frozenset(), frozenset()),
}
"""Kind -> the keys that it needs, and those that it may have."""

_SECRETS = frozenset({"value", "secret"})
# RFC 6749, section 3.3: scope tokens, separated by spaces.
_SCOPES = re.compile(r"[!#-\[\]-~]+(?: [!#-\[\]-~]+)*\Z")
_PRINTABLE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")


def _text(help_: str, pattern: re.Pattern[str] = _PRINTABLE, what: str = "printable ASCII text") -> fields.String:
    return fields.String(
        load_default=None,
        validate=validate.Regexp(pattern, error=f"expected {what}"),
        error_messages={"invalid": "expected text"},
        metadata={"help": help_},
    )


def auth_fields() -> dict[str, fields.Field[Any]]:
    """The keys of an ``auth`` table."""
    return {
        "kind": fields.String(
            load_default="header",
            validate=validate.OneOf(tuple(_KINDS), error=f"expected one of {', '.join(_KINDS)}"),
            error_messages={"invalid": "expected text"},
            metadata={
                "help": "header: one header with a fixed secret. smart: SMART Backend Services, with a key of ours.\n"
                "client-secret-basic, client-secret-post: OAuth 2.0 with a secret. none: for development only.",
            },
        ),
        "header": fields.String(
            load_default=None,
            validate=HEADER,
            error_messages={"invalid": "expected text"},
            metadata={"help": "header: the name of the header.", "example": "Authorization"},
        ),
        "value": fields.String(
            load_default=None,
            validate=validate.Regexp(_PRINTABLE, error="expected printable ASCII text"),
            error_messages={"invalid": "expected text"},
            metadata={
                "help": "header: its whole value, with the scheme (Bearer ...); better in a file (value_file) or a\n"
                "variable than here.",
                "secret": True,
            },
        ),
        "client_id": _text("smart, client-secret-*: the id under which the EHR knows us."),
        "secret": _text("client-secret-*: the secret; better in a file (secret_file) or a variable than here."),
        "key_file": Location(
            load_default=None,
            metadata={
                "help": "smart: a private key of your own (JWK or PEM; EC on P-384 or RSA; mode 0600). Without it,\n"
                "those of `afterdose keys generate`.",
            },
        ),
        "key_id": _text("smart: the key's id (kid) at the EHR, where the key file does not hold it."),
        "algorithm": fields.String(
            load_default=None,
            validate=validate.OneOf(("ES384", "RS384"), error="expected ES384 or RS384"),
            error_messages={"invalid": "expected text"},
            metadata={"help": "smart: ES384 or RS384; without it, what the EHR names, else RS384."},
        ),
        "token_url": Url(
            load_default=None,
            metadata={
                "help": "smart, client-secret-*: the token endpoint, exactly as the EHR writes it; without it, the\n"
                "EHR is asked (.well-known/smart-configuration). A secret goes to another server than the EHR's\n"
                "own only if it stands here.",
            },
        ),
        "scopes": _text(
            "smart, client-secret-*: the scopes to ask for, with spaces between them; without it, SMART system scopes\n"
            "for exactly what is called. Azure wants https://HOST/.default here.",
            _SCOPES,
            "scopes with one space between them",
        ),
        "audience": _text("smart: the audience (aud) of our assertions, where it is not the token URL."),
    }


def build_auth(key: str, entry: dict[str, Any] | None, folder: Path) -> Authentication | None:
    """The value of an ``auth`` table that the schema has passed; None where there is none. Raises BadSettings."""
    if entry is None:
        return None
    kind = entry["kind"]
    needed, allowed = _KINDS[kind]
    given = {name: value for name, value in entry.items() if name != "kind" and value is not None}
    for name in sorted(needed - given.keys()):
        file = f", or {name}_file with the path of a file that holds it" if name in _SECRETS else ""
        raise BadSettings(f"{key}.{name}: expected {name}{file}, because kind is {kind}")
    for name in sorted(given.keys() - needed - allowed):
        raise BadSettings(f'{key}.{name}: is no setting of kind "{kind}"')
    scopes = tuple(given["scopes"].split(" ")) if "scopes" in given else None
    match kind:
        case "header":
            return StaticHeader(header=given.get("header", "Authorization"), value=given["value"])
        case "smart":
            return Smart(
                client_id=given["client_id"],
                key_file=folder / given["key_file"] if "key_file" in given else None,
                key_id=given.get("key_id"),
                algorithm=given.get("algorithm"),
                token_url=given.get("token_url"),
                scopes=scopes,
                audience=given.get("audience"),
            )
        case "none":
            return NoAuthentication()
    return ClientSecret(
        client_id=given["client_id"],
        secret=given["secret"],
        in_form=kind == "client-secret-post",
        token_url=given.get("token_url"),
        scopes=scopes,
    )
