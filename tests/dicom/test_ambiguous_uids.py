"""A UID or number that several images have names none of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import UID
from tests.support.dicom import make_hu, write_enhanced, write_series

from cspine.classification.saliency import slice_position
from cspine.core.errors import DicomError
from cspine.dicom import discover, select_series
from cspine.dicom.series import Series
from cspine.reports.dicom.source_images import source_images
from cspine.reports.images.axial import axial_crop

HU = make_hu((12, 20, 24))
SPACING = (3.0, 2.0, 2.0)


def series_of(path: Path, change: Callable[[Dataset, int], Dataset]) -> Series:
    write_series(path, HU, spacing=SPACING, change=change)
    (study,) = discover(path).studies
    return select_series(study).selected


def with_uids(uid_of: Callable[[int], str]) -> Callable[[Dataset, int], Dataset]:
    def change(dataset: Dataset, k: int) -> Dataset:
        uid = uid_of(k)
        dataset.SOPInstanceUID = UID(uid or "1.2.3.4")
        if not uid:
            del dataset.SOPInstanceUID
        dataset.file_meta.MediaStorageSOPInstanceUID = UID("1.2.3.4")
        return dataset

    return change


CASES: dict[str, tuple[Callable[[int], str], set[int], str]] = {
    "all alike": (lambda _: "1.2.3", set(range(12)), r"12 of 12 slices share theirs"),
    "two alike": (lambda k: f"1.2.{max(k, 1)}", {0, 1}, r"2 of 12 slices share theirs"),
    "alike without their blanks": (lambda k: f"1.2.{max(k, 1)}" + " " * k, {0, 1}, r"2 of 12 slices share theirs"),
    "missing in all": (lambda _: "", set(range(12)), "SOPInstanceUID is missing"),
    "missing in one": (lambda k: f"1.2.{k}" * (k != 5), {5}, "SOPInstanceUID is missing"),
    "letters": (lambda k: f"1.2.a{k}", set(), "SOPInstanceUID is no UID"),
    "leading zero": (lambda k: f"1.2.0{k}", set(), "SOPInstanceUID is no UID"),
    "over 64 characters": (lambda k: f"1.2.{'3' * 60}.{k}", set(), "SOPInstanceUID is no UID"),
}


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI", "ignore:.*length")
@pytest.mark.parametrize("name", CASES)
def test_nothing_refers_to_a_slice_by_a_uid_that_names_no_slice(tmp_path: Path, name: str) -> None:
    uid_of, ambiguous, message = CASES[name]
    series = series_of(tmp_path, with_uids(uid_of))

    uids = []
    for k in range(12):
        center = (series.stack.affine_lps() @ [k, 9, 11, 1])[:3]
        location = slice_position(series, center)
        assert location is not None
        assert location.instance_number == series.nearest_slice(center).instance_number
        uids.append(location.sop_instance_uid)
    assert {k for k, uid in enumerate(uids) if not uid} == ambiguous
    assert len({uid for uid in uids if uid}) == 12 - len(ambiguous)
    with pytest.raises(DicomError, match=message):
        source_images(series)


def test_copies_of_an_image_do_not_make_its_uid_ambiguous(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU)
    write_series(tmp_path / "b", HU[:4])
    (study,) = discover(tmp_path).studies

    series = select_series(study).selected

    assert series.ambiguous_uids == frozenset()
    assert len(source_images(series).datasets) == 12


def test_a_uid_of_two_series_is_ambiguous_in_both(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU, change=with_uids(lambda k: f"1.2.{k}"))
    write_series(tmp_path / "b", HU, series="1.2.3.9", change=with_uids(lambda k: f"1.2.{k + 6}"))
    (study,) = discover(tmp_path).studies

    assert [sorted(series.ambiguous_uids) for series in study.series] == 2 * [sorted(f"1.2.{k}" for k in range(6, 12))]
    with pytest.raises(DicomError, match=r"6 of 12 slices share theirs"):
        source_images(study.series[0])


def test_frames_of_one_file_are_not_ambiguous(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "e", HU)
    (study,) = discover(tmp_path).studies

    (series,) = study.series

    assert series.ambiguous_uids == frozenset()


@pytest.mark.parametrize("keyword", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_dicom_objects_do_not_refer_to_slices_of_several_series_as_one(tmp_path: Path, keyword: str) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        setattr(dataset, keyword, UID(f"1.2.{k}"))
        return dataset

    series = series_of(tmp_path, change)  # put together by position

    with pytest.raises(DicomError, match=rf"12 values of {keyword}"):
        source_images(series)


def test_numbers_that_slices_share_are_not_told(tmp_path: Path) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.InstanceNumber = max(k, 1)
        return dataset

    series = series_of(tmp_path, change)

    numbers = []
    for k in range(12):
        location = slice_position(series, (series.stack.affine_lps() @ [k, 9, 11, 1])[:3])
        assert location is not None
        numbers.append(location.instance_number)
    assert numbers == [None, None, *range(2, 12)]


def test_the_axial_picture_is_that_of_the_place_whatever_the_uids(tmp_path: Path) -> None:
    named = series_of(tmp_path / "a", with_uids(lambda k: f"1.2.{k}"))
    unnamed = series_of(tmp_path / "b", with_uids(lambda _: "1.2.3"))

    for k in (2, 9):
        point = tuple((named.stack.affine_lps() @ [k, 9, 11, 1])[:3].tolist())
        pictures = []
        for series in (named, unnamed):
            location = slice_position(series, np.array(point))
            assert location is not None
            pictures.append(axial_crop(series, (point[0], point[1], point[2]), location).jpeg)
        assert pictures[0] == pictures[1]
