"""Fractures are drawn in the proportions of the design notes and of the settings."""

import numpy as np
import pytest
from tests.support.fractures import WIDE, intact_neck

from cspine.core.anatomy import VERTEBRAE, Level
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.fractures.sites import sites
from cspine.phantom.geometry.grid import Grid


def test_dens_fractures_are_sometimes_impacted_and_bursts_always_complete() -> None:
    rng, person = np.random.default_rng(5), intact_neck().person

    dens = [draw_fractures("C2", person, WIDE, rng, fracture_type="dens type III")[0] for _ in range(200)]
    bursts = [draw_fractures("C1", person, WIDE, rng, fracture_type="Jefferson burst")[0] for _ in range(60)]

    assert 0.15 < np.mean([surface.height_loss_mm > 0 for surface in dens]) < 0.35
    assert all(surface.translation_mm.any() for surface in bursts)


def test_some_vertebrae_have_fractures_of_two_types() -> None:
    rng = np.random.default_rng(6)

    types = [
        {surface.fracture_type for surface in draw_fractures("C5", intact_neck().person, WIDE, rng)} for _ in range(300)
    ]

    assert {len(each) for each in types} == {1, 2}
    assert 0.12 < np.mean([len(each) == 2 for each in types]) < 0.28
    with pytest.raises(ValueError, match="C5 has no fractures of type 'hangman'"):
        draw_fractures("C5", intact_neck().person, WIDE, rng, fracture_type="hangman")


def test_incomplete_fractures_end_within_the_bone() -> None:
    rng = np.random.default_rng(1)
    drawn = [draw_fractures("C6", intact_neck().person, WIDE, rng, fracture_type="lamina")[0] for _ in range(200)]
    incomplete = [surface for surface in drawn if not surface.translation_mm.any()]

    surface = incomplete[0]
    affine = np.diag([0.5, 0.5, 0.5, 1.0])
    affine[:3, 3] = surface.center_mm - 15.0
    half_gap_mm = surface.half_gap_mm(Grid(affine, (61, 61, 61)).points())

    assert 0.25 < len(incomplete) / len(drawn) < 0.45
    assert half_gap_mm.max() == pytest.approx(surface.width_mm / 2, rel=0.05)
    assert (half_gap_mm[0] == 0).all()


@pytest.mark.parametrize("level", VERTEBRAE)
def test_proportions_of_a_level_sum_to_one(level: Level) -> None:
    assert sum(site.proportion for site in sites(level, intact_neck().person)) == pytest.approx(1.0)


def test_fracture_mix_changes_the_proportions() -> None:
    person = intact_neck().person
    only = {site.fracture_type: 0.0 for site in sites("C2", person)} | {"hangman": 1.0}
    settings = WIDE.model_copy(update={"fracture_mix": only})
    rng = np.random.default_rng(0)

    types = {surface.fracture_type for _ in range(30) for surface in draw_fractures("C2", person, settings, rng)}

    assert types == {"hangman"}
