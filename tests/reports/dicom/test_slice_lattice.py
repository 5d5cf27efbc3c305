"""The lattice of saliency: interpolated slices of any geometry hold what the field says at their pixels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from tests.support.dicom import make_hu, write_series

from cspine.classification.saliency import EvidenceField
from cspine.core.typing import Floats, Floats32
from cspine.dicom import discover, select_series
from cspine.dicom.series import Series
from cspine.reports.dicom.masks import SHOWN_FRACTION, evidence_mask
from cspine.reports.dicom.slice_lattice import SliceLattice, pixels_within
from cspine.views.level_views import LevelViewSettings

TILT = np.deg2rad(15.0)
GEOMETRIES: dict[str, dict[str, Any]] = {
    "feet first": {"directions": ((0, 0, -1), (0, 1, 0), (-1, 0, 0)), "origin": (56.0, -48.0, 117.0)},
    "tilted": {"directions": ((0, 0, 1), (0, np.cos(TILT), np.sin(TILT)), (1, 0, 0))},
    "sheared": {"shear_mm": 0.6},
}
WIDTH_MM = 8.0


@dataclass
class Views:
    box_lps: Floats
    settings: LevelViewSettings


@dataclass
class Blob:
    """A field that is 1 at its center and falls off as a Gaussian function."""

    center: Floats

    @property
    def views(self) -> Views:
        box = np.eye(4)
        box[:3, 3] = self.center
        return Views(box, LevelViewSettings())

    def at(self, lps_mm: Floats) -> Floats32:
        distance = np.linalg.norm(lps_mm - self.center, axis=-1)
        return np.asarray(np.exp(-0.5 * (distance / WIDTH_MM) ** 2), np.float32)


def case(folder: Path, geometry: str) -> tuple[Series, Blob, SliceLattice]:
    write_series(folder, make_hu(), **GEOMETRIES[geometry])
    series = select_series(discover(folder).studies[0]).selected
    positions = np.array([header.position_mm for header in series.headers])
    stack = series.stack
    middle = positions.mean(axis=0) + 48.0 * stack.column_direction + 56.0 * stack.row_direction
    blob = Blob(middle + np.array([1.3, -2.1, 0.4]))
    return series, blob, SliceLattice.of_field(cast("EvidenceField", blob), stack, blob.center)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_a_slice_holds_the_field_at_its_pixels(geometry: str, tmp_path: Path) -> None:
    series, blob, grid = case(tmp_path, geometry)
    stack = series.stack
    n_slices = 0

    for header in series.headers:
        rows, columns = pixels_within(grid, header, stack)
        position = np.array(header.position_mm)
        values = grid.plane(position, 2.0 * np.array(rows), 2.0 * np.array(columns))
        if values is None or not values.size:
            continue
        n_slices += 1
        lps = (
            position
            + 2.0 * np.array(rows)[:, None, None] * stack.column_direction
            + 2.0 * np.array(columns)[None, :, None] * stack.row_direction
        )
        np.testing.assert_allclose(values, blob.at(lps), atol=0.02)

    assert n_slices > 15
    assert grid.strongest == pytest.approx(1.0, abs=1e-6)  # the center is a node


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_evidence_is_what_exceeds_the_shown_fraction(geometry: str, tmp_path: Path) -> None:
    series, _, grid = case(tmp_path, geometry)
    headers = [series.headers[index] for index in series.stack.order]

    mask = evidence_mask({"C5": grid}, headers, series.stack)

    radius_mm = WIDTH_MM * np.sqrt(-2.0 * np.log(SHOWN_FRACTION))
    assert set(np.unique(mask)) == {0, 5}
    assert (mask == 5).sum() * 2.0 * 2.0 * series.stack.spacing_mm == pytest.approx(
        4 / 3 * np.pi * radius_mm**3, rel=0.1
    )
