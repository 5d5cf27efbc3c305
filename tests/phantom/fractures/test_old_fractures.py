"""Old fractures have the types of fresh ones, smooth edges and cortex, and are no fractures of the truth."""

from dataclasses import replace

import numpy as np
import pytest
from tests.support.fractures import grid_around, intact_neck

from cspine.core.anatomy import VERTEBRAE, Level
from cspine.phantom import PhantomSettings
from cspine.phantom.anatomy.variants import NO_FRACTURE_TYPE, Variants
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.fractures.fractured_bone import Defects, sample_fractured_bone
from cspine.phantom.fractures.old_fractures import (
    HEALED_COMPRESSION,
    OLD_FRACTURE,
    draw_old_fracture,
    name_old_fracture,
)
from cspine.phantom.fractures.sampling import draw_fractures
from cspine.phantom.sampler import draw_fractured_neck
from cspine.phantom.truth import describe_mimics


@pytest.mark.parametrize("level", VERTEBRAE)
def test_every_level_has_old_fractures_of_more_than_one_type(level: Level) -> None:
    drawn = [draw_old_fracture(level, intact_neck().person, np.random.default_rng(seed)) for seed in range(40)]

    assert len({each[0].fracture_type for each in drawn}) >= 3
    assert all(0.9 < each[0].width_mm < 3.1 for each in drawn if not each[0].height_loss_mm)
    names = {name_old_fracture(each) for each in drawn}
    assert names == ({OLD_FRACTURE} if level == "C1" else {OLD_FRACTURE, HEALED_COMPRESSION})


def old_fracture(level: Level, fracture_type: str) -> tuple[Fracture, ...]:
    """Return a displaced old fracture of a type."""
    seeds = map(np.random.default_rng, range(1000))
    drawn = (draw_old_fracture(level, intact_neck().person, rng) for rng in seeds)
    return next(
        each
        for each in drawn
        if {surface.fracture_type for surface in each} == {fracture_type} and each[0].translation_mm.any()
    )


@pytest.mark.parametrize(
    ("level", "fracture_type"),
    [("C1", "Jefferson burst"), ("C2", "dens type II"), ("C5", "body burst"), ("C5", "facet"), ("C5", "lamina")],
)
def test_an_old_fracture_is_lined_by_cortex_and_marks_nothing(level: Level, fracture_type: str) -> None:
    grid = grid_around(level).in_frame(intact_neck().frames[level].affine)
    parts, old = intact_neck().vertebra_parts(level), old_fracture(level, fracture_type)

    bone, fresh = sample_fractured_bone(parts, grid, (), Defects((), old)), sample_fractured_bone(parts, grid, old)

    assert not bone.surface_index.any()
    assert not bone.impaction.any()  # a healed body is low, without a dense band
    gap = (bone.field > 0.3) & (fresh.surface_index > 0)
    assert gap.sum() > 20
    assert (bone.closed_field[gap] > 0).mean() > 0.9  # the surface goes into the gap, and cortex with it
    assert (fresh.closed_field[gap] > 0).mean() < 0.5


def test_a_vertebra_is_fractured_or_has_an_old_gap() -> None:
    neck = intact_neck()
    variants = Variants(
        corticated_gaps={level: old_fracture("C5", "lamina") for level in ("C2", "C4", "C5")},
        names=("os odontoideum", "old fracture C4", "healed compression C5", "osteophytes C5", "unfused apophysis C5"),
    )

    spared = replace(neck, variants=variants).variants.sparing(["C2", "C5"])

    assert set(spared.corticated_gaps) == {"C4"}
    assert spared.names == ("old fracture C4", "osteophytes C5")


def test_the_truth_has_the_type_of_an_old_fracture() -> None:
    neck, scanner = draw_fractured_neck(21, 0, PhantomSettings(prevalence=0.0))
    apophysis = replace(old_fracture("C5", "lamina")[0], fracture_type=NO_FRACTURE_TYPE)
    variants = Variants(
        corticated_gaps={"C4": (apophysis, *old_fracture("C5", "lamina")), "C6": old_fracture("C5", "body burst")},
        names=("unfused apophysis C4", "old fracture C4", "healed compression C6"),
    )

    records = describe_mimics(replace(neck, variants=variants, mimics=()), scanner)

    types = {(each["name"], each["level"]): each.get("fracture_types") for each in records if each["level"]}
    assert types == {
        ("unfused apophysis", "C4"): None,
        ("old fracture", "C4"): ["lamina"],
        ("healed compression", "C6"): ["body burst"],
    }


@pytest.mark.parametrize(("level", "fracture_type"), [("C2", "dens type II"), ("C2", "hangman"), ("C5", "teardrop")])
def test_lost_bone_leaves_a_wide_gap_between_fragments_in_place(level: Level, fracture_type: str) -> None:
    rng, person = np.random.default_rng(0), intact_neck().person
    settings = PhantomSettings(bone_loss_fraction=1.0, displacement_mm=(2.0, 4.0))

    drawn = [draw_fractures(level, person, settings, rng, fracture_type=fracture_type) for _ in range(60)]

    wide = [surface for each in drawn for surface in each if surface.width_mm > 2.5]
    assert wide
    assert all(surface.width_mm <= min(8.0, 0.7 * surface.half_extent_mm.min()) for surface in wide)
    assert not any(surface.height_loss_mm or surface.translation_mm.any() for surface in wide)
    assert all(surface.is_bone_lost and surface.bone_lost_mm == surface.width_mm for surface in wide)
    assert all(len({surface.width_mm > 2.5 for surface in each}) == 1 for each in drawn)  # both sides alike
