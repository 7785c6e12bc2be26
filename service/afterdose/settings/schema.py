"""What may be set: one marshmallow schema, and in its metadata the help and the example that the manual shows.

``help`` becomes the comment above the key, ``example`` its value in the example file; a key without an example and
without a default is shown as a comment only.
"""

from datetime import timedelta
from typing import Any

from marshmallow import RAISE, Schema, fields, validate

from afterdose.settings.authentication import auth_fields
from afterdose.settings.fields import HEADER, BaseUrl, Duration, Location, Secret, Table, Whole, Words, Zone
from afterdose.settings.mllp import MllpSchema
from afterdose.settings.rungs import rung_fields

_MESSAGES = {"unknown": "is not a setting", "type": "expected a table"}


def _text(help_: str, *, one_of: tuple[str, ...] = (), **options: Any) -> fields.String:
    """Text; ``example`` and ``validate`` may be given."""
    if one_of:
        options["validate"] = validate.OneOf(one_of, error=f"expected one of {', '.join(one_of)}")
    elif "validate" not in options:
        options["validate"] = validate.Length(min=1, error="expected text that is not empty")
    messages = {"invalid": "expected text"} | options.pop("error_messages", {})
    return fields.String(metadata=_metadata(help_, options), error_messages=messages, **options)


def _number(help_: str, *, low: int, high: int, default: int) -> Whole:
    return Whole(low, high, load_default=default, metadata={"help": help_})


def _switch(help_: str) -> fields.Boolean:
    return fields.Boolean(
        load_default=False, metadata={"help": help_}, error_messages={"invalid": "expected true or false"}
    )


def _duration(help_: str, default: timedelta, example: str) -> Duration:
    return Duration(load_default=default, metadata={"help": help_, "example": example})


def _metadata(help_: str, options: dict[str, Any]) -> dict[str, Any]:
    metadata: dict[str, Any] = {"help": help_}
    if "example" in options:
        metadata["example"] = options.pop("example")
    return metadata


class _Strict(Schema):
    """Unknown keys are refused: a misspelt key must not be silently without effect."""

    class Meta:
        unknown = RAISE

    error_messages = _MESSAGES


