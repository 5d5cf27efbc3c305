"""Media with a DICOMDIR: the files that it references are loaded, and no others."""

import gc
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.fileset import FileSet
from tests.support.dicom import STUDY_UID, make_hu, write_series

from cspine.core.errors import DicomError, SourceError
from cspine.dicom import discover, load_volume
from cspine.dicom.codec.header import suppress_pydicom_warnings

HU = make_hu((14, 20, 24))


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    """A medium with one series below a DICOMDIR, and a stray image that the DICOMDIR does not list."""

    def complete(dataset: Dataset, _: int) -> Dataset:
        dataset.SOPClassUID, dataset.Modality = "1.2.840.10008.5.1.4.1.1.2", "CT"
        dataset.StudyDate, dataset.StudyTime, dataset.StudyID, dataset.SeriesNumber = "20200101", "120000", "1", 1
        dataset.AccessionNumber = ""
        return dataset

    files = FileSet()
    for path in write_series(tmp_path / "in", HU, change=complete):
        files.add(path)
    files.write(tmp_path / "medium")
    with warnings.catch_warnings():  # pydicom leaves its temporary folder to the garbage collector, which warns
        warnings.simplefilter("ignore")
        del files
        gc.collect()
    stray = write_series(tmp_path / "stray", HU, series=f"{STUDY_UID}.7", study="1.9", change=complete)[0]
    stray.rename(tmp_path / "medium" / "STRAY")
    return tmp_path / "medium"


def test_a_dicomdir_loads_the_files_that_it_references(medium: Path) -> None:
    volume = load_volume(medium / "DICOMDIR")

    np.testing.assert_array_equal(volume.array, HU)


def test_the_folder_of_a_medium_loads_all_its_files(medium: Path) -> None:
    discovery = discover(medium)

    assert len(discovery.studies) == 2
    assert [(skip.name, skip.reason) for skip in discovery.skipped] == [
        ("DICOMDIR", "a DICOMDIR; the files beside it are read themselves")
    ]


def test_a_referenced_file_that_is_missing_is_skipped_by_name(medium: Path) -> None:
    missing_path = min(path for path in medium.rglob("*") if path.is_file() and path.name not in {"DICOMDIR", "STRAY"})
    missing_path.unlink()

    (skip,) = discover(medium / "DICOMDIR").skipped

    assert skip.name == missing_path.relative_to(medium).as_posix()
    assert skip.reason.startswith("is not there")


@pytest.mark.parametrize("given", ["DICOMDIR", "", "medium.zip"])
def test_members_that_are_missing_are_warnings_of_the_study(medium: Path, given: str) -> None:
    (medium / "STRAY").unlink()
    images = sorted(path for path in medium.rglob("*") if path.is_file() and path.name != "DICOMDIR")
    for path in images[10:]:
        path.unlink()
    if given == "medium.zip":
        shutil.make_archive(str(medium), "zip", medium)
        medium = medium.with_name("medium.zip")

    (study,) = discover(medium / given if given == "DICOMDIR" else medium).studies

    (warning,) = study.warnings
    assert warning.startswith(f"{len(HU) - 10} files could not be read, first: ")
    assert warning.endswith("is not there, though the DICOMDIR lists it; copy the medium again")


def test_a_report_that_is_missing_is_no_lost_slice(medium: Path) -> None:
    dataset = dcmread(medium / "DICOMDIR")
    record = next(r for r in dataset.DirectoryRecordSequence if r.DirectoryRecordType == "IMAGE")
    path = medium.joinpath(*record.ReferencedFileID)
    record.DirectoryRecordType = "SR DOCUMENT"
    dataset.save_as(medium / "DICOMDIR")
    path.unlink()

    (study,) = discover(medium / "DICOMDIR").studies

    assert study.warnings == ()
    assert [file.reason.split(",")[0] for file in study.skipped] == ["is not there"]


def test_a_medium_whose_files_were_renamed_is_read_without_a_warning(medium: Path) -> None:
    for number, path in enumerate(sorted(medium.rglob("*"))):
        if path.is_file() and path.name not in {"DICOMDIR", "STRAY"}:
            path.rename(medium / f"{number}.dcm")

    assert all(study.warnings == () for study in discover(medium).studies)


@pytest.mark.parametrize(
    "rename", [str.lower, str.title, lambda name: f"{name};1", lambda name: f"{name}.", lambda name: f"{name}.dcm"]
)
def test_references_are_found_under_the_names_that_copies_have(medium: Path, rename: Callable[[str], str]) -> None:
    for path in sorted(medium.rglob("*"), key=lambda path: -len(path.parts)):
        if path.name not in {"DICOMDIR", "STRAY"}:
            path.rename(path.with_name(rename(path.name) if path.is_file() else path.name.lower()))

    np.testing.assert_array_equal(load_volume(medium / "DICOMDIR").array, HU)


@pytest.mark.parametrize("name", [["..", "secret"], ["a/../../b"], ["/etc", "passwd"], ["C:", "x"]])
def test_a_dicomdir_that_references_files_outside_its_folder_is_rejected(medium: Path, name: list[str]) -> None:
    dataset = dcmread(medium / "DICOMDIR")
    record = next(r for r in dataset.DirectoryRecordSequence if r.DirectoryRecordType == "IMAGE")
    with suppress_pydicom_warnings():
        record.ReferencedFileID = name
        dataset.save_as(medium / "DICOMDIR")

    with pytest.raises(DicomError, match=r"^DICOMDIR: names a file outside its folder"):
        discover(medium / "DICOMDIR")


def test_a_dicomdir_without_files_is_rejected(medium: Path) -> None:
    dataset = dcmread(medium / "DICOMDIR")
    dataset.DirectoryRecordSequence = []
    dataset.save_as(medium / "DICOMDIR")

    with pytest.raises(SourceError, match=r"^DICOMDIR: lists no files"):
        discover(medium / "DICOMDIR")
