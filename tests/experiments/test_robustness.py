"""Trials of a network, as a command and as a table."""

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
from cspine.experiments.robustness import BLANK, SLICES, UNPERTURBED, evaluate_perturbations, run_perturbations
from cspine.phantom import PhantomSettings, synthesize
from cspine.pipelines.predict import Detector
from cspine.reports.evaluation.robustness_report import trial_sections


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("robust") / "data"
    settings = PhantomSettings(matrix=64, prevalence=0.5, slice_spacing_mm=(1.9, 2.0), shortened=0.0)
    synthesize(folder, studies=6, seed=5, settings=settings)
    return folder


def test_the_command_tells_accuracy_against_severity(data: Path, tmp_path: Path) -> None:
    command = (
        "robustness",
        data,
        "--out",
        tmp_path / "out",
        "--perturbation",
        "noise",
        "--perturbation",
        "crop",
        "--workers",
        1,
    )
    network = ("--weights", "baseline-cnn")

    first = run(*command, *network)

    assert first.exit_code == 0, first.stderr
    assert first.stdout.rstrip().endswith("out/robustness.html")
    names = {"robustness.json", "robustness.html", "robustness.md", "robustness.png", "rows.csv", "curves.json", "rows"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    page = (tmp_path / "out" / "robustness.html").read_text()
    assert "not clinical accuracy" in page
    assert "<script" not in page
    points = json.loads((tmp_path / "out" / "curves.json").read_text())
    assert [(point["suite"], point["severity"]) for point in points] == [
        (UNPERTURBED, 0.0), (BLANK, 0.0), (SLICES, 0.0), ("noise", 20.0), ("noise", 40.0), ("noise", 80.0), ("noise", 160.0),
        ("crop", 10.0), ("crop", 20.0), ("crop", 40.0),
    ]  # fmt: skip
    assert all(point["answered"] == 6 for point in points)
    moved = {(point["suite"], point["severity"]): point["moved"] for point in points}
    assert moved[UNPERTURBED, 0.0] == 0.0
    assert 0.0 < moved["noise", 20.0] < moved["noise", 160.0]

    rows = sorted((tmp_path / "out" / "rows").iterdir())
    rows[0].unlink()
    before = {path: path.read_bytes() for path in rows[1:]}
    text = (tmp_path / "out" / "rows.csv").read_text()
    assert run(*command, *network).exit_code == 0  # goes on, to the same
    assert {path: path.read_bytes() for path in rows[1:]} == before
    assert (tmp_path / "out" / "rows.csv").read_text() == text
    other = run(*command)
    assert other.exit_code == 2
    assert "choose another --out" in other.stderr


def test_what_is_no_suite_is_refused(data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gravity: is none; choose of noise, kernel"):
        run_perturbations(open_collection(data), tmp_path / "out", suites=("gravity",))
    assert not (tmp_path / "out").exists()


def table(rows: dict[str, list[tuple[str, float, float, str | None]]]) -> pd.DataFrame:
    """Return rows of studies: suite, severity, every probability, why refused."""
    found = [
        {STUDY: study, "suite": suite, "severity": severity, **dict.fromkeys(TARGETS, np.nan if not_assessable else said),
         "not_assessable": not_assessable, SLICES: 100 + 10 * number}
        for number, (study, told) in enumerate(rows.items())
        for suite, severity, said, not_assessable in told
    ]  # fmt: skip
    return pd.DataFrame(found)


def truth_of(broken: list[bool]) -> ReferenceStandard:
    index = pd.Index([f"1.{number}" for number in range(len(broken))], name=STUDY)
    labels = pd.DataFrame(0, index=index, columns=list(TARGETS))
    labels.loc[broken, [OVERALL, "C4"]] = 1
    return ReferenceStandard("made up", labels, pd.Series(index, index=index))


def test_points_hold_what_was_answered() -> None:
    broken = [False, False, False, True, True, True]
    rows = {
        f"1.{number}": [
            (UNPERTURBED, 0.0, 0.9 if y else 0.1, None),
            (BLANK, 0.0, 0.5, None),
            ("noise", 20.0, 0.6 if y else 0.2, None),
            ("noise", 40.0, 0.5, "no-spine" if number == 0 else None),
        ]
        for number, y in enumerate(broken)
    }

    points = {(point.suite, point.severity): point for point in evaluate_perturbations(table(rows), truth_of(broken))}

    assert points[UNPERTURBED, 0.0].patients.value == 1.0
    assert points[BLANK, 0.0].patients.value == 0.5
    assert points["noise", 20.0].moved == pytest.approx((0.3 + 0.1) / 2)
    assert (points["noise", 40.0].answered, points["noise", 40.0].not_assessable) == (5, 1)
    assert points["noise", 40.0].patients.value == 0.5
    assert points[SLICES, 0.0].patients.value == 1.0  # made so: broken ones come last and are longer
    worse, shortcuts = trial_sections(list(points.values()))
    assert worse.table is not None
    assert shortcuts.table is not None
    assert [row[0] for row in worse.table.rows] == [UNPERTURBED, "noise is added 20 HU", "noise is added 40 HU"]
    assert len(shortcuts.table.rows) == 2


def test_studies_without_labels_cannot_be_judged() -> None:
    rows = table({"9.9": [(UNPERTURBED, 0.0, 0.5, None)]})

    with pytest.raises(LabelError, match="none of the studies has labels"):
        evaluate_perturbations(rows, truth_of([True, False]))


def test_scans_as_they_are_are_read_as_the_detector_reads_them(data: Path, tmp_path: Path) -> None:
    rows = run_perturbations(
        open_collection(data), tmp_path / "out", suites=("crop", "crop"), weights=("baseline-cnn",)
    )

    known = Detector.load("baseline-cnn")
    for source in open_collection(data).studies[:2]:
        found = known.predict_case(source).findings
        own = rows[(rows[STUDY] == source.study_instance_uid) & (rows["suite"] == UNPERTURBED)].iloc[0]
        assert found.patient_overall is not None
        assert own[OVERALL] == pytest.approx(found.patient_overall.probability, abs=1e-6)
        for vertebra in found.vertebrae:
            assert own[vertebra.level] == pytest.approx(vertebra.probability, abs=1e-6)
    assert len(rows) == 6 * (2 + 3)


def test_a_study_that_cannot_be_read_stops_nothing_and_tells_nothing(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data, tmp_path / "data")
    studies = sorted((tmp_path / "data" / "train_images").iterdir())
    for path in studies[0].iterdir():
        path.write_bytes(b"rubbish")
    for path in list(studies[1].iterdir())[1:]:
        path.unlink()

    rows = run_perturbations(
        open_collection(tmp_path / "data"), tmp_path / "out", suites=("crop",), weights=("baseline-cnn",)
    )
    points = {
        (point.suite, point.severity): point
        for point in evaluate_perturbations(rows, read_reference_standard(tmp_path / "data"))
    }

    assert points[UNPERTURBED, 0.0].not_assessable == 2
    assert points[UNPERTURBED, 0.0].answered == 4
    assert points[SLICES, 0.0].answered == 4
