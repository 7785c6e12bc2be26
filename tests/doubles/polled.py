"""Doubles of commercial EHRs as those see them who ask for doses: patient by patient, by effective time, page by page.

Epic: patient is needed; a parameter that it does not know is ignored, with a warning inside the result; what it shows
has no meta. Oracle Health: patient and a prefix with a time of day are needed, anything else is refused; a later page
may show again what an earlier one did. Sources: the vendors' CapabilityStatements and reference pages of August 2026.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable
from typing import Any

from flask import Response

from afterdose.sandbox import SandboxEHR
from afterdose.sandbox.search import matches, parse
from doubles.vendors import EPIC, LOOK, ORACLE, Rules, VendorEhr

Resource = dict[str, Any]
PATIENT_LISTS = {"Group": frozenset({"read"}), "List": LOOK}
POLLED = {
    "epic": Rules(declared=EPIC.declared | PATIENT_LISTS, refuses=EPIC.refuses, unknown_parameters="ignored"),
    "oracle-health": ORACLE,
}
NATIVE = {
    "MedicationAdministration": {"patient", "effective-time"},
    "MedicationRequest": {"patient", "_lastUpdated"},
    "ServiceRequest": {"patient", "_lastUpdated"},
    "Appointment": {"patient", "date", "location", "practitioner"},
    "Encounter": {"patient", "date"},
}
PREFIXED = re.compile(r"(?:ge|gt|le|lt)\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d.*")
INNER_HOST = "http://10.0.66.99:8443"


class PolledEhr(VendorEhr):
    """A vendor's double with a medication administration record.

    ``away``: nothing is answered; ``denied``: patients whose records stay closed (break the glass); ``careless``: who
    was asked about makes no difference; ``goes_away_after``: so many searches it is away.
    """

    def __init__(self, vendor: str, staff: SandboxEHR, *, page_size: int = 100) -> None:
        self.vendor = vendor
        self.page_size = page_size
        self.away = False
        self.careless = False
        self.goes_away_after: int | None = None
        self.denied: set[str] = set()
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._pages: dict[str, list[Resource]] = {}
        self._tokens = itertools.count()
        super().__init__(POLLED[vendor], staff)

    def asked_for(self, type_: str = "MedicationAdministration") -> list[str]:
        """The patients who were asked about, in order."""
        return [given["patient"] for asked, given in self.asked if asked == type_ and "patient" in given]

    def _search(self, type_: str, pairs: Iterable[tuple[str, str]]) -> Response:
        given = list(pairs)
        named = dict(given)
        if "page" in named:
            return self._page(type_, self._pages.pop(named["page"]))
        if type_ not in NATIVE or "identifier" in named or "search-type" not in self._declared(type_):
            return super()._search(type_, given)
        self.asked.append((type_, named))
        if self.away:
            return self._refuse(503, "unavailable")
        if self.goes_away_after is not None:
            self.goes_away_after -= 1
            self.away = self.goes_away_after == 0
        if named.get("patient") in self.denied:
            return self._refuse(403, "4130")
        if "patient" not in named and not (self.vendor == "oracle-health" and type_ == "Appointment"):
            return self._refuse(400, "4119")
        unknown = set(named) - NATIVE[type_]
        if self.vendor == "oracle-health" and (unknown or not _dated(given)):
            return self._refuse(400, "invalid-query")
        used = NATIVE[type_] - ({"patient"} if self.careless else set())
        query = parse(type_, [pair for pair in given if pair[0] in used])
        found = [one for one in self.staff.all(type_) if matches(one, query, self.base_url)]
        return self._page(type_, found, warned=bool(unknown))

    def _page(self, type_: str, found: list[Resource], *, warned: bool = False) -> Response:
        here, rest = found[: self.page_size], found[self.page_size :]
        entries = [{"resource": self._shown(one), "search": {"mode": "match"}} for one in here]
        if warned:
            issue = {"severity": "warning", "code": "processing", "details": {"coding": [{"code": "4122"}]}}
            outcome = {"resourceType": "OperationOutcome", "issue": [issue]}
            entries.append({"resource": outcome, "search": {"mode": "outcome"}})
        bundle: Resource = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
        if rest:
            token = str(next(self._tokens))
            self._pages[token] = ([here[-1]] if self.vendor == "oracle-health" and len(here) > 1 else []) + rest
            bundle["link"] = [{"relation": "next", "url": f"{INNER_HOST}/fhir/{type_}?page={token}"}]
        return Response(json.dumps(bundle), content_type="application/fhir+json")

    def _shown(self, resource: Resource) -> Resource:
        if self.vendor == "epic":
            return {name: value for name, value in resource.items() if name != "meta"}
        return resource

    def reads(self, id_: str) -> int:
        """How often a dose was read by its id."""
        return self.requests.count(("GET", f"/fhir/MedicationAdministration/{id_}"))


def _dated(given: list[tuple[str, str]]) -> bool:
    times = [value for name, value in given if name in ("effective-time", "date")]
    return all(PREFIXED.fullmatch(one) for one in times)
