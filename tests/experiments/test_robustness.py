"""Robustness to perturbations: statistics, predictions, and the command."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.anatomy import OVERALL, TARGETS
from cspine.core.columns import STUDY
from cspine.core.errors import InputError, LabelError
from cspine.datasets.reference_standard import ReferenceStandard, read_reference_standard
from cspine.dicom.study_collection import open_collection
from cspine.experiments.perturbed_predictions import (
    BLANK,
    NOT_ASSESSABLE,
    PERTURBATION,
    SEVERITY,
    SLICES,
    UNPERTURBED,
    predict_perturbed,
)
from cspine.experiments.robustness import RobustnessPoint, evaluate_perturbations
from cspine.phantom import PhantomSettings, synthesize
from cspine.pipelines.predict import Detector
from cspine.reports.evaluation.robustness_report import robustness_sections


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robustness") / "data"
    settings = PhantomSettings(matrix=64, prevalence=0.5, slice_spacing_mm=(1.9, 2.0), truncated_fraction=0.0)
    synthesize(folder, studies=6, seed=5, settings=settings)
    return folder


def by_severity(points: tuple[RobustnessPoint, ...]) -> dict[tuple[str, float], RobustnessPoint]:
    return {(point.perturbation, point.severity): point for point in points}


def test_command_reports_accuracy_by_severity_and_resumes(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = ("robustness", data, "--out", out, "--perturbation", "noise", "--perturbation", "crop", "--workers", 1)
    network = ("--weights", "baseline-cnn")

    first = run(*command, *network)

    assert first.exit_code == 0, first.stderr
    assert "out/robustness.html" in first.stdout
    names = {"robustness.json", "robustness.html", "robustness.md", "robustness.png", "rows.csv", "curves.json", "rows"}
    assert {path.name for path in out.iterdir()} == names
    page = (out / "robustness.html").read_text()
    assert "not clinical accuracy" in page
    assert "<script" not in page
    points = json.loads((out / "curves.json").read_text())
    assert [(point["perturbation"], point["severity"]) for point in points] == [
        (UNPERTURBED, 0.0), (BLANK, 0.0), (SLICES, 0.0),
        ("noise", 20.0), ("noise", 40.0), ("noise", 80.0), ("noise", 160.0),
        ("crop", 10.0), ("crop", 20.0), ("crop", 40.0),
    ]  # fmt: skip
    assert all(point["n_predicted"] == 6 for point in points)
    change = {(point["perturbation"], point["severity"]): point["mean_change"] for point in points}
    assert change[UNPERTURBED, 0.0] == 0.0
    assert 0.0 < change["noise", 20.0] < change["noise", 160.0]

    rows = sorted((out / "rows").iterdir())
    rows[0].unlink()
    before = {path: path.read_bytes() for path in rows[1:]}
    text = (out / "rows.csv").read_text()
    assert run(*command, *network).exit_code == 0  # resumed, with the same result
    assert {path: path.read_bytes() for path in rows[1:]} == before
    assert (out / "rows.csv").read_text() == text
    other = run(*command)
    assert other.exit_code == 2
    assert "choose another --out" in other.stderr


def test_unknown_perturbation_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gravity: is not a perturbation; choose of noise, kernel"):
        predict_perturbed(open_collection(data), tmp_path / "out", perturbations=("gravity",))
    assert not (tmp_path / "out").exists()


def predictions(studies: dict[str, list[tuple[str, float, float, str | None]]]) -> pd.DataFrame:
    """Return a table of predictions from each study's perturbations, severities, probabilities and reasons."""
    rows = []
    for number, (study, points) in enumerate(studies.items()):
        for perturbation, severity, value, not_assessable in points:
            probability = np.nan if not_assessable else value
            rows.append(
                {
                    STUDY: study,
                    PERTURBATION: perturbation,
                    SEVERITY: severity,
                    **dict.fromkeys(TARGETS, probability),
                    NOT_ASSESSABLE: not_assessable,
                    SLICES: 100 + 10 * number,
                }
            )
    return pd.DataFrame(rows)


def reference_of(fractured: list[bool]) -> ReferenceStandard:
    index = pd.Index([f"1.{number}" for number in range(len(fractured))], name=STUDY)
    labels = pd.DataFrame(0, index=index, columns=list(TARGETS))
    labels.loc[fractured, [OVERALL, "C4"]] = 1
    return ReferenceStandard("example", labels, pd.Series(index, index=index))


