"""Shards of every command, merged, are what a run without shards writes."""

import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.support.dicom import make_hu, write_series
from tests.support.shards import file_hashes
from typer.testing import CliRunner

from cspine.cli import app
from cspine.cli.options import explicit_shard
from cspine.core.errors import InputError
from cspine.core.execution.execution import Execution
from cspine.core.execution.shards import Shard
from cspine.core.identifiers import study_key
from cspine.phantom import PhantomSettings, synthesize
from cspine.pipelines import predict_batch as predicting
from cspine.pipelines.cluster.merge import merge_shards
from cspine.pipelines.localize_batch import localize_batch
from cspine.pipelines.predict_batch import predict_batch

SHARDS = [Execution(shard=Shard(index, 2)) for index in (2, 1)]


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four studies that are too thick or too short, so that they have an answer at once."""
    root = tmp_path_factory.mktemp("studies")
    for number in range(4):
        spacing = (6.0, 4.0, 4.0) if number % 2 else (2.5, 4.0, 4.0)
        hu = make_hu((8, 24, 28), spacing)
        write_series(root / str(number), hu, spacing=spacing, study=f"1.2.{number}", series=f"1.2.{number}.1")
    (root / "junk.dcm").write_bytes(b"no DICOM")
    return root


def _worklist(out: Path) -> pd.DataFrame:
    """Return the worklist but for the time that has passed."""
    return pd.read_csv(out / "worklist.csv").drop(columns="waiting_min")


def test_predictions(studies: Path, tmp_path: Path) -> None:
    expected = predict_batch(studies, tmp_path / "one")

    parts = [predict_batch(studies, tmp_path / "shards", workers=each) for each in SHARDS]
    assert not (tmp_path / "shards" / "worklist.csv").exists()
    summary = merge_shards(tmp_path / "shards")

    assert sum(map(len, parts)) == len(expected) == 4
    assert (summary.command, summary.studies, summary.failed) == ("predict", 4, ())
    timed = ("worklist.csv", "worklist.html")
    assert file_hashes(tmp_path / "shards", without=timed) == file_hashes(tmp_path / "one", without=timed)
    pd.testing.assert_frame_equal(_worklist(tmp_path / "shards"), _worklist(tmp_path / "one"))


def test_a_prediction_that_crashed_is_in_the_merged_worklist(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict = predicting._predict

    def crash(detector: Any, case: Any, progress: Any) -> Any:
        if case.source.study_instance_uid == "1.2.1":
            raise RuntimeError("nonsense")
        return predict(detector, case, progress)

    monkeypatch.setattr(predicting, "_predict", crash)
    predict_batch(studies, tmp_path / "one")
    for each in SHARDS:
        predict_batch(studies, tmp_path / "shards", workers=each)

    summary = merge_shards(tmp_path / "shards")

    assert [uid for uid, _ in summary.failed] == ["1.2.1"]
    pd.testing.assert_frame_equal(_worklist(tmp_path / "shards"), _worklist(tmp_path / "one"))
    monkeypatch.undo()
    for each in SHARDS:
        predict_batch(studies, tmp_path / "shards", workers=each)
    assert merge_shards(tmp_path / "shards").failed == ()


def test_an_answer_of_earlier_files_does_not_hide_a_crash(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection, out = tmp_path / "studies", tmp_path / "out"
    shutil.copytree(studies, collection)
    for each in SHARDS:
        predict_batch(collection, out, workers=each)
    assert merge_shards(out).failed == ()
    for path in (collection / "1").iterdir():
        os.utime(path, (1e9, 1e9))  # other files
    with monkeypatch.context() as patch:
        patch.setattr(predicting, "_predict", lambda *_: (_ for _ in ()).throw(RuntimeError("nonsense")))
        for each in SHARDS:
            predict_batch(collection, out, workers=each)

    assert (out / study_key("1.2.1") / "findings.json").is_file(), "the earlier answer"
    assert [uid for uid, _ in merge_shards(out).failed] == ["1.2.1"]
    assert pd.read_csv(out / "worklist.csv").set_index("study_instance_uid").loc["1.2.1", "not_assessable"] == "failed"


def test_a_damaged_answer_is_named_and_a_run_without_shards_is_not_undone(studies: Path, tmp_path: Path) -> None:
    for each in SHARDS:
        predict_batch(studies, tmp_path, workers=each)
    findings = tmp_path / study_key("1.2.2") / "findings.json"
    (findings.parent / "source.json").unlink()
    findings.write_bytes(b"")

    with pytest.raises(InputError, match=r"the results of 1 studies are damaged, first 1\.2\.2; run the shards again"):
        merge_shards(tmp_path)
    partial = merge_shards(tmp_path, partial=True)
    assert (partial.studies, partial.failed) == (3, (("1.2.2", "its result is damaged; run the shard again"),))

    predict_batch(studies, tmp_path)
    with pytest.raises(InputError, match="holds no shards; run its command with --shard first"):
        merge_shards(tmp_path)
    assert len(_worklist(tmp_path)) == 4


def test_localizations_are_the_same_and_resumed(studies: Path, tmp_path: Path) -> None:
    expected = localize_batch(studies, tmp_path / "one")

    parts = [localize_batch(studies, tmp_path / "shards", workers=each) for each in SHARDS]
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "shards").rglob("spine.json")}
    again = [localize_batch(studies, tmp_path / "shards", workers=each) for each in SHARDS]

    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert parts == again
    spines = sorted((spine for part in parts for spine in part), key=lambda spine: spine.study_instance_uid)
    assert spines == sorted(expected, key=lambda spine: spine.study_instance_uid)
    summary = merge_shards(tmp_path / "shards")
    assert (summary.command, summary.studies, summary.tables) == ("localize", 4, ())
    assert file_hashes(tmp_path / "shards") == file_hashes(tmp_path / "one")


@pytest.mark.slow
def test_phantoms(tmp_path: Path) -> None:
    settings = PhantomSettings(matrix=64, slice_spacing_mm=(2.8, 3.0))
    options: dict[str, Any] = {"studies": 2, "seed": 5, "settings": settings}
    expected = synthesize(tmp_path / "one", **options)

    parts = [synthesize(tmp_path / "shards", workers=each, **options) for each in SHARDS]
    assert not (tmp_path / "shards" / "train.csv").exists()
    summary = merge_shards(tmp_path / "shards")

    assert sum(part.fractured for part in parts) == expected.fractured
    assert (summary.command, summary.studies) == ("synth", 2)
    assert file_hashes(tmp_path / "shards") == file_hashes(tmp_path / "one")


def test_the_command_line_names_the_shard_that_is_missing(studies: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    shard = CliRunner().invoke(app, ["localize", str(studies), "--out", out, "--shard", "1/2", "--workers", "1"])
    merge = CliRunner().invoke(app, ["merge", out])
    partial = CliRunner().invoke(app, ["merge", out, "--partial", "--json"])

    assert shard.exit_code == 0
    assert "shard 1/2 is done; when all are:  cspine merge" in shard.stdout
    assert merge.exit_code == 2
    assert "shard 2 of 2 not finished" in merge.stderr
    assert "run it again, or merge what there is by --partial" in merge.stderr
    assert partial.exit_code == 1
    assert '"missing": [\n    2\n  ]' in partial.stdout


def test_a_job_array_divides_neither_one_study_nor_an_evaluation(
    studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"ID": "2", "MIN": "1", "MAX": "5", "COUNT": "5"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    one = CliRunner().invoke(app, ["localize", str(studies / "0"), "--out", str(tmp_path / "one")])
    many = CliRunner().invoke(app, ["localize", str(studies), "--out", str(tmp_path / "many"), "--workers", "1"])

    assert not Shard(2, 5).has("1.2.0")
    assert (tmp_path / "one" / "spine.json").is_file()
    assert not (tmp_path / "one" / "shards").exists()
    assert "is done; when all are" not in one.stdout
    assert "shard 2/5 is done; when all are" in many.stdout
    assert (explicit_shard(None), explicit_shard("all"), explicit_shard("2/5")) == (None, None, Shard(2, 5))


def test_an_evaluation_of_predictions_has_no_shards(tmp_path: Path) -> None:
    arguments = ["evaluate", "--truth", "a.csv", "--predictions", "b.csv", "--out", str(tmp_path), "--shard", "1/2"]
    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert "--shard: predictions are evaluated by one calculation over all studies" in result.stderr
    with pytest.raises(InputError, match="--shard 3/2: shards are counted from 1"):
        Shard.parse("3/2")
