"""Which vertebra the bone of an arch belongs to."""

import numpy as np
import pytest
from scipy import ndimage

from cspine.core.typing import Bools, Floats32
from cspine.insertion import territories
from cspine.insertion.territories import _follow_bone

SPACING_MM = np.array([1.0, 0.5, 0.5])


def arches() -> tuple[Floats32, np.ndarray, Bools]:
    """Return HU, seeds and bone of two arches that rise from their bodies, with a closed joint between them.

    The way from the lower body through the joint to the end of the upper arch is shorter than that from the upper body,
    which makes a detour.
    """
    hu = np.zeros((24, 40, 3), np.float32)
    hu[4:8, :6] = hu[12:16, :6] = 600.0  # the bodies
    hu[5:7, 6:30] = 600.0  # the lower arch
    hu[13:15, 6:12] = hu[13:22, 10:12] = hu[20:22, 10:28] = hu[12:22, 26:28] = 600.0  # the upper one
    hu[7:12, 26:28] = 200.0  # a joint that blur has closed
    seeds = np.zeros(hu.shape, np.int16)
    seeds[12:16, :6], seeds[4:8, :6] = 1, 2
    return hu, seeds, hu > 190.0


def test_an_arch_belongs_to_the_body_that_it_hangs_on() -> None:
    hu, seeds, bone = arches()

    owners = _follow_bone(bone, hu, seeds, SPACING_MM)

    assert ndimage.label(bone)[1] == 1
    assert set(np.unique(owners[12:22, 6:28][bone[12:22, 6:28]])) == {1}
    assert set(np.unique(owners[5:7, 6:30])) == {2}
    assert not owners[~bone].any()


def test_without_dark_ways_the_shorter_one_through_the_joint_would_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(territories, "_DARK_FACTOR", 0.0)
    hu, seeds, bone = arches()

    assert _follow_bone(bone, hu, seeds, SPACING_MM)[13, 27, 1] == 2


def test_bone_that_hangs_on_nothing_has_no_owner() -> None:
    hu = np.zeros((8, 8, 8), np.float32)
    hu[1:3, 1:3, 1:3] = hu[5:7, 5:7, 5:7] = 500.0
    seeds = np.zeros(hu.shape, np.int16)
    seeds[1, 1, 1] = 3

    owners = _follow_bone(hu > 190.0, hu, seeds, SPACING_MM)

    assert set(np.unique(owners[1:3, 1:3, 1:3])) == {3}
    assert not owners[5:7, 5:7, 5:7].any()
    assert not _follow_bone(hu > 190.0, hu, np.zeros_like(seeds), SPACING_MM).any()
