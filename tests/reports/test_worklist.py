"""Many studies: in which order, and what becomes of the broken ones."""

import json
import os
import shutil
import time
from pathlib import Path

import pandas as pd
import pytest
from tests.support.dicom import neck, write_series
from tests.support.phantom import detector, write_phantom
from typer.testing import CliRunner, Result

from cspine.cli import app
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
from cspine.pipelines import predict_batch as folder
from cspine.pipelines.predict_batch import PredictSettings, predict_batch
from cspine.reports.worklist import StudyResult, order, worklist_page, worklist_table

WEIGHTS = WeightsIdentity(name="levels", sha256="0" * 64, trained_on="nothing", phantom_only=True)


NOW = 1e9


def study(
    uid: str, probability: float | None, *, minutes: float = 0.0, suspicious: bool = False, points: bool = True
) -> StudyResult:
    """Return a result that came `minutes` ago, of weights with operating points or without."""
    common = {"study_instance_uid": uid, "software": SoftwareIdentity(version="0"), "weights": WEIGHTS}
    if probability is None:
        findings = Findings(**common, not_assessable=NotAssessable(code="too-thick", reason="<b>thick</b>"))
    else:
        vertebrae = tuple(VertebraFinding(level=level, probability=probability) for level in VERTEBRAE)
        operating_points_reached = ("triage", "rule-out") if suspicious else ()
        patient = PatientFinding(probability=probability, operating_points_reached=operating_points_reached)
        calibration = CalibrationIdentity(fitted_on="necks", prevalence=0.5) if points else None
        findings = Findings(**common, patient_overall=patient, vertebrae=vertebrae, calibration=calibration)
    return StudyResult(findings, uid, NOW - 60.0 * minutes)


def uids(results: list[StudyResult], **how: float | None) -> list[str]:
    return [row.result.findings.study_instance_uid for row in order(results, now=NOW, **how)]


def test_the_suspicious_come_first_then_what_nobody_looked_at() -> None:
    results = [study("1.1", 0.02), study("1.2", None), study("1.3", 0.6, suspicious=True),
               study("1.4", 0.9, suspicious=True), study("1.5", 0.1)]  # fmt: skip

    rows = order(results, now=NOW)

    assert [row.result.findings.study_instance_uid for row in rows] == ["1.4", "1.3", "1.2", "1.5", "1.1"]
    assert [row.rank for row in rows] == [1, 2, 3, 4, 5]
    assert rows[2].why == "no answer: not looked at"


def test_nobody_waits_longer_than_the_cap() -> None:
    results = [study("1.1", 0.9, suspicious=True), study("1.2", 0.01, minutes=61), study("1.3", None, minutes=90),
               study("1.4", 0.8, suspicious=True, minutes=59)]  # fmt: skip

    assert uids(results) == ["1.3", "1.2", "1.1", "1.4"]
    assert uids(results, max_wait_min=None) == ["1.1", "1.4", "1.3", "1.2"]
    assert uids(results, max_wait_min=75.0) == ["1.3", "1.1", "1.4", "1.2"]
    assert order(results, now=NOW)[0].why == "waited too long; no answer: not looked at"


def test_a_folder_of_old_studies_is_in_the_order_of_urgency() -> None:
    results = [study("1.1", 0.02, minutes=9000), study("1.2", 0.9, minutes=100, suspicious=True),
               study("1.3", None, minutes=5000), study("1.4", 0.3, minutes=7000, points=False)]  # fmt: skip

    assert uids(results) == ["1.2", "1.4", "1.3", "1.1"]


def test_weights_without_operating_points_call_nothing_harmless() -> None:
    results = [study("1.1", 0.99, points=False), study("1.2", None), study("1.3", 0.5)]

    assert uids(results) == ["1.1", "1.2", "1.3"]
    assert order(results, now=NOW)[0].why == "no operating point: by its number"


def test_equal_studies_keep_one_order() -> None:
    results = [study(f"1.{number}", 0.5) for number in range(9)]

    assert uids(results) == uids(results[::-1])


