"""Voxels that vote for origins are grouped to vertebrae with frames."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cspine.core.typing import Bools, Floats, Indices
from cspine.localization import instances as instances_module
from cspine.localization.instances import VoxelVotes, find_instances, rigid_frame

RNG = np.random.default_rng(3)

VOXELS_PER_VERTEBRA = 300

_FIELDS = ("points_lps_mm", "offsets_mm", "canonical_mm", "level_probabilities")


def make_frame(x: float, y: float, z: float, angles_deg: tuple[float, float, float]) -> Floats:
    frame = np.eye(4)
    frame[:3, :3] = Rotation.from_euler("zyx", angles_deg, degrees=True).as_matrix()
    frame[:3, 3] = x, y, z
    return frame


FRAMES = [make_frame(3.0, -5.0, 40.0 - 16.0 * n, (4.0 * n, 2.0, 10.0 - 5.0 * n)) for n in range(4)]


def make_votes(noise_mm: float) -> tuple[VoxelVotes, Indices]:
    """Return the votes of four vertebrae's voxels, C3 to C6, and the index of each voxel's vertebra."""
    canonical = np.concatenate([RNG.uniform([-20, -8, -6], [20, 38, 6], (VOXELS_PER_VERTEBRA, 3)) for _ in FRAMES])
    vertebra = np.repeat(np.arange(len(FRAMES)), VOXELS_PER_VERTEBRA)
    points = np.stack([FRAMES[n][:3, :3] @ at + FRAMES[n][:3, 3] for n, at in zip(vertebra, canonical, strict=True)])
    origins = np.stack([FRAMES[n][:3, 3] for n in vertebra])
    offsets = origins - points + noise_mm * RNG.standard_normal(points.shape)
    probabilities = np.full((len(canonical), 8), 0.01)
    probabilities[np.arange(len(canonical)), vertebra + 2] = 0.85
    noisy = canonical + noise_mm * RNG.standard_normal(canonical.shape)
    return VoxelVotes(points, offsets, noisy, probabilities, 27.0), vertebra


def subset(votes: VoxelVotes, chosen: Bools) -> VoxelVotes:
    return VoxelVotes(
        votes.points_lps_mm[chosen],
        votes.offsets_mm[chosen],
        votes.canonical_mm[chosen],
        votes.level_probabilities[chosen],
        votes.voxel_mm3,
    )


def test_find_instances_recovers_frames_from_noisy_votes() -> None:
    votes, vertebra = make_votes(1.5)

    instances = find_instances(votes)

    assert len(instances) == len(FRAMES)
    for number, (instance, true) in enumerate(zip(instances, FRAMES, strict=True)):
        assert np.linalg.norm(instance.frame[:3, 3] - true[:3, 3]) < 0.5
        rotation = Rotation.from_matrix(instance.frame[:3, :3].T @ true[:3, :3])
        assert np.degrees(rotation.magnitude()) < 1.5
        assert 1.0 < instance.misfit_mm < 4.0
        assert np.mean(vertebra[instance.members] == number) > 0.98
        assert len(instance.members) > 290


def test_find_instances_ignores_groups_of_few_voxels() -> None:
    votes, vertebra = make_votes(1.0)
    is_kept = (vertebra != 2) | (RNG.random(len(vertebra)) < 0.05)

    assert len(find_instances(subset(votes, is_kept))) == 3


def test_find_instances_returns_nothing_for_no_voxels() -> None:
    votes, vertebra = make_votes(1.0)

    assert not find_instances(subset(votes, vertebra < 0))


@pytest.mark.parametrize("count", [5, 15, 25, 35])
def test_find_instances_ignores_a_fragment_of_one_vertebra(count: int) -> None:
    votes, vertebra = make_votes(1.0)

    assert not find_instances(subset(votes, (vertebra == 1) & (np.cumsum(vertebra == 1) <= count)))


def test_find_instances_separates_overlapping_votes_by_level() -> None:
    votes, vertebra = make_votes(3.5)  # votes of neighbors, 16 mm apart, overlap

    instances = find_instances(votes)

    assert len(instances) == len(FRAMES)
    purity = [np.mean(vertebra[instance.members] == number) for number, instance in enumerate(instances)]
    assert np.mean(purity) > 0.97


def test_find_instances_is_robust_to_stray_votes() -> None:
    votes, _ = make_votes(1.5)
    stray = RNG.normal(0.0, 3000.0, (40, 3))
    with_stray = VoxelVotes(
        np.concatenate([votes.points_lps_mm, np.zeros((40, 3))]),
        np.concatenate([votes.offsets_mm, stray]),
        np.concatenate([votes.canonical_mm, stray]),
        np.concatenate([votes.level_probabilities, np.full((40, 8), 0.1)]),
        votes.voxel_mm3,
    )

    instances = find_instances(with_stray)

    for instance, expected in zip(instances, find_instances(votes), strict=True):
        np.testing.assert_allclose(instance.frame, expected.frame, atol=0.05)


def test_find_instances_separates_neighbors_with_the_same_level() -> None:
    votes, vertebra = make_votes(1.5)
    probabilities = votes.level_probabilities.copy()
    probabilities[vertebra == 2] = probabilities[vertebra == 1][0]

    instances = find_instances(
        VoxelVotes(votes.points_lps_mm, votes.offsets_mm, votes.canonical_mm, probabilities, votes.voxel_mm3)
    )

    assert len(instances) == len(FRAMES)


def test_rigid_frame_has_no_reflection() -> None:
    canonical = RNG.standard_normal((50, 3)) * [20.0, 20.0, 0.01]  # nearly flat: a reflection fits as well
    points = canonical @ FRAMES[1][:3, :3].T + FRAMES[1][:3, 3]

    frame, misfit_mm = rigid_frame(canonical, points, np.ones(50))

    assert np.linalg.det(frame[:3, :3]) > 0.999
    np.testing.assert_allclose(frame, FRAMES[1], atol=1e-6)
    assert misfit_mm < 1e-6


def test_votes_far_from_the_neck_do_not_hide_it_in_a_scan_of_the_whole_body() -> None:
    votes, _ = make_votes(1.5)
    n_stray = len(votes.points_lps_mm) // 8
    stray = subset(votes, np.arange(len(votes.points_lps_mm)) < n_stray)
    far = replace(stray, points_lps_mm=stray.points_lps_mm - [200.0, 0.0, 800.0])
    fields: dict[str, Any] = {name: np.concatenate([getattr(votes, name), getattr(far, name)]) for name in _FIELDS}
    joined = replace(votes, **fields)

    instances = find_instances(joined)

    for true in FRAMES:
        assert min(np.linalg.norm(each.frame[:3, 3] - true[:3, 3]) for each in instances) < 0.5


def test_voxels_are_assigned_in_blocks_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    votes, _ = make_votes(1.5)
    expected = find_instances(votes)

    monkeypatch.setattr(instances_module, "_MAX_DISTANCES", 500)

    for instance, whole in zip(find_instances(votes), expected, strict=True):
        np.testing.assert_array_equal(instance.members, whole.members)
