from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydantic import ValidationError
from tests.support.dicom import neck, write_series

from cspine.core.errors import NotAssessableError
from cspine.dicom import Volume, load_volume
from cspine.spine.bone_trace import SpineCurve, trace_spine
from cspine.views.sagittal import SagittalSettings, compile_sagittal

SETTINGS = SagittalSettings(pixels=96, field_mm=144.0, slab_mm=0.0)


def _volume(array: np.ndarray, affine: np.ndarray) -> Volume:
    return Volume(array, affine, "PATIENT")


def _neck() -> Volume:
    affine = np.array([[0, 0, 2, -56], [0, 2, 0, -48], [3, 0, 0, 100], [0, 0, 0, 1]], dtype=float)
    return _volume(neck(), affine)


def test_the_lateral_centre_comes_from_the_bone_not_from_the_image() -> None:
    spine = trace_spine(_neck())

    assert spine.centre_lps_mm[0] == pytest.approx(10.0, abs=1.5)  # the image's centre is at 0
    assert spine.extent_z_mm == pytest.approx((98.5, 218.5))


@pytest.mark.parametrize("shift", [-14.0, -6.0, 0.0, 9.0, 15.0])
def test_the_lateral_centre_follows_the_patient(shift: float) -> None:
    volume = _neck()
    affine = volume.affine.copy()
    affine[0, 3] += shift

    spine = trace_spine(_volume(volume.array, affine))

    assert spine.centre_lps_mm[0] == pytest.approx(10.0 + shift, abs=1.5)


@pytest.mark.parametrize("orientation", ["HPL", "FAR", "PLH", "LHA"])
def test_images_are_the_same_however_the_voxels_are_stored(orientation: str) -> None:
    volume = _neck()
    spine = trace_spine(volume)
    expected = compile_sagittal(volume, spine, SETTINGS)

    turned = volume.to_patient_orientation(orientation)
    found = compile_sagittal(turned, trace_spine(turned), SETTINGS)

    assert found.x_lps_mm == pytest.approx(expected.x_lps_mm, abs=1.0)
    same = compile_sagittal(turned, spine, SETTINGS)
    np.testing.assert_allclose(same.images.astype(int), expected.images.astype(int), atol=1)


def test_head_is_up_front_is_left_and_images_run_from_right_to_left() -> None:
    volume = _neck()
    settings = SagittalSettings(pixels=96, field_mm=144.0, slab_mm=0.0, count=3, width_mm=28.0)

    found = compile_sagittal(volume, trace_spine(volume), settings)

    assert np.all(np.diff(found.x_lps_mm) > 0)
    marker = found.images == 255  # 1,500 HU at the top, front and left of the neck
    assert [bool(image.any()) for image in marker] == [False, False, True]
    rows, columns = np.nonzero(marker[2])
    assert rows.max() < 48
    assert columns.max() < 48


def test_pixels_are_isotropic_and_where_they_say() -> None:
    array = np.full((60, 100, 40), -1000, np.int16)
    array[20:30, 50:70, 10:30] = 1000  # 15 mm high, 16 mm deep
    affine = np.array([[0, 0, 1, 0], [0, 0.8, 0, 0], [1.5, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    spine = SpineCurve(np.array([[20.0, 48.0, 45.0]]), (-0.75, 89.25), 1.0)

    found = compile_sagittal(_volume(array, affine), spine, SagittalSettings(count=1, pixels=128, field_mm=128.0))

    (rows, columns) = np.nonzero(found.images[0] > 127)
    assert found.pixel_mm == 1.0
    assert np.ptp(rows) + 1 == pytest.approx(15, abs=1)
    assert np.ptp(columns) + 1 == pytest.approx(16, abs=1)
    assert found.top_z_mm - rows.mean() == pytest.approx(1.5 * 24.5, abs=0.5)
    assert found.front_y_mm + columns.mean() == pytest.approx(0.8 * 59.5, abs=0.5)


def test_the_field_grows_so_that_nothing_scanned_is_cut_off() -> None:
    volume = _neck()

    found = compile_sagittal(volume, trace_spine(volume), SagittalSettings(field_mm=64.0, pixels=64))

    assert found.pixel_mm * 64 == pytest.approx(120.0)


def test_the_window_maps_its_ends_to_black_and_white() -> None:
    array = np.repeat(np.array([-500, 500, 1500], np.int16), 40)[None, :, None] * np.ones((60, 1, 60), np.int16)
    spine = SpineCurve(np.array([[30.0, 59.5, 30.0]]), (-0.5, 59.5), 1.0)
    affine = np.eye(4)[[2, 1, 0, 3]]

    image = compile_sagittal(
        _volume(array, affine), spine, SagittalSettings(count=1, pixels=128, field_mm=128.0)
    ).images[0]

    assert [int(image[64, column]) for column in (20, 64, 108)] == [0, 128, 255]


def test_images_do_not_alias() -> None:
    checker = np.indices((200, 200, 20)).sum(axis=0) % 2 * 2000 - 500  # one-voxel checks of the window's ends
    spine = SpineCurve(np.array([[5.0, 50.0, 50.0]]), (0.0, 100.0), 1.0)
    affine = np.diag([0.5, 0.5, 0.5, 1.0])[[2, 1, 0, 3]]

    image = compile_sagittal(
        _volume(checker.astype(np.int16), affine), spine, SagittalSettings(count=1, pixels=64)
    ).images

    inside = image[0, 24:40, 24:40].astype(int)
    assert np.ptp(inside) < 60
    assert inside.mean() == pytest.approx(127, abs=8)


def test_no_bone_and_too_little_height_are_not_assessable() -> None:
    volume = _neck()

    with pytest.raises(NotAssessableError, match="no bone") as no_bone:
        trace_spine(volume.with_array(np.minimum(volume.array, 100)))
    with pytest.raises(NotAssessableError, match="covers only") as too_short:
        trace_spine(_volume(volume.array[:6], volume.affine))
    assert (no_bone.value.code, too_short.value.code) == ("no-bone", "too-short")


def test_settings_that_make_equal_images_are_refused() -> None:
    with pytest.raises(ValidationError, match="would all be the same"):
        SagittalSettings(count=3, width_mm=0.0)


def test_a_loaded_series_compiles(tmp_path: Path) -> None:
    write_series(tmp_path, neck())
    volume: highdicom.Volume = load_volume(tmp_path)

    found = compile_sagittal(volume, trace_spine(volume), SagittalSettings())

    assert found.images.shape == (9, 256, 256)
    assert all(data[:2] == b"\xff\xd8" for data in found.jpegs(90))
