"""Cracks in real bone: half of the patches show one, the others the same places without it."""

import highdicom
import numpy as np
import pytest
from scipy import ndimage
from tests.support.views import VIEWS

from cspine.training.levels.crack_patches import BoneScan, Crack, CrackPatchDataset
from cspine.views.level_views import LevelViewSettings

LARGE = LevelViewSettings()


@pytest.fixture(scope="module")
def scan() -> BoneScan:
    """Return a scan of blocks of textured bone in soft tissue."""
    rng = np.random.default_rng(0)
    hu = np.full((70, 120, 120), 40.0)
    hu[12:58, 20:100, 20:100] = 350 + 120 * ndimage.gaussian_filter(rng.normal(size=(46, 80, 80)), 1.0) * 4
    hu[30:40, 20:100, 55:65] = 40.0
    hu = ndimage.gaussian_filter(hu, 0.5)
    affine = np.array([[0, 0, 0.7, -40], [0, 0.7, 0, -30], [1.0, 0, 0, 5], [0, 0, 0, 1]])
    return BoneScan.of("blocks", highdicom.Volume(hu.astype(np.int16), affine, "PATIENT"))


def test_places_lie_in_bone_away_from_the_border(scan: BoneScan) -> None:
    assert len(scan.places_lps) > 1000
    assert (scan.sample(scan.places_lps) > 100).mean() > 0.97
    index = (scan.places_lps - scan.affine_lps[:3, 3]) / np.array([0.7, 0.7, 1.0])
    assert (index[:, 2] >= 8).all()
    assert (index[:, 2] <= 61).all()


def test_a_crack_changes_bone_at_its_surface_and_nothing_far_from_it(scan: BoneScan) -> None:
    rng = np.random.default_rng(1)
    darker = 0
    for _ in range(20):
        crack = Crack.draw(scan.places_lps[rng.integers(len(scan.places_lps))], rng)
        direction = rng.normal(size=(500, 3))
        far = crack.center_lps + direction / np.linalg.norm(direction, axis=1)[:, None] * (crack.radius_mm + 0.5)
        intact, moved, cracked = crack.apply(scan, far)
        np.testing.assert_array_equal(cracked, intact)
        np.testing.assert_array_equal(moved, intact)
        line = crack.center_lps + np.linspace(-2, 2, 81)[:, None] * crack.axes[2]
        intact, _, cracked = crack.apply(scan, line)
        if crack.added_hu:
            assert (cracked - intact).max() > 0
        else:
            darker += bool(cracked.min() <= crack.fluid_hu + 1 and intact.min() > 150)
    assert darker >= 5


@pytest.mark.parametrize("settings", [VIEWS, LARGE])
def test_half_of_the_patches_show_a_crack(scan: BoneScan, settings: LevelViewSettings) -> None:
    data = CrackPatchDataset([scan], 12, settings, 4, is_augmented=False)
    size = min(48, settings.pixels)

    marked = 0
    for number in range(12):
        batch = data[number]
        assert batch["planes"].shape == (16, 1, size, size)
        assert batch["cells"].shape == (16, size // 8, size // 8)
        assert not batch["cells"][8:].any()
        marked += int(batch["cells"][:8].flatten(1).any(dim=1).sum())
        change = (batch["planes"][:8] - batch["planes"][8:]).abs().amax(dim=(1, 2, 3))
        assert (change[batch["cells"][:8].flatten(1).any(dim=1)] > 0.02).all()
    assert marked > 0.6 * 12 * 8


def test_cracks_depend_on_the_seed(scan: BoneScan) -> None:
    one, same, other = (CrackPatchDataset([scan], 3, LARGE, s, is_augmented=True)[1]["planes"] for s in (1, 1, 2))

    assert (one == same).all()
    assert not (one == other).all()
    assert scan.sha256 == BoneScan("other", scan.hu, scan.affine_lps, scan.places_lps, 0.5).sha256
