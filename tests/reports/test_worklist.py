"""The worklist: priority of studies, CSV and HTML page."""

import csv
import io
from dataclasses import replace

from cspine.classification.prediction import synthetic_data_warning
from cspine.core.anatomy import VERTEBRAE
from cspine.core.findings import (
    CalibrationIdentity,
    Findings,
    NotAssessable,
    PatientFinding,
    SoftwareIdentity,
    VertebraFinding,
    WeightsIdentity,
)
from cspine.reports.worklist import (
    WORKLIST_COLUMNS,
    StudyResult,
    WorklistRow,
    prioritize,
    worklist_csv,
    worklist_page,
)

WEIGHTS = WeightsIdentity(name="levels", sha256="0" * 64, trained_on="nothing", phantom_only=True)
NOW = 1e9


def study(
    uid: str,
    probability: float | None,
    *,
    waiting_min: float = 0.0,
    suspicious: bool = False,
    calibrated: bool = True,
    folder: str | None = None,
) -> StudyResult:
    """Return a result that arrived `waiting_min` minutes ago; without a probability it is not assessable."""
    shared = {"study_instance_uid": uid, "software": SoftwareIdentity(version="0"), "weights": WEIGHTS}
    if probability is None:
        findings = Findings(**shared, not_assessable=NotAssessable(code="too-thick", reason="<b>thick</b>"))
    else:
        patient = PatientFinding(
            probability=probability, operating_points_reached=("triage", "rule-out") if suspicious else ()
        )
        vertebrae = tuple(VertebraFinding(level=level, probability=probability) for level in VERTEBRAE)
        calibration = CalibrationIdentity(fitted_on="studies", prevalence=0.5) if calibrated else None
        findings = Findings(**shared, patient_overall=patient, vertebrae=vertebrae, calibration=calibration)
    return StudyResult(findings, uid if folder is None else folder, NOW - 60.0 * waiting_min)


def ranked_uids(results: list[StudyResult], **options: float | None) -> list[str]:
    return [row.result.findings.study_instance_uid for row in prioritize(results, now=NOW, **options)]


def read_csv(rows: tuple[WorklistRow[StudyResult], ...]) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(worklist_csv(rows))))


def test_suspicious_studies_come_first_then_those_that_are_not_assessable() -> None:
    results = [
        study("1.1", 0.02),
        study("1.2", None),
        study("1.3", 0.6, suspicious=True),
        study("1.4", 0.9, suspicious=True),
        study("1.5", 0.1),
    ]

    rows = prioritize(results, now=NOW)

    assert [row.result.findings.study_instance_uid for row in rows] == ["1.4", "1.3", "1.2", "1.5", "1.1"]
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
    assert rows[2].priority_reason == "not assessable"


def test_studies_that_exceed_the_waiting_time_come_first() -> None:
    results = [
        study("1.1", 0.9, suspicious=True),
        study("1.2", 0.01, waiting_min=61),
        study("1.3", None, waiting_min=90),
        study("1.4", 0.8, suspicious=True, waiting_min=59),
    ]

    assert ranked_uids(results) == ["1.3", "1.2", "1.1", "1.4"]
    assert ranked_uids(results, max_wait_min=None) == ["1.1", "1.4", "1.3", "1.2"]
    assert ranked_uids(results, max_wait_min=75.0) == ["1.3", "1.1", "1.4", "1.2"]
    assert prioritize(results, now=NOW)[0].priority_reason == "waiting time exceeded; not assessable"


def test_overdue_studies_are_ordered_by_urgency() -> None:
    results = [
        study("1.1", 0.02, waiting_min=9000),
        study("1.2", 0.9, waiting_min=100, suspicious=True),
        study("1.3", None, waiting_min=5000),
        study("1.4", 0.3, waiting_min=7000, calibrated=False),
    ]

    assert ranked_uids(results) == ["1.2", "1.4", "1.3", "1.1"]


def test_without_operating_points_studies_precede_those_that_are_not_assessable() -> None:
    results = [study("1.1", 0.99, calibrated=False), study("1.2", None), study("1.3", 0.5)]

    assert ranked_uids(results) == ["1.1", "1.2", "1.3"]
    assert prioritize(results, now=NOW)[0].priority_reason == "no operating points: ranked by probability"


def test_the_order_of_equal_studies_does_not_depend_on_their_input_order() -> None:
    results = [study(f"1.{number}", 0.5) for number in range(9)]

    assert ranked_uids(results) == ranked_uids(results[::-1])


def test_the_page_escapes_text_from_files() -> None:
    results = [study("1.2", None), study('"><script>alert(1)</script>', 0.4)]

    page = worklist_page(prioritize(results))

    assert "<script" not in page
    assert "<b>thick" not in page
    assert "&lt;b&gt;thick" in page
    assert page.count("Research use only. Not a medical device. Not for diagnosis.") == 2


def test_the_page_holds_the_warnings_of_each_study_and_those_of_the_weights_once() -> None:
    weights, lost = synthetic_data_warning(WEIGHTS)[0], "1.dcm: could not be read"
    result = study("1.2", None)
    findings = result.findings.model_copy(update={"warnings": (weights, lost)})

    page = worklist_page(prioritize([replace(result, findings=findings)]))

    assert (page.count(weights), page.count(lost)) == (1, 1)


def test_the_csv_holds_one_row_per_study() -> None:
    suspicious, rejected = study("1.1", 0.4, suspicious=True, waiting_min=3.14), study("1.2", None)

    first, second = read_csv(prioritize([rejected, suspicious], now=NOW))

    assert tuple(first) == WORKLIST_COLUMNS
    assert (first["rank"], first["study_instance_uid"], first["priority_reason"]) == ("1", "1.1", "suspicious")
    assert first["waiting_min"] == "3.1"
    assert [float(first[column]) for column in ("patient_overall", *VERTEBRAE)] == [0.4] * 8
    assert (first["not_assessable"], first["not_assessable_reason"], first["warnings"]) == ("", "", "")
    assert [second[column] for column in ("patient_overall", *VERTEBRAE)] == [""] * 8
    assert (second["not_assessable"], second["not_assessable_reason"]) == ("too-thick", "<b>thick</b>")
    assert second["statement"] == "Research use only. Not a medical device. Not for diagnosis."


def test_the_csv_of_no_studies_holds_the_header() -> None:
    assert worklist_csv(()) == ",".join(WORKLIST_COLUMNS) + "\n"


def test_the_csv_holds_no_formulas() -> None:
    (row,) = read_csv(prioritize([study("=cmd()", 0.4, folder="@folder")]))

    assert row["study_instance_uid"] == "'=cmd()"
    assert row["folder"] == "'@folder"
