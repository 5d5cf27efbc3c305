"""``cspine import``, ``cspine duplicates`` and ``cspine split --sets``."""

import json
from pathlib import Path

import pytest
from tests.support.layouts import write_ctspine1k, write_verse
from typer.testing import CliRunner, Result

from cspine.cli import app


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One phantom in two layouts."""
    folder = tmp_path_factory.mktemp("layouts")
    write_verse(folder / "verse")
    write_ctspine1k(folder / "ctspine1k")
    return folder


def test_a_second_data_set_lists_what_is_in_the_first(folder: Path, tmp_path: Path) -> None:
    first = run("import", "verse", folder / "verse", "--out", tmp_path / "a", "--workers", "1", "--json")
    second = run(
        "import",
        "ctspine1k",
        folder / "ctspine1k",
        "--out",
        tmp_path / "b",
        "--beside",
        tmp_path / "a",
        "--workers",
        "1",
    )
    listed = run("duplicates", tmp_path / "a", tmp_path / "b", "--json")
    split = run("split", "--sets", tmp_path / "a", "--sets", tmp_path / "b", "--out", tmp_path / "split.json")

    sentence = "a/verse-sub-verse500_dir-sag and b/ctspine1k-HN_P001_pre: same voxels"
    assert json.loads(first.stdout)["imported"] == 1
    assert sentence in second.stdout.replace("\n", " ")
    assert "Research use only" in second.stderr
    assert json.loads(listed.stdout)["duplicates"][0].startswith(sentence)
    assert split.exit_code == 0
    parts = json.loads((tmp_path / "split.json").read_text(encoding="utf-8"))["parts"].values()
    assert sorted(map(len, parts)) == [0, 0, 0, 2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["import", "nifti", "{}/verse", "--out", "{}/out"], "--license: is needed of the layout nifti"),
        (["import", "rsna", "{}/verse", "--out", "{}/out"], "has no train_images/ and train.csv"),
        (["import", "verse", "{}/verse", "--out", "{}/verse/out"], "lies within the data set"),
        (["import", "verse", "{}/verse", "--out", "{}/out", "--beside", "{}/verse"], "is no data set of cspine import"),
        (["split", "--out", "{}/split.json"], "--truth, --sets: give one of them"),
    ],
)
def test_what_is_wrong_is_one_sentence(folder: Path, arguments: list[str], sentence: str) -> None:
    result = run(*(argument.replace("{}", str(folder)) for argument in arguments))

    assert result.exit_code in {1, 2}
    assert sentence in result.stderr.replace("\n", " ")
    assert not (folder / "out").exists()
