"""A hot cell of a view is carried back to the patient, the slice and the pixel that it was cut from."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tests.support.dicom import write_series

from cspine.classification.saliency import strongest_place
from cspine.dicom import discover, load_volume, select_series
from cspine.dicom.series import Series
from cspine.views.level_views import LevelViews, LevelViewSettings, compile_level

VIEWS = LevelViewSettings(sagittal=3, coronal=3, axial=3, pixels=64, pixel_mm=0.8)
SPACING = (1.2, 0.9, 0.9)
MARK = np.array([12.0, 41.0, 33.0])
"""Slice, row and column of the only bright thing."""


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    k, j, i = np.ogrid[:40, :72, :80]
    hu = np.full((40, 72, 80), 40, np.int16)
    hu[np.hypot(np.hypot((k - MARK[0]) * 1.2, (j - MARK[1]) * 0.9), (i - MARK[2]) * 0.9) < 9.0] = 1200
    folder = tmp_path_factory.mktemp("marked")
    write_series(folder, hu, spacing=SPACING, upward=False)
    return folder


NORMAL = {"sagittal": 0, "coronal": 1, "axial": 2}


def cut(folder: Path, kind: str = "axial") -> tuple[LevelViews, Series]:
    """Views of a box that is turned, and has the mark far off the middle of planes of a kind."""
    volume = load_volume(folder)
    box = np.eye(4)
    box[:3, :3] = Rotation.from_euler("zyx", [12.0, -7.0, 15.0], degrees=True).as_matrix()
    off = np.array([12.0, -14.0, 11.0])
    off[NORMAL[kind]] = 2.0
    box[:3, 3] = (volume.affine @ [*MARK, 1.0])[:3] + box[:3, :3] @ off
    return compile_level(volume, "C4", box, VIEWS), select_series(discover(folder).studies[0]).selected


@pytest.mark.parametrize("kind", ["sagittal", "coronal", "axial"])
def test_the_place_of_what_is_seen_is_where_it_lies(marked: Path, kind: str) -> None:
    views, series = cut(marked, kind)
    bright = views.images.astype(float)
    of_kind = [plane for plane in range(len(bright)) if VIEWS.planes[plane][0] == kind]
    plane = max(of_kind, key=lambda number: float(bright[number].sum()))
    cells = bright[plane].reshape(8, 8, 8, 8).mean(axis=(1, 3)) / 255.0

    place = strongest_place(views, plane, cells.astype(np.float32), series)

    assert (place.plane, place.offset_mm) == VIEWS.planes[plane]
    true = (load_volume(marked).affine @ [*MARK, 1.0])[:3]
    away = views.box_lps[:3, :3].T @ (np.array(place.point_lps_mm) - true)
    assert np.abs(np.delete(away, NORMAL[kind])).max() < 2.0
    assert abs(away[NORMAL[kind]]) < 9.0  # the mark is a ball of this radius, the plane anywhere through it
    assert place.slice is not None
    index = np.linalg.inv(load_volume(marked).affine) @ [*place.point_lps_mm, 1.0]
    assert (place.slice.row, place.slice.column) == pytest.approx((index[1], index[2]), abs=0.05)
    assert place.slice.instance_number == 40 - round(index[0])  # they count downwards
    assert len(place.saliency_map) == len(place.saliency_map[0]) == 8
    assert max(max(row) for row in place.saliency_map) == pytest.approx(place.strength, abs=0.01)


def test_a_place_outside_the_scan_has_no_slice(marked: Path) -> None:
    views, series = cut(marked)
    corner = np.zeros((8, 8), np.float32)
    corner[0, 0] = 1.0
    far = views.box_lps.copy()
    far[:3, 3] += [0.0, 0.0, 90.0]

    place = strongest_place(LevelViews("C4", views.images, far, VIEWS), 0, corner, series)

    assert place.slice is None
    assert place.strength == 1.0
