"""What may be set: one marshmallow schema, and in its metadata the help and the example that the manual shows.

``help`` becomes the comment above the key, ``example`` its value in the example file; a key without an example and
without a default is shown as a comment only.
"""

from datetime import timedelta

from marshmallow import fields, validate

from afterdose.settings.fields import BaseUrl, Location, Table, Words, check_address
from afterdose.settings.keys import Strict, duration, number, switch, text
from afterdose.settings.mllp import MllpSchema
from afterdose.settings.rungs import rung_fields
from afterdose.settings.sources import AuthSchema, SecretSchema, SourceSchema


class WebSchema(Strict):
    """The server that senders talk to."""

    host = text(
        "The IP address to listen on. TLS belongs into the proxy in front.",
        load_default="127.0.0.1",
        validate=check_address,
    )
    port = number("The port to listen on.", low=1, high=65535, default=8080)
    processes = number("Server processes.", low=1, high=64, default=2)
    threads = number("Threads of each process.", low=1, high=256, default=32)
    one_cpu_each = switch(
        "Keep each process to a CPU of its own, where there are as many (Linux): it then takes more events in the\n"
        "same time. Not for machines on which other programs are bound to the same CPUs.",
        default=True,
    )
    max_body_bytes = number(
        "The largest request body that is taken, in bytes.", low=1024, high=67_108_864, default=2_097_152
    )
    header_timeout = duration(
        "How long a sender may take for the headers of a request; also how long an idle connection is kept.",
        timedelta(seconds=15),
        "15s",
    )
    body_timeout = duration("How long a sender may take for the body of a request.", timedelta(seconds=10), "10s")
    stop_timeout = duration(
        "How long a process may take to finish its requests when it is stopped.", timedelta(seconds=30), "30s"
    )
    base_url = BaseUrl(
        load_default=None,
        metadata={"help": "How others reach this server, where that differs from host and port."},
    )


class WorkSchema(Strict):
    """The workers that bring the EHRs into line."""

    threads = number("Patients that one worker process works on at the same time.", low=1, high=64, default=4)
    poll_interval = duration(
        "How often the agenda is looked at when no wake-up call comes.", timedelta(seconds=1), "1s"
    )
    lease = duration(
        "How long a worker holds a patient without renewing; more than one and a half times the deadline of every\n"
        "target.",
        timedelta(minutes=2),
        "2m",
    )
    retry_for = duration(
        "How long what failed for a passing reason is tried again before it is parked.", timedelta(hours=96), "96h"
    )
    retry_cap = duration("The longest pause between two tries.", timedelta(minutes=10), "10m")


class LogSchema(Strict):
    """What is logged. Patient data never is."""

    level = text(
        "How much: debug, info, warning or error.", one_of=("debug", "info", "warning", "error"), load_default="info"
    )
    format = text("json (one object a line) or text (for people).", one_of=("json", "text"), load_default="json")


RungsSchema = Strict.from_dict(rung_fields(), name="RungsSchema")
"""What artifacts are written as, where the site decides it."""


class TargetSchema(Strict):
    """An EHR that plans are written to."""

    base_url = BaseUrl(
        required=True,
        metadata={"help": "The FHIR R4 base URL.", "example": "https://ehr.example.org/fhir"},
        error_messages={"required": "expected the FHIR base URL of the EHR"},
    )
    clinic = text(
        "The clinic file that applies where neither the dose nor its source names a clinic.",
        required=True,
        example="example",
        error_messages={"required": "expected the name of a clinic file"},
    )
    clinics = Words(
        load_default=frozenset(),
        metadata={
            "help": "Further clinic files: each applies to doses at the location that it names, of whichever source.",
            "example": [],
        },
    )
    mode = text(
        "live; or shadow: decide and record, and write nothing into this EHR.",
        one_of=("live", "shadow"),
        load_default="live",
    )
    accept = text(
        "review: plans are drafts until a person activates them; auto: they are active at once.",
        one_of=("review", "auto"),
        load_default="review",
    )
    timeout_connect = duration("How long connecting may take.", timedelta(seconds=5), "5s")
    timeout_read = duration("How long the EHR may be silent during an answer.", timedelta(seconds=20), "20s")
    deadline = duration(
        "How long one call may take as a whole; work.lease is more than half as long again.",
        timedelta(seconds=30),
        "30s",
    )
    max_concurrency = number("Calls that each worker process makes at the same time.", low=1, high=64, default=8)
    max_calls_per_second = number("Calls that each worker process makes in a second.", low=1, high=1000, default=50)
    max_answer_bytes = number(
        "The largest answer that is read, in bytes.", low=65_536, high=268_435_456, default=16_777_216
    )
    ca_bundle = Location(
        load_default=None, metadata={"help": "Certificates to trust instead of the public ones (a PEM file)."}
    )
    proxy = BaseUrl(load_default=None, metadata={"help": "The HTTP proxy on the way to the EHR."})
    hide_drug = switch("Leave the drug's name out of the plan's narrative too; all other text never holds it.")
    plain_http = switch("Allow http:// to another machine. Without it, http:// is for this machine only.")
    ehr = text(
        "Which EHR it is: a file of mappings/ehrs/ (generic, hapi, medplum, epic, oracle-health, athenahealth,\n"
        "meditech) that tells what it takes beyond what it declares.",
        load_default="generic",
    )
    sender = text(
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


class SettingsSchema(Strict):
    """Everything that a site sets."""

    data_dir = Location(
        load_default=None,
        metadata={
            "help": "The folder for what afterdose keeps on this machine.",
            "example": "/var/lib/afterdose",
        },
    )
    database = text(
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
    insecure_dev = switch(
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
