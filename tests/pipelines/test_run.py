"""`cspine run`: folders of orchestrators, flat objects, result.json, and what is refused."""

import errno
import json
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.support.dicom import make_hu, write_series
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.errors import InputError, OutputTakenError
from cspine.core.findings import Findings
from cspine.pipelines import run as module
from cspine.pipelines.run import Folders, find_folders, run_studies
from cspine.pipelines.run_output import STAGE_FOLDER

HU = make_hu((16, 32, 40), (6.0, 3.0, 3.0))


def thick(folder: Path, study: str) -> Path:
    write_series(folder, HU, spacing=(6.0, 3.0, 3.0), study=study, series=f"{study}.1")
    return folder


def run(*arguments: object, **environment: str) -> Result:
    call = ["run", *(str(argument) for argument in arguments)]
    return CliRunner().invoke(app, call, env=environment, catch_exceptions=False)


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())  # type: ignore[no-any-return]


def visible(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


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
    assert visible(tmp_path / "out") == {"result.json"}
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


def changed_study(tmp_path: Path) -> tuple[Path, Path]:
    """Run on a study, and then add a slice to it; return the folders."""
    last = max(thick(tmp_path / "in", "1.2.3").iterdir()).rename(tmp_path / "late.dcm")
    assert run("--in", tmp_path / "in", "--out", tmp_path / "out").exit_code == 0
    last.rename(tmp_path / "in" / "late.dcm")
    return tmp_path / "in", tmp_path / "out"


def listed(note: Path) -> list[str]:
    (item,) = [item for item in pydicom.dcmread(note).ContentSequence if "ReferencedSOPSequence" in item]
    return [str(item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID)]


def test_a_changed_answer_rejects_what_an_earlier_run_left(tmp_path: Path) -> None:
    source, out = changed_study(tmp_path)
    first = pydicom.dcmread(out / "report.dcm").SOPInstanceUID

    run("--in", source, "--out", out)

    (note,) = out.glob("rejected-*.dcm")
    report = pydicom.dcmread(out / "report.dcm")
    assert listed(note) == [first]
    assert first in str(report.PredecessorDocumentsSequence)
    assert {path.name for path in out.iterdir()} == {"report.dcm", note.name, "result.json"}
    assert set(read(out)["studies"][0]["files"]) == {"report.dcm", note.name}

    run("--in", source, "--out", out)  # the same answer replaces itself, and the note stays valid

    assert {path.name for path in out.iterdir()} == {"report.dcm", note.name, "result.json"}
    assert pydicom.dcmread(out / "report.dcm").SOPInstanceUID == report.SOPInstanceUID
    assert first in str(pydicom.dcmread(out / "report.dcm").PredecessorDocumentsSequence)


def test_earlier_results_of_another_folder_are_rejected_and_variables_are_options(tmp_path: Path) -> None:
    source, out = changed_study(tmp_path)
    first = pydicom.dcmread(out / "report.dcm").SOPInstanceUID

    result = run("--in", source, "--out", tmp_path / "new", CSPINE_SUPERSEDES=str(out), CSPINE_SEG="binary")
    wrong = run("--in", source, "--out", tmp_path / "new", CSPINE_SEG="fractional")

    (note,) = (tmp_path / "new").glob("rejected-*.dcm")
    assert (result.exit_code, listed(note)) == (0, [first])
    assert (wrong.exit_code, "CSPINE_SEG" in wrong.stderr) == (2, True)


@pytest.mark.parametrize("n_done", [0, 1, 2])
def test_a_copy_or_move_that_fails_shows_nothing_and_loses_no_earlier_answer(
    n_done: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = changed_study(tmp_path)
    first = pydicom.dcmread(out / "report.dcm").SOPInstanceUID
    replace, done = Path.replace, list[str]()

    def fail(path: Path, target: Path) -> Path:
        if path.parent.name == STAGE_FOLDER:
            if len(done) == n_done:
                raise OSError(errno.EIO, "input/output error")
            done.append(path.name)
        return replace(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", fail)
        failed = run("--in", source, "--out", out)

    assert failed.exit_code == 1
    assert (visible(out), read(out)["status"]) == ({"result.json"}, "failed")
    assert "the disk fails" in read(out)["error"]
    assert not (out / STAGE_FOLDER).exists()

    assert run("--in", source, "--out", out).exit_code == 0
    (note,) = out.glob("rejected-*.dcm")
    assert listed(note) == [first]


def test_a_kill_while_files_are_moved_loses_no_earlier_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        """The end of the process: nothing is tidied."""

    source, out = changed_study(tmp_path)
    first = pydicom.dcmread(out / "report.dcm").SOPInstanceUID
    (out / STAGE_FOLDER).mkdir()
    (out / STAGE_FOLDER / "half.dcm").write_text("half")  # of a run that was killed while it copied
    unlink, replace = Path.unlink, Path.replace

    def stop(path: Path, target: Path) -> Path:
        if path.name == "result.json" and path.parent.name == STAGE_FOLDER:
            monkeypatch.setattr(Path, "unlink", lambda *_, **__: None)
            raise Killed
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(Killed):
        run_studies(Folders(source, out))
    monkeypatch.setattr(Path, "replace", replace)
    monkeypatch.setattr(Path, "unlink", unlink)
    assert "result.json" not in visible(out)
    assert "report.dcm" in visible(out)  # whole, and of the new answer

    assert run("--in", source, "--out", out).exit_code == 0

    (note,) = out.glob("rejected-*.dcm")
    assert listed(note) == [first]
    assert {path.name for path in out.iterdir()} == {"report.dcm", note.name, "result.json"}


def test_an_option_without_what_it_belongs_to_is_a_wrong_call(tmp_path: Path) -> None:
    thick(tmp_path / "in", "1.2.3")
    predict = ("predict", tmp_path / "in", "--out", tmp_path / "out")
    calls = {
        (*predict, "--seg", "binary", "--supersedes", tmp_path): "--seg, --supersedes: have no effect without --dicom",
        (*predict, "--dicom", "--fhir-release", "R4"): "--fhir-release: has no effect without --fhir",
        (*predict, "--vertebrae-labels", "verse"): "--vertebrae-labels: has no effect without --vertebrae",
        ("run", "--fhir-release", "R4"): "--fhir-release: has no effect without --fhir",
    }
    for call, sentence in calls.items():
        result = CliRunner().invoke(app, [str(argument) for argument in call], catch_exceptions=False)
        assert (result.exit_code, result.stderr.count("\n"), sentence in result.stderr) == (2, 1, True)
    assert not (tmp_path / "out").exists()
