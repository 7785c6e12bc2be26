"""All mapping and profile files as values, read once."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from afterdose.content.activities import FILE, read_activities
from afterdose.content.clinics import read_clinic
from afterdose.content.codes import read_codes
from afterdose.content.ehrs import read_ehr
from afterdose.content.locate import choose, find
from afterdose.content.protocols import ProtocolFile, read_protocol
from afterdose.content.schemas import read_json
from afterdose.content.wording import plan_words
from afterdose.core.clinic import Clinic
from afterdose.core.codes import Codes
from afterdose.core.dose import Family
from afterdose.core.errors import BadContent
from afterdose.core.protocol import Protocol
from afterdose.core.reasons import Reason
from afterdose.fhir.conform.profile_rules import ProfileRules, codes_of, profile_rules
from afterdose.fhir.encode.rungs import EhrFacts
from afterdose.fhir.encode.words import PlanWords
from afterdose.fhir.r4 import Canonicals

_PROFILES = ("integration-careplan", "integration-appointment", "plasticity-window")
_BOUND = "anchor-basis"
"""The ValueSet that a code in our profiles is bound to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What the files of one installation say. Immutable; read again to see changed files."""

    codes: Codes
    protocols: Mapping[Family, Protocol]
    canonicals: Canonicals
    profiles: Mapping[str, ProfileRules]
    """The rules of our own profiles, by canonical URL."""
    reason_texts: Mapping[Reason, str]
    words: PlanWords
    session_length: tuple[timedelta, timedelta]
    """Shortest and longest session that every protocol allows."""
    overlay: Path | None = field(default=None, repr=False)

    def clinic(self, name_or_path: str) -> Clinic:
        """A clinic by the name of its file in ``mappings/clinics``, or by path. Raises BadContent."""
        return read_clinic(choose("mappings/clinics", name_or_path, self.overlay), self.session_length)

    def protocol(self, name_or_path: str) -> Protocol:
        """A protocol by the name of its file in ``mappings/protocols``, or by path. Raises BadContent."""
        return read_protocol(choose("mappings/protocols", name_or_path, self.overlay)).protocol

    def ehr(self, name_or_path: str) -> EhrFacts:
        """What is known of an EHR, by the name of its file in ``mappings/ehrs``, or by path. Raises BadContent."""
        return read_ehr(name_or_path, self.overlay)

    def reason_text(self, reason: Reason) -> str:
        """What a reason code is called in front of people."""
        return self.reason_texts[reason]


def load_content(overlay: Path | None = None) -> Content:
    """Read and check all files; those of the site's ``overlay`` directory win. Raises BadContent."""
    files = {family: _protocol_of(family, overlay) for family in Family}
    protocols = {family: file.protocol for family, file in files.items()}
    canonicals = _canonicals(protocols, overlay)
    return Content(
        codes=read_codes(overlay),
        protocols=protocols,
        canonicals=canonicals,
        words=plan_words(read_activities(overlay), find(FILE, overlay), _base(canonicals.reason_code_system)),
        profiles=_profiles(overlay),
        reason_texts=_reason_texts(overlay),
        session_length=(
            max(file.shortest_session for file in files.values()),
            min(file.longest_session for file in files.values()),
        ),
        overlay=overlay,
    )


def _protocol_of(family: Family, overlay: Path | None) -> ProtocolFile:
    path = find(f"mappings/protocols/{family}-integration.toml", overlay)
    file = read_protocol(path)
    if file.protocol.family is not family:
        raise BadContent(f"{path}: family: expected '{family}', as the file is named")
    return file


def _canonicals(protocols: Mapping[Family, Protocol], overlay: Path | None) -> Canonicals:
    reasons = _url("CodeSystem-afterdose-reason", overlay)
    base = _base(reasons)
    return Canonicals(
        identifier_system=_identifier_system(overlay),
        care_plan_profile=_url("StructureDefinition-integration-careplan", overlay),
        appointment_profile=_url("StructureDefinition-integration-appointment", overlay),
        window_extension=_url("StructureDefinition-plasticity-window", overlay),
        reason_code_system=reasons,
        task_code_system=_url("CodeSystem-afterdose-task", overlay),
        activity_code_system=_url("CodeSystem-afterdose-activity", overlay),
        plan_definitions={
            family: f"{base}/PlanDefinition/{protocol.id}|{protocol.version}" for family, protocol in protocols.items()
        },
    )


def _base(code_system: str) -> str:
    """What the URLs of our own definitions begin with."""
    return code_system.partition("/CodeSystem/")[0]


def _profiles(overlay: Path | None) -> dict[str, ProfileRules]:
    path, value_set = _profile(f"ValueSet-{_BOUND}", overlay)
    _, code_system = _profile(f"CodeSystem-{_BOUND}", overlay)
    try:
        codes = {str(value_set["url"]): codes_of(value_set, code_system)}
    except (ValueError, KeyError, TypeError) as wrong:
        raise BadContent(f"{path}: is not the ValueSet of all codes of its CodeSystem") from wrong
    rules = {}
    for name in _PROFILES:
        path, definition = _profile(f"StructureDefinition-{name}", overlay)
        try:
            one = profile_rules(definition, codes)
        except (ValueError, KeyError, TypeError) as wrong:
            raise BadContent(f"{path}: is no profile that the conformance check understands") from wrong
        rules[one.url] = one
    return rules


def _profile(name: str, overlay: Path | None) -> tuple[Path, dict[str, Any]]:
    path = find(f"profiles/{name}.json", overlay)
    return path, read_json(path)


def _url(name: str, overlay: Path | None) -> str:
    path, resource = _profile(name, overlay)
    url = resource.get("url")
    if not isinstance(url, str) or not url:
        raise BadContent(f"{path}: url: expected the canonical URL of this resource")
    return url


def _identifier_system(overlay: Path | None) -> str:
    path, resource = _profile("NamingSystem-afterdose-artifact", overlay)
    for unique in resource.get("uniqueId", []):
        if unique.get("type") == "uri" and unique.get("preferred") is True:
            return str(unique["value"])
    raise BadContent(f"{path}: uniqueId: expected one of type 'uri' that is preferred")


def _reason_texts(overlay: Path | None) -> dict[Reason, str]:
    path, resource = _profile("CodeSystem-afterdose-reason", overlay)
    displays = {concept.get("code"): concept.get("display") for concept in resource.get("concept", [])}
    missing = [str(reason) for reason in Reason if not displays.get(str(reason))]
    if missing:
        raise BadContent(f"{path}: concept: expected a code with a display for {', '.join(missing)}")
    return {reason: displays[str(reason)] for reason in Reason}
