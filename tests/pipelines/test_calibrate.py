"""From findings to a file of operating points, and from that file to other findings."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support.predictions import make_findings
from tests.support.site import BASE, site_table
from typer.testing import CliRunner, Result

from cspine.classification.level_classifier import LevelClassifier, LevelScores
from cspine.cli import app
from cspine.core.errors import LabelError, OutputTakenError, WeightsError
from cspine.core.files import write_text
from cspine.core.findings import Findings
from cspine.metrics.calibration import logit
from cspine.models.operating_points import (
    OPERATING_POINTS_VARIABLE,
    FixedOperatingPoint,
    FixedOperatingPoints,
    OperatingPointsFile,
    Recalibration,
    find_operating_points,
    read_operating_points,
)
from cspine.pipelines.calibrate import CalibrateSettings, calibrate
from cspine.pipelines.case_folder import PredictSettings
from cspine.pipelines.predict import Detector
from cspine.reports.worklist import StudyResult

INTACT = CalibrateSettings(is_intact=True, n_resamples=100)


def write_findings(table: pd.DataFrame, folder: Path) -> Path:
    for study, row in table.iterrows():
        write_text(folder / str(study) / "findings.json", findings_of(str(study), row).model_dump_json())
    return folder


def findings_of(study: str, row: "pd.Series[float]") -> Findings:
    return make_findings(study, {str(target): float(value) for target, value in row.items()}).model_copy(
        update={"calibration": BASE}
    )


def load_level_classifier(operating_points: str | Path | None) -> LevelClassifier:
    classifier = Detector.load(operating_points=operating_points).classifier
    assert isinstance(classifier, LevelClassifier)
    return classifier


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def test_findings_give_a_file_and_a_report(tmp_path: Path) -> None:
    findings = write_findings(site_table(30, shift_logit=2.0), tmp_path / "findings")

    report = calibrate(findings, tmp_path / "site", INTACT)

    assert read_operating_points(report.points) == report.result.points
    assert report.result.points.weights_sha256 == "a" * 64
    page = report.page.read_text("utf-8")
    assert "Research use only" in page
    assert "30 scans of 30 patients, stated to be intact." in page
    assert "say nothing about sensitivity" in page
    result = json.loads((tmp_path / "site" / "calibration.json").read_text("utf-8"))
    assert result["targets"][0]["shift_logit"]["value"] == report.result.targets[0].shift_logit.value
    assert result["points"]["points"][0]["name"] == "triage"
    assert calibrate(findings, tmp_path / "site", INTACT).points == report.points  # the same call again
    with pytest.raises(OutputTakenError, match="was begun with another prevalence"):
        calibrate(findings, tmp_path / "site", INTACT.model_copy(update={"prevalence": 0.1}))


def test_scans_are_predicted_at_the_points_of_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table, calls = site_table(12), []

    def predict_batch(path: Path, out: Path, settings: PredictSettings, **_: object) -> list[StudyResult]:
        calls.append((path, out, settings.operating_points, settings.tta))
        return [StudyResult(findings_of(str(study), row), "", 0.0) for study, row in table.iterrows()]

    monkeypatch.setattr("cspine.pipelines.calibrate.predict_batch", predict_batch)
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "1.dcm").touch()

    report = calibrate(tmp_path / "scans", tmp_path / "site", INTACT.model_copy(update={"tta": True}))

    assert calls == [(tmp_path / "scans", tmp_path / "site" / "predicted", "weights", True)]
    assert report.result.n_scans == 12


def test_too_few_findings_leave_nothing_behind(tmp_path: Path) -> None:
    findings = write_findings(site_table(5), tmp_path / "findings")

    with pytest.raises(LabelError, match="about 5 intact patients"):
        calibrate(findings, tmp_path / "site", INTACT)

    assert not (tmp_path / "site").exists()


def test_the_command_says_what_was_found_and_what_is_missing(tmp_path: Path) -> None:
    findings = write_findings(site_table(40, fractured=8), tmp_path / "findings")
    patients = tmp_path / "patients.csv"
    pd.DataFrame({"StudyInstanceUID": [f"1.{n}" for n in range(40)], "patient": [n // 2 for n in range(40)]}).to_csv(
        patients, index=False
    )
    options = ("--prevalence", 0.2, "--patients", patients, "--bootstrap-samples", 100, "--out", tmp_path / "site")

    unlabelled = run("calibrate", "--unlabelled", findings, *options)
    as_json = run("calibrate", "--unlabelled", findings, *options, "--json")

    assert unlabelled.exit_code == 0
    assert "40 scans of 20 patients, unlabelled, of 20 % prevalence." in unlabelled.stdout
    assert "scans that it takes to know the specificity" in unlabelled.stdout
    assert "about 4.0 fractured patients" in unlabelled.stdout
    assert "Whichever of these scans are the fractured ones" in unlabelled.stdout
    assert json.loads(as_json.stdout)["n_patients"] == 20
    for arguments, message in (
        (("--negatives", findings, "--unlabelled", findings), "give --negatives, or"),
        (("--unlabelled", findings), "--prevalence of fractured patients"),
        (("--negatives", findings, "--prevalence", 5), "above 0 and below 1"),
    ):
        refused = run("calibrate", *arguments, "--out", tmp_path / "other")
        assert refused.exit_code == 2
        assert message in refused.stderr


def test_predictions_use_the_file_and_findings_name_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = load_level_classifier("weights")
    points = FixedOperatingPoints(
        chosen_on="the site",
        points=(FixedOperatingPoint(name="triage", patient=0.4, level=0.2),),
        weights_sha256=own.identity.sha256,
        test_time_augmentation=False,
        recalibration=Recalibration(level_shift_logit=-1.0, patient_shift_logit=-2.0, prevalence=0.05),
    )
    points.write(tmp_path / "points.json")
    scores = LevelScores(np.full(7, 0.1), 0.6, np.zeros((7, 1)), np.zeros((7, 1, 3, 2, 2), np.float32))

    site = load_level_classifier(tmp_path / "points.json")
    monkeypatch.setenv(OPERATING_POINTS_VARIABLE, str(tmp_path / "points.json"))
    default, weights = load_level_classifier(None), load_level_classifier("weights")

    assert site.calibration == default.calibration
    assert site.calibration.points_sha256 == OperatingPointsFile.read(tmp_path / "points.json").sha256
    assert (site.calibration.points_chosen_on, site.calibration.prevalence) == ("the site", 0.05)
    (triage,) = site.calibration.points
    assert (triage.name, triage.patient, triage.level) == ("triage", 0.4, 0.2)
    assert weights.calibration == own.calibration
    assert weights.calibration.points_sha256 is None
    levels, patient = own.calibrate(scores)
    of_site = site.calibrate(scores)
    np.testing.assert_allclose(logit(of_site[0]), logit(levels) - 1.0)
    assert float(logit(np.array(of_site[1]))) == pytest.approx(float(logit(np.array(patient))) - 2.0)


def test_files_for_other_weights_or_other_points_are_refused(tmp_path: Path) -> None:
    points = (FixedOperatingPoint(name="triage", patient=0.4, level=0.2),)
    FixedOperatingPoints(chosen_on="x", points=points, weights_sha256="b" * 64).write(tmp_path / "other.json")
    FixedOperatingPoints(chosen_on="x", points=points).write(tmp_path / "unknown.json")
    named = FixedOperatingPoint(name="default", patient=0.5, level=0.5)
    FixedOperatingPoints(chosen_on="x", points=(named,)).write(tmp_path / "named.json")

    with pytest.raises(WeightsError, match=r"is for other weights .*--operating-points weights"):
        Detector.load(operating_points=tmp_path / "other.json")
    with pytest.raises(WeightsError, match="baseline-cnn has no calibrated probabilities"):
        Detector.load("baseline-cnn", operating_points=tmp_path / "unknown.json")
    with pytest.raises(LabelError, match="'default', which predictions do not know"):
        find_operating_points(tmp_path / "named.json")
    file = find_operating_points(tmp_path / "unknown.json")
    assert file is not None
    assert file.warnings(tta=False) == ("the file of operating points does not say which weights it is for",)
