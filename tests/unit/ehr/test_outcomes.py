"""From an EHR's OperationOutcome come a code and a path of elements, and nothing that could be about a patient."""

import pytest

from afterdose.ehr.outcomes import element_of, issue_code


def outcome(**issue):
    return {"issue": [{"severity": "error", "code": "structure", **issue}]}


@pytest.mark.parametrize("path", ["Appointment.status", "CarePlan.activity[0].reference", "Task.input[2].value[x]"])
def test_the_element_is_told_where_the_ehr_names_it(path):
    assert element_of(outcome(expression=[path])) == path
    assert element_of(outcome(location=[path])) == path


@pytest.mark.parametrize(
    "said",
    [
        ["Patient Smith, born 1980-02-01"],
        ["Line 1, Col 23"],
        ["Appointment.where(id = '7')"],
        "Appointment.status",
        [7],
    ],
)
def test_whatever_is_no_path_of_elements_is_not_told(said):
    assert element_of(outcome(expression=said)) is None


def test_the_second_place_counts_where_the_first_is_no_path():
    assert element_of(outcome(expression=["Line 1"], location=["Appointment.start"])) == "Appointment.start"


def test_a_code_with_a_blank_is_no_code():
    coded = {"coding": [{"code": "Jane Doe"}]}

    assert issue_code(outcome(details=coded)) == "structure"
