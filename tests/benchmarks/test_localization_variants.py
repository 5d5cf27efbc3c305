"""Variants of a scan keep every point of the patient where it was."""

import highdicom
import numpy as np
import pytest
from benchmarks.localization.variants import ALWAYS, CORD, CUTS, FIELD_CROP, GRID_AND_HU, Variant, to_index
from benchmarks.real_texture.variants import VARIANTS

POINT = np.array([12.0, -30.0, 40.0])
"""A point of the patient, LPS mm."""


def ramp(voxel_mm: tuple[float, float, float], *, is_upward: bool = True) -> highdicom.Volume:
    """Return a volume of 90 x 300 x 300 mm about the point, whose HU rise linearly by position."""
    shape = tuple(int(extent / size) for extent, size in zip((90, 300, 300), voxel_mm, strict=True))
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = voxel_mm
    affine[:, 3] = [POINT[0] - 140, POINT[1] - 160, POINT[2] - 50, 1]
    if not is_upward:
        affine[2, 3] += affine[2, 0] * (shape[0] - 1)
        affine[2, 0] *= -1
    index = np.indices(shape, np.float32).reshape(3, -1)
    lps = affine[:3, :3] @ index + affine[:3, 3:]
    hu = 5 * (lps[2] - POINT[2]) + 2 * (lps[1] - POINT[1]) - (lps[0] - POINT[0])
    return highdicom.Volume(np.rint(hu).astype(np.int16).reshape(shape), affine, "PATIENT")


def hu_at_point(volume: highdicom.Volume) -> float:
    """Return the HU at the point, by linear extrapolation from the nearest voxel."""
    index = np.rint(to_index(volume, POINT)).astype(int)
    center = (volume.affine @ [*index, 1.0])[:3]
    return float(volume.array[tuple(index)] - np.array([-1.0, 2.0, 5.0]) @ (center - POINT))


LANDMARKS = {CORD: POINT, "C3": POINT, "C4": POINT - [0.0, 0.0, 17.0], "C5": POINT - [0.0, 0.0, 34.0]}
SCALED = ("hu-0.9", "hu-1.1")
TEXTURE = [each.variant for each in VARIANTS if each.name.startswith(("slices-2", "blur", "sharp", "half"))]
"""Variants of the benchmark on real bone that are not among those of this one, but for noise."""


@pytest.mark.parametrize("is_upward", [True, False])
@pytest.mark.parametrize(
    "variant", [*ALWAYS, *GRID_AND_HU, *FIELD_CROP, *CUTS, *TEXTURE], ids=lambda variant: variant.name
)
def test_variants_keep_the_patient_in_place(variant: Variant, *, is_upward: bool) -> None:
    volume = ramp((1.3, 2.5, 2.0), is_upward=is_upward)

    changed = variant.apply(volume, LANDMARKS)

    assert changed is not None

    assert changed.array.dtype == np.int16
    tolerance = 1.5 if variant.name not in SCALED else 3.0
    assert hu_at_point(changed) == pytest.approx(0.0, abs=tolerance)


def test_slices_become_three_mm_thick_only_where_they_are_thinner() -> None:
    average = ALWAYS[1].apply

    averaged = average(ramp((0.8, 4.0, 4.0)), {})
    assert averaged is not None
    assert averaged.spacing[0] == pytest.approx(3.0)
    assert average(ramp((3.0, 4.0, 4.0)), {}) is None


def test_fields_are_cropped_about_the_cord_where_they_are_wider() -> None:
    (crop,) = FIELD_CROP
    cropped = crop.apply(ramp((3.0, 2.0, 2.0)), LANDMARKS)

    assert cropped is not None
    assert (np.array(cropped.spatial_shape[1:]) * 2.0).tolist() == pytest.approx([160.0, 160.0], abs=2.1)
    assert crop.apply(cropped, LANDMARKS) is None
    assert crop.apply(ramp((3.0, 2.0, 2.0)), {}) is None


@pytest.mark.parametrize("is_upward", [True, False])
def test_cut_scans_end_below_the_body(*, is_upward: bool) -> None:
    volume = ramp((1.0, 4.0, 4.0), is_upward=is_upward)
    c3, c4, c5 = (variant.apply(volume, LANDMARKS) for variant in CUTS)

    for cut, lowest in ((c3, POINT[2] - 8), (c4, POINT[2] - 25), (c5, POINT[2] - 42)):
        assert cut is not None
        ends = sorted((cut.affine @ [k, 0, 0, 1])[2] for k in (0, cut.spatial_shape[0] - 1))
        assert ends[0] == pytest.approx(lowest, abs=1.0)
        assert ends[1] == pytest.approx(POINT[2] + 39, abs=1.0)
    assert CUTS[0].apply(volume, {}) is None
    assert CUTS[0].apply(volume, {"C3": POINT - [0.0, 0.0, 48.0]}) is None
