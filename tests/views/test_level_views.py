"""Level views: geometry, content and storage of the planes of a vertebra, and the fracture labels of their cells."""

from pathlib import Path

import highdicom
import numpy as np
import pytest
from pydantic import ValidationError
from scipy.spatial.transform import Rotation

from cspine.core.errors import InputError
from cspine.core.typing import Floats
from cspine.spine.spine_map import Vertebra
from cspine.views.fracture_labels import UNSPECIFIED_LEVEL, MaskLabelSource, encode_cells, label_cells, read_cells
from cspine.views.level_views import (
    CHANNELS,
    LevelViewSettings,
    box_frame,
    compile_level,
    split_mosaic,
    view_geometry,
    view_indices,
)

SETTINGS = LevelViewSettings(sagittal=2, coronal=1, axial=3, pixels=64, pixel_mm=1.0, jpeg_quality=100)
SLOPE = np.array([3.0, -2.0, 4.0])
"""HU per mm along x, y and z."""


def ramp() -> highdicom.Volume:
    """Return an oblique volume whose HU encode the position: 400 + SLOPE . lps."""
    turn = Rotation.from_euler("zyx", [8, -5, 11], degrees=True).as_matrix()
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.5, 1.5, 1.5])[:, ::-1]
    affine[:3, 3] = turn @ np.full(3, -105.0)
    index = np.indices((141, 141, 141)).reshape(3, -1)
    hu = 400 + SLOPE @ (affine[:3, :3] @ index + affine[:3, 3:])
    return highdicom.Volume(np.rint(hu).reshape(141, 141, 141).astype(np.int16), affine, "PATIENT")


def frame() -> Floats:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("zyx", [-20, 7, 15], degrees=True).as_matrix()
    affine[:3, 3] = [6.0, -9.0, 12.0]
    return affine


VERTEBRA = Vertebra("C4", frame(), np.zeros(3), np.zeros((2, 3)), 1.0, 1.0, 9000.0)


def test_every_pixel_shows_its_stated_position() -> None:
    views = compile_level(ramp(), "C4", box_frame(VERTEBRA, "C4"), SETTINGS)

    rows, columns = np.mgrid[:64, :64]
    for plane, image in enumerate(views.images):
        hu = 400 + views.lps(plane, rows, columns) @ SLOPE
        expected = np.clip((hu - 500) / 2000 + 0.5, 0, 1) * 255
        np.testing.assert_allclose(image, expected, atol=1.0)


def test_png_of_16_bits_is_lossless() -> None:
    fine = SETTINGS.model_copy(update={"storage": "png16"})
    views = compile_level(ramp(), "C4", box_frame(VERTEBRA, "C4"), fine)
    coarse = compile_level(ramp(), "C4", box_frame(VERTEBRA, "C4"), SETTINGS)

    assert views.images.dtype == np.uint16
    np.testing.assert_allclose(views.images / 257.0, coarse.images, atol=0.51)
    np.testing.assert_array_equal(split_mosaic(views.mosaic(), "C4", fine), views.images)
    assert len(views.mosaic()) > 2 * len(coarse.mosaic())
    with pytest.raises(InputError, match="is no mosaic of"):
        split_mosaic(coarse.mosaic(), "C4", fine)


def test_only_inference_views_are_made() -> None:
    every = compile_level(ramp(), "C4", box_frame(VERTEBRA, "C4"), SETTINGS)
    some = compile_level(ramp(), "C4", box_frame(VERTEBRA, "C4"), SETTINGS, inference_views=(1, 1, 2))

    chosen = view_indices(SETTINGS, (1, 1, 2))
    np.testing.assert_array_equal(some.views[chosen], every.views[chosen])
    others = np.setdiff1d(np.arange(SETTINGS.n_views), chosen)
    assert not some.views[others].any()


def test_orientation_of_views_follows_radiological_convention() -> None:
    views = compile_level(ramp(), "C4", box_frame(VERTEBRA, "C4"), SETTINGS)
    left, back, up = frame()[:3, :3].T
    orientations: list[str] = [orientation for orientation, _ in SETTINGS.planes]

    def direction(orientation: str, row: int, column: int) -> Floats:
        plane = orientations.index(orientation)
        return views.lps(plane, np.array(row), np.array(column)) - views.lps(plane, np.array(0), np.array(0))

    np.testing.assert_allclose(direction("sagittal", 10, 0), -10 * up, atol=1e-9)  # head up
    np.testing.assert_allclose(direction("sagittal", 0, 10), 10 * back, atol=1e-9)  # front on the left
    np.testing.assert_allclose(direction("coronal", 0, 10), 10 * left, atol=1e-9)  # patient's right on the left
    np.testing.assert_allclose(direction("axial", 10, 0), 10 * back, atol=1e-9)  # front up
    np.testing.assert_allclose(direction("axial", 0, 10), 10 * left, atol=1e-9)


