"""Which clinic applies to a patient's doses."""

from collections.abc import Callable, Mapping

from afterdose.core.clinic import Clinic
from afterdose.core.dose import Dose


def choosing(
    of_target: Mapping[str, Clinic], of_source: Mapping[str, Clinic], at_places: Mapping[str, Mapping[str, Clinic]]
) -> Callable[[str, tuple[Dose, ...]], Clinic]:
    """The clinic at the place of the newest dose, then that of its source, then that of the target.

    ``at_places``: target -> reference of a place in its EHR -> the clinic there.
    """

    def clinic_for(target: str, doses: tuple[Dose, ...]) -> Clinic:
        ordered = sorted(doses, key=lambda dose: (dose.heard_at, dose.key), reverse=True)
        for dose in ordered:
            for place in dose.context.location_ids:
                if place in at_places[target]:
                    return at_places[target][place]
        return next((of_source[dose.key.source] for dose in ordered if dose.key.source in of_source), of_target[target])

    return clinic_for
