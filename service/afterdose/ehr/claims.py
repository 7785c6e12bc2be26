"""Profiles that an EHR does not want to hear of: resources go there without claiming them.

A claim in ``meta.profile`` is optional (FHIR R4 resource.html#Meta), but a server that checks what it is sent may
refuse whatever claims a profile that it does not know: HAPI FHIR with its request validation, for one. What is
refused for that, with the claim named as the element, is written all the same, and the claim is left out from then on.
"""

import re
from collections.abc import Mapping

from afterdose.core.errors import EhrRefused

_CLAIM = re.compile(r"[A-Za-z]+\.meta\.profile(?:\[([0-9]{1,3})\])?")

Resource = Mapping[str, object]


class Claims:
    """What one EHR has refused to hear of, for as long as this process lives. Threads may share it."""

    def __init__(self) -> None:
        self._unwanted: frozenset[str] = frozenset()

    def fit(self, resource: Resource) -> Resource:
        """The resource without those claims; the original stays as it is."""
        claimed = _claimed(resource)
        kept = [profile for profile in claimed if profile not in self._unwanted]
        if len(kept) == len(claimed):
            return resource
        meta = resource["meta"]
        rest = {name: value for name, value in meta.items() if name != "profile"} if isinstance(meta, Mapping) else {}
        return {**resource, "meta": rest | ({"profile": kept} if kept else {})}

    def learn(self, sent: Resource, refused: EhrRefused) -> bool:
        """Whether it is a claim of ``sent`` that was refused; it is then left out."""
        named = _CLAIM.fullmatch(refused.element or "")
        if named is None:
            return False
        claimed = _claimed(sent)
        unwanted = claimed if named[1] is None else claimed[int(named[1]) : int(named[1]) + 1]
        self._unwanted |= frozenset(unwanted)
        return bool(unwanted)


def _claimed(resource: Resource) -> list[str]:
    meta = resource.get("meta")
    profiles = meta.get("profile") if isinstance(meta, Mapping) else None
    return [profile for profile in profiles if isinstance(profile, str)] if isinstance(profiles, list) else []
