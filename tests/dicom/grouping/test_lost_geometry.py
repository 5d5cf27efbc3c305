"""Positions and orientations that are lost or imprecise: read, with a sentence, or refused for the true reason."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import write_series
from tests.support.dicom_mix import HU, series_of, tags

from cspine.core.errors import DicomError, GeometryError
from cspine.core.typing import Floats
from cspine.dicom import discover, load_volume

FINE = (1.0, 2.0, 2.0)


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_a_slice_that_cannot_be_placed_is_left_out_and_named(tmp_path: Path, keyword: str) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        if k == 7:
            delattr(dataset, keyword)
        return dataset

    write_series(tmp_path, HU, spacing=FINE, change=change)

    discovery = discover(tmp_path)
    (series,) = discovery.studies[0].series

    assert series.warnings == (f"8.dcm is left out, because {keyword} is missing from it",)
    assert [file.name for file in discovery.skipped] == ["8.dcm"]
    np.testing.assert_array_equal(load_volume(tmp_path).array[:7], HU[:7])


def test_a_gap_names_the_slice_that_is_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=tags(ImagePositionPatient=lambda k: None if k == 7 else [-56, -48, 3 * k]))

    with pytest.raises(
        GeometryError, match=r"6\.0 mm gap.*8\.dcm is left out, because ImagePositionPatient is missing"
    ):
        load_volume(tmp_path)


def test_positions_lost_from_most_slices_are_told_with_their_number(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=tags(ImagePositionPatient=lambda k: None if k % 4 else [-56, -48, 3 * k]))

    with pytest.raises(DicomError, match=r"ImagePositionPatient is missing.*\(8 more of its series lack it\)"):
        load_volume(tmp_path)


def test_slices_at_one_place_are_told(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=tags(ImagePositionPatient=[0, 0, 0], SliceLocation=lambda k: f"{3 * k}"))

    with pytest.raises(DicomError, match="12 slices at one place, since ImagePositionPatient is alike in all of them"):
        load_volume(tmp_path)


def _jittered(jitter_deg: float) -> Floats:
    jitter: Floats = np.random.default_rng(0).uniform(-1.0, 1.0, (12, 6)) * np.radians(jitter_deg)
    return np.add([1, 0, 0, 0, 1, 0], jitter)


@pytest.mark.parametrize("jitter_deg", [0.1, 0.3])
def test_direction_cosines_that_every_slice_rounds_otherwise_are_averaged(tmp_path: Path, jitter_deg: float) -> None:
    orientations = _jittered(jitter_deg)
    write_series(tmp_path, HU, change=tags(ImageOrientationPatient=lambda k: [f"{x:.5f}" for x in orientations[k]]))

    (series,) = series_of(tmp_path)

    np.testing.assert_array_equal(load_volume(series).array, HU)
    assert np.degrees(np.arccos(series.stack.normal[2])) < jitter_deg


def test_an_orientation_that_varies_too_much_is_the_reason(tmp_path: Path) -> None:
    orientations = _jittered(0.7)
    write_series(tmp_path, HU, change=tags(ImageOrientationPatient=lambda k: [f"{x:.5f}" for x in orientations[k]]))

    with pytest.raises(DicomError, match=r"orientation of its series' slices varies by 0\.\d degrees"):
        load_volume(tmp_path)


def test_one_slice_of_another_orientation_is_the_reason_for_the_gap(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=tags(ImageOrientationPatient=lambda k: [1, 0, 0, 0, 1, 0.017 * (k == 7)]))

    with pytest.raises(GeometryError, match=r"6\.0 mm gap.*2 stacks that differ in ImageOrientationPatient"):
        load_volume(tmp_path)


def test_two_orientations_in_turn_within_rounding_are_one_stack(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=tags(ImageOrientationPatient=lambda k: [1, 0, 0, 0, 1, 0.003 * (k % 2)]))

    (series,) = series_of(tmp_path)

    assert len(series.stack.order) == 12
