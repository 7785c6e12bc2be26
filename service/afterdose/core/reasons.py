"""Why something became of a dose: the codes of our CodeSystem, and the one enumeration of outcomes.

The display texts stand in ``profiles/CodeSystem-afterdose-reason.json``; a test holds the two
sets equal.
"""

from enum import StrEnum


class Outcome(StrEnum):
    """What became of one administration; exactly one at any time."""

    PLANNED = "planned"
    JOINED = "joined"
    WAITING = "waiting"
    REVIEW = "review"
    UNMET = "unmet"
    NOT_ELIGIBLE = "not-eligible"
    UNRELATED = "unrelated"
    WITHDRAWN = "withdrawn"
    SUPERSEDED = "superseded"
    PARKED = "parked"


class Eligibility(StrEnum):
    """The three outcomes of the eligibility rule."""

    ELIGIBLE = "eligible"
    REVIEW = "review"
    NOT_ELIGIBLE = "not-eligible"


class Reason(StrEnum):
    """Reason codes; each is used at one place of the rules or of decoding."""

    # what the administration is
    NOT_KETAMINE = "not-ketamine"
    NASAL_ESKETAMINE = "nasal-esketamine"
    ANAESTHETIC_PRODUCT = "anaesthetic-product"
    COMBINATION_PRODUCT = "combination-product"
    DRUG_BY_TEXT_ONLY = "drug-by-text-only"
    DRUG_CODES_CONFLICT = "drug-codes-conflict"
    MEDICATION_UNRESOLVED = "medication-unresolved"
    # status
    NOT_DONE = "not-done"
    NOT_GIVEN_METHOD = "not-given-method"
    ENTERED_IN_ERROR = "entered-in-error"
    DELETED = "deleted"
    STILL_RUNNING = "in-progress"
    ON_HOLD = "on-hold"
    STATUS_UNKNOWN = "status-unknown"
    STOPPED_PARTIAL_DOSE = "stopped-partial-dose"
    # evidence for or against psychiatric use
    ENROLLED_PROTOCOL = "enrolled-protocol"
    PSYCHIATRIC_INDICATION = "psychiatric-indication"
    PSYCHIATRIC_SETTING = "psychiatric-setting"
    EXCLUDED_SETTING = "excluded-setting"
    EXCLUDED_SPECIALTY = "excluded-specialty"
    EXCLUDED_ROUTE = "excluded-route"
    EMERGENCY = "emergency"
    PAIN_SETTING = "pain-setting"
    NO_PSYCHIATRIC_EVIDENCE = "no-psychiatric-evidence"
    ANAESTHETIC_DOSE = "anaesthetic-dose"
    CONTINUOUS_INFUSION = "continuous-infusion"
    ANAESTHESIA_DRUG_BESIDE = "anaesthesia-drug-beside"
    ANAESTHESIA_OR_ECT = "anaesthesia-or-ect"
    RESEARCH_BLINDED = "research-blinded"
    CONSENT_MISSING = "consent-missing"
    # dose
    DOSE_MISSING = "dose-missing"
    DOSE_IMPLAUSIBLE = "dose-implausible"
    DOSE_OUTSIDE_ENVELOPE = "dose-outside-envelope"
    DOSE_WITHIN_ENVELOPE = "dose-within-envelope"
    ROUTE_UNKNOWN = "route-unknown"
    # time
    TIME_MISSING = "time-missing"
    DATE_ONLY = "date-only"
    TIME_TOO_COARSE = "time-too-coarse"
    ZONE_UNKNOWN = "zone-unknown"
    ZONE_ASSUMED = "zone-assumed"
    TIME_IN_FUTURE = "time-in-future"
    TIME_IMPLAUSIBLE = "time-implausible"
    PERIOD_TOO_LONG = "period-too-long"
    PERIOD_REVERSED = "period-reversed"
    # patient
    PATIENT_UNRESOLVED = "patient-unresolved"
    PATIENT_CHANGED = "patient-changed"
    PATIENT_MINOR = "patient-minor"
    PATIENT_DECEASED = "patient-deceased"
    PATIENT_INACTIVE = "patient-inactive"
    PATIENT_GONE = "patient-gone"
    PATIENT_LINKS_UNCLEAR = "patient-links-unclear"
    PATIENT_MERGED = "patient-merged"
    CAUTION_CONDITION = "caution-condition"
    # meaning that we must not ignore
    MODIFIER_UNKNOWN = "modifier-unknown"
    IMPLICIT_RULES = "implicit-rules"
    # session
    WINDOW_CUT = "window-cut"
    NO_CLINIC_HOURS = "no-clinic-hours"
    TOO_LATE = "too-late"
    POST_WINDOW = "post-window"
    PRE_DOSE = "pre-dose"
    LATE_CHARTED = "late-charted"
    EARLY_EDGE = "early-edge"
    EXTENDED_HOURS = "extended-hours"
    TELEHEALTH = "telehealth"
    WEEKLY_IS_ENOUGH = "weekly-is-enough"
    WEEK_WITHOUT_SESSION = "week-without-session"
    STUCK = "stuck"
    # what is to come
    DOSE_WITHOUT_WINDOW = "dose-without-window"
    DOSE_DROPPED = "dose-dropped"
    NO_TIME_TO_PREPARE = "no-time-to-prepare"
    DOSE_GIVEN = "dose-given"
    # what people and servers did
    TAKEN_OVER = "taken-over"
    CANCELLED_BY_PERSON = "cancelled-by-person"
    VISIT_MISSED = "visit-missed"
    COURSE_ENDED_BY_PERSON = "course-ended-by-person"
    BOOKED_VISIT_AFFECTED = "booked-visit-affected"
    SESSIONS_MERGED = "sessions-merged"
    EHR_REFUSED = "ehr-refused"
    NOT_WRITTEN = "not-written-to-ehr"
    EHR_KEEPS_OLD = "ehr-keeps-old"
    DOUBLE_IN_EHR = "double-in-ehr"
    CONFORMANCE_FAILED = "conformance-failed"
    SOURCE_UNREADABLE = "source-unreadable"
    VERSIONS_TIE = "versions-tie"
    RETRIES_EXHAUSTED = "retries-exhausted"
