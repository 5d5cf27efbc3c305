"""Which vertebra the bone of an arch belongs to."""

import numpy as np

from cspine.insertion.territories import _follow_bone

SPACING_MM = np.array([1.0, 0.5, 0.5])


def test_an_arch_belongs_to_the_body_that_it_hangs_on() -> None:
    """Two arches rise from their bodies by three slices, so that the lower one lies behind the upper body."""
    hu = np.zeros((20, 30, 9), np.float32)
    seeds = np.zeros(hu.shape, np.int16)
    for number, k in ((1, 12), (2, 6)):
        hu[k : k + 4, :8] = 600.0  # the body
        seeds[k : k + 4, :8] = number
        for j in range(8, 30):  # the arch
            rise = min((j - 8) // 3, 5)
            hu[k + rise : k + rise + 2, j] = 600.0
    hu[10:12, 10, 4] = 200.0  # a joint that blur has closed
    bone = hu > 190.0

    owners = _follow_bone(bone, hu, seeds, SPACING_MM)

    assert owners[17, 29, 4] == 1
    assert owners[11, 29, 4] == 2
    assert (owners[12:16, :8] == 1).all()
    assert not owners[~bone].any()


def test_bone_that_hangs_on_nothing_has_no_owner() -> None:
    hu = np.zeros((8, 8, 8), np.float32)
    hu[1:3, 1:3, 1:3] = hu[5:7, 5:7, 5:7] = 500.0
    seeds = np.zeros(hu.shape, np.int16)
    seeds[1, 1, 1] = 3

    owners = _follow_bone(hu > 190.0, hu, seeds, SPACING_MM)

    assert set(np.unique(owners[1:3, 1:3, 1:3])) == {3}
    assert not owners[5:7, 5:7, 5:7].any()
    assert not _follow_bone(hu > 190.0, hu, np.zeros_like(seeds), SPACING_MM).any()
