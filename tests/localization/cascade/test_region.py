"""The region of the neck in whole scans, from what the region network predicts."""

import numpy as np
import pytest
from scipy import ndimage

from cspine.core.typing import Floats32
from cspine.localization.cascade.region import REGION_CLASSES, SIDE_MULTIPLE, RunNetwork, find_neck
from cspine.localization.coarse import REGION_MM
from cspine.localization.scan import Scan
from cspine.models.metadata import COARSE_MM

UPPER, LOWER = REGION_CLASSES.index("upper cervical"), REGION_CLASSES.index("lower cervical")


def make_scan(shape: tuple[int, int, int]) -> Scan:
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = REGION_MM
    affine[3, 3] = 1.0
    return Scan(np.zeros(shape, np.int16), affine)


def network_of(boxes: dict[int, tuple[slice, slice, slice]], certainty: float = 0.9) -> RunNetwork:
    """Return a network that sees classes in boxes of the scan, which begins two voxels after its input."""

    def run(image: Floats32) -> Floats32:
        assert all(side % SIDE_MULTIPLE == 0 for side in image.shape[1:])
        outputs = np.zeros((len(REGION_CLASSES), *image.shape[1:]), np.float32)
        for number, box in boxes.items():
            k, j, i = (slice(part.start + 2, part.stop + 2) for part in box)
            outputs[number, k, j, i] = certainty
        return outputs

    return run


def test_region_surrounds_the_neck_and_fits_the_network() -> None:
    scan = make_scan((100, 80, 90))
    boxes = {UPPER: np.s_[70:75, 40:43, 30:33], LOWER: np.s_[55:70, 40:43, 30:33]}

    region = find_neck(scan.coarsen(REGION_MM), network_of(boxes))

    assert region is not None
    low, high = region.network_box(scan)
    np.testing.assert_allclose((high - low) % (SIDE_MULTIPLE * COARSE_MM), 0.0, atol=1e-6)
    neck = REGION_MM * np.array([[30, 40, 55], [32, 42, 74]])
    assert (low < neck[0] - 60).all()
    assert (high > neck[1] + 45).all()
    assert (high - low)[:2].max() < 250.0
    assert region.neck_mm3 == pytest.approx(0.9 * 20 * 9 * REGION_MM**3, rel=1e-3)


def test_region_ends_near_the_scan() -> None:
    scan = make_scan((20, 14, 14))
    boxes = {LOWER: np.s_[0:18, 6:9, 6:9]}

    region = find_neck(scan.coarsen(REGION_MM), network_of(boxes))

    assert region is not None
    low, high = region.network_box(scan)
    scan_low, scan_high = scan.extent_lps_mm
    assert (low >= scan_low - 24.0 - SIDE_MULTIPLE * COARSE_MM / 2).all()
    assert (high <= scan_high + 24.0 + SIDE_MULTIPLE * COARSE_MM / 2).all()


def test_the_largest_of_separate_parts_is_the_neck() -> None:
    scan = make_scan((100, 60, 60))
    boxes = {UPPER: np.s_[5:8, 30:32, 30:32], LOWER: np.s_[60:80, 30:33, 30:33]}

    region = find_neck(scan.coarsen(REGION_MM), network_of(boxes))

    assert region is not None
    assert region.low_lps_mm[2] > 8 * REGION_MM


def test_little_or_unlikely_bone_is_no_neck() -> None:
    scan = make_scan((60, 40, 40))

    assert find_neck(scan.coarsen(REGION_MM), network_of({UPPER: np.s_[30:31, 20:22, 20:22]})) is None
    assert find_neck(scan.coarsen(REGION_MM), network_of({LOWER: np.s_[10:40, 20:23, 20:23]}, certainty=0.2)) is None
    assert find_neck(scan.coarsen(REGION_MM), network_of({})) is None


def test_a_neck_lies_in_the_scan_and_not_in_the_corners_of_its_box() -> None:
    """An oblique scan fills a part of its box; the network had called the corners a neck."""
    scan = make_scan((40, 40, 40))
    shear = np.eye(4)
    shear[2, 1] = 1.0
    oblique = Scan(scan.hu, shear @ scan.affine_lps)
    coarse = oblique.coarsen(REGION_MM)
    boxes = {UPPER: np.s_[60:75, 2:14, 2:14], LOWER: np.s_[30:45, 18:21, 18:21]}

    region = find_neck(coarse, network_of(boxes))

    assert not coarse.scanned_mask[70, 5, 5]
    assert coarse.scanned_mask[40, 19, 19]
    assert region is not None
    assert region.neck_mm3 == pytest.approx(0.9 * 15 * 9 * REGION_MM**3, rel=1e-3)


@pytest.mark.parametrize(("length", "n_tiles"), [(150, 1), (177, 2), (333, 4), (400, 4)])
def test_a_long_scan_is_seen_in_tiles_of_a_meter(monkeypatch: pytest.MonkeyPatch, length: int, n_tiles: int) -> None:
    """A network that looks 45 voxels around each finds the same neck as in the whole scan, also where tiles meet."""
    scan = make_scan((length, 20, 20))
    scan.hu[5 : length - 5 : 20, 8:11, 8:11] = 3000
    lengths: list[int] = []

    def run(image: Floats32) -> Floats32:
        lengths.append(image.shape[1])
        bone = np.float32(0.9) * ndimage.uniform_filter1d((image[0] == 1.0).astype(np.float32), 91, axis=0)
        return np.stack([0.0 * bone, 0.0 * bone, 5 * bone, 15 * bone])

    coarse = scan.coarsen(REGION_MM)
    in_tiles = find_neck(coarse, run)
    monkeypatch.setattr("cspine.localization.cascade.region._TILE", 10_000)
    whole = find_neck(coarse, run)

    assert in_tiles is not None
    assert whole is not None
    assert in_tiles.neck_mm3 == pytest.approx(whole.neck_mm3, rel=1e-5)
    np.testing.assert_allclose(in_tiles.low_lps_mm, whole.low_lps_mm)
    assert max(lengths[:-1]) <= 176
    assert len(lengths) == n_tiles + 1