def test_the_page_is_inert_whatever_files_say() -> None:
    result = study("1.2", None)
    page = worklist_page(order([result, study('"><script>alert(1)</script>', 0.4)]))

    assert "<script" not in page
    assert "<b>thick" not in page
    assert "&lt;b&gt;thick" in page
    assert "Research use only" in page
    table = worklist_table(order([study("=cmd()", 0.4)]))
    assert table["study_instance_uid"].tolist() == ["'=cmd()"]


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies: the phantom, a thick one, and one whose pixels are cut off."""
    root = tmp_path_factory.mktemp("studies")
    write_phantom(root / "a")
    hu = neck((16, 32, 40), (6.0, 3.0, 3.0))
    write_series(root / "b", hu, spacing=(6.0, 3.0, 3.0), study="1.2.3.4", series="1.2.3.4.1")
    paths = write_series(root / "c", hu, spacing=(2.5, 3.0, 3.0), study="1.2.3.5", series="1.2.3.5.1")
    paths[7].write_bytes(paths[7].read_bytes()[:-500])
    (root / "junk.dcm").write_bytes(b"no DICOM")
    for name, minutes in (("a", 0), ("b", 5), ("c", 200)):
        for path in (root / name).iterdir():
            os.utime(path, (time.time() - 60 * minutes,) * 2)
    return root


def test_many_studies_are_read_and_one_broken_one_stops_nothing(studies: Path, tmp_path: Path) -> None:
    result = run("predict", studies, "--out", tmp_path / "out", "--dicom", "--fhir", "--workers", 2)

    assert result.exit_code == 1
    assert "3 studies, 1 suspicious, 2 without an answer" in result.stdout
    table = pd.read_csv(tmp_path / "out" / "worklist.csv")
    assert table["study_instance_uid"].tolist()[0] == "1.2.3.5"  # waited over three hours
    late = "waited too long; no answer: not looked at"
    assert table["why"].tolist() == [late, "suspicious", "no answer: not looked at"]
    assert table["not_assessable"].tolist()[0] == "pixels"
    assert table["not_assessable"].tolist()[2] == "too-thick"
    good = tmp_path / "out" / str(table["folder"][1])
    assert {path.name for path in good.iterdir()} == {
        "findings.json",
        "report.html",
        "thumbnail.jpg",
        "fhir.json",
        "source.json",
        "dicom",
    }
    assert len(list((good / "dicom").iterdir())) == 13
    page = (tmp_path / "out" / "worklist.html").read_text()
    assert "1 files were skipped, first: junk.dcm" in result.stderr
    assert "passed-over.txt" in page
    assert (tmp_path / "out" / "passed-over.txt").read_text().startswith("junk.dcm: ")
    assert page.count("thumbnail.jpg") == 1
    assert "slices 6.0 mm apart" in page
    for name in table["folder"]:
        assert f'href="{name}/report.html"' in page


def test_a_run_goes_on_where_it_stopped(studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict_batch(studies, tmp_path / "out")
    again = [result.findings.study_instance_uid for result in first]
    shutil.rmtree(tmp_path / "out" / "1.2.3.4")
    read: list[str] = []
    predict_case = folder._examine

    def counted(*arguments: object) -> object:
        read.append(arguments[1].source.study_instance_uid)  # type: ignore[attr-defined]
        return predict_case(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(folder, "_examine", counted)
    second = predict_batch(studies, tmp_path / "out")

    assert read == ["1.2.3.4"]
    assert [result.findings.study_instance_uid for result in second] == again
    assert [result.findings for result in second] == [result.findings for result in first]


def test_a_study_that_has_grown_is_read_again(tmp_path: Path) -> None:
    write_phantom(tmp_path / "studies" / "a")
    hu = neck((16, 32, 40), (6.0, 3.0, 3.0))
    write_series(tmp_path / "studies" / "b", hu, spacing=(6.0, 3.0, 3.0), study="1.2.3.4", series="1.2.3.4.1")
    kept = sorted((tmp_path / "studies" / "a").iterdir())[60:]
    for path in kept:
        path.rename(tmp_path / path.name)

    part, _ = predict_batch(tmp_path / "studies", tmp_path / "out")
    for path in kept:
        (tmp_path / path.name).rename(path)
    whole = predict_batch(tmp_path / "studies", tmp_path / "out")

    slices = [result.findings.acquisition.slices for result in (part, whole[0]) if result.findings.acquisition]
    assert slices[0] is not None
    assert slices[1] == 99 > slices[0]


def test_a_study_that_breaks_is_told_and_tried_again(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict_case = folder._examine

    def broken(*arguments: object) -> object:
        if arguments[1].source.study_instance_uid == "1.2.3.4":  # type: ignore[attr-defined]
            raise ZeroDivisionError("Some^Body")
        return predict_case(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(folder, "_examine", broken)
    results = predict_batch(studies, tmp_path / "out")

    (failed,) = [result for result in results if result.findings.study_instance_uid == "1.2.3.4"]
    assert failed.findings.not_assessable is not None
    assert failed.findings.not_assessable.code == "failed"
    assert failed.findings.not_assessable.reason.startswith("reading it broke (ZeroDivisionError); run again")
    assert "Some^Body" not in (tmp_path / "out" / "worklist.html").read_text()
    assert not (tmp_path / "out" / "1.2.3.4").exists()
    monkeypatch.setattr(folder, "_examine", predict_case)
    assert not any(
        result.findings.not_assessable and result.findings.not_assessable.code == "failed"
        for result in predict_batch(studies, tmp_path / "out")
    )


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    def odd(dataset: object) -> None:
        dataset.SeriesInstanceUID = "x"  # type: ignore[attr-defined]

    with pytest.warns(UserWarning, match="UI"):
        write_phantom(tmp_path / "study", odd)
    result = run("predict", tmp_path / "study", "--out", tmp_path / "out", "--dicom")

    assert result.exit_code == 1
    assert "no DICOM objects: " in result.stderr
    assert "its SeriesInstanceUID is no UID" in result.stderr
    assert json.loads((tmp_path / "out" / "findings.json").read_text())["patient_overall"] is not None


def test_what_fhir_has_no_place_for_costs_no_answer(tmp_path: Path) -> None:
    def odd(dataset: object) -> None:
        dataset.SeriesInstanceUID = "series_1"  # type: ignore[attr-defined]
        dataset.InstanceNumber = -int(dataset.InstanceNumber)  # type: ignore[attr-defined]

    with pytest.warns(UserWarning, match="UI"):
        write_phantom(tmp_path / "study", odd)
    result = run("predict", tmp_path / "study", "--out", tmp_path / "out", "--fhir")

    assert result.exit_code == 0
    bundle = json.loads((tmp_path / "out" / "fhir.json").read_text())
    assert not [entry for entry in bundle["entry"] if entry["resource"]["resourceType"] == "ImagingSelection"]


def test_an_output_that_breaks_costs_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    write_phantom(tmp_path / "study")
    monkeypatch.setattr(folder, "_fhir_writer", lambda: broken)

    (result,) = predict_batch(tmp_path / "study", tmp_path / "out", PredictSettings(fhir=True))
    monkeypatch.undo()
    (mended,) = predict_batch(tmp_path / "study", tmp_path / "out", PredictSettings(fhir=True))

    assert result.not_written == ("no FHIR: writing it broke (ZeroDivisionError); report it",)
    assert result.findings.patient_overall is not None
    assert mended.not_written == ()


def test_another_choice_of_outputs_is_another_run(tmp_path: Path) -> None:
    write_phantom(tmp_path / "study")
    predict_batch(tmp_path / "study", tmp_path / "out", PredictSettings(fhir=True))

    result = run("predict", tmp_path / "study", "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "choose another --out" in result.stderr
    assert detector().classifier.identity.name == "levels"
