"""Which clinic applies to a patient's doses."""

from collections.abc import Callable, Mapping

from afterdose.core.clinic import Clinic
from afterdose.core.dose import Dose


def choosing(
    of_target: Mapping[str, Clinic], of_source: Mapping[str, Clinic]
) -> Callable[[str, tuple[Dose, ...]], Clinic]:
    """The clinic at the place of the newest dose, then that of its source, then that of the target."""
    known = (*of_target.values(), *of_source.values())
    by_location = {clinic.location: clinic for clinic in known if clinic.location is not None}

    def clinic_for(target: str, doses: tuple[Dose, ...]) -> Clinic:
        ordered = sorted(doses, key=lambda dose: (dose.heard_at, dose.key), reverse=True)
        for dose in ordered:
            for place in dose.context.location_ids:
                if place in by_location:
                    return by_location[place]
        return next((of_source[dose.key.source] for dose in ordered if dose.key.source in of_source), of_target[target])

    return clinic_for
