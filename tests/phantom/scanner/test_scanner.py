"""The scanner blurs, and makes noise, as its technique says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cspine.core.anatomy import SEGMENT_NUMBERS
from cspine.phantom import render_study
from cspine.phantom.anatomy.grid import Grid
from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.anatomy.solids import by
from cspine.phantom.scanner.scanner import Scanner, _band, _filters, _white, acquire, draw_scanner, transfer
from cspine.phantom.settings import DOMAINS, PhantomSettings


@pytest.fixture(scope="module")
def neck() -> Neck:
    return draw_neck(np.random.default_rng(2))


def scanner(noise_hu: float = 30.0, **changes: Any) -> Scanner:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = 1.0, 0.5, 0.5
    affine[:, 3] = [-48.0, -40.0, -20.0, 1.0]
    drawn = Scanner(Grid(affine, (30, 192, 192)), 1.0, 0.5, 0.0, noise_hu, 1.0)
    return replace(drawn, **changes)


def test_kernels_pass_all_at_rest_and_half_at_their_resolution() -> None:
    frequency = np.array([0.0, 0.5, 1.0], np.float32)

    np.testing.assert_allclose(transfer(frequency, 0.5, 0.0), [1.0, 0.5, 1 / 16], rtol=1e-5)
    assert transfer(np.array([0.25], np.float32), 0.5, 1.0)[0] > 1.0  # a bone kernel overshoots


def test_noise_has_the_deviation_that_is_asked_for(neck: Neck) -> None:
    suppress_pydicom_warnings, loud = (
        acquire(neck, scanner(noise), np.random.default_rng(1)).hu for noise in (0.0, 30.0)
    )
    middle = loud[18:24].astype(float) - suppress_pydicom_warnings[18:24]

    assert middle.std() == pytest.approx(30.0, rel=0.08)
    assert abs(middle.mean()) < 0.5


@pytest.mark.parametrize("columns", [96, 192])
def test_streaks_have_their_deviation_whatever_the_field(columns: int) -> None:
    affine = np.diag([1.0, 1.0, 1.0, 1.0])[:, [2, 1, 0, 3]]
    drawn = Scanner(Grid(affine, (4, columns, columns)), 1.0, 0.4, 0.0, 10.0, 1.0)
    _, _, streaks = _filters(drawn)
    half, wide = _band(streaks)
    part = np.concatenate([streaks[:half, :wide], streaks[-half:, :wide]])
    rng, image = np.random.default_rng(1), np.zeros((60, columns, columns))
    for plane in image:
        whole = np.zeros((columns, columns // 2 + 1), np.complex64)
        noise = _white((columns, columns), part.shape, rng) * part
        whole[:half, :wide], whole[-half:, :wide] = noise[:half], noise[half:]
        plane[:] = np.fft.irfft2(whole, s=(columns, columns))

    assert image.std() == pytest.approx(1.0, abs=0.04)


def test_noise_is_coloured_by_the_kernel(neck: Neck) -> None:
    spectra = {}
    for resolution in (0.35, 0.7):
        scans = (
            acquire(neck, scanner(noise, resolution_per_mm=resolution), np.random.default_rng(1)).hu[18:26]
            for noise in (0.0, 30.0)
        )
        suppress_pydicom_warnings, loud = (scan.astype(float) for scan in scans)
        power = np.mean(np.abs(np.fft.fft2(loud - suppress_pydicom_warnings)) ** 2, axis=0)
        frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(192, 0.5), np.fft.fftfreq(192, 0.5)))
        spectra[resolution] = [power[(frequency > low) & (frequency < low + 0.08)].mean() for low in (0.0, 0.3, 0.85)]

    for low, middle, high in spectra.values():
        assert middle > low
        assert middle > high
    assert spectra[0.7][2] / spectra[0.7][1] > 5 * spectra[0.35][2] / spectra[0.35][1]


def test_shoulders_are_noisier_than_the_neck(neck: Neck) -> None:
    settings = PhantomSettings(matrix=128, noise_hu=(20.0, 20.0), slice_spacing_mm=(2.0, 2.0), shoulders=(1.0, 1.0))
    drawn = draw_scanner(neck, settings, np.random.default_rng(0))
    loud = acquire(neck, drawn, np.random.default_rng(1)).hu.astype(float)
    suppress_pydicom_warnings = acquire(neck, replace(drawn, noise_hu=0.0), np.random.default_rng(1)).hu

    morphometry_sd_factor = (loud - suppress_pydicom_warnings).std(axis=(1, 2))
    assert morphometry_sd_factor[:4].mean() > 1.4 * morphometry_sd_factor[len(morphometry_sd_factor) // 2]


def test_overlapping_slices_share_noise(neck: Neck) -> None:
    def neighbours(thickness: float) -> float:
        suppress_pydicom_warnings, loud = (
            acquire(neck, scanner(noise, thickness_mm=thickness), np.random.default_rng(1)).hu.astype(float)
            for noise in (0.0, 30.0)
        )
        noise = (loud - suppress_pydicom_warnings)[10:20]
        return float(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1])

    assert abs(neighbours(1.0)) < 0.05
    assert neighbours(2.0) == pytest.approx(0.5, abs=0.06)


def test_thick_slices_blur_along_the_table(neck: Neck) -> None:
    thin, thick = (acquire(neck, scanner(0.0, thickness_mm=mm), np.random.default_rng(1)).hu for mm in (1.0, 3.0))

    def rough(hu: np.ndarray[tuple[int, ...], np.dtype[np.int16]]) -> float:
        return float(np.abs(np.diff(hu.astype(float), axis=0)).mean())

    assert rough(thick) < 0.9 * rough(thin)


def test_domains_differ_where_the_table_says() -> None:
    source, hidden = DOMAINS["source"], DOMAINS["shifted"]

    assert (source.domain, hidden.domain) == ("source", "shifted")
    differing = {name for name in type(source).model_fields if getattr(source, name) != getattr(hidden, name)}
    assert {"slice_spacing_mm", "resolution_per_mm", "noise_hu", "fracture_mix", "age_years", "field_mm"} <= differing


def test_metal_streaks_the_slices_about_it_and_no_others(neck: Neck) -> None:
    place = neck.frames["C4"].centre_mm + by(0.0, -20.0, 4.0)
    other = place + by(18.0, 3.0, 0.0)
    plain, filled = (
        acquire(replace(neck, fillings=fillings), scanner(0.0), np.random.default_rng(1)).hu.astype(float)
        for fillings in ((), (place, other))
    )
    changed = np.abs(filled - plain).max(axis=(1, 2))
    heights = scanner().grid.affine[2, 3] + np.arange(30)

    assert filled.max() == 3071
    assert (changed[np.abs(heights - place[2]) < 3.0] > 300).all()
    assert (changed[np.abs(heights - place[2]) > 6.0] < 2.0).all()


def test_dense_bone_throws_a_shadow(neck: Neck) -> None:
    plain, dark = (
        acquire(neck, scanner(0.0, beam_hardening=h), np.random.default_rng(1)).hu.astype(float) for h in (0, 1)
    )

    shadow = dark - plain
    assert -60 < shadow.mean() < -0.5
    assert np.abs(np.diff(shadow[10], axis=1)).max() < 25  # without detail


def test_motion_doubles_edges_in_some_slices(neck: Neck) -> None:
    plain, shaken = (
        acquire(neck, scanner(0.0, motion_mm=motion_mm), np.random.default_rng(1)).hu.astype(float)
        for motion_mm in (None, (-5.0, 3.0, 2.0, 0.0))
    )
    heights = scanner().grid.affine[2, 3] + np.arange(30)
    moved = (heights >= -5.0) & (heights <= 3.0)

    assert (np.abs(shaken - plain)[moved].max(axis=(1, 2)) > 200).all()
    np.testing.assert_allclose(shaken[~moved], plain[~moved], atol=1)


def test_a_round_field_ends_at_its_circle(neck: Neck) -> None:
    hu = acquire(neck, scanner(round_field=True), np.random.default_rng(1)).hu

    assert (hu[:, 0, 0] == -1024).all()
    assert (hu[:, 96, 96] > -1024).all()


def test_a_tilted_scan_is_written_as_it_lies(tmp_path: Path) -> None:
    from cspine.dicom import load_segmentation, load_volume
    from cspine.phantom import synthesize

    settings = PhantomSettings(
        matrix=96, slice_spacing_mm=(1.5, 1.5), tilted=1.0, prevalence=0.0, noise_hu=(0.0, 0.0), round_field=0.0
    )
    synthesize(tmp_path / "tilted", studies=1, seed=3, settings=settings)
    volume = load_volume(tmp_path / "tilted" / "train_images")

    assert volume.provenance is not None
    assert any("tilted by" in said for said in volume.provenance.repairs)
    (mask,) = (tmp_path / "tilted" / "segmentations").iterdir()
    labels = load_segmentation(mask, volume)
    bone, soft = volume.array[labels > 0], volume.array[(labels == 0) & (volume.array > -200)]
    assert len(bone) > 10_000
    assert bone.mean() > soft.mean() + 250
    straight = settings.model_copy(update={"tilted": 0.0})
    synthesize(tmp_path / "straight", studies=1, seed=3, settings=straight)
    other = load_volume(tmp_path / "straight" / "train_images")
    # C4 stands at the origin of both: the same tissue lies at the same place.
    values = []
    for scan in (volume, other):
        k, j, i = np.rint(np.linalg.inv(scan.affine) @ [0.0, 0.0, 0.0, 1.0])[:3].astype(int)
        values.append(float(np.median(scan.array[k - 2 : k + 3, j - 3 : j + 4, i - 3 : i + 4])))
    assert values[0] == pytest.approx(values[1], abs=80)


def test_some_scans_miss_a_part_of_the_spine_and_say_how_much_of_each_vertebra_they_show() -> None:
    settings = PhantomSettings(
        matrix=160, slice_spacing_mm=(1.5, 1.5), prevalence=1.0, odd_matrix=0.0, tilted=0.0, field_mm=(150.0, 200.0)
    )
    partly = 0
    for index in range(6):
        whole = render_study(9, index, settings.model_copy(update={"shortened": 0.0}))
        short = render_study(9, index, settings.model_copy(update={"shortened": 1.0}))
        assert min(whole.truth["coverage"].values()) > 0.99
        assert min(short.truth["coverage"].values()) < 0.999
        for level, share in short.truth["coverage"].items():
            voxels, of = (np.count_nonzero(s.labels == SEGMENT_NUMBERS[level]) for s in (short, whole))
            assert voxels / of == pytest.approx(share, abs=0.03)
            partly += 0.05 < share < 0.95
            assert (level in short.truth["centroids"]) == (voxels > 0)
        broken = {SEGMENT_NUMBERS[level] for level in short.truth["levels"]}
        assert set(np.unique(short.broken)) == {0, *broken}
        assert {fracture["level"] for fracture in short.truth["fractures"]} == set(short.truth["levels"])
        assert sorted([*short.truth["levels"], *short.truth["levels_out_of_scan"]]) == sorted(whole.truth["levels"])
    assert partly


def test_what_lies_outside_a_round_field_is_not_covered() -> None:
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = affine[3, 3] = 1.0
    small = Scanner(Grid(affine, (3, 11, 11)), 1.0, 0.5, 0.0, 10.0, 0.0)
    places = np.array([[5.0, 5.0, 1.0], [0.0, 0.0, 1.0], [5.0, 5.0, 3.0], [-0.4, 5.0, 0.0]])

    assert small.covers(places).tolist() == [True, True, False, True]
    assert replace(small, round_field=True).covers(places).tolist() == [True, False, False, True]
