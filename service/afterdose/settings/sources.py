"""The systems that doses come from: what may be set for one, and the value that comes of it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import fields, validate

from afterdose.core.errors import BadSettings
from afterdose.settings.authentication import auth_fields, build_auth
from afterdose.settings.bearer import BearerSchema, bearer
from afterdose.settings.fields import (
    HEADER,
    BaseUrl,
    Location,
    Secret,
    Whole,
    Words,
    Zone,
    certificates,
    file_of,
    is_loopback,
)
from afterdose.settings.keys import Strict, switch, text
from afterdose.settings.model import SenderSecret, SourceSettings, TargetSettings
from afterdose.settings.polling import PollSchema, polling
from afterdose.settings.signatures import SignatureSchema, signing_keys
from afterdose.settings.subscribing import subscribe_field, subscribing

_MOST_SECRETS = 2


class SecretSchema(Strict):
    """A secret that a sender shows us."""

    header = text("The header that carries the secret.", load_default="Authorization", validate=HEADER)
    scheme = text(
        "The word before the secret in that header; empty where there is none. Without this key it is Bearer in\n"
        "Authorization and none elsewhere.",
        load_default=None,
        example="Bearer",
        validate=validate.Regexp(r"[A-Za-z0-9-]*\Z", error="expected one word, or nothing"),
    )
    value = Secret(
        metadata={
            "help": "The secret, of 32 bytes or more; better in a file (value_file) or a variable than here.\n"
            "Medplum cuts a header's value at a colon, so issue secrets without one: openssl rand -hex 32",
        },
        required=True,
        error_messages={"required": "expected value, or value_file with the path of a file that holds it"},
    )


AuthSchema = Strict.from_dict(auth_fields(), name="AuthSchema")
"""How we prove ourselves to an EHR."""


class SourceSchema(Strict):
    """A system that doses come from."""

    target = text(
        "The target (above) that plans for its doses go to.",
        required=True,
        example="ehr",
        error_messages={"required": "expected the name of a target"},
    )
    base_url = BaseUrl(
        load_default=None,
        metadata={"help": "Its FHIR base URL, which absolute references start with; without it, the target's."},
    )
    readable = fields.Boolean(
        load_default=True,
        metadata={"help": "Whether we may read from that base URL."},
        error_messages={"invalid": "expected true or false"},
    )
    ehr = text("On another server than the target's: which EHR it is, as at the target.", load_default=None)
    ca_bundle = Location(
        load_default=None, metadata={"help": "On another server than the target's: certificates to trust (a PEM file)."}
    )
    proxy = BaseUrl(load_default=None, metadata={"help": "On another server: the HTTP proxy on the way to it."})
    plain_http = switch("On another server: allow http:// to another machine.")
    zone = Zone(
        load_default=None,
        metadata={
            "help": "The zone of times that come without one; without it, such a dose goes to review.",
            "example": "America/New_York",
        },
    )
    clinic = text("The clinic file for its doses, where their location names none.", load_default=None)
    code_maps = Words(
        load_default=frozenset(),
        metadata={
            "help": "ConceptMaps of mappings/codes/ (in the site overlay) that say what its own codes mean, for this\n"
            'source alone: "north" stands for ConceptMap-north.json.',
            "example": [],
        },
    )
    patient_identifier_system = text(
        "The identifier system, in the EHR, of the patients' numbers that its HL7 v2 messages give. The EHR is asked\n"
        "who has that number, so readable stays true.",
        load_default=None,
        example="https://hospital.example.org/mrn",
    )
    ignored_messages = Words(
        load_default=frozenset(),
        metadata={
            "help": "Types of HL7 v2 messages that are acknowledged without being looked at.",
            "example": ["ADT", "ORM^O01"],
        },
    )
    max_body_bytes = Whole(
        1024,
        67_108_864,
        load_default=None,
        metadata={"help": "The largest body that is taken from it, where that is less than web.max_body_bytes."},
    )
    max_requests_per_minute = Whole(
        1,
        1_000_000,
        load_default=None,
        metadata={
            "help": "Requests a minute that each server process takes from it; more get 429 and how long to wait.\n"
            "Without this key there is no limit."
        },
    )
    webhook_origins = Words(
        load_default=frozenset(),
        metadata={
            "help": "Who may ask, without a secret, whether CloudEvents may be delivered here (Azure Event Grid).",
            "example": ["eventgrid.azure.net"],
        },
    )
    secrets = fields.List(
        fields.Nested(SecretSchema),
        load_default=list,
        error_messages={"invalid": "expected a list of tables"},
        metadata={
            "help": "One secret, or two while the sender changes over from the old one to the new one.",
            "file": "/run/secrets/afterdose_ehr",
        },
    )
    bearer = fields.Nested(
        BearerSchema,
        load_default=None,
        metadata={
            "help": "For a sender that shows tokens of an issuer (JWT in Authorization: Bearer) in place of a secret.",
            "optional": True,
        },
    )
    signatures = fields.List(
        fields.Nested(SignatureSchema),
        load_default=list,
        error_messages={"invalid": "expected a list of tables"},
        metadata={
            "help": "For a sender that signs its bodies (HMAC-SHA-256): one key, or two while it changes. Where there\n"
            "are secrets or tokens too, a request needs both.",
            "file": "/run/secrets/afterdose_ehr_signing",
            "optional": True,
        },
    )
    auth = fields.Nested(
        AuthSchema,
        load_default=None,
        metadata={
            "help": "How we prove ourselves when we read, where that is not as at the target; the keys are those of\n"
            "targets.NAME.auth.",
            "elsewhere": True,
        },
    )
    poll = fields.Nested(
        PollSchema,
        load_default=None,
        metadata={"help": "How the source is asked for what it did not send. Without this table it is not."},
    )
    subscribe = subscribe_field()


def build_source(
    name: str, entry: dict[str, Any], targets: Mapping[str, TargetSettings], folder: Path
) -> SourceSettings:
    """The value of ``[sources.NAME]`` that the schema has passed. Raises BadSettings naming the key."""
    if entry["target"] not in targets:
        known = ", ".join(sorted(targets)) or "none is set"
        raise BadSettings(f"sources.{name}.target: expected the name of a target ({known})")
    base_url = entry.pop("base_url") or targets[entry["target"]].base_url
    parts, elsewhere = urlsplit(base_url), base_url != targets[entry["target"]].base_url
    insecure = parts.scheme == "http" and not entry["plain_http"] and not is_loopback(parts.hostname or "")
    if elsewhere and entry["readable"] and insecure:
        expected = "expected https:// (http:// elsewhere needs plain_http = true, or readable = false)"
        raise BadSettings(f"sources.{name}.base_url: {expected}")
    secrets = sender_secrets(f"sources.{name}.secrets", entry.pop("secrets"))
    signatures = signing_keys(f"sources.{name}.signatures", entry.pop("signatures"))
    tokens = bearer(f"sources.{name}.bearer", entry.pop("bearer"), folder)
    if tokens is not None and any(secret.header.lower() == "authorization" for secret in secrets):
        raise BadSettings(f"sources.{name}.bearer: expected no secret in Authorization besides, where the token stands")
    if signatures and not secrets and tokens is None and not entry["readable"]:
        expected = "expected a secret besides, or readable = true: a signature does not cover which dose a delete names"
        raise BadSettings(f"sources.{name}.secrets: {expected}")
    if entry["patient_identifier_system"] is not None and not entry["readable"]:
        expected = "expected readable = true besides: it is the EHR that is asked whose number it is"
        raise BadSettings(f"sources.{name}.patient_identifier_system: {expected}")
    auth = build_auth(f"sources.{name}.auth", entry.pop("auth"), folder)
    readable, zoned = entry["readable"], entry["zone"] is not None
    poll = polling(f"sources.{name}.poll", entry.pop("poll"), readable=readable, zoned=zoned, folder=folder)
    subscribe = subscribing(f"sources.{name}.subscribe", entry.pop("subscribe"), readable=entry["readable"])
    ehr = entry.pop("ehr") or ("generic" if elsewhere else targets[entry["target"]].ehr)
    ca_bundle = certificates(f"sources.{name}.ca_bundle", entry.pop("ca_bundle"), folder)
    entry["webhook_origins"] = frozenset(origin.lower() for origin in entry["webhook_origins"])
    return SourceSettings(
        name=name,
        base_url=base_url,
        ehr=ehr,
        poll=poll,
        subscribe=subscribe,
        secrets=secrets,
        bearer=tokens,
        signatures=signatures,
        auth=auth,
        ca_bundle=ca_bundle,
        **entry,
    )


def sender_secrets(key: str, entries: list[dict[str, Any]]) -> tuple[SenderSecret, ...]:
    """The secrets of a list that the schema has passed. Raises BadSettings naming the key."""
    if len(entries) > _MOST_SECRETS:
        raise BadSettings(f"{key}: expected {_MOST_SECRETS} secrets at most")
    return tuple(
        SenderSecret.of(
            entry["value"],
            file=file_of(entry["value"]),
            header=entry["header"],
            scheme=("Bearer" if entry["header"].lower() == "authorization" else None)
            if entry["scheme"] is None
            else entry["scheme"] or None,
        )
        for entry in entries
    )
