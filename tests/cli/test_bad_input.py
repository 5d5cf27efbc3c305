"""Bad input through the command line: one clear sentence, the right exit code, nothing lost or half-written."""

import errno
import os
import signal
import struct
import subprocess
import sys
import time
import warnings
import zipfile
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import make_hu, write_series
from typer.testing import CliRunner, Result

from cspine.cli import app
from cspine.core.anatomy import TARGETS
from cspine.core.files import complete_files
from cspine.datasets.compiled import CompiledDataset

HU = make_hu((16, 32, 40), (6.0, 3.0, 3.0))
SPACING = (2.5, 3.0, 3.0)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def study(folder: Path, uid: str = "1.2.3", **options: object) -> Path:
    write_series(folder, HU, spacing=SPACING, study=uid, series=f"{uid}.1", **options)  # type: ignore[arg-type]
    return folder


def rsna(root: Path, uids: list[str], *, labeled: list[str] | None = None) -> Path:
    for uid in uids:
        study(root / "train_images" / uid, uid)
    rows = [[uid, *[0] * len(TARGETS)] for uid in (uids if labeled is None else labeled)]
    pd.DataFrame(rows, columns=["StudyInstanceUID", *TARGETS]).to_csv(root / "train.csv", index=False)
    return root


def drop_spacing(dataset: Dataset, _: int) -> Dataset:
    del dataset.PixelSpacing
    return dataset


@pytest.mark.parametrize("command", ["inspect", "compile", "predict"])
def test_an_empty_folder(tmp_path: Path, command: str) -> None:
    (tmp_path / "in").mkdir()
    options = () if command == "inspect" else ("--out", tmp_path / "out")

    result = run(command, tmp_path / "in", *options)

    assert result.exit_code == 2
    assert "the folder is empty; give the folder that holds the DICOM files" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["inspect", "compile", "predict"])
def test_text_files_named_dcm(tmp_path: Path, command: str) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"{number}.dcm").write_text("Dear colleague")
    options = () if command == "inspect" else ("--out", tmp_path / "out")

    result = run(command, tmp_path / "in", *options)

    assert result.exit_code == 2
    assert "none of the 3 files is readable DICOM, first: 0.dcm: is not a DICOM file" in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_truncated_file_refuses_the_study_by_name(tmp_path: Path) -> None:
    path = study(tmp_path / "in") / "7.dcm"
    path.write_bytes(path.read_bytes()[:-1000])

    result = run("predict", tmp_path / "in", "--weights", "baseline-cnn", "--out", tmp_path / "out")
    strict = run("predict", tmp_path / "in", "--weights", "baseline-cnn", "--out", tmp_path / "out", "--strict")

    assert (result.exit_code, strict.exit_code) == (0, 1)  # that it is not assessable is an answer
    assert "a 5.0 mm gap" in result.stderr
    assert "what would help: send the complete series, with the slices that are missing" in result.stderr
    assert "1 file of the study could not be read, first: 7.dcm: is cut off within its pixels" in result.stderr
    assert '"code": "geometry"' in (tmp_path / "out" / "findings.json").read_text()


def test_missing_pixel_spacing_refuses_the_study_by_name(tmp_path: Path) -> None:
    study(tmp_path / "in", change=drop_spacing)

    result = run("predict", tmp_path / "in", "--weights", "baseline-cnn", "--out", tmp_path / "out")

    assert result.exit_code == 0
    assert "PixelSpacing is missing, so the image cannot be placed in space" in result.stderr
    assert '"code": "no-series"' in (tmp_path / "out" / "findings.json").read_text()
    assert "PixelSpacing is missing" in (tmp_path / "out" / "report.html").read_text()
    inspected = run("inspect", tmp_path / "in")
    assert inspected.exit_code == 1
    assert "PixelSpacing" in inspected.stdout


def test_two_series_are_both_shown_and_one_is_read_with_reasons(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "thick", HU, spacing=(5, 3, 3), study="1.2.3", series="1.2.3.5")
    study(tmp_path / "in" / "thin")

    result = run("predict", tmp_path / "in", "--weights", "baseline-cnn", "--out", tmp_path / "out", "--json")

    assert result.exit_code == 0
    assert '"series_instance_uid": "1.2.3.1"' in result.stdout
    assert "coarser than the selected 2.50 mm" in (tmp_path / "out" / "report.html").read_text()


def test_a_missing_slice_is_refused_with_its_place(tmp_path: Path) -> None:
    study(tmp_path / "in", change=lambda dataset, k: None if k == 8 else dataset)

    result = run("predict", tmp_path / "in", "--weights", "baseline-cnn", "--out", tmp_path / "out")

    assert result.exit_code == 0
    assert "8.dcm and 10.dcm: a 5.0 mm gap" in result.stderr
    allowed = run("predict", tmp_path / "in", "--weights", "baseline-cnn", "--out", tmp_path / "out", "--max-gap-mm", 5)
    assert allowed.exit_code == 0
    assert "gaps from 2.50 to 5.00 mm" in allowed.stdout


