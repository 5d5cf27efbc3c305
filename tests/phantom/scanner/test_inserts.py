"""Implants are drawn over bone with their streaks; gas leaves bone as it is; lesions change its density."""

from dataclasses import replace

import numpy as np

from cspine.phantom.anatomy.inserts import Insert, Lesion
from cspine.phantom.anatomy.neck import draw_neck
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import Part
from cspine.phantom.geometry.solids import Ellipsoid, Rod
from cspine.phantom.scanner.inserts import composite_inserts
from cspine.phantom.scanner.render import render

GRID = Grid.aligned((-40.0, -40.0, -20.0), 1.0, (41, 81, 81))
SCREW = Part(Rod((0.0, -10.0, 0.0), (0.0, 5.0, 0.0), (2.0, 2.0)), 0.0)


def test_metal_is_dense_with_streaks_in_its_planes_only() -> None:
    hu = np.full(GRID.shape, 50.0, np.float32)

    composite_inserts(hu, [Insert((SCREW,), 3000.0, is_metal=True)], GRID, 1.0)

    assert hu[20, 35, 40] > 2800
    assert hu[20, :, 60].std() > 10.0
    np.testing.assert_array_equal(hu[:14], 50.0)
    np.testing.assert_array_equal(hu[27:], 50.0)


def test_streaks_are_the_same_on_parts_of_a_grid() -> None:
    whole, part = np.zeros(GRID.shape, np.float32), np.zeros((5, 81, 81), np.float32)
    inserts = [Insert((SCREW,), 3000.0, is_metal=True)]

    composite_inserts(whole, inserts, GRID, 1.0)
    composite_inserts(part, inserts, GRID.crop((slice(18, 23), slice(0, 81), slice(0, 81))), 1.0)

    np.testing.assert_allclose(part, whole[18:23], atol=0.5)


def test_there_is_a_dark_band_between_two_screws() -> None:
    hu = np.zeros(GRID.shape, np.float32)
    screws = [Part(Rod((x, 0.0, -3.0), (x, 0.0, 3.0), (2.0, 2.0)), 0.0) for x in (-15.0, 15.0)]

    composite_inserts(hu, [Insert(tuple(screws), 3000.0, is_metal=True)], GRID, 1.0)

    assert hu[20, 40, 35:46].mean() < -150.0


def test_gas_leaves_bone_as_it_is() -> None:
    hu = np.zeros(GRID.shape, np.float32)
    hu[:, :40] = 600.0

    gas = Insert((Part(Ellipsoid((0.0, 0.0, 0.0), (9.0, 9.0, 4.0)), 0.0),), -700.0, max_background_hu=250.0)
    composite_inserts(hu, [gas], GRID, 1.0)

    assert hu[20, 43, 40] < -600.0
    assert hu[:, :40].min() == 600.0


def test_lesions_change_bone_only() -> None:
    neck = draw_neck(np.random.default_rng(2))
    grid = Grid.aligned((-8.0, -8.0, -6.0), 1.0, (13, 17, 17))

    sclerotic = replace(neck, lesions={"C4": (Lesion((0.0, 0.0, 0.0), (4.0, 4.0, 4.0), 1200.0),)})
    hu = render(sclerotic, grid).hu

    assert 1100.0 < hu[5:8, 7:10, 9:11].mean() < 1300.0
    np.testing.assert_array_equal(hu[:, :2], render(neck, grid).hu[:, :2])
