"""UIDs that are new in every file: images are put together by position, and single images stay single."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid
from tests.support.dicom import write_series
from tests.support.dicom_mix import HU, OTHERS, series_of, stacks_of, tags, write_mixed

from cspine.core.errors import GeometryError
from cspine.dicom import discover, load_volume

STUDY, SERIES, FRAME = "StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"


def own(*keywords: str) -> dict[str, object]:
    """Return values of tags that are new in every file."""
    return {keyword: (lambda _: generate_uid()) for keyword in keywords}


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ([FRAME], "each file carries a frame of reference of its own; 12 files were put together by position"),
        ([SERIES], "each file carries a series UID of its own; 12 files of one patient were put together by position"),
        ([STUDY], "each file carries a study UID of its own; 12 files of one patient were put together by position"),
        (
            [STUDY, SERIES, FRAME],
            "each file carries a study UID, a series UID and a frame of reference of its own; 12 files of one patient "
            "were put together by position",
        ),
    ],
    ids=["frame", "series", "study", "all"],
)
def test_images_with_uids_of_their_own_are_put_together(tmp_path: Path, keywords: Sequence[str], text: str) -> None:
    write_series(tmp_path, HU, change=tags(**own(*keywords)))

    (series,) = series_of(tmp_path)

    assert series.warnings == (text,)
    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_copies_of_images_with_uids_of_their_own_are_put_together(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU, change=tags(**own(SERIES)))
    shutil.copytree(tmp_path / "a", tmp_path / "b")

    (series,) = series_of(tmp_path)

    assert series.warnings == (
        "each file carries a series UID of its own; 24 files of one patient were put together by position",
    )
    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_patients_and_reconstructions_are_still_kept_apart(tmp_path: Path) -> None:
    write_mixed(tmp_path / "a", *(tags(PatientID=each, **own(STUDY, SERIES)) for each in "12"))
    write_mixed(tmp_path / "b", *(tags(ConvolutionKernel=each, **own(SERIES)) for each in ("Br40", "Br64")))

    assert stacks_of(tmp_path / "a") == [0, 1]
    assert len(discover(tmp_path / "a").studies) == 2
    assert stacks_of(tmp_path / "b") == [0, 1]
    assert len(discover(tmp_path / "b").studies) == 1


@pytest.mark.parametrize("patient", ["", "1"])
def test_scans_in_folders_of_their_own_are_not_read_between_each_other(tmp_path: Path, patient: str) -> None:
    for number, hu in enumerate((HU, OTHERS[0])):
        write_series(
            tmp_path / f"{number}",
            hu,
            origin=(-56, -48, 1.5 * number),
            change=tags(PatientID=patient, PatientName="", **own(STUDY, SERIES, FRAME)),
        )

    assert stacks_of(tmp_path) == [0, 1]
    assert all("differ in folder; they are kept apart" in series.warnings[1] for series in series_of(tmp_path))


def test_patients_that_nothing_tells_apart_are_a_conflict(tmp_path: Path) -> None:
    write_mixed(tmp_path, *(tags(PatientID="", PatientName="", **own(STUDY, SERIES)) for _ in "12"))

    with pytest.raises(GeometryError, match="lie at one place with different pixels"):
        load_volume(tmp_path)


def test_single_images_stay_single(tmp_path: Path) -> None:
    heights = np.random.default_rng(3).uniform(0.0, 900.0, 12)
    write_series(
        tmp_path / "images",
        HU,
        change=tags(ImagePositionPatient=lambda k: [0, 0, f"{heights[k]:.3f}"], **own(SERIES)),
    )
    write_series(tmp_path / "scouts", HU, change=tags(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], **own(SERIES)))
    write_series(tmp_path / "few", HU[:9], change=tags(**own(SERIES)))

    assert [len(series_of(tmp_path / name)) for name in ("images", "scouts", "few")] == [12, 12, 9]