def test_points_describe_the_predicted_studies() -> None:
    fractured = [False, False, False, True, True, True]
    studies = {
        f"1.{number}": [
            (UNPERTURBED, 0.0, 0.9 if y else 0.1, None),
            (BLANK, 0.0, 0.5, None),
            ("noise", 20.0, 0.6 if y else 0.2, None),
            ("noise", 40.0, 0.5, "no-spine" if number == 0 else None),
        ]
        for number, y in enumerate(fractured)
    }

    points = by_severity(evaluate_perturbations(predictions(studies), reference_of(fractured)))

    assert points[UNPERTURBED, 0.0].patients.value == 1.0
    assert points[BLANK, 0.0].patients.value == 0.5
    assert points["noise", 20.0].mean_change == pytest.approx((0.3 + 0.1) / 2)
    assert (points["noise", 40.0].n_predicted, points["noise", 40.0].n_not_assessable) == (5, 1)
    assert points["noise", 40.0].patients.value == 0.5
    assert points[SLICES, 0.0].patients.value == 1.0  # in this example, scans of fractured patients are longer
    degradation, shortcuts = robustness_sections(list(points.values()))
    assert degradation.table is not None
    assert shortcuts.table is not None
    assert [row[0] for row in degradation.table.rows] == [UNPERTURBED, "added noise 20 HU", "added noise 40 HU"]
    assert len(shortcuts.table.rows) == 2


def test_fractures_that_a_perturbation_makes_unassessable_are_missed() -> None:
    studies: dict[str, list[tuple[str, float, float, str | None]]] = {
        f"1.{number}": [
            (UNPERTURBED, 0.0, 0.9 if number < 3 else 0.1, None),
            ("noise", 20.0, 0.9 if number < 3 else 0.1, "no-spine" if number == 0 else None),
        ]
        for number in range(6)
    }
    studies["1.6"] = [(UNPERTURBED, 0.0, 0.0, "OSError")]  # has no rows of perturbations
    labels = [number in {0, 1, 2, 6} for number in range(7)]

    points = by_severity(evaluate_perturbations(predictions(studies), reference_of(labels)))

    unperturbed, noise = points[UNPERTURBED, 0.0], points["noise", 20.0]
    assert (unperturbed.n_predicted, unperturbed.n_not_assessable, unperturbed.patients.value) == (6, 1, 3 / 4)
    assert (noise.n_predicted, noise.n_not_assessable, noise.patients.value) == (5, 2, 2 / 4)
    assert noise.mean_change == 0.0


def test_studies_without_labels_are_refused() -> None:
    rows = predictions({"9.9": [(UNPERTURBED, 0.0, 0.5, None)]})

    with pytest.raises(LabelError, match="none of the studies has labels"):
        evaluate_perturbations(rows, reference_of([True, False]))


def test_unperturbed_predictions_equal_those_of_the_detector(data: Path, tmp_path: Path) -> None:
    collection = open_collection(data)

    rows = predict_perturbed(collection, tmp_path / "out", perturbations=("crop", "crop"), weights=("baseline-cnn",))

    detector = Detector.load("baseline-cnn")
    for source in collection.studies[:2]:
        findings = detector.predict_case(source).findings
        row = rows[(rows[STUDY] == source.study_instance_uid) & (rows[PERTURBATION] == UNPERTURBED)].iloc[0]
        assert findings.patient_overall is not None
        assert row[OVERALL] == pytest.approx(findings.patient_overall.probability, abs=1e-6)
        for vertebra in findings.vertebrae:
            assert row[vertebra.level] == pytest.approx(vertebra.probability, abs=1e-6)
    assert len(rows) == 6 * (2 + 3)


def test_unreadable_studies_are_counted_and_do_not_end_the_run(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    studies = sorted((tmp_path / "data" / "train_images").iterdir())
    for path in studies[0].iterdir():
        path.write_bytes(b"rubbish")
    for path in list(studies[1].iterdir())[1:]:
        path.unlink()

    rows = predict_perturbed(
        open_collection(tmp_path / "data"), tmp_path / "out", perturbations=("crop",), weights=("baseline-cnn",)
    )
    points = by_severity(evaluate_perturbations(rows, read_reference_standard(tmp_path / "data")))

    assert points[UNPERTURBED, 0.0].n_not_assessable == 2
    assert points[UNPERTURBED, 0.0].n_predicted == 4
    assert points[SLICES, 0.0].n_predicted == 4
