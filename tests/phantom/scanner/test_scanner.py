"""Scans have the blur, the noise and the artifacts of their technique."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.core.typing import Floats
from cspine.dicom import load_segmentation, load_volume
from cspine.phantom import render_study, synthesize
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.points import vector
from cspine.phantom.scanner.acquisition import acquire
from cspine.phantom.scanner.kernel import frequency_and_kernel, modulation_transfer
from cspine.phantom.scanner.noise import NoiseSpectra, white_noise_transform
from cspine.phantom.scanner.scanner import Scanner, draw_scanner
from cspine.phantom.settings import DOMAINS, PhantomSettings

Z_MM = -20.0 + np.arange(30)
"""Of the slices of `scanner`."""


@cache
def neck() -> Neck:
    return draw_neck(np.random.default_rng(2))


def scanner(noise_hu: float = 30.0, **changes: Any) -> Scanner:
    grid = Grid.aligned((-48.0, -40.0, -20.0), (1.0, 0.5, 0.5), (30, 192, 192))
    return replace(Scanner(grid, 1.0, 0.5, 0.0, noise_hu, 1.0), **changes)


@cache
def scan_hu(noise_hu: float = 30.0, **changes: Any) -> Floats:
    """Return HU of a scan of the neck, whose noise is seeded."""
    return acquire(neck(), scanner(noise_hu, **changes), np.random.default_rng(1)).hu.astype(float)


def noise_of(**changes: Any) -> Floats:
    """Return the noise of a scan, HU."""
    return scan_hu(30.0, **changes) - scan_hu(0.0, **changes)


def test_mtf_is_one_at_zero_and_half_at_its_mtf50() -> None:
    frequency = np.array([0.0, 0.5, 1.0], np.float32)

    np.testing.assert_allclose(modulation_transfer(frequency, 0.5, 0.0), [1.0, 0.5, 1 / 16], rtol=1e-5)
    assert modulation_transfer(np.array([0.25], np.float32), 0.5, 1.0)[0] > 1.0  # a bone kernel overshoots


def test_noise_has_the_requested_standard_deviation() -> None:
    noise = noise_of()[18:24]

    assert noise.std() == pytest.approx(30.0, rel=0.08)
    assert abs(noise.mean()) < 0.5


@pytest.mark.parametrize("columns", [96, 192])
def test_streaks_have_unit_variance_in_any_field_of_view(columns: int) -> None:
    grid = Grid.aligned((0.0, 0.0, 0.0), 1.0, (4, columns, columns))
    u, frequency, kernel = frequency_and_kernel(Scanner(grid, 1.0, 0.4, 0.0, 10.0, 1.0))
    spectra = NoiseSpectra.of_kernel(u, frequency, kernel, columns)
    half, width = spectra.half, spectra.width
    rng, image = np.random.default_rng(1), np.zeros((60, columns, columns))

    for plane in image:
        transform = np.zeros((columns, columns // 2 + 1), np.complex64)
        streaks = white_noise_transform((columns, columns), spectra.streaks.shape, rng) * spectra.streaks
        transform[:half, :width], transform[-half:, :width] = streaks[:half], streaks[half:]
        plane[:] = np.fft.irfft2(transform, s=(columns, columns))

    assert image.std() == pytest.approx(1.0, abs=0.04)


def test_noise_power_spectrum_follows_the_kernel() -> None:
    spectra = {}
    for mtf50 in (0.35, 0.7):
        power = np.mean(np.abs(np.fft.fft2(noise_of(mtf50_per_mm=mtf50)[18:26])) ** 2, axis=0)
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(192, 0.5), np.fft.fftfreq(192, 0.5)))
        spectra[mtf50] = [power[(frequency > low) & (frequency < low + 0.08)].mean() for low in (0.0, 0.3, 0.85)]

    for low, middle, high in spectra.values():
        assert middle > low
        assert middle > high
    assert spectra[0.7][2] / spectra[0.7][1] > 5 * spectra[0.35][2] / spectra[0.35][1]


def test_slices_through_the_shoulders_have_more_noise() -> None:
    settings = PhantomSettings(
        matrix=128, noise_hu=(20.0, 20.0), slice_spacing_mm=(2.0, 2.0), photon_starvation=(1.0, 1.0)
    )
    drawn = draw_scanner(neck(), settings, np.random.default_rng(0))

    noisy, noiseless = (
        acquire(neck(), replace(drawn, noise_hu=noise_hu), np.random.default_rng(1)).hu.astype(float)
        for noise_hu in (drawn.noise_hu, 0.0)
    )

    sd_hu = (noisy - noiseless).std(axis=(1, 2))
    assert sd_hu[:4].mean() > 1.4 * sd_hu[len(sd_hu) // 2]


def test_overlapping_slices_share_noise() -> None:
    def correlation(thickness_mm: float) -> float:
        noise = noise_of(thickness_mm=thickness_mm)[10:20]
        return float(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1])

    assert abs(correlation(1.0)) < 0.05
    assert correlation(2.0) == pytest.approx(0.5, abs=0.06)


def test_thick_slices_blur_along_z() -> None:
    thin, thick = (np.abs(np.diff(scan_hu(0.0, thickness_mm=mm), axis=0)).mean() for mm in (1.0, 3.0))

    assert thick < 0.9 * thin


def test_domains_differ_in_people_fractures_and_scanners() -> None:
    source, shifted = DOMAINS["source"], DOMAINS["shifted"]

    different = {name for name in type(source).model_fields if getattr(source, name) != getattr(shifted, name)}

    assert (source.domain, shifted.domain) == ("source", "shifted")
    assert different >= {
        "slice_spacing_mm", "mtf50_per_mm", "noise_hu", "fracture_mix", "age_years", "field_of_view_mm",
    }  # fmt: skip


def test_metal_causes_streaks_in_adjacent_slices_only() -> None:
    filling = neck().frames["C4"].center_mm + vector(0.0, -20.0, 4.0)
    other = filling + vector(18.0, 3.0, 0.0)

    filled_neck = replace(neck(), fillings=(filling, other))
    filled = acquire(filled_neck, scanner(0.0), np.random.default_rng(1)).hu.astype(float)

    changed = np.abs(filled - scan_hu(0.0)).max(axis=(1, 2))
    assert filled.max() == 3071
    assert (changed[np.abs(Z_MM - filling[2]) < 3.0] > 300).all()
    assert (changed[np.abs(Z_MM - filling[2]) > 6.0] < 2.0).all()


def test_beam_hardening_darkens_smoothly() -> None:
    bands = scan_hu(0.0, beam_hardening=1.0) - scan_hu(0.0)

    assert -60 < bands.mean() < -0.5
    assert np.abs(np.diff(bands[10], axis=1)).max() < 25  # without detail


def test_motion_doubles_edges_in_affected_slices_only() -> None:
    still, moved = scan_hu(0.0), scan_hu(0.0, motion_mm=(-5.0, 3.0, 2.0, 0.0))
    is_affected = (Z_MM >= -5.0) & (Z_MM <= 3.0)

    assert (np.abs(moved - still)[is_affected].max(axis=(1, 2)) > 200).all()
    np.testing.assert_allclose(moved[~is_affected], still[~is_affected], atol=1)


def test_round_field_is_padded_outside_its_circle() -> None:
    hu = scan_hu(round_field=True)

    assert (hu[:, 0, 0] == -1024).all()
    assert (hu[:, 96, 96] > -1024).all()


def test_tilted_scan_is_read_at_the_same_positions(tmp_path: Path) -> None:
    settings = PhantomSettings(
        matrix=96, slice_spacing_mm=(1.5, 1.5), tilt_fraction=1.0, prevalence=0.0, noise_hu=(0.0, 0.0),
        round_field_fraction=0.0,
    )  # fmt: skip
    synthesize(tmp_path / "tilted", studies=1, seed=3, settings=settings)
    synthesize(tmp_path / "straight", studies=1, seed=3, settings=settings.model_copy(update={"tilt_fraction": 0.0}))

    tilted, straight = (load_volume(tmp_path / name / "train_images") for name in ("tilted", "straight"))

    assert tilted.provenance is not None
    assert any("tilted by" in repair for repair in tilted.provenance.repairs)
    (mask,) = (tmp_path / "tilted" / "segmentations").iterdir()
    labels = load_segmentation(mask, tilted)
    bone, soft = tilted.array[labels > 0], tilted.array[(labels == 0) & (tilted.array > -200)]
    assert len(bone) > 10_000
    assert bone.mean() > soft.mean() + 250
    # C4 is at the origin of both: the same tissue has the same coordinates.
    values = []
    for volume in (tilted, straight):
        k, j, i = np.rint(np.linalg.inv(volume.affine) @ [0.0, 0.0, 0.0, 1.0])[:3].astype(int)
        values.append(float(np.median(volume.array[k - 2 : k + 3, j - 3 : j + 4, i - 3 : i + 4])))
    assert values[0] == pytest.approx(values[1], abs=80)


def test_truncated_scans_record_the_scanned_fraction_of_each_vertebra() -> None:
    settings = PhantomSettings(
        matrix=96, slice_spacing_mm=(2.0, 2.0), prevalence=1.0, odd_matrix_fraction=0.0, tilt_fraction=0.0,
        field_of_view_mm=(150.0, 200.0),
    )  # fmt: skip
    n_partial = 0
    for index in range(6):
        complete, truncated = (
            render_study(9, index, settings.model_copy(update={"truncated_fraction": fraction}))
            for fraction in (0.0, 1.0)
        )
        assert min(complete.truth["coverage"].values()) > 0.99
        assert min(truncated.truth["coverage"].values()) < 0.999
        for level, fraction in truncated.truth["coverage"].items():
            n_scanned, n_all = (
                np.count_nonzero(study.labels == SEGMENT_NUMBERS[level]) for study in (truncated, complete)
            )
            assert n_scanned / n_all == pytest.approx(fraction, abs=0.03)
            n_partial += 0.05 < fraction < 0.95
            assert (level in truncated.truth["centroids"]) == (n_scanned > 0)
        truth = truncated.truth
        fractured = {SEGMENT_NUMBERS[level] for level in truth["levels"]}
        assert set(np.unique(truncated.fracture_level_mask)) == {0, *fractured}
        assert {fracture["level"] for fracture in truth["fractures"]} == set(truth["levels"])
        assert sorted([*truth["levels"], *truth["levels_out_of_scan"]]) == sorted(complete.truth["levels"])
    assert n_partial


def test_points_outside_a_round_field_are_not_covered() -> None:
    small = Scanner(Grid.aligned((0.0, 0.0, 0.0), 1.0, (3, 11, 11)), 1.0, 0.5, 0.0, 10.0, 0.0)
    points = np.array([[5.0, 5.0, 1.0], [0.0, 0.0, 1.0], [5.0, 5.0, 3.0], [-0.4, 5.0, 0.0]])

    assert small.covers(points).tolist() == [True, True, False, True]
    assert replace(small, round_field=True).covers(points).tolist() == [True, False, False, True]
