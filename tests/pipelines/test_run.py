"""`cspine run`: folders of orchestrators, flat objects, result.json, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.support.dicom import make_hu, write_series
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.errors import InputError, OutputTakenError
from cspine.core.findings import Findings
from cspine.pipelines import run as module
from cspine.pipelines.run import Folders, find_folders, run_studies

HU = make_hu((16, 32, 40), (6.0, 3.0, 3.0))


def thick(folder: Path, study: str) -> Path:
    write_series(folder, HU, spacing=(6.0, 3.0, 3.0), study=study, series=f"{study}.1")
    return folder


def run(*arguments: object, **environment: str) -> Result:
    call = ["run", *(str(argument) for argument in arguments)]
    return CliRunner().invoke(app, call, env=environment, catch_exceptions=False)


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())  # type: ignore[no-any-return]


def test_options_precede_mercure_holoscan_monai_and_the_defaults() -> None:
    environment = {"MONAI_INPUTPATH": "/c", "HOLOSCAN_INPUT_PATH": "/b", "MERCURE_OUT_DIR": "/m", "MERCURE_IN_DIR": ""}

    assert find_folders({}) == Folders(Path("/input"), Path("/output"))
    assert find_folders(environment) == Folders(Path("/b"), Path("/m"))
    assert find_folders(environment, input_folder=Path("/a")) == Folders(Path("/a"), Path("/m"))


def test_many_studies_lie_flat_and_a_second_run_replaces_the_first(tmp_path: Path) -> None:
    for study in ("1.2.3", "1.2.4"):
        thick(tmp_path / "in" / study, study)
    folders = {"MERCURE_IN_DIR": str(tmp_path / "in"), "MERCURE_OUT_DIR": str(tmp_path / "out")}

    first, strict = run("--workers", 1, **folders), run("--workers", 1, "--strict", "--html", **folders)

    assert (first.exit_code, strict.exit_code) == (0, 1)
    assert "2 studies, 0 suspicious, 2 not assessable" in first.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {f"{study}-{name}" for study in ("1.2.3", "1.2.4") for name in ("report.dcm", "report.html")} | {
        "result.json"
    }
    result = read(tmp_path / "out")
    assert result["summary"] == {"studies": 2, "suspicious": 0, "assessed": 0, "not_assessable": 2, "failed": 0}
    assert [study["files"] for study in result["studies"]] == [
        [f"{study}-report.dcm", f"{study}-report.html"] for study in ("1.2.3", "1.2.4")
    ]
    assert all(Findings.model_validate(study["findings"]).not_assessable for study in result["studies"])
    assert result["__mercure_notification"]["text"].splitlines()[0].startswith("1.2.3: Cervical spine CT not assess")


def test_nothing_of_an_earlier_run_with_other_outputs_stays(tmp_path: Path) -> None:
    thick(tmp_path / "in", "1.2.3")
    folders = ("--in", tmp_path / "in", "--out", tmp_path / "out")
    run(*folders, "--fhir", "--html")
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {"fhir.json", "report.html"}
    for name in ("my-report.html", "notes.txt"):
        (tmp_path / "out" / name).write_text("of somebody else")

    run(*folders)

    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"report.dcm", "result.json", "my-report.html", "notes.txt"}


def test_a_run_that_fails_says_why_and_leaves_no_earlier_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thick(tmp_path / "in", "1.2.3")
    run("--in", tmp_path / "in", "--out", tmp_path / "out")

    def crash(*_: object, **__: object) -> None:
        raise ZeroDivisionError("Some^Body")

    monkeypatch.setattr(module, "predict_batch", crash)
    again = run("--in", tmp_path / "in", "--out", tmp_path / "out")

    assert again.exit_code == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["result.json"]
    assert (read(tmp_path / "out")["status"], read(tmp_path / "out")["studies"]) == ("failed", [])
    assert "ZeroDivisionError" in read(tmp_path / "out")["error"]
    assert "Some^Body" not in (tmp_path / "out" / "result.json").read_text()


def test_dicom_of_something_else_is_not_sent_as_a_result(tmp_path: Path) -> None:
    thick(tmp_path / "in", "1.2.3")
    thick(tmp_path / "out", "1.2.9")

    with pytest.raises(OutputTakenError, match="holds DICOM of something else"):
        run_studies(Folders(tmp_path / "in", tmp_path / "out"))
    with pytest.raises(InputError, match="is the folder of the input, too"):
        run_studies(Folders(tmp_path / "in", tmp_path / "in"))
    assert len(list((tmp_path / "out").iterdir())) == 16


def test_without_a_folder_for_temporary_files_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(**_: object) -> None:
        raise FileNotFoundError("no usable temporary directory")

    thick(tmp_path / "in", "1.2.3")
    (tmp_path / "out").mkdir()
    monkeypatch.setattr("tempfile.TemporaryDirectory", nowhere)

    result = run("--in", tmp_path / "in", "--out", tmp_path / "out")

    assert result.exit_code == 1
    assert "mount one at /tmp, or set TMPDIR" in result.stderr
    assert "mount one at /tmp" in read(tmp_path / "out")["error"]
