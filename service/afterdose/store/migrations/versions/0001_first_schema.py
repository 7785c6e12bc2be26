"""The first schema."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INSTANT = sa.DateTime(timezone=True).with_variant(sa.String(27), "sqlite")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_APPEND_ONLY = {
    "sqlite": [
        f"CREATE TRIGGER audit_no_{change} BEFORE {change.upper()} ON audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
        for change in ("update", "delete")
    ],
    "postgresql": [
        "CREATE FUNCTION audit_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$",
        "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit "
        "FOR EACH ROW EXECUTE FUNCTION audit_append_only()",
        "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_append_only()",
    ],
}
"""What the audit holds can be changed by nobody who goes through the database's own statements."""


def upgrade() -> None:
    """Make every table."""
    op.create_table(
        "facts",
        sa.Column(
            "seq", SERIAL, sa.Identity(), nullable=False, comment="order of receipt; within one id also of commit"
        ),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("resource_type", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column(
            "patient", sa.Text(), comment="Patient id in the target; NULL where the subject could not be resolved"
        ),
        sa.Column("interaction", sa.Text(), nullable=False, comment="upsert, delete, hint"),
        sa.Column("via", sa.Text(), nullable=False, comment="push, poll, read (an authoritative re-read)"),
        sa.Column("version", sa.Text(), comment="meta.versionId"),
        sa.Column("last_updated", INSTANT, comment="meta.lastUpdated"),
        sa.Column("content_hash", sa.Text(), nullable=False, comment="SHA-256 of raw, hexadecimal"),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False, comment="what was received; empty for a delete"),
        sa.PrimaryKeyConstraint("seq", name="pk_facts"),
    )
    op.create_index("ix_facts_resource", "facts", ["source", "resource_id", "seq"])
    op.create_index("ix_facts_patient", "facts", ["target", "patient"])
    op.create_table(
        "agenda",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False, comment="rises with everything that makes the patient due"),
        sa.Column("due_at", INSTANT, comment="NULL = only when something arrives"),
        sa.Column(
            "first_due_at", INSTANT, comment="since when this piece of work has been due; kept while it is retried"
        ),
        sa.Column("reasons", sa.Text(), nullable=False, comment="codes of why it is due, separated by spaces"),
        sa.Column(
            "attempts", sa.Integer(), nullable=False, comment="claims since the last finish; counted before the work"
        ),
        sa.Column(
            "broken_off",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="claims since one was last given back; counted before the work",
        ),
        sa.Column(
            "escalated",
            sa.Integer(),
            nullable=False,
            server_default="0",
            comment="steps of escalation that were alarmed since the last finish",
        ),
        sa.Column("fence", sa.BigInteger(), nullable=False, comment="number of the newest claim"),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_until", INSTANT),
        sa.Column(
            "parked", sa.Text(), comment="code of why it was given up until something arrives or a person replays it"
        ),
        sa.PrimaryKeyConstraint("target", "patient", name="pk_agenda"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_agenda_due_at", "agenda", ["due_at"])
    op.create_table(
        "ledger",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="ArtifactKey.kind"),
        sa.Column("subject", sa.Uuid(), nullable=False, comment="ArtifactKey.subject: course or dose session"),
        sa.Column("generation", sa.Integer(), nullable=False, autoincrement=False),
        sa.Column("identifier", sa.Uuid(), nullable=False),
        sa.Column("resource_type", sa.Text(), nullable=False),
        sa.Column("named", sa.Text(), comment="the patient whom it names in the EHR, where that is not the row's own"),
        sa.Column("ehr_id", sa.Text()),
        sa.Column("etag", sa.Text()),
        sa.Column("standing", sa.Text(), nullable=False),
        sa.Column("ehr_status", sa.Text()),
        sa.Column("booked", sa.Boolean(), nullable=False),
        sa.Column("visit_start", INSTANT),
        sa.Column("visit_end", INSTANT),
        sa.Column("closed_at", INSTANT, comment="when a person ended it"),
        sa.Column("was_active", sa.Boolean(), nullable=False),
        sa.Column("desired_hash", sa.Text()),
        sa.Column("elements", sa.JSON(), nullable=False, comment="what is ours in it, as the EHR returned it"),
        sa.Column("sent_at", INSTANT),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("check_at", INSTANT, comment="when to see whether it is the only one with its identifier"),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("target", "patient", "kind", "subject", "generation", name="pk_ledger"),
    )
    op.create_index("ix_ledger_ehr_id", "ledger", ["target", "resource_type", "ehr_id"])
    op.create_table(
        "persons",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("gone", sa.Boolean(), nullable=False, comment="the EHR has no such Patient any more"),
        sa.Column("died_by", INSTANT, comment="when the patient had died at the latest; NULL for the living"),
        sa.Column(
            "kept_with", sa.Text(), comment="the patient under whom all of this one is kept; NULL = under itself"
        ),
        sa.PrimaryKeyConstraint("target", "patient", name="pk_persons"),
    )
    op.create_index("ix_persons_kept_with", "persons", ["target", "kept_with"])
    op.create_table(
        "patient_links",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False, comment="the Patient whose resource says so"),
        sa.Column("former", sa.Text(), nullable=False),
        sa.Column("successor", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("target", "patient", "former", "successor", name="pk_patient_links"),
    )
    op.create_index("ix_patient_links_former", "patient_links", ["target", "former"])
    op.create_index("ix_patient_links_successor", "patient_links", ["target", "successor"])
    op.create_table(
        "outcomes",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("session_id", sa.Uuid()),
        sa.Column("course_id", sa.Uuid()),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("next_look", INSTANT),
        sa.Column("shadow", sa.Boolean(), nullable=False, comment="decided only: nothing was written into the EHR"),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("target", "patient", "source", "resource_id", name="pk_outcomes"),
    )
    op.create_index("ix_outcomes_administration", "outcomes", ["source", "resource_id"])
    op.create_table(
        "memberships",
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("course_id", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("target", "patient", "source", "resource_id", name="pk_memberships"),
    )
    op.create_table(
        "reviews",
        sa.Column("id", SERIAL, sa.Identity(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False, comment="of the founding administration"),
        sa.Column("resource_id", sa.Text(), nullable=False, comment="of the founding administration"),
        sa.Column("administrations", sa.JSON(), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("codes", sa.JSON(), nullable=False, comment="the EHR's own codes of what it refused"),
        sa.Column("due", INSTANT),
        sa.Column("opened_at", INSTANT, nullable=False),
        sa.Column("closed_at", INSTANT),
        sa.Column("closed_by", sa.Text(), comment="the person who resolved it; NULL where it was no longer needed"),
        sa.PrimaryKeyConstraint("id", name="pk_reviews"),
    )
    op.create_index("ix_reviews_administration", "reviews", ["source", "resource_id"])
    op.create_index("ix_reviews_patient", "reviews", ["target", "patient"])
    op.create_table(
        "audit",
        sa.Column("id", SERIAL, sa.Identity(), nullable=False),
        sa.Column("at", INSTANT, nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False, comment="C, R, U, D or E, as AuditEvent.action"),
        sa.Column("entity_type", sa.Text(), nullable=False),
        sa.Column("entity_id", sa.Text()),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("target", sa.Text()),
        sa.Column("patient", sa.Text()),
        sa.Column("prev_hash", sa.Text(), nullable=False, comment="hash of the entry before; 64 zeros for the first"),
        sa.Column(
            "hash", sa.Text(), nullable=False, comment="SHA-256, hexadecimal, of prev_hash and of every column of it"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)
    op.create_table(
        "pauses",
        sa.Column("target", sa.Text(), nullable=False, comment="nothing is written to it or read for it"),
        sa.Column("since", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("target", name="pk_pauses"),
    )
    op.create_table(
        "rulebooks",
        sa.Column("target", sa.Text(), nullable=False, comment="whose patients are decided about"),
        sa.Column("fingerprint", sa.Text(), nullable=False, comment="of protocols, calendars, codes and settings"),
        sa.Column("since", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("target", name="pk_rulebooks"),
    )
    op.create_table(
        "quarantine",
        sa.Column("id", SERIAL, sa.Identity(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("received_at", INSTANT, nullable=False),
        sa.Column("media_type", sa.Text()),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False, comment="bytes of body"),
        sa.Column("problems", sa.JSON(), nullable=False),
        sa.Column(
            "dropped", sa.BigInteger(), nullable=False, comment="entries dropped for lack of room, ever, until this one"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine"),
    )
    op.create_table(
        "readings",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("resource_type", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("read_at", INSTANT, nullable=False),
        sa.Column(
            "raw", sa.LargeBinary(), nullable=False, comment="what was read; empty where the source does not give it"
        ),
        sa.PrimaryKeyConstraint("source", "resource_type", "resource_id", name="pk_readings"),
    )
    op.create_table(
        "sweeps",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("resource_type", sa.Text(), nullable=False),
        sa.Column("watermark", INSTANT, comment="meta.lastUpdated, in the source's own time, up to which all is known"),
        sa.Column("tried_at", INSTANT, comment="when the newest poll began"),
        sa.Column("polled_at", INSTANT, comment="when the newest poll that succeeded ended"),
        sa.Column("lease_owner", sa.Text()),
        sa.Column("lease_until", INSTANT),
        sa.PrimaryKeyConstraint("source", "resource_type", name="pk_sweeps"),
    )
    op.create_table(
        "cohort",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("patient", sa.Text(), nullable=False),
        sa.Column("member", sa.Boolean(), nullable=False, comment="false: only doses that are tracked are left"),
        sa.Column("joined_at", INSTANT, nullable=False),
        sa.Column("known_until", INSTANT, comment="what was charted by then was found"),
        sa.Column("asked_at", INSTANT, comment="when it was last this patient's turn"),
        sa.PrimaryKeyConstraint("source", "patient", name="pk_cohort"),
    )
    op.create_table(
        "backfills",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("file", sa.Text(), nullable=False, comment="SHA-256 of its bytes, hexadecimal"),
        sa.Column("lines", sa.BigInteger(), nullable=False, comment="so many of them are stored"),
        sa.Column("updated_at", INSTANT, nullable=False),
        sa.PrimaryKeyConstraint("source", "file", name="pk_backfills"),
    )
    op.create_table(
        "subscriptions",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("subscription", sa.Text(), nullable=False, comment="id of the Subscription at the source"),
        sa.Column("mark", sa.Text(), comment="by which the source finds it as ours; NULL where somebody else made it"),
        sa.Column("resource_type", sa.Text(), comment="what it tells of, where we made it"),
        sa.Column("numbering", sa.JSON(none_as_null=True), comment="which of its numbered events are known"),
        sa.Column("gap_at", INSTANT, comment="since when numbers are missing"),
        sa.Column(
            "unnamed", sa.BigInteger(), comment="the lowest event that said not of what, and was not asked about"
        ),
        sa.Column("heard_at", INSTANT, comment="when its newest notification came, heartbeats among them"),
        sa.Column("heartbeat", sa.Integer(), comment="seconds of silence after which the source sends one"),
        sa.Column("status", sa.Text(), comment="as it was last read, or said"),
        sa.Column("looked_at", INSTANT, comment="when it was last asked about"),
        sa.Column("activations", sa.Integer(), nullable=False, comment="tries to activate it again, in a row"),
        sa.Column("activated_at", INSTANT, comment="when that was last tried"),
        sa.Column("troubles", sa.JSON(), nullable=False, comment="code of what is wrong -> since when; alarmed"),
        sa.PrimaryKeyConstraint("source", "subscription", name="pk_subscriptions"),
    )
    op.create_table(
        "deliveries",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("delivery", sa.Text(), nullable=False, comment="the sender's own id of what it sent"),
        sa.Column("digest", sa.Text(), nullable=False, comment="SHA-256 of the request, hexadecimal"),
        sa.Column("until", INSTANT, nullable=False, comment="so long it is known again"),
        sa.PrimaryKeyConstraint("source", "delivery", name="pk_deliveries"),
    )
    op.create_index("ix_deliveries_until", "deliveries", ["until"])
    op.create_table(
        "unread",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("resource_type", sa.Text(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("told_at", INSTANT, nullable=False, comment="when the source named it last"),
        sa.Column("due_at", INSTANT, nullable=False, comment="when it is to be read"),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source", "resource_type", "resource_id", name="pk_unread"),
    )
