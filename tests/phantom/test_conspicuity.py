"""Conspicuity: what a fracture changed in an image, against the texture about it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from tests.support.fractures import plain_fracture

from cspine.core.typing import Floats32
from cspine.phantom.conspicuity import FractureSite, Twins, conspicuity
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.geometry.grid import Grid

GRID = Grid.aligned((-15.0, -15.0, -15.0), (1.0, 0.6, 0.6), (31, 51, 51))


def surface(*, shift_mm: float = 0.0) -> Fracture:
    """A plane across y in a block of bone, whose posterior part may be shifted along x."""
    (lamina,) = plain_fracture("C5", "spinous process")
    return replace(
        lamina,
        center_mm=np.zeros(3),
        normal=np.array([0.0, 1.0, 0.0]),
        half_extent_mm=np.full(3, 12.0),
        translation_mm=np.array([shift_mm, 0.0, 0.0]),
        rotation_rad=np.zeros(3),
        is_loose=True,
        roughness=np.zeros((0, 4)),
    )


def texture(sd_hu: float, seed: int = 0) -> Floats32:
    """Bone of 300 HU with trabeculae of about 1 mm."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(GRID.shape), (0.7, 1.1, 1.1))
    return np.asarray(300 + sd_hu * noise / noise.std(), np.float32)


def site(fracture: Fracture) -> FractureSite:
    x, y, z = GRID.points().coordinates((0, 0, 0))
    crack = (np.abs(x) < 7) & (np.abs(y) < 0.5) & (np.abs(z) < 7)
    return FractureSite(crack, np.ones(GRID.shape, np.bool_), GRID, np.eye(4), (fracture,))


def with_gap(hu: Floats32, depth_hu: float) -> Floats32:
    y = GRID.points().coordinates((0, 0, 0))[1]
    return np.asarray(hu - depth_hu * np.exp(-((y / 0.8) ** 2)), np.float32)


def test_an_image_without_a_change_has_none() -> None:
    bone = texture(60)

    assert conspicuity(Twins(bone, bone, GRID), site(surface())) == 0.0


def test_a_gap_stands_out_from_little_texture_more_than_from_much() -> None:
    values = [
        conspicuity(Twins(with_gap(texture(sd), depth), texture(sd), GRID), site(surface()))
        for sd, depth in ((40, 200), (40, 80), (90, 80))
    ]

    assert values == sorted(values, reverse=True)
    assert values[0] > 1.06
    assert values[2] < 0.6


def test_bone_that_is_seen_a_little_further_has_not_changed() -> None:
    """A fragment that is shifted whole looks like bone; only where it does not meet the rest can that be seen."""
    intact, steps = texture(60), 3
    moved = np.roll(intact, steps, axis=2)
    shifted = surface(shift_mm=steps * 0.6)

    whole = conspicuity(Twins(moved, intact, GRID), site(shifted))

    assert whole < 0.1
    assert conspicuity(Twins(moved, intact, GRID), site(surface())) > 0.6


def test_a_fracture_without_voxels_is_not_seen() -> None:
    empty = replace(site(surface()), crack=np.zeros(GRID.shape, np.bool_))

    assert conspicuity(Twins(with_gap(texture(40), 200), texture(40), GRID), empty) == 0.0


@pytest.mark.parametrize("spacing_mm", [0.5, 1.5])
def test_other_voxels_of_the_same_image_give_about_the_same(spacing_mm: float) -> None:
    """Masks may have other voxels than the image, as after slices were averaged."""
    coarse = Grid.aligned((-15.0, -15.0, -15.0), (spacing_mm, 0.6, 0.6), (int(30 / spacing_mm) + 1, 51, 51))
    k = np.arange(coarse.shape[0]) * spacing_mm
    index = np.meshgrid(k, np.arange(51), np.arange(51), indexing="ij")
    smooth = ndimage.gaussian_filter(texture(60), (1.5, 0, 0))
    broken = with_gap(smooth, 150)
    seen, intact = (ndimage.map_coordinates(each, index, np.float32, order=1) for each in (broken, smooth))
    fine = Twins(seen, intact, coarse)

    assert conspicuity(fine, site(surface())) == pytest.approx(
        conspicuity(Twins(broken, smooth, GRID), site(surface())), rel=0.15
    )
