"""Acceptance: reading of answers, and what counts as right."""

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from tests.support.phantom import as_suspicious, predict_case, write_phantom

from cspine.core.errors import InputError
from cspine.server.acceptance.answers import Answer, LevelAnswer, read_findings, read_report
from cspine.server.acceptance.run import AcceptanceSettings, Arrival, compare, run_acceptance
from cspine.server.acceptance.study import AcceptanceStudy, ExpectedFracture, _address, _expected

STUDY = AcceptanceStudy(
    [],
    "1.2.3",
    (
        ExpectedFracture("C4", "body compression", 0.95, np.array([[0.0, 0.0, 100.0], [30.0, 0.0, 100.0]])),
        ExpectedFracture("C5", "transverse process", 0.5, np.array([[0.0, 0.0, 80.0]])),
    ),
)


def answer(*levels: tuple[str, bool, tuple[float, float, float] | None]) -> Arrival:
    found = [LevelAnswer(level, is_suspicious, 0.8, point) for level, is_suspicious, point in levels]
    return Arrival(Answer("done", levels=tuple(found)), 12.0)


@pytest.mark.parametrize(
    ("arrival", "message"),
    [
        (answer(("C4", True, (3.0, 0.0, 104.0))), "found"),
        (answer(("C4", True, (33.0, 0.0, 104.0)), ("C7", True, None)), "found"),  # on its other side
        (answer(("C4", False, (0.0, 0.0, 100.0))), "no obvious fracture was found"),
        (answer(("C5", True, (0.0, 0.0, 80.0))), "no obvious fracture was found"),
        (answer(("C4", True, (0.0, 0.0, 140.0))), "40 mm from the fracture"),
        (answer(("C4", True, None)), "no place"),
        (Arrival(Answer("not_assessable", "too few slices"), 9.0), "not assessable: too few slices"),
        (Arrival(Answer("failed", "the worker ended"), 9.0), "failed: the worker ended"),
        (Arrival(None, None, "the destination answers 503"), "no answer in time (the destination answers 503)"),
    ],
)
def test_what_counts_as_right(arrival: Arrival, message: str) -> None:
    report = compare("server", STUDY, arrival, 10.0)

    assert message in report.message
    assert report.is_good == (message == "found")


def test_false_alarms_are_listed() -> None:
    report = compare("server", STUDY, answer(("C4", True, (0.0, 0.0, 100.0)), ("C7", True, None)), 10.0)

    assert report.false_alarms == ["C7"]
    assert [row["level"] for row in report.levels] == ["C4", "C5"]
    assert [row["distance_mm"] for row in report.levels] == [0.0, None]


def test_report_and_findings_say_the_same(tmp_path: Path) -> None:
    from cspine.reports.dicom.objects import write_dicom

    case = as_suspicious(predict_case(write_phantom(tmp_path / "study")), ["C2", "C3"])
    write_dicom(case, tmp_path / "dicom")
    findings = read_findings(json.loads(case.findings.model_dump_json()))
    report = read_report(pydicom.dcmread(tmp_path / "dicom" / "report.dcm"))

    by_level = {each.level: each for each in report.levels}
    assert {each.level for each in report.levels if each.is_suspicious} == {"C2", "C3"}
    for each in findings.levels:
        other = by_level[each.level]
        assert each.is_suspicious == other.is_suspicious
        assert other.probability == pytest.approx(each.probability, abs=1e-4)
        if each.is_suspicious and each.point_lps_mm is not None:
            assert other.point_lps_mm == pytest.approx(each.point_lps_mm, abs=0.01)
    assert any(each.point_lps_mm for each in report.levels)


def test_every_run_is_another_study_of_nobody(tmp_path: Path) -> None:
    records = [
        {"level": "C5", "fracture_type": "facet", "visibility": 0.6, "mask_value": 5},
        {"level": "C4", "fracture_type": "body", "visibility": 0.95, "mask_value": 4},
    ]
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[1, 2, 3], mask[0, 0, 0] = 4, 5
    fractures = _expected(records, mask, np.diag([2.0, 3.0, 4.0, 1.0]))
    made = write_phantom(tmp_path / "made")
    one, other = (_address(made, tmp_path / run, run, fractures) for run in ("a", "b"))

    assert one.study_uid != other.study_uid
    assert len(one.files) == len(list(made.iterdir()))
    assert [each.level for each in one.fractures] == ["C4", "C5"]
    assert one.fractures[0].distance_mm((2.0, 6.0, 13.0)) == pytest.approx(1.0)
    datasets = [pydicom.dcmread(path, stop_before_pixels=True) for path in one.files]
    assert len({each.SOPInstanceUID for each in datasets}) == len(one.files)
    assert {str(each.PatientName) for each in datasets} == {"ACCEPTANCE^TEST"}
    assert {each.StudyInstanceUID for each in datasets} == {one.study_uid}


def test_there_has_to_be_somewhere_to_look() -> None:
    with pytest.raises(InputError, match="--server or --archive"):
        run_acceptance(AcceptanceSettings())
