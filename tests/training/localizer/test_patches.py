"""Patches keep the coordinates of vertebrae whatever their geometry."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Floats
from cspine.localization.cascade.region import REGION_CLASSES
from cspine.localization.cascade.vertebrae import VERTEBRA_CLASSES
from cspine.localization.coarse import OFFSET_UNIT_MM, REGION_MM
from cspine.localization.instances import rigid_frame
from cspine.models.metadata import COARSE_MM, PADDING
from cspine.training.localizer.classes import REGION_TABLE, UNKNOWN, VERTEBRA_TABLE
from cspine.training.localizer.examples import LocalizerSample
from cspine.training.localizer.geometry import PatchGeometry, random_geometry
from cspine.training.localizer.patches import Patch, sample_patch

SHAPE = (80, 48, 48)
HEAD = VERTEBRA_CLASSES.index("head")


def centered_geometry(sample: LocalizerSample, shape: tuple[int, int, int], spacing_mm: float) -> PatchGeometry:
    """Return the geometry of a patch about the center of the scan, without any random change."""
    ratio = spacing_mm / sample.spacing_mm
    matrix = np.eye(3) * ratio
    shift = sample.scanned.mean(axis=0) - 0.5 - matrix @ (np.array(shape) - 1) / 2
    scanned = np.round((sample.scanned - 0.5 - shift) / ratio + 0.5)
    return PatchGeometry(shape, spacing_mm, matrix, shift, 1.0, is_mirrored=False, knots=None, scanned=scanned)


def votes_of(patch: Patch) -> dict[int, Floats]:
    """Return the origins that the voxels of each vertebra point to, (n, 3), x, y, z in voxels of the patch."""
    votes = {}
    for number in range(1, 9):
        voxels = np.nonzero((patch.classes == number) & patch.has_coordinates)
        if len(voxels[0]) > 15:
            offset = OFFSET_UNIT_MM * patch.coordinates[:3, voxels[0], voxels[1], voxels[2]] / COARSE_MM
            votes[number] = (np.stack(voxels)[::-1] + offset).T
    return votes


def test_voxels_of_a_vertebra_agree_on_its_origin_and_know_their_position(sample: LocalizerSample) -> None:
    geometry = centered_geometry(sample, SHAPE, COARSE_MM)

    patch = sample_patch(sample, geometry, VERTEBRA_TABLE)

    assert patch.image.shape == (2, *SHAPE)
    assert set(range(9)) | {HEAD} <= set(np.unique(patch.classes).tolist())
    for number, votes in votes_of(patch).items():
        frame = sample.frames[number - 1]
        origin = geometry.patch_index(sample.index_of(frame[None, :3, 3]))[0][::-1]
        np.testing.assert_allclose(votes, np.broadcast_to(origin, votes.shape), atol=1e-3)
        voxels = np.nonzero((patch.classes == number) & patch.has_coordinates)
        position = OFFSET_UNIT_MM * patch.coordinates[3:, voxels[0], voxels[1], voxels[2]]
        index = (np.stack(voxels) + geometry.shift[:, None])[::-1]
        expected = sample.origin_lps_mm[:, None] + COARSE_MM * index
        np.testing.assert_allclose(frame[:3, :3] @ position + frame[:3, 3:], expected, atol=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_random_geometry_keeps_coordinates_consistent(sample: LocalizerSample, seed: int) -> None:
    rng = np.random.default_rng(seed)
    center = sample.index_of(sample.frames[3][None, :3, 3])[0]
    geometry = random_geometry(sample, center, SHAPE, COARSE_MM, rng)

    patch = sample_patch(sample, geometry, VERTEBRA_TABLE, rng)

    votes = votes_of(patch)
    for number, origins in votes.items():
        assert np.ptp(origins, axis=0).max() < 0.01  # all voxels point to the same origin
        voxels = np.nonzero((patch.classes == number) & patch.has_coordinates)
        position = OFFSET_UNIT_MM * patch.coordinates[3:, voxels[0], voxels[1], voxels[2]]
        points = COARSE_MM * np.stack(voxels)[::-1].astype(float)
        frame, misfit_mm = rigid_frame(position.T.astype(float), points.T, np.ones(len(voxels[0])))
        assert misfit_mm < (1e-3 if geometry.knots is None else 1.0)
        assert np.linalg.norm(frame[:3, 3] / COARSE_MM - origins[0]) < (1e-3 if geometry.knots is None else 0.4)
    for upper, lower in pairwise(range(1, 1 + len(VERTEBRAE))):
        if {upper, lower} <= set(votes):
            assert votes[upper][0, 2] > votes[lower][0, 2]


def test_a_deformation_is_inverted(sample: LocalizerSample) -> None:
    rng = np.random.default_rng(11)
    geometries = (random_geometry(sample, sample.scanned.mean(axis=0), SHAPE, COARSE_MM, rng) for _ in range(20))
    geometry = next(each for each in geometries if each.knots is not None)
    points = rng.uniform(5.0, 40.0, (30, 3))
    nearest = np.round(points).astype(int)

    source = geometry.source_index().numpy()[:, nearest[:, 0], nearest[:, 1], nearest[:, 2]].T

    np.testing.assert_allclose(geometry.patch_index(source.astype(float)), nearest, atol=0.05)


def test_voxels_far_outside_the_scan_are_unknown(sample: LocalizerSample) -> None:
    complete = centered_geometry(sample, SHAPE, COARSE_MM)
    low, high = complete.scanned.copy()
    low[0] += 30  # 90 mm are cut off at the feet
    geometry = replace(complete, scanned=np.array([low, high]))

    patch = sample_patch(sample, geometry, VERTEBRA_TABLE)

    first = int(low[0])
    assert (patch.image[1, :first] == 0.0).all()  # the network sees what was not scanned
    assert (patch.classes[: first - PADDING[0]] == UNKNOWN).all()
    padding = patch.classes[first - PADDING[0] : first]
    assert ((padding > 0) & (padding < HEAD)).any()
    assert not patch.has_coordinates[: first - PADDING[0]].any()


def test_larger_voxels_have_the_class_of_any_bone_in_them(sample: LocalizerSample) -> None:
    geometry = centered_geometry(sample, (48, 32, 32), REGION_MM)

    patch = sample_patch(sample, geometry, REGION_TABLE, has_coordinates=False)

    counts = {name: int((patch.classes == number).sum()) for number, name in enumerate(REGION_CLASSES)}
    volume = 4 / 3 * np.pi * 7.0**3 / REGION_MM**3
    assert counts["upper cervical"] == pytest.approx(2 * 2.2 * volume, rel=0.4)
    assert counts["lower cervical"] == pytest.approx(5 * 2.2 * volume, rel=0.4)
    assert counts["thoracic"] > volume
    assert counts["lumbar"] == 0
    assert not patch.has_coordinates.any()
