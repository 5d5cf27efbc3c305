"""Any box of a scan in any orientation is resampled to cubic voxels along the patient's axes."""

import numpy as np
import pytest
import scipy

from cspine.core.errors import NotAssessableError
from cspine.core.typing import Floats, HounsfieldUnits
from cspine.dicom.hounsfield import AIR_HU
from cspine.localization.block_means import block_means
from cspine.localization.scan import Scan

MEAN_HU = 100.0


def smooth(lps: Floats) -> Floats:
    """Return HU that vary slowly with the position, (...) of (..., 3) LPS mm."""
    return np.asarray(MEAN_HU + 2.0 * lps[..., 0] - 1.0 * lps[..., 1] + 3.0 * lps[..., 2])


def make_scan(affine: Floats, shape: tuple[int, int, int]) -> Scan:
    index = np.moveaxis(np.indices(shape), 0, -1)
    hu = smooth(index @ affine[:3, :3].T + affine[:3, 3])
    return Scan(np.rint(hu).astype(np.int16), affine)


def axial(spacing_mm: tuple[float, float, float], *, origin: tuple[float, float, float] = (-20, -30, -40)) -> Floats:
    affine = np.eye(4)
    affine[:3, :3] = np.diag(spacing_mm)[::-1]
    affine[:3, 3] = origin
    return affine


AXIAL = axial((1.1, 0.7, 0.7))
SAGITTAL = np.array([[1.5, 0, 0, -20], [0, 0, 0.8, -30], [0, -0.8, 0, 40], [0, 0, 0, 1]], float)
TILTED = AXIAL @ np.block([[scipy.spatial.transform.Rotation.from_euler("z", 12, degrees=True).as_matrix(),
                            np.zeros((3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])  # fmt: skip


@pytest.mark.parametrize("affine", [AXIAL, SAGITTAL, TILTED])
@pytest.mark.parametrize("spacing_mm", [1.0, 3.0, 6.0])
def test_coarse_volume_shows_the_same_at_the_same_place(affine: Floats, spacing_mm: float) -> None:
    scan = make_scan(affine, (60, 80, 70))

    coarse = scan.coarsen(spacing_mm)

    k, j, i = np.indices(coarse.hu.shape)
    lps = coarse.origin_lps_mm + spacing_mm * np.stack([i, j, k], axis=-1)
    inside = scipy.ndimage.binary_erosion(coarse.scanned_mask, iterations=2)
    assert inside.any()
    assert np.abs(coarse.hu - smooth(lps))[inside].max() < 4.0
    assert (coarse.hu[~coarse.scanned_mask] == AIR_HU).all()
    points = lps.reshape(-1, 3)
    np.testing.assert_array_equal(scan.covers(points), coarse.scanned_mask.reshape(-1))


def test_a_box_is_the_same_part_and_may_extend_beyond_the_scan() -> None:
    scan = make_scan(AXIAL, (60, 80, 70))
    low, high = np.array([-8.0, -20.0, -61.0]), np.array([16.0, 10.0, 5.0])

    coarse = scan.coarsen(3.0, (low, high))

    assert coarse.hu.shape == (22, 10, 8)
    np.testing.assert_allclose(coarse.origin_lps_mm, low + 1.5)
    below = coarse.origin_lps_mm[2] + 3.0 * np.arange(22) < scan.extent_lps_mm[0][2]
    assert below.any()
    assert not coarse.scanned_mask[below].any()
    assert coarse.scanned_mask[~below].all()
    k, j, i = np.argwhere(coarse.scanned_mask)[500].tolist()
    assert coarse.hu[k, j, i] == pytest.approx(smooth(coarse.origin_lps_mm + 3.0 * np.array([i, j, k])), abs=4.0)


def test_means_are_resampled_in_place_of_the_scan() -> None:
    scan = make_scan(axial((0.5, 0.4, 0.4)), (120, 120, 120))
    box = np.array([-10.0, -20.0, -30.0]), np.array([14.0, 4.0, -6.0])

    direct = scan.coarsen(3.0, box)
    from_means = scan.coarsen(3.0, box, means=scan.crop(*box).shrink(2.0))

    assert np.abs(direct.hu - from_means.hu).max() < 6
    np.testing.assert_array_equal(direct.scanned_mask, from_means.scanned_mask)


def test_turned_scan_shows_the_mirrored_anatomy() -> None:
    scan = make_scan(AXIAL, (60, 80, 70))

    turned = scan.turned(np.diag([1.0, 1.0, -1.0]))

    np.testing.assert_array_equal(turned.coarsen(3.0).hu, scan.coarsen(3.0).hu[::-1])
    np.testing.assert_allclose(turned.extent_lps_mm, scan.extent_lps_mm)


def test_implausible_size_is_refused() -> None:
    class Volume:
        array: HounsfieldUnits = np.zeros((10, 10, 10), np.int16)
        affine: Floats = axial((300.0, 1.0, 1.0))

    with pytest.raises(NotAssessableError, match="m large"):
        Scan.of(Volume())  # type: ignore[arg-type]


@pytest.mark.parametrize("block_mm", [0.5, 2.0, 3.0, 7.0])
def test_block_means_keep_their_place(block_mm: float) -> None:
    scan = make_scan(AXIAL, (60, 80, 70))

    means, affine = block_means(scan.hu, scan.affine_lps, block_mm)

    rows, lines, columns = means.shape
    index = np.moveaxis(np.indices((rows, lines, columns)), 0, -1)[:-1, :-1, :-1]  # the last blocks are padded
    expected = smooth(index @ affine[:3, :3].T + affine[:3, 3])
    np.testing.assert_allclose(means[:-1, :-1, :-1], expected, atol=1.0)
    assert np.linalg.norm(affine[:3, :3], axis=0).max() <= max(block_mm, 1.1) + 1e-6


def test_block_means_of_large_volumes_are_the_same_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    hu = np.random.default_rng(0).integers(-1000, 2000, (30, 40, 50)).astype(np.int16)
    one, _ = block_means(hu, AXIAL, 4.0)
    monkeypatch.setattr("cspine.localization.block_means._THREADED_VOXELS", 0)
    monkeypatch.setattr("cspine.localization.block_means.default_workers", lambda: 3)

    threaded, _ = block_means(hu, AXIAL, 4.0)

    np.testing.assert_array_equal(one, threaded)
