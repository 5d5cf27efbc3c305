"""Old fractures have the types of fresh ones, smooth edges and cortex, and are no fractures of the truth."""

import numpy as np
import pytest
from tests.support.fractures import grid_around, intact_neck

from cspine.core.anatomy import VERTEBRAE, Level
from cspine.phantom import PhantomSettings
from cspine.phantom.fractures.fractured_bone import Defects, sample_fractured_bone
from cspine.phantom.fractures.old_fractures import draw_old_fracture
from cspine.phantom.fractures.sampling import draw_fractures


@pytest.mark.parametrize("level", VERTEBRAE)
def test_every_level_has_old_fractures_in_more_than_one_place(level: Level) -> None:
    drawn = [draw_old_fracture(level, intact_neck().person, np.random.default_rng(seed)) for seed in range(40)]

    assert {surface.fracture_type for each in drawn for surface in each} == {"old"}
    assert len({tuple(each[0].half_extent_mm.round(0)) for each in drawn if not each[0].is_loose}) >= 2
    assert all(0.9 < each[0].width_mm < 3.1 for each in drawn if not each[0].height_loss_mm)
    assert any(surface.height_loss_mm for each in drawn for surface in each) == (level != "C1")


def test_an_old_fracture_is_lined_by_cortex_and_marks_nothing() -> None:
    person, grid = intact_neck().person, grid_around("C5").in_frame(intact_neck().frames["C5"].affine)
    gaps = compressed = 0
    for seed in range(12):
        old = draw_old_fracture("C5", person, np.random.default_rng(seed))
        bone = sample_fractured_bone(intact_neck().vertebra_parts("C5"), grid, (), Defects((), old))

        assert not bone.surface_index.any()
        assert not bone.impaction.any()  # a healed body is low, without a dense band
        in_gap = (bone.field > 0) & (sample_fractured_bone(intact_neck().vertebra_parts("C5"), grid).field < -0.5)
        if all(surface.height_loss_mm for surface in old):
            compressed += 1
        elif in_gap.any():
            gaps += 1
            assert (bone.closed_field[in_gap] > 0).any()  # the surface goes into the gap, and cortex with it
    assert gaps >= 3
    assert compressed >= 1


def test_lost_bone_leaves_a_wide_gap_between_fragments_in_place() -> None:
    rng, person = np.random.default_rng(0), intact_neck().person
    settings = PhantomSettings(bone_loss_fraction=1.0, displacement_mm=(0.0, 0.0))

    drawn = [draw_fractures("C2", person, settings, rng, fracture_type="dens type II")[0] for _ in range(60)]

    wide = [surface for surface in drawn if surface.width_mm >= 3.0]
    assert wide
    assert all(surface.width_mm <= 8.0 for surface in wide)
    assert all(not surface.height_loss_mm and abs(surface.translation_mm @ surface.normal) < 1e-9 for surface in wide)
    narrow = [surface for surface in drawn if surface.width_mm < 3.0]  # incomplete or impacted
    assert all(surface.height_loss_mm or not surface.translation_mm.any() for surface in narrow)
