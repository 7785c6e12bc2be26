"""The tables. Alembic migrations make them; a test holds migrations and this file equal on both databases.

Instants are aware UTC datetimes with microseconds, in and out. A patient key is the Patient id in the target EHR, or
``~source/id`` of the administration while its patient is not resolved (``~`` and ``/`` cannot stand in a FHIR id).
Another resource whose patient is not resolved stands under no key.
"""

import sqlalchemy as sa

from afterdose.store.columns import Instant

REVISION = "0001"
"""The Alembic revision that this file describes."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

_Serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
"""A number that the database counts up; SQLite only does so for its INTEGER."""

facts = sa.Table(
    "facts",
    metadata,
    sa.Column(
        "seq", _Serial, sa.Identity(), primary_key=True, comment="order of receipt; within one id also of commit"
    ),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("resource_type", sa.Text, nullable=False),
    sa.Column("resource_id", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("patient", sa.Text, comment="Patient id in the target; NULL where the subject could not be resolved"),
    sa.Column("interaction", sa.Text, nullable=False, comment="upsert, delete, hint"),
    sa.Column("via", sa.Text, nullable=False, comment="push, poll, read (an authoritative re-read)"),
    sa.Column("version", sa.Text, comment="meta.versionId"),
    sa.Column("last_updated", Instant, comment="meta.lastUpdated"),
    sa.Column("content_hash", sa.Text, nullable=False, comment="SHA-256 of raw, hexadecimal"),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False, comment="what was received; empty for a delete"),
    sa.Index("ix_facts_resource", "source", "resource_id", "seq"),
    sa.Index("ix_facts_patient", "target", "patient"),
)

agenda = sa.Table(
    "agenda",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, primary_key=True),
    sa.Column("seq", sa.BigInteger, nullable=False, comment="rises with everything that makes the patient due"),
    sa.Column("due_at", Instant, comment="NULL = only when something arrives"),
    sa.Column("first_due_at", Instant, comment="since when this piece of work has been due; kept while it is retried"),
    sa.Column("reasons", sa.Text, nullable=False, comment="codes of why it is due, separated by spaces"),
    sa.Column("attempts", sa.Integer, nullable=False, comment="claims since the last finish; counted before the work"),
    sa.Column(
        "broken_off",
        sa.Integer,
        nullable=False,
        server_default="0",
        comment="claims since one was last given back; counted before the work",
    ),
    sa.Column(
        "escalated",
        sa.Integer,
        nullable=False,
        server_default="0",
        comment="steps of escalation that were alarmed since the last finish",
    ),
    sa.Column("fence", sa.BigInteger, nullable=False, comment="number of the newest claim"),
    sa.Column("lease_owner", sa.Text),
    sa.Column("lease_until", Instant),
    sa.Column("parked", sa.Text, comment="code of why it was given up until something arrives or a person replays it"),
    sa.Index("ix_agenda_due_at", "due_at"),
    sqlite_with_rowid=False,
)

ledger = sa.Table(
    "ledger",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, primary_key=True),
    sa.Column("kind", sa.Text, primary_key=True, comment="ArtifactKey.kind"),
    sa.Column("subject", sa.Uuid, primary_key=True, comment="ArtifactKey.subject: course or dose session"),
    sa.Column("generation", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("identifier", sa.Uuid, nullable=False),
    sa.Column("resource_type", sa.Text, nullable=False),
    sa.Column("named", sa.Text, comment="the patient whom it names in the EHR, where that is not the row's own"),
    sa.Column("ehr_id", sa.Text),
    sa.Column("etag", sa.Text),
    sa.Column("standing", sa.Text, nullable=False),
    sa.Column("ehr_status", sa.Text),
    sa.Column("booked", sa.Boolean, nullable=False),
    sa.Column("visit_start", Instant),
    sa.Column("visit_end", Instant),
    sa.Column("closed_at", Instant, comment="when a person ended it"),
    sa.Column("was_active", sa.Boolean, nullable=False),
    sa.Column("desired_hash", sa.Text),
    sa.Column("elements", sa.JSON, nullable=False, comment="what is ours in it, as the EHR returned it"),
    sa.Column("sent_at", Instant),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("check_at", Instant, comment="when to see whether it is the only one with its identifier"),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Index("ix_ledger_ehr_id", "target", "resource_type", "ehr_id"),
)

persons = sa.Table(
    "persons",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, primary_key=True),
    sa.Column("active", sa.Boolean, nullable=False),
    sa.Column("gone", sa.Boolean, nullable=False, comment="the EHR has no such Patient any more"),
    sa.Column("died_by", Instant, comment="when the patient had died at the latest; NULL for the living"),
    sa.Column("kept_with", sa.Text, comment="the patient under whom all of this one is kept; NULL = under itself"),
    sa.Index("ix_persons_kept_with", "target", "kept_with"),
)

patient_links = sa.Table(
    "patient_links",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, primary_key=True, comment="the Patient whose resource says so"),
    sa.Column("former", sa.Text, primary_key=True),
    sa.Column("successor", sa.Text, primary_key=True),
    sa.Index("ix_patient_links_former", "target", "former"),
    sa.Index("ix_patient_links_successor", "target", "successor"),
)

outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("resource_id", sa.Text, primary_key=True),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("session_id", sa.Uuid),
    sa.Column("course_id", sa.Uuid),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Column("next_look", Instant),
    sa.Column("shadow", sa.Boolean, nullable=False, comment="decided only: nothing was written into the EHR"),
    sa.Column("updated_at", Instant, nullable=False),
    sa.Index("ix_outcomes_administration", "source", "resource_id"),
)

memberships = sa.Table(
    "memberships",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, primary_key=True),
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("resource_id", sa.Text, primary_key=True),
    sa.Column("session_id", sa.Uuid, nullable=False),
    sa.Column("course_id", sa.Uuid, nullable=False),
)

reviews = sa.Table(
    "reviews",
    metadata,
    sa.Column("id", _Serial, sa.Identity(), primary_key=True),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("patient", sa.Text, nullable=False),
    sa.Column("source", sa.Text, nullable=False, comment="of the founding administration"),
    sa.Column("resource_id", sa.Text, nullable=False, comment="of the founding administration"),
    sa.Column("administrations", sa.JSON, nullable=False),
    sa.Column("reasons", sa.JSON, nullable=False),
    sa.Column("codes", sa.JSON, nullable=False, comment="the EHR's own codes of what it refused"),
    sa.Column("due", Instant),
    sa.Column("opened_at", Instant, nullable=False),
    sa.Column("closed_at", Instant),
    sa.Column("closed_by", sa.Text, comment="the person who resolved it; NULL where it was no longer needed"),
    sa.Index("ix_reviews_patient", "target", "patient"),
    sa.Index("ix_reviews_administration", "source", "resource_id"),
)

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", _Serial, sa.Identity(), primary_key=True),
    sa.Column("at", Instant, nullable=False),
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.Text, nullable=False, comment="C, R, U, D or E, as AuditEvent.action"),
    sa.Column("entity_type", sa.Text, nullable=False),
    sa.Column("entity_id", sa.Text),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("target", sa.Text),
    sa.Column("patient", sa.Text),
    sa.Column("prev_hash", sa.Text, nullable=False, comment="hash of the entry before; 64 zeros for the first"),
    sa.Column("hash", sa.Text, nullable=False, comment="SHA-256, hexadecimal, of prev_hash and of every column of it"),
)

pauses = sa.Table(
    "pauses",
    metadata,
    sa.Column("target", sa.Text, primary_key=True, comment="nothing is written to it or read for it"),
    sa.Column("since", Instant, nullable=False),
)

rulebooks = sa.Table(
    "rulebooks",
    metadata,
    sa.Column("target", sa.Text, primary_key=True, comment="whose patients are decided about"),
    sa.Column("fingerprint", sa.Text, nullable=False, comment="of protocols, calendars, codes and settings"),
    sa.Column("since", Instant, nullable=False),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", _Serial, sa.Identity(), primary_key=True),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("received_at", Instant, nullable=False),
    sa.Column("media_type", sa.Text),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.Integer, nullable=False, comment="bytes of body"),
    sa.Column("problems", sa.JSON, nullable=False),
    sa.Column(
        "dropped", sa.BigInteger, nullable=False, comment="entries dropped for lack of room, ever, until this one"
    ),
)

readings = sa.Table(
    "readings",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("resource_type", sa.Text, primary_key=True),
    sa.Column("resource_id", sa.Text, primary_key=True),
    sa.Column("read_at", Instant, nullable=False),
    sa.Column("raw", sa.LargeBinary, nullable=False, comment="what was read; empty where the source does not give it"),
)

sweeps = sa.Table(
    "sweeps",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("resource_type", sa.Text, primary_key=True),
    sa.Column("watermark", Instant, comment="meta.lastUpdated, in the source's own time, up to which all is known"),
    sa.Column("tried_at", Instant, comment="when the newest poll began"),
    sa.Column("polled_at", Instant, comment="when the newest poll that succeeded ended"),
    sa.Column("lease_owner", sa.Text),
    sa.Column("lease_until", Instant),
)

cohort = sa.Table(
    "cohort",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("patient", sa.Text, primary_key=True),
    sa.Column("member", sa.Boolean, nullable=False, comment="false: only doses that are tracked are left"),
    sa.Column("joined_at", Instant, nullable=False),
    sa.Column("known_until", Instant, comment="what was charted by then was found"),
    sa.Column("asked_at", Instant, comment="when it was last this patient's turn"),
)

backfills = sa.Table(
    "backfills",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("file", sa.Text, primary_key=True, comment="SHA-256 of its bytes, hexadecimal"),
    sa.Column("lines", sa.BigInteger, nullable=False, comment="so many of them are stored"),
    sa.Column("updated_at", Instant, nullable=False),
)

subscriptions = sa.Table(
    "subscriptions",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("subscription", sa.Text, primary_key=True, comment="id of the Subscription at the source"),
    sa.Column("mark", sa.Text, comment="by which the source finds it as ours; NULL where somebody else made it"),
    sa.Column("resource_type", sa.Text, comment="what it tells of, where we made it"),
    sa.Column("numbering", sa.JSON(none_as_null=True), comment="which of its numbered events are known"),
    sa.Column("gap_at", Instant, comment="since when numbers are missing"),
    sa.Column("unnamed", sa.BigInteger, comment="the lowest event that said not of what, and was not asked about"),
    sa.Column("heard_at", Instant, comment="when its newest notification came, heartbeats among them"),
    sa.Column("heartbeat", sa.Integer, comment="seconds of silence after which the source sends one"),
    sa.Column("status", sa.Text, comment="as it was last read, or said"),
    sa.Column("looked_at", Instant, comment="when it was last asked about"),
    sa.Column("activations", sa.Integer, nullable=False, comment="tries to activate it again, in a row"),
    sa.Column("activated_at", Instant, comment="when that was last tried"),
    sa.Column("troubles", sa.JSON, nullable=False, comment="code of what is wrong -> since when; alarmed"),
)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("delivery", sa.Text, primary_key=True, comment="the sender's own id of what it sent"),
    sa.Column("digest", sa.Text, nullable=False, comment="SHA-256 of the request, hexadecimal"),
    sa.Column("until", Instant, nullable=False, comment="so long it is known again"),
    sa.Index("ix_deliveries_until", "until"),
)

unread = sa.Table(
    "unread",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),
    sa.Column("resource_type", sa.Text, primary_key=True),
    sa.Column("resource_id", sa.Text, primary_key=True),
    sa.Column("told_at", Instant, nullable=False, comment="when the source named it last"),
    sa.Column("due_at", Instant, nullable=False, comment="when it is to be read"),
    sa.Column("attempts", sa.Integer, nullable=False),
)


def patient_key(patient: str | None, source: str, resource_id: str) -> str:
    """Under which key of the agenda an administration stands."""
    return patient if patient is not None else f"~{source}/{resource_id}"