def test_a_duplicate_slice_is_left_out_with_a_warning(tmp_path: Path) -> None:
    study(tmp_path / "in")
    (tmp_path / "in" / "copy.dcm").write_bytes((tmp_path / "in" / "3.dcm").read_bytes())

    result = run("predict", tmp_path / "in", "--weights", "baseline-cnn", "--out", tmp_path / "out")

    assert result.exit_code == 0
    assert "1 duplicate slice removed, first: copy.dcm lies where 3.dcm does" in result.stdout


def test_a_zip_whose_names_lead_out(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        archive.writestr("../../outside.dcm", b"x")

    result = run("predict", tmp_path / "in.zip", "--weights", "baseline-cnn", "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "leads out of the archive" in result.stderr
    assert not (tmp_path.parent / "outside.dcm").exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.zip"]


def test_a_zip_that_expands_to_100_gb(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for number in range(100):
            archive.writestr(f"{number}.dcm", b"x")
    data = bytearray((tmp_path / "in.zip").read_bytes())
    place = data.find(b"PK\x01\x02")
    while place >= 0:
        struct.pack_into("<I", data, place + 24, 10**9)
        place = data.find(b"PK\x01\x02", place + 4)
    (tmp_path / "in.zip").write_bytes(data)

    result = run("compile", tmp_path / "in.zip", "--straight", "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "would expand to 93.1 GiB, at most 16 GiB are read" in result.stderr
    assert not (tmp_path / "out").exists()


def test_labels_without_studies_and_studies_without_labels(tmp_path: Path) -> None:
    root = rsna(tmp_path / "in", ["1.1", "1.2"], labeled=["1.2", "1.3"])

    result = run("compile", root, "--straight", "--out", tmp_path / "out", "--workers", 1)

    assert result.exit_code == 1
    assert "study 1.3: has labels but no images" in result.stderr
    assert "1 studies have no row in train.csv" in result.stdout
    store = CompiledDataset.open(tmp_path / "out")
    assert store.manifest().groupby("study_instance_uid")["C1"].count().to_dict() == {"1.1": 0, "1.2": 9}
    assert store.studies().set_index("study_instance_uid")["status"].to_dict() == {
        "1.1": "compiled", "1.2": "compiled", "1.3": "failed",
    }  # fmt: skip


def test_labels_that_contradict_themselves_write_nothing(tmp_path: Path) -> None:
    root = rsna(tmp_path / "in", ["1.1"])
    (root / "train.csv").write_text(f"StudyInstanceUID,{','.join(TARGETS)}\n1.1,0,1,0,0,0,0,0,0\n")

    result = run("compile", root, "--straight", "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "train.csv" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("command", ["compile", "predict", "synth"])
def test_an_output_folder_that_holds_something_else(tmp_path: Path, command: str) -> None:
    study(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").write_text("years of work")
    path = () if command == "synth" else (tmp_path / "in",)

    result = run(command, *path, "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "holds files of something else" in result.stderr
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.doc"]


def test_a_compiled_folder_of_other_settings(tmp_path: Path) -> None:
    study(tmp_path / "in")
    assert run("compile", tmp_path / "in", "--straight", "--out", tmp_path / "out").exit_code == 0

    result = run("compile", tmp_path / "in", "--straight", "--out", tmp_path / "out", "--count", 3)

    assert result.exit_code == 2
    assert "was begun with another count (9, now 3)" in result.stderr


def test_a_full_disk_keeps_what_is_finished_and_the_next_run_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = rsna(tmp_path / "in", ["1.1", "1.2", "1.3"])
    n_files = 0
    write_bytes = Path.write_bytes

    def fills_up(self: Path, data: bytes) -> int:
        nonlocal n_files
        n_files += 1
        if n_files > 12:  # in the midst of the second study's nine images
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    result = run("compile", root, "--straight", "--out", tmp_path / "out", "--workers", 1)
    monkeypatch.undo()

    assert result.exit_code == 1
    assert "the disk is full; free some space and run the same command again" in result.stderr
    assert [path.stem for path in (tmp_path / "out" / "records").iterdir()] == ["1.1"]
    again = run("compile", root, "--straight", "--out", tmp_path / "out", "--workers", 1)
    assert again.exit_code == 0
    assert "3 studies compiled (1 of them by an earlier run), 0 failed" in again.stdout
    assert len(CompiledDataset.open(tmp_path / "out").manifest()) == 27
    assert not list((tmp_path / "out").rglob("*.part*"))


def _finished(store: Path) -> set[str]:
    """The studies whose record is written."""
    return {path.stem for path in complete_files(store / "records", "*.json")}


def test_ctrl_c_in_the_middle_and_a_second_run(tmp_path: Path) -> None:
    uids = [f"1.{number}" for number in range(1, 31)]
    root = rsna(tmp_path / "in", uids)
    command = [
        sys.executable,
        "-m",
        "cspine",
        "compile",
        str(root),
        "--straight",
        "--out",
        str(tmp_path / "out"),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 60
    while not _finished(tmp_path / "out") and time.monotonic() < deadline:
        time.sleep(0.005)

    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "interrupted; nothing is half-written, run the same command again: what it has finished is kept" in stderr
    assert "Traceback" not in stderr
    finished = _finished(tmp_path / "out")
    assert 0 < len(finished) < len(uids)
    times = {uid: (tmp_path / "out" / "images" / uid / "00.jpg").stat().st_mtime_ns for uid in finished}

    again = run("compile", root, "--straight", "--out", tmp_path / "out", "--workers", 2)

    assert again.exit_code == 0
    assert f"30 studies compiled ({len(finished)} of them by an earlier run), 0 failed" in again.stdout
    assert times == {uid: (tmp_path / "out" / "images" / uid / "00.jpg").stat().st_mtime_ns for uid in finished}
    assert len(CompiledDataset.open(tmp_path / "out").manifest()) == 30 * 9


def test_a_broken_study_stops_nothing(tmp_path: Path) -> None:
    root = rsna(tmp_path / "in", ["1.1", "1.2", "1.3"])
    (root / "train_images" / "1.2" / "4.dcm").write_bytes(b"rubbish" * 100)
    for path in (root / "train_images" / "1.3").iterdir():
        path.write_text("Dear colleague")

    result = run("compile", root, "--straight", "--out", tmp_path / "out", "--workers", 2)

    assert result.exit_code == 1
    assert "1 studies compiled, 2 failed" in result.stdout
    assert "study 1.2: " in result.stderr
    reasons = CompiledDataset.open(tmp_path / "out").studies().set_index("study_instance_uid")["reason"]
    assert "a 5.0 mm gap" in reasons["1.2"]
    assert "is not a DICOM file" in reasons["1.3"]


def test_hostile_text_in_a_file_is_inert_everywhere(tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>"

    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.PatientName = f"{evil}^Secret"
        dataset.ConvolutionKernel = "<img src=x>"
        dataset.SeriesDescription = evil
        return dataset

    study(tmp_path / "in", change=change)

    result = run("predict", tmp_path / "in", "--weights", "baseline-cnn", "--out", tmp_path / "out")

    html = (tmp_path / "out" / "report.html").read_text()
    assert result.exit_code == 0
    assert "<script" not in html
    assert "<img src=x>" not in html
    assert "&lt;img src=x&gt;" in html
    everything = result.output + html + (tmp_path / "out" / "findings.json").read_text()
    assert "Secret" not in everything
    assert "somebody" not in everything


def test_a_study_uid_that_leads_elsewhere_stays_in_the_folder(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom knows that this is no UID
        study(tmp_path / "in" / "a", "../../../escape")
    study(tmp_path / "in" / "b", "1.2")

    result = run("compile", tmp_path / "in", "--straight", "--out", tmp_path / "out", "--workers", 1)

    assert result.exit_code == 0
    assert not list(tmp_path.parent.glob("escape*"))
    keys = {path.name for path in (tmp_path / "out" / "images").iterdir()}
    assert len(keys) == 2
    assert all(key == "1.2" or key.startswith("study-") for key in keys)


@pytest.mark.parametrize(
    ("command", "options", "gap_mm", "code"), [("compile", ["--straight"], 6000.0, 1), ("predict", [], 2.5, 0)]
)
def test_lengths_that_no_ct_has_are_refused_before_memory_is_asked_for(
    tmp_path: Path, command: str, options: list[str], gap_mm: float, code: int
) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.PixelSpacing = ["99", "99"]
        dataset.ImagePositionPatient = ["0", "0", str(gap_mm * k)]
        return dataset

    study(tmp_path / "in", change=change)

    result = run(command, tmp_path / "in", *options, "--out", tmp_path / "out")

    assert result.exit_code == code
    assert "by its headers the scan is " in result.stderr
    assert "m large, which no " in result.stderr


def test_markup_and_control_characters_in_a_file_do_nothing_in_the_terminal(tmp_path: Path) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.ConvolutionKernel = "[/b]\x1b]0;own\x07"
        return dataset

    study(tmp_path / "in", change=change)

    for call in (
        ("inspect", tmp_path / "in"),
        ("predict", tmp_path / "in", "--weights", "baseline-cnn", "--out", tmp_path / "out"),
    ):
        result = run(*call)
        assert result.exit_code == 0
        assert "\x1b]" not in result.output
        assert "[/b]?]0;own?" in "".join(result.stdout.split())


def test_an_unforeseen_error_is_one_sentence_without_what_it_quotes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("Some^Body")

    study(tmp_path / "in")
    monkeypatch.setattr("cspine.dicom.inspection.inspect", fail)

    result = run("inspect", tmp_path / "in")

    assert result.exit_code == 1
    assert "unexpected ZeroDivisionError; please report it" in result.stderr
    assert "Some^Body" not in result.output
