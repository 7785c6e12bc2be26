"""How what is ours stands in the EHR: read by id, or found by its identifier, and noted in the ledger."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from afterdose.core.care import ArtifactKey, ArtifactKind, Standing
from afterdose.core.errors import EhrConflict, EhrGone, EhrRefused, EhrUnavailable
from afterdose.core.reasons import Reason
from afterdose.ehr.answers import Found
from afterdose.ehr.client import EhrClient
from afterdose.ehr.versions import is_older, same_version
from afterdose.ehr.waits import INDEX_LAG
from afterdose.fhir.encode.care import status_element
from afterdose.store.rows import LedgerRow
from afterdose.work.delivery.adopt import Company, Finder, await_copy, was_ended
from afterdose.work.delivery.journal import Journal, known_artifact
from afterdose.work.delivery.merge import put_back, rebase, took_effect
from afterdose.work.delivery.observe import sight, with_activation
from afterdose.work.delivery.repoint import moved_with_its_patient, standing_under
from afterdose.work.delivery.unwritten import Refusal

_REMOVED = Standing.REMOVED_BY_PERSON
_AGAIN = timedelta(minutes=5)
"""How long a search that failed is put off."""
_NOT_FOUND = 404
_OLD = timedelta(days=7)
"""What was last sent longer ago has no doubles that were not found before."""


class StandsOtherwise(Exception):
    """The EHR does not hold what the ledger says; the ledger has been corrected, decide again."""


class Stands:
    """The resources of one patient in the EHR, under one claim."""

    def __init__(
        self,
        *,
        journal: Journal,
        client: EhrClient,
        finder: Finder,
        hold: Callable[[], None],
        clock: Callable[[], datetime],
    ) -> None:
        self.refusals: list[Refusal] = []
        self._journal = journal
        self._client = client
        self._finder = finder
        self._hold = hold
        self._clock = clock

    def look(self, keys: Sequence[ArtifactKey]) -> bool:
        """Read artifacts and note how they stand; whether anything was news."""
        news = [self._looked(self._journal.rows[key]) for key in keys]
        return any(news)

    def put_back(self) -> None:
        """Learn how everything stands in an EHR that was put back from a copy.

        What it lost is to be written again. What it has is ours as it reads there, though it may be an older state;
        what people had ended by then stays ended. Raises EhrUnavailable, LeaseLost.
        """
        for row in list(self._journal.rows.values()):
            if row.ehr_id is None or row.key.kind is ArtifactKind.PROVENANCE or row.standing is _REMOVED:
                continue
            self._hold()
            try:
                found = dict(self._client.read(row.resource_type, row.ehr_id).resource)
            except EhrGone:
                found = {}
            except EhrRefused as refused:
                self.refusals.append(Refusal(key=row.key, reason=Reason.EHR_REFUSED, code=refused.shown))
                continue
            if found and self._finder.is_ours(row, found):
                owned = put_back(row.elements.get("owned", {}), found)
                element = status_element(row.resource_type)
                if element in owned and was_ended(found):
                    owned[element] = row.elements["owned"][element]
                self._journal.keep(replace(row, etag=None, desired_hash=None, elements={"owned": owned, "sent": {}}))
            elif row.standing is not Standing.WITHDRAWN:
                self._journal.keep(self._journal.new_row(row.key, row.resource_type))

    def doubt(self, now: datetime) -> None:
        """Have everything that was sent of late looked for again, once the index shows it. Raises LeaseLost."""
        rows = [
            replace(row, check_at=now + INDEX_LAG)
            for row in self._journal.rows.values()
            if row.ehr_id is not None and row.sent_at is not None and now - row.sent_at < _OLD
            if row.key.kind is not ArtifactKind.PROVENANCE and self._finder.can_find(row.resource_type)
        ]
        if rows:
            self._journal.keep(*rows)

    def prove(self, now: datetime) -> bool:
        """See whether what was created is the only one of its kind; whether another one counts now.

        Of two that people have acted on one is kept, and a person is told.
        """
        changed = False
        for row in due_for_proof(self._journal.rows.values(), now):
            try:
                company = self._finder.prove(row)
            except EhrConflict as conflict:
                raise StandsOtherwise from conflict
            except EhrRefused:  # nothing can be known, and a person could do nothing about it
                company = Company(row=replace(row, check_at=None))
            except EhrUnavailable:  # nothing else has to wait for it
                self._journal.keep(replace(row, check_at=now + _AGAIN))
                break
            self._take(company)
            changed = changed or company.row.ehr_id != row.ehr_id
        if changed:
            others = [replace(row, desired_hash=None) for row in self._journal.rows.values() if _may_name(row)]
            self._journal.keep(*others)
        return changed

    def find(self, row: LedgerRow) -> LedgerRow:
        """Look for what an earlier attempt may have written."""
        try:
            company = self._finder.adopt(row)
        except EhrConflict as conflict:
            raise StandsOtherwise from conflict
        if company.row.ehr_id is not None:
            self._take(company)
        return company.row

    def read(self, row: LedgerRow) -> tuple[Found | None, bool]:
        """Read one artifact of ours and note how it stands. Second: whether that was news to the ledger.

        Raises EhrUnavailable where it does not show yet what was sent moments ago: that is no person's doing.
        """
        if row.ehr_id is None:
            return None, False
        self._hold()
        try:
            found = self._client.read(row.resource_type, row.ehr_id)
        except EhrGone as gone_now:
            if gone_now.status == _NOT_FOUND:
                await_copy(row, self._clock())
            self._journal.doubt_absence(row)
            closed_at = row.closed_at or self._clock()
            gone = replace(row, standing=Standing.REMOVED_BY_PERSON, ehr_status=None, closed_at=closed_at, attempts=0)
            self._journal.keep(gone)
            return None, gone.standing is not row.standing
        if is_older(found.etag, row.etag):
            await_copy(row, self._clock())
        row = moved_with_its_patient(row, dict(found.resource), base_url=self._client.base_url)
        owned, sent = row.elements.get("owned", {}), row.elements.get("sent", {})
        if row.elements.get("unread") and same_version(found.etag, row.etag):
            owned = rebase(owned, dict(found.resource))
        arrived = took_effect(dict(found.resource), owned=owned, sent=sent)
        if arrived:
            owned = sent
        owned = with_activation(row.key.kind, found.resource, owned)
        seen = sight(
            row.key.kind,
            found.resource,
            owned=owned,
            standing=row.standing,
            was_booked=row.booked,
            was_active=row.was_active,
            closed_at=row.closed_at or self._clock(),
        )
        looked = replace(
            row,
            standing=standing_under(row, seen),
            ehr_status=seen.ehr_status,
            booked=seen.booked,
            visit_start=seen.visit_start,
            visit_end=seen.visit_end,
            was_active=seen.was_active,
            closed_at=seen.closed_at,
            desired_hash=None if arrived else row.desired_hash,
            elements={"owned": owned, "sent": {}},
            attempts=0,
        )
        before = self._journal.rows[row.key]
        news = _told(looked) != _told(before)
        if looked != before:
            self._journal.keep(looked)
        return found, news

    def _looked(self, row: LedgerRow) -> bool:
        try:
            return self.read(row)[1]
        except EhrRefused as refused:  # of this one; the others are looked at all the same
            self.refusals.append(Refusal(key=row.key, reason=Reason.EHR_REFUSED, code=refused.shown))
            return False

    def _take(self, company: Company) -> None:
        self._journal.keep(company.row)
        if company.apart:
            self.refusals.append(Refusal(key=company.row.key, reason=Reason.DOUBLE_IN_EHR))


def due_for_proof(rows: Iterable[LedgerRow], now: datetime) -> list[LedgerRow]:
    """What is to be searched for now."""
    return [row for row in rows if row.check_at is not None and row.check_at <= now]


def next_proof(rows: Iterable[LedgerRow], now: datetime) -> datetime | None:
    """When something is to be searched for next, None where everything is known."""
    return min((row.check_at for row in rows if row.check_at is not None and row.check_at > now), default=None)


def _may_name(row: LedgerRow) -> bool:
    """Whether a resource may refer to others of ours, as a plan or a Task does."""
    return row.ehr_id is not None and row.key.kind is not ArtifactKind.PROVENANCE


def _told(row: LedgerRow) -> tuple[object, ...]:
    """What the rules are told of an artifact: when it changes, the decision has to be made anew."""
    known = known_artifact(row)
    return (known.standing, known.booked, known.was_active, known.start, known.end, known.ehr_status, known.named)
