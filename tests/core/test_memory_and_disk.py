"""Too little memory and disks that cannot be written: the fact and the remedy, whatever a library makes of it."""

import errno
import io
import os
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from cspine.core.errors import (
    DecodeError,
    DiskFullError,
    InputError,
    OutOfMemoryError,
    OutputError,
    is_memory_error,
    memory_errors,
)
from cspine.core.files import append_line, atomic_path, output_errors, write_text
from cspine.core.identifiers import pseudonym, study_key
from cspine.core.not_assessable import not_assessable_from
from cspine.core.text import sanitize_text


def chain(error: Exception, cause: Exception) -> Exception:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        RuntimeError("std::bad_alloc"),
        RuntimeError("can't start new thread"),
        ImportError("/lib/x.so: failed to map segment from shared object"),
        chain(DecodeError("a.dcm: cannot be decoded; copy it again"), MemoryError()),
    ],
)
def test_errors_of_memory_name_the_study_and_the_remedy(error: Exception) -> None:
    sentence = r"^study 1\.2: memory or threads ran out; .* use fewer --workers$"
    with pytest.raises(OutOfMemoryError, match=sentence), memory_errors("study 1.2"):
        raise error


def test_numpy_without_memory_is_an_error_of_memory() -> None:
    with pytest.raises(OutOfMemoryError), memory_errors("study 1.2"):
        np.empty(2**60, np.uint8)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(InputError, match="a: is odd"), memory_errors("study 1.2"):
        raise InputError("a: is odd")
    assert not is_memory_error(chain(InputError("a: is odd"), ValueError("odd")))


def test_a_study_is_not_judged_where_memory_ran_out() -> None:
    with pytest.raises(OutOfMemoryError, match=r"^a\.dcm: memory or threads ran out"):
        not_assessable_from(chain(DecodeError("a.dcm: cannot be decoded; copy it again"), MemoryError()))  # type: ignore[arg-type]
    assert not_assessable_from(DecodeError("a.dcm: cannot be decoded")).code == "pixels"


class _FullFile(io.BytesIO):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, _: object) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("number", "kind", "sentence"),
    [
        (errno.ENOSPC, DiskFullError, "the disk is full; free some space"),
        (errno.EDQUOT, DiskFullError, "your share of the disk is full"),
        (errno.EFBIG, DiskFullError, "the disk is full for it, since files may not be so large"),
        (errno.EROFS, OutputError, "the file system is read-only; choose another folder"),
        (errno.EIO, OutputError, "the disk fails or is gone"),
    ],
)
def test_the_writer_of_dicom_reports_the_disk_and_no_traceback(
    tmp_path: Path, number: int, kind: type[Exception], sentence: str
) -> None:
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian

    with pytest.raises(kind, match=sentence) as caught, atomic_path(tmp_path / "a.dcm"):
        dataset.save_as(_FullFile(number), enforce_file_format=True)

    assert "Traceback" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_an_error_that_is_not_the_disks_is_not_blamed_on_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="odd"), atomic_path(tmp_path / "a"):
        raise ValueError("odd")
    with pytest.raises(InputError, match="source"), output_errors(tmp_path / "a"):
        raise chain(InputError("source: cannot be read"), OSError(errno.EIO, "odd"))


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EMFILE, "too many files are open; raise the limit"),
        (errno.ENAMETOOLONG, "the path is too long"),
        (errno.EACCES, r"cannot be written \(Permission denied\); check the folder's permissions"),
    ],
)
def test_a_folder_that_takes_no_file_has_its_own_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, sentence: str
) -> None:
    def refuse(**_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("cspine.core.files.tempfile.mkstemp", refuse)

    with pytest.raises(OutputError, match=sentence):
        write_text(tmp_path / "a", "")


def test_a_file_that_windows_holds_open_is_named_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hold(*_: object) -> None:
        error = PermissionError(errno.EACCES, "The process cannot access the file")
        error.winerror = 32  # type: ignore[attr-defined,unused-ignore]
        raise error

    monkeypatch.setattr(Path, "replace", hold)

    with pytest.raises(OutputError, match="another program has it open; close it"):
        write_text(tmp_path / "a", "")
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_modes_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(Path, "chmod", refuse)

    write_text(tmp_path / "a", "text")

    assert (tmp_path / "a").read_text(encoding="utf-8") == "text"


def test_names_that_are_not_utf8_stay_different_and_can_be_written(tmp_path: Path) -> None:
    names = ["caf\udce9", "caf\udcff", "caf?"]

    assert [sanitize_text(name) for name in names] == ["caf\\xe9", "caf\\xff", "caf?"]
    assert len({study_key(name) for name in names}) == 3
    assert len(pseudonym(names[0], "1.2")) == 16
    write_text(tmp_path / "a", names[0])
    append_line(tmp_path / "a", names[1])
    assert (tmp_path / "a").read_bytes().isascii()


@pytest.mark.parametrize("uid", ["CON", "nul", "aux.txt", "1.2.", "1.2 ", "a:b", "1" * 65, "A", "a"])
def test_folders_of_studies_have_names_that_every_system_takes(uid: str) -> None:
    key = study_key(uid)

    assert key.startswith("study-")
    assert key.removeprefix("study-").isalnum()
    assert key == key.lower()
