"""From settings to clinics: which clinic files belong to a target, and which of them applies to a patient's doses."""

from collections.abc import Callable, Mapping

from afterdose.content.content import Content
from afterdose.core.clinic import Clinic
from afterdose.core.dose import Dose
from afterdose.core.errors import BadSettings
from afterdose.settings import Settings
from afterdose.work.clinics import choosing


def clinics_of(target: str, settings: Settings, content: Content) -> Mapping[str, Clinic]:
    """The clinics whose doses are planned for in one EHR, by the names of their files.

    Raises BadContent for a wrong file, BadSettings for one of ``clinics`` that no place leads to, or two lead to.
    """
    own = settings.targets[target]
    of_sources = (source.clinic for source in settings.sources.values() if source.target == target)
    named = [own.clinic, *(name for name in of_sources if name is not None), *sorted(own.clinics)]
    found = {name: content.clinic(name) for name in named}
    for name in own.clinics:
        place = found[name].location
        if place is None:
            raise BadSettings(f"targets.{target}.clinics: {name} has no location, by which it would be chosen")
        if [one.location for one in found.values()].count(place) > 1:
            raise BadSettings(f"targets.{target}.clinics: {name} has the location of another clinic")
    return found


def clinic_for(settings: Settings, content: Content) -> Callable[[str, tuple[Dose, ...]], Clinic]:
    """Which clinic applies. A place is one of its target's EHR: another EHR may have the same id."""
    at_places = {
        target: {
            one.location: one for one in clinics_of(target, settings, content).values() if one.location is not None
        }
        for target in settings.targets
    }
    of_target = {name: content.clinic(target.clinic) for name, target in settings.targets.items()}
    named = {name: source.clinic for name, source in settings.sources.items() if source.clinic is not None}
    of_source = {name: content.clinic(clinic) for name, clinic in named.items()}
    return choosing(of_target, of_source, at_places)
