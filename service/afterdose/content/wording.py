"""The activity file as the words that plans are written with."""

from pathlib import Path

from afterdose.content.activities import Activity, ActivityFile, Text
from afterdose.core.activities import ACTIVITIES
from afterdose.core.artifact import ArtifactKind
from afterdose.core.errors import BadContent
from afterdose.fhir.encode.words import ActivityWords, Passage, PlanWords

_SESSION, _PREPARATION = "integration-session", "preparation-session"
_SAME_WORDS = {ArtifactKind.LATER_OUTCOME_CHECK: ArtifactKind.OUTCOME_CHECK}
# Of the protocol: the journal has four prompts, the relapse prevention plan and the preparation four parts.
_PROMPTS = {"journaling": 4, "relapse-prevention-plan": 4, _PREPARATION: 4}


def plan_words(file: ActivityFile, path: Path, base: str) -> PlanWords:
    """The words of every activity. ``base``: of our canonical URLs. Raises BadContent naming file and key."""
    names = {kind: str(_SAME_WORDS.get(kind, kind)) for kind in ACTIVITIES}
    for name in (*names.values(), _SESSION, _PREPARATION):
        if name not in file.activities:
            raise BadContent(f"{path}: activities.{name}: is missing")
    for name, number in _PROMPTS.items():
        questionnaire = file.activities[name].questionnaire
        found = len(file.questionnaires[questionnaire].items) if questionnaire is not None else 0
        if found != number:
            raise BadContent(f"{path}: activities.{name}.questionnaire: expected one with {number} items, not {found}")
    return PlanWords(
        goal=file.goal,
        phases={name: _passage(text) for name, text in file.phases.items()},
        activities={kind: _words(file.activities[name], file, base) for kind, name in names.items()},
        agenda=tuple(_passage(text) for text in file.activities[_SESSION].agenda),
        preparation=_words(file.activities[_PREPARATION], file, base),
        accompanied={
            True: file.accompanied["therapist_present"],
            False: file.accompanied["monitoring_only"],
            None: file.accompanied["not_stated"],
        },
    )


def _passage(text: Text) -> Passage:
    return Passage(title=text.title, description=text.description)


def _words(one: Activity, file: ActivityFile, base: str) -> ActivityWords:
    questions = file.questionnaires[one.questionnaire] if one.questionnaire is not None else None
    return ActivityWords(
        title=one.title,
        description=one.description,
        phase=one.phase,
        evidence=one.evidence,
        prompts=tuple(item.text for item in questions.items) if questions is not None else (),
        questionnaire=f"{base}/Questionnaire/{one.questionnaire}|{file.version}" if questions is not None else None,
    )
