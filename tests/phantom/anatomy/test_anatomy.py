"""Vertebrae are stacked without overlapping, about an open canal, in tissues of the right density."""

from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from cspine.core.typing import Floats
from cspine.phantom import PhantomSettings, draw_fractures
from cspine.phantom.anatomy.neck import Neck, draw_neck, vertebra_parts
from cspine.phantom.anatomy.organs import layout_along_spine
from cspine.phantom.anatomy.person import Person, draw_person
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import sample_distance
from cspine.phantom.scanner.render import render

by_seed = pytest.mark.parametrize("seed", range(6))


@cache
def neck_of(seed: int) -> Neck:
    return draw_neck(np.random.default_rng([5, seed]))


def grid_over_spine(step_mm: float = 0.8) -> Grid:
    return Grid.aligned((-48.0, -40.0, -85.0), step_mm, (int(165 / step_mm), int(110 / step_mm), int(96 / step_mm)))


@by_seed
def test_vertebrae_do_not_overlap(seed: int) -> None:
    grid, neck = grid_over_spine(), neck_of(seed)
    # Normal vertebrae: block vertebrae are fused.
    bones = {level: vertebra_parts(neck.person, level, neck.pillar_spacing_mm) for level in neck.levels}

    inside = [sample_distance(bones[level], grid.in_frame(neck.frames[level].affine)) < -0.8 for level in neck.levels]

    overlap = sum(int((one & other).sum()) for one, other in pairwise(inside))
    assert overlap * 0.8**3 < 80.0  # mm3, of some 80,000: where degenerated joints touch


@by_seed
def test_spinal_canal_is_open(seed: int) -> None:
    neck = neck_of(seed)
    layout = layout_along_spine(neck.person, neck.frames)
    path = [layout.canal[level] for level in neck.levels]
    for start, end in pairwise(path):
        affine = np.eye(4)
        affine[:3, 0], affine[:3, 3] = (end - start) / 20, start
        line = Grid(affine, (21, 1, 1))
        for level in neck.levels:
            distance = sample_distance(neck.vertebra_parts(level), line.in_frame(neck.frames[level].affine))
            assert distance.min() > 1.2, (level, seed)


@by_seed
def test_every_vertebra_is_connected(seed: int) -> None:
    grid, neck = grid_over_spine(0.6), neck_of(seed)
    for level in neck.levels:
        bone = sample_distance(neck.vertebra_parts(level), grid.in_frame(neck.frames[level].affine)) < 0
        components, count = ndimage.label(bone, np.ones((3, 3, 3)))
        largest = np.bincount(components.ravel())[1:].max()
        assert largest > 0.98 * bone.sum(), (level, count)
        assert 4000 < bone.sum() * 0.6**3 < 26_000, level


def test_tissues_have_the_hu_of_the_design_notes() -> None:
    neck = neck_of(0)
    bone = neck.person.bone

    rendered = render(neck, grid_over_spine(1.0))

    assert rendered.hu.min() == pytest.approx(-1000, abs=1)
    assert 550 < bone.cortex_hu < 1800
    assert np.percentile(rendered.hu[rendered.labels > 0], 99) > 700
    inside = np.zeros_like(rendered.labels, bool)
    for level in ("C3", "C4", "C5", "C6"):
        local = grid_over_spine(1.0).in_frame(neck.frames[level].affine)
        inside |= sample_distance(neck.vertebra_parts(level), local) < -2.6
    assert rendered.hu[inside].mean() == pytest.approx(0.93 * bone.trabecular_hu, rel=0.12)
    layout = layout_along_spine(neck.person, neck.frames)
    cord = neck.soft_tissue.resample(_single_point(layout.canal["C4"]))
    assert float(cord[0, 0, 0]) == pytest.approx(38, abs=8)


def _single_point(point: Floats) -> Grid:
    affine = np.eye(4)
    affine[:3, 3] = point
    return Grid(affine, (1, 1, 1))


def test_soft_tissue_is_the_same_on_aligned_and_oblique_grids() -> None:
    soft_tissue = neck_of(1).soft_tissue
    aligned = grid_over_spine(2.0)
    oblique = Grid(aligned.affine.copy(), aligned.shape)
    oblique.affine[0, 1] = 1e-6  # no longer along the axes: interpolated by another function

    np.testing.assert_allclose(soft_tissue.resample(aligned), soft_tissue.resample(oblique), atol=0.5)


def test_people_differ_with_sex_and_age() -> None:
    people = [draw_person(np.random.default_rng([3, n])) for n in range(300)]

    endplates_mm = [person.bone.endplate_mm for person in people]
    assert 0.4 <= min(endplates_mm) < 0.5  # the range of the design notes
    assert 0.8 < max(endplates_mm) <= 0.9
    women, men = ([person for person in people if person.is_female == is_female] for is_female in (True, False))
    young = [person for person in people if person.age_years < 40]
    old = [person for person in people if person.age_years > 70]

    def mean_width(group: list[Person]) -> float:
        return float(np.mean([person.measures["C5"]["body width"] for person in group]))

    assert mean_width(men) > mean_width(women)
    assert np.mean([p.bone.trabecular_hu for p in young]) > 80 + np.mean([p.bone.trabecular_hu for p in old])
    assert np.mean([p.degeneration for p in old]) > 0.3 + np.mean([p.degeneration for p in young])


def test_variants_are_drawn_and_are_not_fractures() -> None:
    necks = [draw_neck(np.random.default_rng([8, seed])) for seed in range(60)]
    names = [name for neck in necks for name in neck.variants.names]
    neck = next(neck for neck in necks if neck.variants.corticated_gaps)
    normal = replace(neck, variants=replace(neck.variants, corticated_gaps={}))
    (level,) = list(neck.variants.corticated_gaps)[:1]
    center = neck.frames[level].to_lps(neck.variants.corticated_gaps[level][0].center_mm)
    grid = Grid.aligned(center - 10.0, 0.5, (41, 41, 41))

    rendered = render(neck, grid)
    changed = rendered.hu - render(normal, grid).hu

    for variant in ("nutrient canal", "old fracture", "unfused apophysis", "nuchal", "calcified carotid"):
        assert any(name.startswith(variant) for name in names), variant
    assert not rendered.fracture_mask.any()
    assert changed.min() < -200  # the gap
    assert changed.max() > 200  # its cortex


def test_prevertebral_swelling_requires_a_displaced_fracture() -> None:
    neck, rng = neck_of(2), np.random.default_rng(0)
    severe = PhantomSettings(displacement_mm=(6.0, 9.0), height_loss_mm=(4.0, 5.0))
    slight = PhantomSettings(displacement_mm=(0.0, 0.1), height_loss_mm=(0.1, 0.2))

    def is_swollen(settings: PhantomSettings) -> bool:
        return bool(neck.with_fractures({"C5": draw_fractures("C5", neck.person, settings, rng)}).swelling)

    assert any(is_swollen(severe) for _ in range(5))
    assert not any(is_swollen(slight) for _ in range(5))
