"""Whether somebody changed one of our resources in the EHR, as far as the EHR told us. Pure.

The EHR also tells us of our own writes; those have the version that it answered us with.
"""

from collections.abc import Iterable

from afterdose.store.rows import Fact, LedgerRow


def was_touched(row: LedgerRow, facts: Iterable[Fact]) -> bool:
    """Whether one of the ``facts`` of the row's own server tells of a version that the ledger has not seen."""
    return any(
        (fact.resource_type, fact.resource_id) == (row.resource_type, row.ehr_id)
        and (row.updated_at is None or fact.received_at > row.updated_at)
        and not _is_version(row.etag, fact.version)
        for fact in facts
    )


def _is_version(etag: str | None, version: str | None) -> bool:
    """Whether an ETag is that of a version (http://hl7.org/fhir/R4/http.html#versioning)."""
    return version is not None and etag is not None and etag.removeprefix("W/").strip('"') == version
