"""What stands in an EHR under a record that is the patient's no more: looked at, and left as it is. Pure.

EHRs that merge records often let every reference to the former one point to the survivor. That is no person's edit:
what was moved so is the present record's, and ours where nothing else differs (decision 0018).
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from afterdose.core.care import ArtifactKind, Standing
from afterdose.fhir.elements import members, reference
from afterdose.fhir.references import patient_id
from afterdose.store.rows import LedgerRow
from afterdose.work.delivery.merge import Owned, fingerprint
from afterdose.work.delivery.observe import Sighting

_MISTAKE = "entered-in-error"


def is_left(row: LedgerRow) -> bool:
    """Whether an artifact is not to be written: it names a former record. The question about that is ours to end."""
    return row.named is not None and row.key.kind is not ArtifactKind.MERGED_TASK


def moved_with_its_patient(row: LedgerRow, resource: dict[str, Any], *, base_url: str) -> LedgerRow:
    """The row, as one of the present record where the EHR itself has moved the artifact there in a merge."""
    if row.named is None or names(resource, base_url=base_url) != row.patient:
        return row
    owned = row.elements.get("owned", {})
    memory = {**row.elements, "owned": repointed(resource, owned, former=row.named, now=row.patient)}
    return replace(row, named=None, elements=memory, desired_hash=None)


def standing_under(row: LedgerRow, seen: Sighting) -> Standing:
    """How an artifact stands: what people marked as a mistake under a former record is made anew under the present."""
    return Standing.WITHDRAWN if row.named is not None and seen.ehr_status == _MISTAKE else seen.standing


def names(resource: Mapping[str, Any], *, base_url: str) -> str | None:
    """The Patient whom a resource of ours is about, None where it says nobody of this EHR."""
    refs = [reference(resource, "subject"), reference(resource, "for")]
    refs += [reference(one, "actor") for one in members(resource, "participant")]
    return next((id_ for ref in refs if (id_ := patient_id(ref, base_url=base_url)) is not None), None)


def repointed(resource: Mapping[str, Any], owned: Owned, *, former: str, now: str) -> dict[str, Any]:
    """The memory of what is ours, as if it had been written with the Patient whom the resource names now."""
    before = {element: _renamed(value, now, former) for element, value in resource.items()}
    return {element: _moved(mine, resource.get(element), before.get(element)) for element, mine in owned.items()}


def _moved(mine: Any, there: Any, before: Any) -> Any:
    if isinstance(mine, list):
        if not isinstance(there, list) or not isinstance(before, list):
            return mine
        of = {fingerprint(was): fingerprint(one) for was, one in zip(before, there, strict=True)}
        return [[wanted, of.get(returned, returned), name] for wanted, returned, name in mine]
    return fingerprint(there) if there is not None and fingerprint(before) == mine else mine


def _renamed(value: Any, name: str, other: str) -> Any:
    if isinstance(value, Mapping):
        return {key: _renamed(inner, name, other) for key, inner in value.items()}
    if isinstance(value, list):
        return [_renamed(inner, name, other) for inner in value]
    if isinstance(value, str) and (value == f"Patient/{name}" or value.endswith(f"/Patient/{name}")):
        return value.removesuffix(name) + other
    return value
