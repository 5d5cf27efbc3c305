"""The peak of a saliency map is located in the patient, in the slice and in the pixel that it was made from."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from tests.support.dicom import write_series

from cspine.classification.saliency import view_evidence
from cspine.dicom import discover, load_volume, select_series
from cspine.dicom.series import Series
from cspine.views.level_views import LevelViews, LevelViewSettings, compile_level

VIEWS = LevelViewSettings(sagittal=3, coronal=3, axial=3, pixels=64, pixel_mm=0.8)
SPACING = (1.2, 0.9, 0.9)
MARK = np.array([12.0, 41.0, 33.0])
"""Slice, row and column of the center of the only bright ball."""


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    k, j, i = np.ogrid[:40, :72, :80]
    hu = np.full((40, 72, 80), 40, np.int16)
    hu[np.hypot(np.hypot((k - MARK[0]) * 1.2, (j - MARK[1]) * 0.9), (i - MARK[2]) * 0.9) < 9.0] = 1200
    folder = tmp_path_factory.mktemp("marked")
    write_series(folder, hu, spacing=SPACING, upward=False)
    return folder


NORMAL = {"sagittal": 0, "coronal": 1, "axial": 2}


def compile_marked(folder: Path, orientation: str = "axial") -> tuple[LevelViews, Series]:
    """Return the views of a rotated box in which the mark lies far off the center of planes of an orientation."""
    volume = load_volume(folder)
    box = np.eye(4)
    box[:3, :3] = Rotation.from_euler("zyx", [12.0, -7.0, 15.0], degrees=True).as_matrix()
    offset_mm = np.array([12.0, -14.0, 11.0])
    offset_mm[NORMAL[orientation]] = 2.0
    box[:3, 3] = (volume.affine @ [*MARK, 1.0])[:3] + box[:3, :3] @ offset_mm
    return compile_level(volume, "C4", box, VIEWS), select_series(discover(folder).studies[0]).selected


@pytest.mark.parametrize("orientation", ["sagittal", "coronal", "axial"])
def test_evidence_is_at_the_position_of_the_structure(marked: Path, orientation: str) -> None:
    views, series = compile_marked(marked, orientation)
    bright = views.images.astype(float)
    candidates = [plane for plane in range(len(bright)) if VIEWS.planes[plane][0] == orientation]
    plane = max(candidates, key=lambda number: float(bright[number].sum()))
    cells = bright[plane].reshape(8, 8, 8, 8).mean(axis=(1, 3)) / 255.0

    evidence = view_evidence(views, plane, cells.astype(np.float32), series)

    assert (evidence.plane, evidence.offset_mm) == VIEWS.planes[plane]
    true = (load_volume(marked).affine @ [*MARK, 1.0])[:3]
    away = views.box_lps[:3, :3].T @ (np.array(evidence.point_lps_mm) - true)
    assert np.abs(np.delete(away, NORMAL[orientation])).max() < 2.0
    assert abs(away[NORMAL[orientation]]) < 9.0  # the mark is a ball of this radius, the plane anywhere through it
    assert evidence.slice is not None
    index = np.linalg.inv(load_volume(marked).affine) @ [*evidence.point_lps_mm, 1.0]
    assert (evidence.slice.row, evidence.slice.column) == pytest.approx((index[1], index[2]), abs=0.05)
    assert evidence.slice.instance_number == 40 - round(index[0])  # they count downwards
    assert len(evidence.saliency_map) == len(evidence.saliency_map[0]) == 8
    assert max(max(row) for row in evidence.saliency_map) == pytest.approx(evidence.strength, abs=0.01)


def test_evidence_outside_the_scan_has_no_slice(marked: Path) -> None:
    views, series = compile_marked(marked)
    corner = np.zeros((8, 8), np.float32)
    corner[0, 0] = 1.0
    far = views.box_lps.copy()
    far[:3, 3] += [0.0, 0.0, 90.0]

    evidence = view_evidence(LevelViews("C4", views.images, far, VIEWS), 0, corner, series)

    assert evidence.slice is None
    assert evidence.strength == 1.0