class SecretSchema(_Strict):
    """A secret that a sender shows us."""

    header = _text("The header that carries the secret.", load_default="Authorization", validate=HEADER)
    scheme = _text(
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


AuthSchema = _Strict.from_dict(auth_fields(), name="AuthSchema")
"""How we prove ourselves to an EHR."""


class WebSchema(_Strict):
    """The server that senders and staff talk to."""

    host = _text("The address to listen on. TLS belongs into the proxy in front.", load_default="127.0.0.1")
    port = _number("The port to listen on.", low=1, high=65535, default=8080)
    processes = _number("Server processes.", low=1, high=64, default=2)
    threads = _number("Threads of each process.", low=1, high=256, default=8)
    max_body_bytes = _number(
        "The largest request body that is taken, in bytes.", low=1024, high=67_108_864, default=2_097_152
    )
    header_timeout = _duration(
        "How long a sender may take for the headers of a request; also how long an idle connection is kept.",
        timedelta(seconds=15),
        "15s",
    )
    body_timeout = _duration("How long a sender may take for the body of a request.", timedelta(seconds=10), "10s")
    stop_timeout = _duration(
        "How long a process may take to finish its requests when it is stopped.", timedelta(seconds=30), "30s"
    )
    base_url = BaseUrl(
        load_default=None,
        metadata={"help": "How others reach this server, where that differs from host and port."},
    )


class WorkSchema(_Strict):
    """The workers that bring the EHRs into line."""

    threads = _number("Patients that one worker process works on at the same time.", low=1, high=64, default=4)
    poll_interval = _duration(
        "How often the agenda is looked at when no wake-up call comes.", timedelta(seconds=1), "1s"
    )
    lease = _duration(
        "How long a worker holds a patient without renewing; longer than the deadline of every target.",
        timedelta(minutes=2),
        "2m",
    )
    retry_for = _duration(
        "How long what failed for a passing reason is tried again before it is parked.", timedelta(hours=96), "96h"
    )
    retry_cap = _duration("The longest pause between two tries.", timedelta(hours=1), "1h")


class LogSchema(_Strict):
    """What is logged. Patient data never is."""

    level = _text(
        "How much: debug, info, warning or error.", one_of=("debug", "info", "warning", "error"), load_default="info"
    )
    format = _text("json (one object a line) or text (for people).", one_of=("json", "text"), load_default="json")


RungsSchema = _Strict.from_dict(rung_fields(), name="RungsSchema")
"""What artifacts are written as, where the site decides it."""


class TargetSchema(_Strict):
    """An EHR that plans are written to."""

    base_url = BaseUrl(
        required=True,
        metadata={"help": "The FHIR R4 base URL.", "example": "https://ehr.example.org/fhir"},
        error_messages={"required": "expected the FHIR base URL of the EHR"},
    )
    clinic = _text(
        "The clinic file that applies where neither the dose nor its source names a clinic.",
        required=True,
        example="example",
        error_messages={"required": "expected the name of a clinic file"},
    )
    accept = _text(
        "review: plans are drafts until a person activates them; auto: they are active at once.",
        one_of=("review", "auto"),
        load_default="review",
    )
    timeout_connect = _duration("How long connecting may take.", timedelta(seconds=5), "5s")
    timeout_read = _duration("How long the EHR may be silent during an answer.", timedelta(seconds=20), "20s")
    deadline = _duration("How long one call may take as a whole.", timedelta(seconds=30), "30s")
    max_answer_bytes = _number(
        "The largest answer that is read, in bytes.", low=65_536, high=268_435_456, default=16_777_216
    )
    ca_bundle = Location(
        load_default=None, metadata={"help": "Certificates to trust instead of the public ones (a PEM file)."}
    )
    proxy = BaseUrl(load_default=None, metadata={"help": "The HTTP proxy on the way to the EHR."})
    hide_drug = _switch("Leave the drug's name out of the plan's narrative too; all other text never holds it.")
    plain_http = _switch("Allow http:// to another machine. Without it, http:// is for this machine only.")
    ehr = _text(
        "Which EHR it is: a file of mappings/ehrs/ (generic, hapi, medplum, epic, oracle-health, athenahealth,\n"
        "meditech) that tells what it takes beyond what it declares.",
        load_default="generic",
    )
    sender = _text(
        "The Practitioner (Practitioner/ID) in whose name messages are sent, where the EHR wants a person there.",
        load_default=None,
        validate=validate.Regexp(
            r"Practitioner/[A-Za-z0-9\-.]{1,64}\Z", error='expected a reference such as "Practitioner/123"'
        ),
    )
    rungs = fields.Nested(
        RungsSchema,
        load_default=dict,
        metadata={
            "help": "What artifacts are written as, where that is not to be found out; worklist: not at all.\n"
            "`afterdose check` shows what is decided without these."
        },
    )
    auth = fields.Nested(
        AuthSchema,
        load_default=None,
        metadata={
            "help": "How we prove ourselves to the EHR. Keys that do not belong to the kind are refused.",
            "file": "/run/secrets/ehr_authorization",
        },
    )


class SourceSchema(_Strict):
    """A system that doses come from."""

    target = _text(
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
    ca_bundle = Location(
        load_default=None, metadata={"help": "On another server than the target's: certificates to trust (a PEM file)."}
    )
    proxy = BaseUrl(load_default=None, metadata={"help": "On another server: the HTTP proxy on the way to it."})
    plain_http = _switch("On another server: allow http:// to another machine.")
    zone = Zone(
        load_default=None,
        metadata={
            "help": "The zone of times that come without one; without it, such a dose goes to review.",
            "example": "America/New_York",
        },
    )
    clinic = _text("The clinic file for its doses, where their location names none.", load_default=None)
    patient_identifier_system = _text(
        "The identifier system, in the EHR, of the patients' numbers that its HL7 v2 messages give.",
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
    secrets = fields.List(
        fields.Nested(SecretSchema),
        load_default=list,
        error_messages={"invalid": "expected a list of tables"},
        metadata={
            "help": "One secret, or two while the sender changes over from the old one to the new one.",
            "file": "/run/secrets/afterdose_ehr",
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


class SettingsSchema(_Strict):
    """Everything that a site sets."""

    data_dir = Location(
        load_default=None,
        metadata={
            "help": "The folder for what afterdose keeps on this machine.",
            "example": "/var/lib/afterdose",
        },
    )
    database = _text(
        "The database: sqlite:///PATH or postgresql://USER:PASSWORD@HOST/NAME; may come from a file\n"
        "(database_file). Without it, afterdose.db in data_dir.",
        load_default=None,
        validate=validate.Regexp(
            r"(?:sqlite:///|postgresql(?:\+psycopg)?://)\S+\Z", error="expected sqlite:///PATH or postgresql://..."
        ),
    )
    site_overlay = Location(
        load_default=None,
        metadata={"help": "A folder whose mappings/ and profiles/ win over those that come with afterdose."},
    )
    insecure_dev = _switch(
        "For a developer's machine: a source needs no secret, /readyz and /metrics need none; loopback only."
    )
    web = fields.Nested(WebSchema, load_default=lambda: WebSchema().load({}), metadata={"help": WebSchema.__doc__})
    work = fields.Nested(WorkSchema, load_default=lambda: WorkSchema().load({}), metadata={"help": WorkSchema.__doc__})
    log = fields.Nested(LogSchema, load_default=lambda: LogSchema().load({}), metadata={"help": LogSchema.__doc__})
    operations = fields.List(
        fields.Nested(SecretSchema),
        load_default=list,
        error_messages={"invalid": "expected a list of tables"},
        metadata={
            "help": "The secret that opens /readyz and /metrics; two while it changes.",
            "file": "/run/secrets/afterdose_operations",
        },
    )
    targets = Table(
        TargetSchema,
        load_default=dict,
        metadata={"help": "The EHRs that plans are written to, each under a name of your own.", "example": "ehr"},
    )
    sources = Table(
        SourceSchema,
        load_default=dict,
        metadata={"help": "The systems that doses come from, each under a name of your own.", "example": "ehr"},
    )
    mllp = fields.List(
        fields.Nested(MllpSchema),
        load_default=list,
        error_messages={"invalid": "expected a list of tables"},
        metadata={"help": "Where `afterdose mllp` listens for HL7 v2 messages.", "file": ""},
    )
