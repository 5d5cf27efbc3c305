"""Voxels that vote for origins become vertebrae with frames."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

from cspine.localization.instances import Voxels, find_instances, rigid_frame

RNG = np.random.default_rng(3)


def frame(x: float, y: float, z: float, turn: tuple[float, float, float]) -> npt.NDArray[np.float64]:
    made = np.eye(4)
    made[:3, :3] = Rotation.from_euler("zyx", turn, degrees=True).as_matrix()
    made[:3, 3] = x, y, z
    return made


FRAMES = [frame(3.0, -5.0, 40.0 - 16.0 * n, (4.0 * n, 2.0, 10.0 - 5.0 * n)) for n in range(4)]


def voxels(spread: float) -> tuple[Voxels, npt.NDArray[Any]]:
    """Four vertebrae's voxels, C3 to C6, and which each belongs to."""
    own = np.concatenate([RNG.uniform([-20, -8, -6], [20, 38, 6], (300, 3)) for _ in FRAMES])
    of = np.repeat(np.arange(len(FRAMES)), 300)
    places = np.stack([FRAMES[n][:3, :3] @ at + FRAMES[n][:3, 3] for n, at in zip(of, own, strict=True)])
    origins = np.stack([FRAMES[n][:3, 3] for n in of])
    ways = origins - places + spread * RNG.standard_normal(places.shape)
    chances = np.full((len(own), 8), 0.01)
    chances[np.arange(len(own)), of + 2] = 0.85
    return Voxels(places, ways, own + spread * RNG.standard_normal(own.shape), chances, 27.0), of


def part(every: Voxels, chosen: npt.NDArray[np.bool_]) -> Voxels:
    return Voxels(every.places[chosen], every.ways[chosen], every.own[chosen], every.chances[chosen], every.mm3)


def test_frames_are_found_from_scattered_votes() -> None:
    every, of = voxels(1.5)

    found = find_instances(every)

    assert len(found) == len(FRAMES)
    for number, (instance, true) in enumerate(zip(found, FRAMES, strict=True)):
        assert np.linalg.norm(instance.frame[:3, 3] - true[:3, 3]) < 0.5
        turn = Rotation.from_matrix(instance.frame[:3, :3].T @ true[:3, :3])
        assert np.degrees(turn.magnitude()) < 1.5
        assert 1.0 < instance.misfit_mm < 4.0
        assert np.mean(of[instance.members] == number) > 0.98
        assert len(instance.members) > 290


def test_a_few_voxels_are_no_vertebra() -> None:
    every, of = voxels(1.0)
    few = (of != 2) | (RNG.random(len(of)) < 0.05)

    assert len(find_instances(part(every, few))) == 3
    assert not find_instances(part(every, of < 0))
    for count in (5, 15, 25, 35):  # a crumb of one vertebra and nothing else
        assert not find_instances(part(every, (of == 1) & (np.cumsum(of == 1) <= count)))


def test_levels_part_vertebrae_whose_votes_run_together() -> None:
    every, of = voxels(3.5)  # votes of neighbours, 16 mm apart, overlap

    found = find_instances(every)

    assert len(found) == len(FRAMES)
    assert np.mean([np.mean(of[instance.members] == number) for number, instance in enumerate(found)]) > 0.97


def test_votes_for_far_off_cost_nothing_and_change_nothing() -> None:
    every, _ = voxels(1.5)
    stray = RNG.normal(0.0, 3000.0, (40, 3))
    more = Voxels(
        np.concatenate([every.places, np.zeros((40, 3))]), np.concatenate([every.ways, stray]),
        np.concatenate([every.own, stray]), np.concatenate([every.chances, np.full((40, 8), 0.1)]), every.mm3,
    )  # fmt: skip

    for one, other in zip(find_instances(more), find_instances(every), strict=True):
        np.testing.assert_allclose(one.frame, other.frame, atol=0.05)


def test_two_vertebrae_that_are_told_one_level_stay_two() -> None:
    every, of = voxels(1.5)
    chances = every.chances.copy()
    chances[of == 2] = chances[of == 1][0]  # the third is taken for another of the second's level

    found = find_instances(Voxels(every.places, every.ways, every.own, chances, every.mm3))

    assert len(found) == len(FRAMES)


def test_a_rigid_frame_is_never_a_mirror_image() -> None:
    own = RNG.standard_normal((50, 3)) * [20.0, 20.0, 0.01]  # nearly flat: a reflection fits as well
    places = own @ FRAMES[1][:3, :3].T + FRAMES[1][:3, 3]

    found, misfit = rigid_frame(own, places, np.ones(50))

    assert np.linalg.det(found[:3, :3]) > 0.999
    np.testing.assert_allclose(found, FRAMES[1], atol=1e-6)
    assert misfit < 1e-6
