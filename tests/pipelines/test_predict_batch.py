"""Prediction of many studies: outputs, resumed runs, and studies or outputs that fail."""

import json
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pydicom
import pytest
from pydicom import Dataset
from tests.support.dicom import make_hu, write_series
from tests.support.phantom import detector, write_phantom
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.progress import Progress
from cspine.pipelines import case_folder
from cspine.pipelines import predict_batch as module
from cspine.pipelines.case_folder import CaseFolder
from cspine.pipelines.predict import Detector
from cspine.pipelines.predict_batch import PredictSettings, predict_batch
from cspine.reports import fhir
from cspine.reports.worklist import StudyResult, prioritize, worklist_csv

HU = make_hu((16, 32, 40), (6.0, 3.0, 3.0))


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three studies: the phantom, one with thick slices, and one with truncated pixel data."""
    root = tmp_path_factory.mktemp("studies")
    write_phantom(root / "a")
    write_series(root / "b", HU, spacing=(6.0, 3.0, 3.0), study="1.2.3.4", series="1.2.3.4.1")
    paths = write_series(root / "c", HU, spacing=(2.5, 3.0, 3.0), study="1.2.3.5", series="1.2.3.5.1")
    paths[7].write_bytes(paths[7].read_bytes()[:-500])
    (root / "junk.dcm").write_bytes(b"no DICOM")
    for name, minutes in (("a", 0), ("b", 5), ("c", 200)):
        for path in (root / name).iterdir():
            os.utime(path, (time.time() - 60 * minutes,) * 2)
    return root


def test_a_damaged_study_does_not_stop_the_others(studies: Path, tmp_path: Path) -> None:
    result = run("predict", studies, "--out", tmp_path / "out", "--dicom", "--fhir", "--workers", 2)

    assert result.exit_code == 0
    assert "3 studies, 1 suspicious, 2 not assessable" in result.stdout
    assert "2 files were skipped, first: junk.dcm" in result.stderr
    assert (tmp_path / "out" / module.SKIPPED_FILES_FILE).read_text().startswith("junk.dcm: ")
    table = pd.read_csv(tmp_path / "out" / "worklist.csv")
    assert table["study_instance_uid"].tolist()[0] == "1.2.3.5"  # has waited for over three hours
    assert table["priority_reason"].tolist() == [
        "waiting time exceeded; not assessable",
        "suspicious",
        "not assessable",
    ]
    assert table["not_assessable"].tolist()[0] == "geometry"  # of the slice that is cut off, a gap is left
    warnings = [
        json.loads((tmp_path / "out" / name / "findings.json").read_text())["warnings"] for name in table["folder"]
    ]
    assert "1 file could not be read: c/8.dcm: is cut off within its pixels; copy it again" in warnings[0]
    assert not any("could not be read" in warning for each in warnings[1:] for warning in each)
    assert table["not_assessable"].tolist()[2] == "too-thick"
    folder = tmp_path / "out" / str(table["folder"][1])
    assert {path.name for path in folder.iterdir()} == {
        "findings.json",
        "report.html",
        "thumbnail.jpg",
        "fhir.json",
        "source.json",
        "dicom",
    }
    objects = {path.name for path in (folder / "dicom").iterdir()}
    assert objects > {"report.dcm", "vertebrae.dcm", "evidence.dcm", "key-images.dcm"}
    for name in table["folder"][[0, 2]]:  # not assessable is a result
        assert [path.name for path in (tmp_path / "out" / name / "dicom").iterdir()] == ["report.dcm"]
    page = (tmp_path / "out" / "worklist.html").read_text()
    assert f'href="{module.SKIPPED_FILES_FILE}"' in page
    assert page.count("thumbnail.jpg") == 1
    assert "What would help: send the thin bone-kernel series" in page
    assert "slices 6.0 mm apart" in page
    for name in table["folder"]:
        assert f'href="{name}/report.html"' in page


def test_an_interrupted_run_is_resumed(studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = predict_batch(studies, tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "1.2.3.4")
    predicted: list[str] = []
    predict = module._predict

    def record(detector: Detector, case: CaseFolder, progress: Progress) -> StudyResult:
        predicted.append(case.source.study_instance_uid)
        return predict(detector, case, progress)

    monkeypatch.setattr(module, "_predict", record)
    second = predict_batch(studies, tmp_path / "out")

    assert predicted == ["1.2.3.4"]
    assert [result.findings.study_instance_uid for result in second] == [
        result.findings.study_instance_uid for result in first
    ]
    assert [result.findings for result in second] == [result.findings for result in first]


def test_the_row_of_the_worklist_has_no_evidence(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_phantom(tmp_path / "in" / "a")
    write_series(tmp_path / "in" / "b", HU, spacing=(6.0, 3.0, 3.0), study="1.2.3.4", series="1.2.3.4.1")

    results = predict_batch(tmp_path / "in", tmp_path / "out", PredictSettings())

    for result in results:
        row = case_folder.read_result(tmp_path / "out" / result.folder)
        assert row is not None
        assert not any(vertebra.evidence for vertebra in row.findings.vertebrae)
        assert worklist_csv(prioritize([row], now=0.0)) == worklist_csv(prioritize([result], now=0.0))
    assert any(vertebra.evidence for result in results for vertebra in result.findings.vertebrae)


def test_a_study_with_new_files_is_predicted_again(tmp_path: Path) -> None:
    write_phantom(tmp_path / "studies" / "a")
    write_series(tmp_path / "studies" / "b", HU, spacing=(6.0, 3.0, 3.0), study="1.2.3.4", series="1.2.3.4.1")
    late = sorted((tmp_path / "studies" / "a").iterdir())[60:]
    for path in late:
        path.rename(tmp_path / path.name)

    incomplete, _ = predict_batch(tmp_path / "studies", tmp_path / "out")
    for path in late:
        (tmp_path / path.name).rename(path)
    complete, _ = predict_batch(tmp_path / "studies", tmp_path / "out")

    n_slices = [result.findings.acquisition.slices for result in (incomplete, complete) if result.findings.acquisition]
    assert n_slices[0] is not None
    assert n_slices[1] == 99 > n_slices[0]


def test_a_kill_before_the_new_answer_leaves_no_earlier_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slices = write_series(tmp_path / "in", HU, spacing=(6.0, 3.0, 3.0), study="1.2.3.4", series="1.2.3.4.1")
    predict_batch(tmp_path / "in", tmp_path / "out")
    slices[-1].unlink()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(case_folder, "write_report", killed)
        with pytest.raises(KeyboardInterrupt):
            predict_batch(tmp_path / "in", tmp_path / "out")
    between = (tmp_path / "out" / "findings.json").exists()
    predict_batch(tmp_path / "in", tmp_path / "out")

    assert not between
    assert (tmp_path / "out" / "findings.json").is_file()


def test_earlier_results_that_are_named_later_are_rejected_in_a_folder_that_was_complete(tmp_path: Path) -> None:
    slices = write_series(tmp_path / "in", HU, spacing=(6.0, 3.0, 3.0), study="1.2.3.4", series="1.2.3.4.1")
    late = slices[-1].rename(tmp_path / "late.dcm")
    predict = ("predict", tmp_path / "in", "--dicom", "--out")
    run(*predict, tmp_path / "before")
    late.rename(slices[-1])
    run(*predict, tmp_path / "after")
    assert not list((tmp_path / "after" / "dicom").glob("rejected-*.dcm"))

    run(*predict, tmp_path / "after", "--supersedes", tmp_path / "before")

    assert len(list((tmp_path / "after" / "dicom").glob("rejected-*.dcm"))) == 1


def test_earlier_results_of_many_studies_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cspine.reports.dicom.superseded import EarlierObjects

    uids = ("1.2.3.4", "1.2.3.5")
    slices = [
        write_series(tmp_path / "in" / uid, HU, spacing=(6.0, 3.0, 3.0), study=uid, series=f"{uid}.1") for uid in uids
    ]
    settings = PredictSettings(dicom=True)
    predict_batch(tmp_path / "in", tmp_path / "before", settings)
    for study in slices:
        study[-1].unlink()
    read, calls = EarlierObjects.read, list[Sequence[Path]]()

    def count(folders: Sequence[Path]) -> dict[str, EarlierObjects]:
        calls.append(folders)
        return read(folders)

    monkeypatch.setattr(EarlierObjects, "read", count)

    again = settings.model_copy(update={"supersedes": str(tmp_path / "before")})
    predict_batch(tmp_path / "in", tmp_path / "after", again)

    assert [folders for folders in calls if folders] == [(tmp_path / "before",)]
    for uid in uids:
        (note,) = (tmp_path / "after" / uid / "dicom").glob("rejected-*.dcm")
        assert pydicom.dcmread(note).StudyInstanceUID == uid


def test_a_study_whose_prediction_crashes_is_reported_and_tried_again(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = module._predict

    def crash(detector: Detector, case: CaseFolder, progress: Progress) -> StudyResult:
        if case.source.study_instance_uid == "1.2.3.4":
            raise ZeroDivisionError("Some^Body")
        return predict(detector, case, progress)

    monkeypatch.setattr(module, "_predict", crash)
    results = predict_batch(studies, tmp_path / "out")

    (failed,) = [result for result in results if result.findings.study_instance_uid == "1.2.3.4"]
    assert failed.findings.not_assessable is not None
    assert failed.findings.not_assessable.code == "failed"
    assert not module.is_complete(results)  # a crash is no answer, and a study that is not assessable has one
    others = [result for result in results if result is not failed]
    assert module.is_complete(others)
    assert not module.is_complete(others, strict=True)
    assert failed.findings.not_assessable.reason.startswith("the prediction failed (ZeroDivisionError); run again")
    assert "Some^Body" not in (tmp_path / "out" / "worklist.html").read_text()
    assert not (tmp_path / "out" / "1.2.3.4").exists()
    monkeypatch.setattr(module, "_predict", predict)
    assert not any(
        result.findings.not_assessable and result.findings.not_assessable.code == "failed"
        for result in predict_batch(studies, tmp_path / "out")
    )


def test_dicom_objects_that_cannot_be_written_are_reported(tmp_path: Path) -> None:
    def damage(dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = "x"

    with pytest.warns(UserWarning, match="UI"):
        write_phantom(tmp_path / "study", damage)
    result = run("predict", tmp_path / "study", "--out", tmp_path / "out", "--dicom")

    assert result.exit_code == 1
    assert "no DICOM objects: " in result.stderr
    assert "its SeriesInstanceUID is no UID" in result.stderr
    assert json.loads((tmp_path / "out" / "findings.json").read_text())["patient_overall"] is not None


def test_uids_that_fhir_cannot_represent_do_not_fail_the_prediction(tmp_path: Path) -> None:
    def change(dataset: Dataset) -> None:
        dataset.SeriesInstanceUID = "series_1"
        dataset.InstanceNumber = -int(dataset.InstanceNumber or 0)

    with pytest.warns(UserWarning, match="UI"):
        write_phantom(tmp_path / "study", change)
    result = run("predict", tmp_path / "study", "--out", tmp_path / "out", "--fhir")

    assert result.exit_code == 0
    bundle = json.loads((tmp_path / "out" / "fhir.json").read_text())
    assert not [entry for entry in bundle["entry"] if entry["resource"]["resourceType"] == "ImagingSelection"]


def test_an_output_that_crashes_does_not_fail_the_prediction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError

    write_phantom(tmp_path / "study")
    with monkeypatch.context() as patch:
        patch.setattr(fhir, "write_fhir", crash)
        (failed,) = predict_batch(tmp_path / "study", tmp_path / "out", PredictSettings(fhir=True))
    (repeated,) = predict_batch(tmp_path / "study", tmp_path / "out", PredictSettings(fhir=True))

    assert failed.failed_outputs == ("no FHIR bundle: writing failed (ZeroDivisionError); please report it",)
    assert failed.findings.patient_overall is not None
    assert repeated.failed_outputs == ()


def test_a_run_with_other_outputs_needs_another_folder(tmp_path: Path) -> None:
    write_phantom(tmp_path / "study")
    predict_batch(tmp_path / "study", tmp_path / "out", PredictSettings(fhir=True))

    result = run("predict", tmp_path / "study", "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "choose another --out" in result.stderr
    assert detector().classifier.identity.name == "levels"
