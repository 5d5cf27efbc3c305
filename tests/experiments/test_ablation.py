"""Whether more views help, as a command and from Python."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.errors import InputError
from cspine.experiments.ablation import AblationSettings, ablate, spread_views
from cspine.phantom import PhantomSettings, synthesize
from cspine.reports.evaluation.ablation_report import ablation_sections, verdict

SMALL = PhantomSettings(matrix=64, prevalence=0.5, slice_spacing_mm=(2.4, 2.5), shortened=0.0)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ablate")
    synthesize(folder / "train", studies=12, seed=1, settings=SMALL)
    synthesize(folder / "test", studies=6, seed=2, settings=SMALL)
    return folder


def test_each_number_of_images_is_compiled_trained_and_judged(roots: Path, tmp_path: Path) -> None:
    command = ("ablate", "--train", roots / "train", "--test", roots / "test", "--views", "1,9,3", "--epochs", 2)
    result = run(*command, "--out", tmp_path / "out", "--workers", 1)

    assert result.exit_code == 0, result.stderr
    assert "No number of views above 9 was tried." in result.stdout
    told = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (told["network"], told["reference"]) == ("baseline-cnn", 9)
    assert [row["views"] for row in told["rows"]] == [1, 9, 3]
    sizes = {row["views"]: row["bytes_per_study"] for row in told["rows"]}
    assert 2 < sizes[3] / sizes[1] < 4
    assert sizes[9] > 2 * sizes[3]
    assert told["rows"][1]["patients_gap"] is None
    assert len(pd.read_parquet(tmp_path / "out" / "train-3" / "manifest.parquet")) == 12 * 3
    for name in ("ablation.md", "ablation.html"):
        assert "not clinical accuracy" in (tmp_path / "out" / name).read_text()
    weights = (tmp_path / "out" / "run-3" / "weights.onnx").stat().st_mtime_ns
    again = run(*command, "--out", tmp_path / "out", "--workers", 1, "--json")
    assert [row["patients"] for row in json.loads(again.stdout)["rows"]] == [row["patients"] for row in told["rows"]]
    assert (tmp_path / "out" / "run-3" / "checkpoint.pt").stat().st_mtime_ns <= weights
    other = run(*command[:-1], 3, "--out", tmp_path / "out")
    assert other.exit_code == 2
    assert "choose another --out" in other.stderr


def test_what_cannot_be_is_refused(roots: Path, tmp_path: Path) -> None:
    train, test = roots / "train", roots / "test"
    for views in ([], [0], [3, 3], [100]):
        with pytest.raises(InputError, match="takes different numbers from 1 to 99"):
            ablate(train, test, tmp_path / "out", views)
    with pytest.raises(InputError, match="holds 12 studies that are trained on"):
        ablate(train, train, tmp_path / "out", [3])
    wrong = run("ablate", "--train", train, "--test", test, "--out", tmp_path / "out", "--views", "3;5")
    assert wrong.exit_code == 2
    assert "takes whole numbers with commas" in wrong.stderr
    assert not (tmp_path / "out").exists()


def test_views_are_spread_over_the_planes() -> None:
    for count in range(1, 31):
        spread = spread_views(count)
        assert sum(spread) == count
        assert max(spread) - min(spread) <= 1


def test_the_sentence_says_what_the_intervals_do(roots: Path, tmp_path: Path) -> None:
    found = ablate(roots / "train", roots / "test", tmp_path / "out", [1, 2], AblationSettings(epochs=1))

    assert found.reference == 1
    assert verdict(found).startswith("Against 1 views, patients' and vertebrae's AUC with more: 2: ")
    (section,) = ablation_sections(found)
    assert section.table is not None
    assert {len(row) for row in section.table.rows} == {len(section.table.header)}


def test_views_of_vertebrae_are_compiled_once_and_learnt_from_by_number(roots: Path, tmp_path: Path) -> None:
    settings = AblationSettings("levels", epochs=1)

    found = ablate(roots / "train", roots / "test", tmp_path / "out", [1, 21], settings)

    assert sorted(path.name for path in (tmp_path / "out").glob("t*")) == ["test-21", "train-21"]
    assert found.rows[0].bytes_per_study == pytest.approx(found.rows[1].bytes_per_study / 21)
    assert "a head that knows nothing" in ablation_sections(found)[0].text[1]
