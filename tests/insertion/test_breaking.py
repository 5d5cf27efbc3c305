"""Bone breaks where the surface runs, moves as stated, with the sharpness and the noise of the scan."""

import numpy as np
import pytest
from scipy import special

from cspine.core.typing import Floats
from cspine.insertion.breaking import break_bone
from cspine.insertion.noise import ScanNoise
from cspine.insertion.scene import Optics, Scene
from cspine.insertion.sham import disturb
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.geometry.grid import Grid

SPACING_MM = 0.8
SHAPE = (50, 40, 40)
QUIET = Optics(np.full(3, 0.5), ScanNoise(0.0, np.ones((12, 7)), 0.0))


def surface(translation: tuple[float, float, float] = (0.0, 0.0, 0.0), **changes: float) -> Fracture:
    """Return a horizontal surface through the middle of the bone, whose fragment is its upper half."""
    return Fracture(
        fracture_type="dens type II",
        center_mm=np.zeros(3),
        normal=np.array([0.0, 0.0, 1.0]),
        half_extent_mm=np.array([9.0, 9.0, 26.0]),
        width_mm=changes.get("width_mm", 0.0),
        gap_radius_mm=60.0,
        translation_mm=np.array(translation),
        rotation_rad=np.zeros(3),
        is_loose=not changes.get("height_loss_mm"),
        height_loss_mm=changes.get("height_loss_mm", 0.0),
        roughness=np.zeros((0, 4)),
    )


def scene(noise_hu: float = 0.0) -> Scene:
    """Return a rod of bone along z in soft tissue, with a dense marker in its upper half."""
    grid = Grid.aligned(-SPACING_MM * (np.array(SHAPE[::-1]) - 1) / 2, SPACING_MM, SHAPE)
    x, y, z = (np.broadcast_to(each, SHAPE) for each in grid.points().coordinates((0, 0, 0)))
    own = (np.hypot(x, y) < 5.0) & (np.abs(z) < 12.0)
    hu = np.where(own, 600.0, 50.0) + 900.0 * np.exp(-(x**2 + y**2 + (z - 6.0) ** 2) / 4.0)
    noise = np.random.default_rng(0).normal(0.0, noise_hu, SHAPE) if noise_hu else 0.0
    other = np.zeros(SHAPE, np.bool_)
    return Scene.of(grid, np.eye(4), (hu + noise).astype(np.float32), own, other)


def marker_mm(each: Scene) -> Floats:
    """Return where the marker lies."""
    weight = np.clip(each.hu - 900.0, 0, None)
    index = np.argwhere(weight > 0)
    points = index @ each.grid.affine[:3, :3].T + each.grid.affine[:3, 3]
    return np.asarray(np.average(points, axis=0, weights=weight[tuple(index.T)]))


@pytest.mark.parametrize("translation", [(1.7, 0.0, 0.5), (0.0, -2.3, 1.1), (0.4, 0.3, 0.2)])
def test_a_landmark_moves_as_stated(translation: tuple[float, float, float]) -> None:
    intact = scene()
    broken = break_bone(intact, surface(translation), 1, QUIET, np.random.default_rng(0))

    assert broken is not None
    assert marker_mm(broken) - marker_mm(intact) == pytest.approx(np.array(translation), abs=0.15)


def test_impacted_bone_sinks_in_front_only() -> None:
    impacted = surface(height_loss_mm=3.0)
    broken = break_bone(scene(), impacted, 1, QUIET, np.random.default_rng(0))

    assert broken is not None
    tops = [np.flatnonzero(broken.own[:, j, 20]).max() for j in (14, 19, 25)]
    assert tops[0] < tops[1] < tops[2] <= np.flatnonzero(scene().own[:, 25, 20]).max()


def test_what_is_not_touched_is_identical() -> None:
    intact = scene(noise_hu=20.0)
    optics = Optics(QUIET.sd_mm, ScanNoise(20.0, np.ones((12, 7)), 0.0))
    broken = break_bone(intact, surface((1.0, 0.0, 0.5)), 1, optics, np.random.default_rng(0))

    assert broken is not None
    assert 0.02 < broken.touched.mean() < 0.6
    np.testing.assert_array_equal(broken.hu[~broken.touched], intact.hu[~broken.touched])
    assert not broken.touched[:18].any()  # the lower half of the bone stays


def test_a_crack_is_as_blurred_as_the_scan() -> None:
    width_mm, sd_mm = 0.8, 0.5
    broken = break_bone(scene(), surface(width_mm=width_mm), 1, QUIET, np.random.default_rng(0))

    assert broken is not None
    z = (np.arange(SHAPE[0]) - (SHAPE[0] - 1) / 2) * SPACING_MM
    expected = special.ndtr((z + width_mm / 2) / sd_mm) - special.ndtr((z - width_mm / 2) / sd_mm)
    lost = (scene().hu - broken.hu)[:, 20, 20] / (scene().hu[:, 20, 20] - 42.0)
    near = np.abs(z) < 3.0
    assert lost[near] == pytest.approx(expected[near], abs=0.08)


def test_the_fracture_mask_lies_in_the_crack() -> None:
    broken = break_bone(scene(), surface(width_mm=0.8), 3, QUIET, np.random.default_rng(0))

    assert broken is not None
    planes = np.flatnonzero((broken.fracture_mask == 3).any(axis=(1, 2)))
    assert set(planes.tolist()) == {24, 25}
    assert not broken.fracture_mask[~scene().own].any()


def test_without_bone_there_is_no_fracture() -> None:
    empty = scene()
    no_bone = Scene.of(empty.grid, np.eye(4), empty.hu, empty.other, empty.other)

    assert break_bone(no_bone, surface((1.0, 0.0, 0.0)), 1, QUIET, np.random.default_rng(0)) is None
    assert disturb(no_bone, surface((1.0, 0.0, 0.0)), QUIET, np.random.default_rng(0)) is None


def test_a_sham_keeps_bone_in_one_piece() -> None:
    intact = scene()
    sham = disturb(intact, surface((2.0, 0.0, 1.0)), QUIET, np.random.default_rng(1))

    assert sham is not None
    assert sham.touched.any()
    assert not sham.fracture_mask.any()
    assert np.linalg.norm(marker_mm(sham) - marker_mm(intact)) < 0.7
    inside = (sham.own & (np.abs(np.arange(SHAPE[0])[:, None, None] - 24.5) < 8)) & (intact.hu < 620)
    assert sham.hu[inside & (np.roll(intact.own, 3, 1) & np.roll(intact.own, -3, 1))].min() > 550.0


def test_resampling_keeps_the_variance_of_noise() -> None:
    intact = scene(noise_hu=20.0)
    optics = Optics(QUIET.sd_mm, ScanNoise(20.0, np.ones((12, 7)), 0.0))
    flat = Scene.of(intact.grid, np.eye(4), intact.hu - scene().hu, intact.own, intact.other)

    sham = disturb(flat, surface((2.0, 0.0, 1.0)), optics, np.random.default_rng(1))

    assert sham is not None
    assert sham.hu[sham.touched].std() == pytest.approx(20.0, rel=0.05)