def test_planes_are_spread_evenly_about_the_center() -> None:
    for orientation, reach in zip(("sagittal", "coronal", "axial"), SETTINGS.reach_mm, strict=True):
        offsets = np.array([offset for plane, offset in SETTINGS.planes if plane == orientation])
        assert offsets.mean() == pytest.approx(0.0)
        np.testing.assert_allclose(np.diff(offsets), reach / len(offsets))
    orientations, offsets_mm = view_geometry(SETTINGS)
    assert orientations.tolist() == [0, 0, 1, 2, 2, 2]
    assert offsets_mm[2] == 0.0


def test_split_mosaic_inverts_mosaic() -> None:
    views = compile_level(ramp(), "C4", box_frame(VERTEBRA, "C4"), SETTINGS)

    planes = split_mosaic(views.mosaic(), "C4.jpg", SETTINGS)

    assert planes.shape == views.images.shape == (6 * CHANNELS, 64, 64)
    assert np.abs(planes.astype(int) - views.images).max() <= 3
    assert views.views.shape == (6, CHANNELS, 64, 64)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff\xe0 rubbish"])
def test_damaged_mosaic_is_rejected_by_name(data: bytes) -> None:
    with pytest.raises(InputError, match=r"C4\.jpg"):
        split_mosaic(data, "C4.jpg", SETTINGS)


def test_mosaic_of_other_views_is_rejected() -> None:
    views = compile_level(ramp(), "C4", box_frame(VERTEBRA, "C4"), SETTINGS)

    with pytest.raises(InputError, match="is no mosaic of"):
        split_mosaic(views.mosaic(), "C4.jpg", LevelViewSettings())


def test_subsets_of_views_are_spread_evenly() -> None:
    settings = LevelViewSettings()

    assert view_indices(settings).tolist() == list(range(15))
    assert view_indices(settings, (1, 1, 1)).tolist() == [2, 7, 12]
    assert view_indices(settings, (3, 3, 3)).tolist() == [0, 2, 4, 5, 7, 9, 10, 12, 14]
    assert view_indices(settings, (9, 0, 1)).tolist() == [0, 1, 2, 3, 4, 12]


def test_settings_without_views_are_rejected() -> None:
    with pytest.raises(ValidationError, match="at least one"):
        LevelViewSettings(sagittal=0, coronal=0, axial=0)


def test_cells_are_fractured_where_their_own_vertebra_is() -> None:
    volume = ramp()
    box = box_frame(VERTEBRA, "C4")
    views = compile_level(volume, "C4", box, SETTINGS)
    plane = next(number for number, (orientation, _) in enumerate(SETTINGS.planes) if orientation == "axial")
    spot = views.lps(plane, np.array(41.0), np.array(10.0))
    index = np.rint(volume.inverse_affine[:3, :3] @ spot + volume.inverse_affine[:3, 3]).astype(int)
    labels = np.zeros(volume.spatial_shape, np.uint8)
    labels[tuple(index)] = 4

    cells = label_cells(labels, volume.inverse_affine, views)

    assert cells.shape == (18, 16, 16)
    assert cells[plane, 10, 2] == 1
    assert cells[plane].sum() <= 2
    labels[tuple(index)] = 5  # the neighbor's
    assert not label_cells(labels, volume.inverse_affine, views).any()
    labels[tuple(index)] = UNSPECIFIED_LEVEL
    assert label_cells(labels, volume.inverse_affine, views)[plane, 10, 2] == 1


def test_read_cells_inverts_encode_cells(tmp_path: Path) -> None:
    path = tmp_path / "C4.png"
    cells = np.random.default_rng(0).integers(0, 2, (18, 16, 16), dtype=np.uint8)

    path.write_bytes(encode_cells(cells))

    np.testing.assert_array_equal(read_cells(path, SETTINGS), cells)
    with pytest.raises(InputError, match="belongs to other views"):
        read_cells(path, LevelViewSettings())
    path.write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot be read as PNG"):
        read_cells(path, SETTINGS)


def test_mask_labels_are_reduced_to_the_vertebra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.array([0, 5, 37, 69, 2, UNSPECIFIED_LEVEL], np.uint8)
    monkeypatch.setattr("cspine.views.fracture_labels.load_segmentation", lambda path, volume, is_whole: mask)  # noqa: ARG005

    labeling = MaskLabelSource(tmp_path / "mask.nii")(None, None)  # type: ignore[arg-type]

    assert labeling.labels.tolist() == [0, 5, 5, 5, 2, UNSPECIFIED_LEVEL]
