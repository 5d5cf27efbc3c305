"""Parallel sagittal images: geometry, orientation, window and sampling."""

from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydantic import ValidationError
from tests.support.dicom import make_hu, write_series

from cspine.dicom import Volume, load_volume
from cspine.spine.bone_trace import BoneTrace, trace_spine
from cspine.views.sagittal import SagittalSettings, compile_sagittal

SETTINGS = SagittalSettings(pixels=96, field_mm=144.0, slab_mm=0.0)


def _volume(array: np.ndarray, affine: np.ndarray) -> Volume:
    return Volume(array, affine, "PATIENT")


def _neck() -> Volume:
    affine = np.array([[0, 0, 2, -56], [0, 2, 0, -48], [3, 0, 0, 100], [0, 0, 0, 1]], dtype=float)
    return _volume(make_hu(), affine)


@pytest.mark.parametrize("orientation", ["HPL", "FAR", "PLH", "LHA"])
def test_images_do_not_depend_on_the_orientation_of_the_array(orientation: str) -> None:
    volume = _neck()
    trace = trace_spine(volume)
    expected = compile_sagittal(volume, trace, SETTINGS)

    turned = volume.to_patient_orientation(orientation)
    sagittal = compile_sagittal(turned, trace_spine(turned), SETTINGS)

    assert sagittal.x_lps_mm == pytest.approx(expected.x_lps_mm, abs=1.0)
    same_trace = compile_sagittal(turned, trace, SETTINGS)
    np.testing.assert_allclose(same_trace.images.astype(int), expected.images.astype(int), atol=1)


def test_rows_start_at_the_head_columns_anterior_and_images_on_the_right() -> None:
    volume = _neck()
    settings = SagittalSettings(pixels=96, field_mm=144.0, slab_mm=0.0, count=3, width_mm=28.0)

    sagittal = compile_sagittal(volume, trace_spine(volume), settings)

    assert np.all(np.diff(sagittal.x_lps_mm) > 0)
    marker = sagittal.images == 255  # 1,500 HU at the top, front and left of the neck
    assert [bool(image.any()) for image in marker] == [False, False, True]
    rows, columns = np.nonzero(marker[2])
    assert rows.max() < 48
    assert columns.max() < 48


def test_pixels_are_isotropic_and_at_their_stated_position() -> None:
    array = np.full((60, 100, 40), -1000, np.int16)
    array[20:30, 50:70, 10:30] = 1000  # 15 mm high, 16 mm deep
    affine = np.array([[0, 0, 1, 0], [0, 0.8, 0, 0], [1.5, 0, 0, 0], [0, 0, 0, 1]], dtype=float)
    trace = BoneTrace(np.array([[20.0, 48.0, 45.0]]), (-0.75, 89.25), 1.0)

    sagittal = compile_sagittal(_volume(array, affine), trace, SagittalSettings(count=1, pixels=128, field_mm=128.0))

    (rows, columns) = np.nonzero(sagittal.images[0] > 127)
    assert sagittal.pixel_mm == 1.0
    assert np.ptp(rows) + 1 == pytest.approx(15, abs=1)
    assert np.ptp(columns) + 1 == pytest.approx(16, abs=1)
    assert sagittal.top_z_mm - rows.mean() == pytest.approx(1.5 * 24.5, abs=0.5)
    assert sagittal.front_y_mm + columns.mean() == pytest.approx(0.8 * 59.5, abs=0.5)


def test_field_of_view_grows_to_the_scanned_height() -> None:
    volume = _neck()

    sagittal = compile_sagittal(volume, trace_spine(volume), SagittalSettings(field_mm=64.0, pixels=64))

    assert sagittal.pixel_mm * 64 == pytest.approx(120.0)


def test_window_maps_its_ends_to_black_and_white() -> None:
    array = np.repeat(np.array([-500, 500, 1500], np.int16), 40)[None, :, None] * np.ones((60, 1, 60), np.int16)
    trace = BoneTrace(np.array([[30.0, 59.5, 30.0]]), (-0.5, 59.5), 1.0)
    affine = np.eye(4)[[2, 1, 0, 3]]

    image = compile_sagittal(
        _volume(array, affine), trace, SagittalSettings(count=1, pixels=128, field_mm=128.0)
    ).images[0]

    assert [int(image[64, column]) for column in (20, 64, 108)] == [0, 128, 255]


def test_images_do_not_alias() -> None:
    checker = np.indices((200, 200, 20)).sum(axis=0) % 2 * 2000 - 500  # one-voxel checks of the window's ends
    trace = BoneTrace(np.array([[5.0, 50.0, 50.0]]), (0.0, 100.0), 1.0)
    affine = np.diag([0.5, 0.5, 0.5, 1.0])[[2, 1, 0, 3]]

    image = compile_sagittal(
        _volume(checker.astype(np.int16), affine), trace, SagittalSettings(count=1, pixels=64)
    ).images

    inside = image[0, 24:40, 24:40].astype(int)
    assert np.ptp(inside) < 60
    assert inside.mean() == pytest.approx(127, abs=8)


def test_settings_of_equal_images_are_rejected() -> None:
    with pytest.raises(ValidationError, match="would all be the same"):
        SagittalSettings(count=3, width_mm=0.0)


def test_a_loaded_series_compiles(tmp_path: Path) -> None:
    write_series(tmp_path, make_hu())
    volume: highdicom.Volume = load_volume(tmp_path)

    sagittal = compile_sagittal(volume, trace_spine(volume), SagittalSettings())

    assert sagittal.images.shape == (9, 256, 256)
    assert all(data[:2] == b"\xff\xd8" for data in sagittal.jpegs(90))
