"""Crops and coarse volumes show the same necks as complete studies, with the truth on their own voxels."""

import numpy as np
import pytest

from cspine.core.anatomy import SEGMENT_NUMBERS, VERTEBRAE
from cspine.phantom import PhantomSettings, render_coarse, render_study, render_vertebrae
from cspine.phantom.scanner.render import SKULL_LABEL

SETTINGS = PhantomSettings(matrix=128, slice_spacing_mm=(1.0, 1.0), prevalence=1.0, tilt_fraction=0.0)


def test_each_vertebra_is_centered_in_its_crop() -> None:
    crops = list(render_vertebrae(3, 0, SETTINGS, size=64, spacing_mm=1.0))

    assert [crop.level for crop in crops] == list(VERTEBRAE)
    for crop in crops:
        assert crop.hu.shape == crop.labels.shape == crop.fracture_level_mask.shape == (64, 64, 64)
        own = np.argwhere(crop.labels == SEGMENT_NUMBERS[crop.level or "C1"])
        assert len(own) > 3000
        assert np.abs(own.mean(axis=0) - 31.5).max() < 11.0
        assert bool(crop.fractures) == bool((crop.fracture_level_mask == SEGMENT_NUMBERS[crop.level or "C1"]).any())
        assert crop.hu[crop.labels > 0].mean() > crop.hu[crop.labels == 0].mean() + 200


def test_crops_and_coarse_volumes_show_the_study_of_the_same_index() -> None:
    study = render_study(3, 1, SETTINGS)
    coarse = render_coarse(3, 1, SETTINGS)
    crops = {crop.level: crop for crop in render_vertebrae(3, 1, SETTINGS)}

    assert {level for level, crop in crops.items() if crop.fractures} == set(study.truth["levels"])
    np.testing.assert_allclose(np.linalg.norm(coarse.affine_lps[:3, :3], axis=0), 3.0)
    to_study = np.linalg.inv(study.affine_lps) @ coarse.affine_lps
    assert (coarse.labels == SKULL_LABEL).any()
    at = np.argwhere((coarse.labels > 0) & (coarse.labels != SKULL_LABEL))
    there = np.rint(np.c_[at, np.ones(len(at))] @ to_study.T)[:, :3].astype(int)
    inside = np.all((there >= 0) & (there < study.labels.shape), axis=1)
    same = study.labels[tuple(there[inside].T)] == coarse.labels[tuple(at[inside].T)]
    assert inside.mean() > 0.95
    assert same.mean() > 0.85  # thin parts fall between voxels
    assert np.corrcoef(study.hu[tuple(there[inside].T)], coarse.hu[tuple(at[inside].T)])[0, 1] > 0.6


def test_crops_are_reproducible() -> None:
    first, repeated = (next(iter(render_vertebrae(5, 2, SETTINGS, size=32, spacing_mm=2.0))) for _ in range(2))

    np.testing.assert_array_equal(first.hu, repeated.hu)


@pytest.mark.parametrize("spacing", [2.0, 4.0])
def test_coarse_volume_has_less_noise_than_the_scan(spacing: float) -> None:
    noiseless = SETTINGS.model_copy(update={"noise_hu": (0.0, 0.0)})
    noisy = SETTINGS.model_copy(update={"noise_hu": (40.0, 40.0)})
    noise = (
        render_coarse(3, 0, noisy, spacing_mm=spacing).hu.astype(float)
        - render_coarse(3, 0, noiseless, spacing_mm=spacing).hu
    )

    assert 1.0 < noise.std() < 30.0


def test_margin_extends_a_coarse_volume_beyond_the_scan() -> None:
    bare, wide = render_coarse(3, 1, SETTINGS), render_coarse(3, 1, SETTINGS, margin=4)
    inner = (slice(4, -4),) * 3

    assert wide.hu.shape == tuple(count + 8 for count in bare.hu.shape)
    np.testing.assert_allclose(wide.affine_lps @ [4, 4, 4, 1], bare.affine_lps @ [0, 0, 0, 1])
    np.testing.assert_array_equal(wide.labels[inner], bare.labels)
    assert (wide.labels[:4] == SEGMENT_NUMBERS["T2"]).any()


def test_frames_are_centered_in_their_vertebrae() -> None:
    coarse = render_coarse(3, 2, SETTINGS, spacing_mm=2.0)
    for level in ("C2", "C3", "C4", "C5", "C6", "C7"):
        index = np.linalg.inv(coarse.affine_lps) @ coarse.frames[level] @ [0.0, 0.0, 0.0, 1.0]
        assert coarse.labels[tuple(np.rint(index[:3]).astype(int))] == SEGMENT_NUMBERS[level]
