"""Files that could not be read become warnings of the study they belong to; what lies beside images does not."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from pydicom import Dataset
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import GeometryError
from cspine.dicom import discover, load_volume, open_series
from cspine.dicom.study_collection import StudySource

HU = make_hu((14, 20, 24))


def pad(dataset: Dataset, k: int) -> Dataset:
    dataset.ImageComments = "x" * (6000 - k)  # so that slices are no longer than a few kilobytes
    return dataset


def cut_header(data: bytes) -> bytes:
    return data[:700]


def cut_at_an_element(data: bytes) -> bytes:
    return data[: data.index(b"\x20\0\x0d\0UI")]  # before StudyInstanceUID


def cut_before_the_pixels(data: bytes) -> bytes:
    return data[: data.index(b"\xe0\x7f\x10\0OW")]


DAMAGES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda _: b"", "is empty; copy it again"),
    "zeros": (lambda data: bytes(len(data)), "holds nothing but zeros; copy it again"),
    "random": (lambda data: b"\xaa" + os.urandom(len(data)), "is not a DICOM file; take it out of the folder"),
    "cut in the header": (cut_header, "ends before its pixels, so it is cut off; copy it again"),
    "cut before an element": (cut_at_an_element, "ends before its pixels, so it is cut off; copy it again"),
    "cut before the pixels": (cut_before_the_pixels, "ends before its pixels, so it is cut off; copy it again"),
    "cut in the pixels": (lambda data: data[:-100], "is cut off within its pixels; copy it again"),
    "header, then zeros": (lambda data: data[:700] + bytes(len(data) - 700), "copy"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("where", ["folder", "zip", "challenge"])
def test_lost_slices_are_counted_and_named_in_the_study(tmp_path: Path, damage: str, where: str) -> None:
    change, reason = DAMAGES[damage]
    paths = write_series(tmp_path / "in", HU)
    for path in paths[10:]:
        path.write_bytes(change(path.read_bytes()))
    source = tmp_path / "in"
    if where == "zip":
        source = tmp_path / "in.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in paths:
                archive.write(path, f"study/{path.name}")
    if where == "challenge":
        study = StudySource("1.2", folder=source).open()
    else:
        (study,) = discover(source).studies

    prefix = "study/" if where == "zip" else ""
    assert len(study.series) == 1
    assert len(study.series[0].headers) == 10
    (warning,) = study.warnings
    names = ", ".join(f"{prefix}{n}.dcm" for n in (11, 12, 13))
    assert warning.startswith(f"4 files could not be read, first: {names}: ")
    assert reason in warning
    assert len(study.lost_files) == 4


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Thumbs.db", os.urandom(5000)), ("desktop.ini", b"[.ShellClassInfo]"), ("readme.txt", b"Dear colleague"),
        ("LICENSE", b""), ("VERSION", b""), ("autorun.inf", b"[autorun]"), ("viewer.exe", b"MZ" + os.urandom(3000)),
        ("report.pdf", b"%PDF-1.4\n" + os.urandom(3000)), ("index.html", b"<html></html>"),
        ("1.jpg", b"\xff\xd8\xff\xe0"),
        ("Report.docx", b"PK\x03\x04" + os.urandom(100)), ("labels.xlsx", b"PK\x03\x04" + os.urandom(100)),
        ("arrays.npz", b"PK\x03\x04" + os.urandom(100)), ("setup.cab", b"MSCF" + os.urandom(100)),
        ("_SUCCESS", b""), ("series.json", b"{}"), ("jre.jar", b"PK\x03\x04" + os.urandom(100)), ("cursor.cur", b""),
    ],
)  # fmt: skip
def test_what_lies_beside_images_is_no_lost_slice(tmp_path: Path, name: str, content: bytes) -> None:
    write_series(tmp_path, HU)
    (tmp_path / name).write_bytes(content)

    (study,) = discover(tmp_path).studies

    assert study.warnings == ()
    assert [(file.name, file.is_lost) for file in study.skipped] == [(name, False)]


@pytest.mark.parametrize(
    ("existing", "lost"),
    [
        ("IM{:05d}", "IM00099"),
        ("1.2.840.{}", "1.2.840.99"),
        ("CT.1.2.840.{}.dcm", "CT.1.2.840.99.dcm"),
        ("a{:031x}", "b" + "0" * 30 + "1"),
        ("{:08x}-0000-4000-8000-000000000000", "deadbeef-1111-4222-8333-444455556666"),
        ("slice_{}.IMA", "other.IMA"),
    ],
)
def test_names_like_the_studys_own_are_lost_slices(tmp_path: Path, existing: str, lost: str) -> None:
    for k, path in enumerate(write_series(tmp_path, HU)):
        path.rename(tmp_path / existing.format(k))
    (tmp_path / lost).touch()

    (study,) = discover(tmp_path).studies

    assert study.warnings == (f"1 file could not be read: {lost}: is empty; copy it again",)


def test_a_file_as_long_as_the_slices_is_a_lost_slice(tmp_path: Path) -> None:
    paths = write_series(tmp_path, HU, change=pad)
    (tmp_path / "copy of a slice").write_bytes(b"\xaa" * paths[3].stat().st_size)

    (study,) = discover(tmp_path).studies

    assert [file.name for file in study.lost_files] == ["copy of a slice"]


def test_a_picture_as_long_as_the_slices_is_no_lost_slice(tmp_path: Path) -> None:
    paths = write_series(tmp_path, HU, change=pad)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0".ljust(paths[3].stat().st_size, b"\xaa"))

    (study,) = discover(tmp_path).studies

    assert study.warnings == ()


def test_a_lost_file_among_several_studies_belongs_to_none(tmp_path: Path) -> None:
    write_series(tmp_path / "x" / "a", HU, study="1.1")
    write_series(tmp_path / "x" / "b", HU, study="1.2")
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "99.dcm").touch()

    assert [study.skipped for study in discover(tmp_path).studies] == [(), ()]


def test_a_folder_that_was_copied_as_an_empty_file_is_told(tmp_path: Path) -> None:
    write_series(tmp_path / "series1", HU)
    (tmp_path / "series2").touch()

    (study,) = discover(tmp_path).studies

    assert study.warnings == ("1 file could not be read: series2: is empty; copy it again",)


def test_lost_files_belong_to_the_study_in_their_folder_or_to_the_only_one_near(tmp_path: Path) -> None:
    write_series(tmp_path / "a" / "1", HU, study="1.1", series="1.1.1")
    write_series(tmp_path / "b" / "1", HU, study="1.2", series="1.2.1")
    for folder in ("a/1", "b/2", "c"):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / "99.dcm").touch()

    discovery = discover(tmp_path)

    lost = {study.study_instance_uid: [file.name for file in study.lost_files] for study in discovery.studies}
    assert lost == {"1.1": ["a/1/99.dcm"], "1.2": ["b/2/99.dcm"]}
    assert [file.name for file in discovery.skipped] == ["a/1/99.dcm", "b/2/99.dcm", "c/99.dcm"]


def test_nifti_beside_dicom_and_damaged_nifti_beside_nifti_are_no_lost_slices(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    (tmp_path / "1.nii").write_bytes(b"\0" * 400)

    (study,) = discover(tmp_path).studies

    assert study.warnings == ()


def test_lost_files_reach_the_plan_the_volume_and_the_reason_of_a_gap(tmp_path: Path) -> None:
    paths = write_series(tmp_path, HU, spacing=(2.0, 2.0, 2.0))
    paths[-1].write_bytes(b"")

    plan = open_series(tmp_path)
    volume = load_volume(tmp_path)

    assert plan.warnings[0] == "1 file could not be read: 14.dcm: is empty; copy it again"
    assert [file.name for file in plan.lost_files] == ["14.dcm"]
    assert volume.provenance is not None
    assert plan.warnings[0] in volume.provenance.repairs
    paths[6].write_bytes(b"")
    with pytest.raises(
        GeometryError, match=r"gap .* \(2 files of the study could not be read, first: 14\.dcm: is empty"
    ):
        load_volume(tmp_path)
