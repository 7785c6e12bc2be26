"""What a polled source is asked for: everything of a type that changed, or what may be new of one patient.

Rules: FHIR R4 search.html (``_lastUpdated``, ``_sort``, ``_count``). The moments of what changed are the source's own,
never ours.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from types import MappingProxyType

from afterdose.ehr.answers import Resource
from afterdose.ehr.client import EhrClient, EndlessPages
from afterdose.fhir.decode.administration import envelope
from afterdose.fhir.times import format_instant

PAGE = 100
_PAGES = 20


def news(
    client: EhrClient, type_: str, since: datetime, only: Mapping[str, str] = MappingProxyType({})
) -> Iterator[list[Resource]]:
    """What changed at ``since`` or later, in portions; the first to change come first, and some come twice.

    ``only``: further search parameters.

    Each portion but the last is cut off after a number of pages, and the next one starts at its newest change. Where
    a server does not sort, or too much changed in one second for that, it is asked for all pages at once. Raises what
    ``EhrClient.search`` raises, after what was found.
    """
    whole, since = False, since.replace(microsecond=0)
    while True:
        parameters = {"_lastUpdated": f"ge{format_instant(since)}", "_sort": "_lastUpdated", "_count": str(PAGE)}
        try:
            found = client.search(type_, {**only, **parameters}, most_pages=None if whole else _PAGES)
        except EndlessPages as endless:
            yield endless.found
            raise
        yield found
        if whole or len(found) < PAGE:
            return
        times = [moment for one in found if (moment := envelope(one).last_updated) is not None]
        in_order = len(times) == len(found) and times == sorted(times)
        newest = times[-1].replace(microsecond=0) if times else since
        whole = not in_order or newest <= since
        since = since if whole else newest


def of_patient(
    client: EhrClient, type_: str, way: Mapping[str, str] | None, patient: str, since: datetime
) -> list[Resource]:
    """What may be new of a patient since a moment. ``way``: the search of this EHR; None reads the Patient itself.

    Raises what ``EhrClient.search`` and ``EhrClient.read`` raise.
    """
    if way is None:
        return [client.read_patient(patient).resource]
    parameters = {name: value.format(patient=patient, since=format_instant(since)) for name, value in way.items()}
    return client.search(type_, parameters)
