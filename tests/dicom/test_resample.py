"""Stacks that are tilted, uneven, duplicated or shifted: resampled and reported, or rejected."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import DicomError, GeometryError
from cspine.dicom import load_volume

HU = make_hu((14, 20, 24))


def test_a_sheared_stack_is_resampled_straight(tmp_path: Path) -> None:
    flat = np.full((14, 40, 24), -1000, np.int16)
    for k in range(14):
        flat[k, 26 - k, 10] = 1000  # a line along z; each slice lies one row further down
    write_series(tmp_path, flat, spacing=(2, 2, 2), shear_mm=2.0)

    volume = load_volume(tmp_path)

    bright = np.argwhere(volume.array > 500)
    assert len(bright) == 14
    lps = bright @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    np.testing.assert_allclose(lps[:, :2], np.tile([-36.0, 4.0], (14, 1)), atol=1e-6)
    assert volume.provenance is not None
    assert "tilted by 45.0 degrees" in volume.provenance.repairs[0]
    assert volume.provenance.bridged_planes == ()


def test_a_missing_slice_is_interpolated_and_reported(tmp_path: Path) -> None:
    ramp = np.broadcast_to(np.arange(14, dtype=np.int16)[:, None, None] * 40, HU.shape).copy()
    write_series(tmp_path, ramp, spacing=(1, 2, 2), change=lambda dataset, k: None if k == 6 else dataset)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, ramp)
    assert volume.provenance is not None
    assert "gaps from 1.00 to 2.00 mm" in volume.provenance.repairs[0]


@pytest.mark.parametrize(
    ("missing", "step", "bridged"),
    [((), 1, ()), ((6,), 1, (6,)), ((6, 7), 1, (6, 7)), ((3, 9), 1, (3, 9)), ((6, 7), 2, (3,))],
)
def test_planes_across_missing_slices_are_known(
    tmp_path: Path, missing: tuple[int, ...], step: int, bridged: tuple[int, ...]
) -> None:
    write_series(tmp_path, HU, spacing=(1, 2, 2), change=lambda dataset, k: None if k in missing else dataset)

    volume = load_volume(tmp_path, slices=slice(None, None, step))

    assert volume.provenance is not None
    assert volume.provenance.bridged_planes == bridged


def test_slices_that_lie_farther_apart_in_one_region_are_not_missing(tmp_path: Path) -> None:
    hu = make_hu((30, 20, 24))
    write_series(tmp_path, hu, change=lambda dataset, k: None if k >= 12 and k % 2 else dataset, spacing=(1, 2, 2))

    volume = load_volume(tmp_path)

    assert volume.provenance is not None
    assert "resampled evenly" in volume.provenance.repairs[0]
    assert volume.provenance.bridged_planes == ()


def test_a_wide_gap_is_rejected_with_its_files_and_the_remedy(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=lambda dataset, k: None if k == 6 else dataset)

    with pytest.raises(GeometryError, match=r"^6\.dcm and 8\.dcm: a 6\.0 mm gap .* pass --max-gap-mm 6\.0"):
        load_volume(tmp_path)
    assert load_volume(tmp_path, max_gap_mm=6.0).shape == HU.shape


def test_a_duplicate_slice_is_removed_and_reported(tmp_path: Path) -> None:
    paths = write_series(tmp_path, HU)
    (tmp_path / "copy.dcm").write_bytes(paths[3].read_bytes())

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, HU)
    assert volume.provenance is not None
    assert volume.provenance.repairs == ("1 duplicate slice removed, first: copy.dcm lies where 4.dcm does",)


def _moved(by_mm: float, after: int) -> Callable[[Dataset, int], Dataset]:
    """Return a change that moves the field of view to the left for all slices after one."""

    def change(dataset: Dataset, k: int) -> Dataset:
        if k > after:
            x, y, z = dataset.ImagePositionPatient
            dataset.ImagePositionPatient = [x + by_mm, y, z]
        return dataset

    return change


def test_a_field_of_view_that_moves_is_resampled_and_reported(tmp_path: Path) -> None:
    hu = HU.copy()
    hu[8:] = np.roll(HU[8:], -3, axis=2)  # the same scan, in a field of view 3 pixels further left
    write_series(tmp_path, hu, change=_moved(6.0, after=7))

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array[:, :, 3:24], HU[:, :, 3:24])
    assert (volume.array[:8, :, 24:] == -1024).all()
    assert volume.provenance is not None
    assert volume.provenance.repairs == (
        "the field of view moves by 6.0 mm after 8.dcm; slices moved to their positions",
    )


def test_a_field_of_view_that_moves_too_far_is_rejected(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=_moved(5e4, after=7))

    with pytest.raises(GeometryError, match=r"^8\.dcm: the slices lie too far beside each other"):
        load_volume(tmp_path)


def test_a_position_beyond_any_scanner_is_rejected(tmp_path: Path) -> None:
    write_series(tmp_path, HU, change=_moved(1e30, after=7))

    with pytest.raises(DicomError, match="ImagePositionPatient lies over 100 m from the origin"):
        load_volume(tmp_path)


@pytest.mark.parametrize("kind", ["sheared", "uneven", "both"])
def test_ranges_of_a_resampled_stack_equal_those_of_the_complete_one(tmp_path: Path, kind: str) -> None:
    write_series(
        tmp_path,
        make_hu((40, 20, 24)),
        spacing=(1, 2, 2),
        shear_mm=0.3 if kind != "uneven" else 0.0,
        change=lambda dataset, k: None if kind != "sheared" and k in {6, 7, 21} else dataset,
    )
    full = load_volume(tmp_path)

    part = load_volume(tmp_path, slices=(3, 33), rows=slice(2, 19), step=2)

    np.testing.assert_array_equal(part.array, full.array[3:33:2, 2:19:2, ::2])
    np.testing.assert_allclose(part.affine @ [1, 1, 1, 1], full.affine @ [5, 4, 2, 1])


def test_a_tilt_that_only_the_tag_declares_is_reported(tmp_path: Path) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.GantryDetectorTilt = "18.5"
        return dataset

    write_series(tmp_path, HU, change=change)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, HU)
    assert volume.provenance is not None
    assert "GantryDetectorTilt is 18.5 degrees, but" in volume.provenance.repairs[0]
