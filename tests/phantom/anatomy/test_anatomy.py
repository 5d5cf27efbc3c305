"""Vertebrae stand one over the other without running into each other, about an open canal."""

from dataclasses import replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from cspine.phantom.anatomy.grid import Grid, sample
from cspine.phantom.anatomy.neck import Neck, bone_parts, draw_neck
from cspine.phantom.anatomy.tissue import lay_out
from cspine.phantom.scanner.render import render

SEEDS = range(6)
by_seed = pytest.mark.parametrize("seed", SEEDS)


@lru_cache
def neck(seed: int) -> Neck:
    return draw_neck(np.random.default_rng([5, seed]))


def coarse(step: float = 0.8) -> Grid:
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = step
    affine[:, 3] = [-48.0, -40.0, -85.0, 1.0]
    return Grid(affine, (int(165 / step), int(110 / step), int(96 / step)))


@by_seed
def test_vertebrae_do_not_run_into_each_other(seed: int) -> None:
    grid, who = coarse(), neck(seed)
    bones = {level: bone_parts(who.person, level, who.spaces_mm) for level in who.levels}  # without fused ones
    deep = [sample(bones[level], grid.seen_from(who.frames[level].affine)) < -0.8 for level in who.levels]

    shared = sum(int((one & other).sum()) for one, other in pairwise(deep))
    assert shared * 0.8**3 < 80.0  # mm3, of some 80,000: where worn joints touch


@by_seed
def test_the_canal_is_open(seed: int) -> None:
    who = neck(seed)
    layout = lay_out(who.person, who.frames)
    chain = [layout.canal[level] for level in who.levels]
    for start, end in pairwise(chain):
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 3] = (end - start) / 20, start
        line = Grid(affine, (21, 1, 1))
        for level in who.levels:
            field = sample(who.bone(level), line.seen_from(who.frames[level].affine))
            assert field.min() > 1.2, (level, seed)


@by_seed
def test_every_vertebra_is_one_piece(seed: int) -> None:
    from scipy import ndimage

    grid, who = coarse(0.6), neck(seed)
    for level in who.levels:
        bone = sample(who.bone(level), grid.seen_from(who.frames[level].affine)) < 0
        pieces, count = ndimage.label(bone, np.ones((3, 3, 3)))
        largest = np.bincount(pieces.ravel())[1:].max()
        assert largest > 0.98 * bone.sum(), (level, count)
        assert 4000 < bone.sum() * 0.6**3 < 26_000, level


def test_tissues_have_the_hu_of_the_design_notes() -> None:
    who = neck(0)
    rendered = render(who, coarse(1.0))
    bone = who.person.bone

    assert rendered.hu.min() == pytest.approx(-1000, abs=1)
    assert 550 < bone.cortex_hu < 1800
    assert np.percentile(rendered.hu[rendered.labels > 0], 99) > 700
    inside = np.zeros_like(rendered.labels, bool)
    for level in ("C3", "C4", "C5", "C6"):
        local = coarse(1.0).seen_from(who.frames[level].affine)
        inside |= sample(who.bone(level), local) < -2.6
    assert rendered.hu[inside].mean() == pytest.approx(0.93 * bone.trabecular_hu, rel=0.12)
    layout = lay_out(who.person, who.frames)
    cord = who.soft.on(_point(layout.canal["C4"]))
    assert float(cord[0, 0, 0]) == pytest.approx(38, abs=8)


def _point(place: npt.NDArray[np.float64]) -> Grid:
    affine = np.eye(4)
    affine[:3, 3] = place
    return Grid(affine, (1, 1, 1))


def test_soft_tissue_is_the_same_straight_and_aslant() -> None:
    who = neck(1)
    straight = coarse(2.0)
    barely = Grid(straight.affine.copy(), straight.shape)
    barely.affine[0, 1] = 1e-6  # no longer along the axes: another way of interpolating

    np.testing.assert_allclose(who.soft.on(straight), who.soft.on(barely), atol=0.5)


def test_people_differ_with_sex_and_age() -> None:
    from cspine.phantom.anatomy.person import draw_person

    people = [draw_person(np.random.default_rng([3, n])) for n in range(300)]
    endplates = [p.bone.endplate_mm for p in people]
    assert 0.4 <= min(endplates) < 0.5  # the design notes' range
    assert 0.8 < max(endplates) <= 0.9
    women, men = ([p for p in people if p.female == female] for female in (True, False))
    young, old = [p for p in people if p.age < 40], [p for p in people if p.age > 70]

    assert np.mean([p.measures["C5"]["body width"] for p in men]) > np.mean(
        [p.measures["C5"]["body width"] for p in women]
    )
    assert np.mean([p.bone.trabecular_hu for p in young]) > 80 + np.mean([p.bone.trabecular_hu for p in old])
    assert np.mean([p.wear for p in old]) > 0.3 + np.mean([p.wear for p in young])


def test_peculiarities_are_drawn_and_are_no_fractures() -> None:
    names = [name for seed in range(60) for name in draw_neck(np.random.default_rng([8, seed])).variants.names]

    for kind in ("nutrient canal", "old fracture", "unfused apophysis", "nuchal", "calcified carotid"):
        assert any(name.startswith(kind) for name in names), kind
    seed = next(seed for seed in range(60) if draw_neck(np.random.default_rng([8, seed])).variants.old)
    who = draw_neck(np.random.default_rng([8, seed]))
    (level,) = list(who.variants.old)[:1]
    plain = replace(who, variants=replace(who.variants, old={}))
    centre = who.frames[level].to_lps(who.variants.old[level][0].centre_mm)
    affine = np.diag([0.5, 0.5, 0.5, 1.0])[:, [2, 1, 0, 3]]
    affine[:3, 3] = centre - 10.0
    grid = Grid(affine, (41, 41, 41))
    flawed, whole = render(who, grid), render(plain, grid)
    changed = flawed.hu - whole.hu

    assert not flawed.fracture_mask.any()
    assert changed.min() < -200  # the gap
    assert changed.max() > 200  # its edges are compact


def test_swelling_comes_with_violent_fractures() -> None:
    from cspine.phantom.fractures.fracture import draw_fractures
    from cspine.phantom.settings import PhantomSettings

    who = neck(2)
    rng = np.random.default_rng(0)
    violent = PhantomSettings(displacement_mm=(6.0, 9.0), crush_mm=(4.0, 5.0))
    gentle = PhantomSettings(displacement_mm=(0.0, 0.1), crush_mm=(0.1, 0.2))

    assert any(who.broken({"C5": draw_fractures("C5", who.person, violent, rng)}).swelling for _ in range(5))
    assert not any(who.broken({"C5": draw_fractures("C5", who.person, gentle, rng)}).swelling for _ in range(5))
