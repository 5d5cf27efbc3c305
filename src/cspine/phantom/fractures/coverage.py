"""Coverage: the fraction of each vertebra and of each fracture that lies within the scan."""

from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Bools
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.geometry.grid import Grid
from cspine.phantom.geometry.parts import bounding_box_of, sample_distance
from cspine.phantom.geometry.points import Box
from cspine.phantom.scanner.scanner import Scanner

_VERTEBRA_STEP_MM: Final = 1.5
_FRACTURE_STEP_MM: Final = 1.0


def vertebra_coverage(neck: Neck, scanner: Scanner) -> dict[str, float]:
    """Return the fraction of each vertebra, C1 to C7, that lies within a scan.

    Parameters
    ----------
    neck : Neck
        Its fractures are ignored.
    scanner : Scanner
        Gives the field of view.

    Returns
    -------
    dict
        Level to a fraction from 0 (absent) to 1 (complete).
    """
    return {level: _vertebra_fraction(neck, level, scanner) for level in VERTEBRAE}


def fracture_coverage(neck: Neck, level: str, fracture: Fracture, scanner: Scanner) -> float:
    """Return the fraction of a fracture surface of a level that lies within a scan, 0 to 1."""
    grid = _grid_over(fracture.bounding_box(), _FRACTURE_STEP_MM)
    points = grid.points()
    near = fracture.contains(points) & (np.abs(fracture.surface_distance(points)) < _FRACTURE_STEP_MM)
    if not fracture.height_loss_mm:
        near &= fracture.half_gap_mm(points) > 0
    return _fraction_in_scan(neck, level, scanner, grid, near & (sample_distance(neck.vertebra_parts(level), grid) < 0))


def _vertebra_fraction(neck: Neck, level: str, scanner: Scanner) -> float:
    parts = neck.vertebra_parts(level)
    grid = _grid_over(bounding_box_of(parts), _VERTEBRA_STEP_MM)
    return _fraction_in_scan(neck, level, scanner, grid, sample_distance(parts, grid) < 0)


def _grid_over(box: Box, step_mm: float) -> Grid:
    k, j, i = np.ceil((box[1] - box[0]) / step_mm).astype(int)[::-1].tolist()
    return Grid.aligned(box[0], step_mm, (k + 1, j + 1, i + 1))


def _fraction_in_scan(neck: Neck, level: str, scanner: Scanner, grid: Grid, mask: Bools) -> float:
    """Return the fraction of the selected points of a grid, in the frame of a vertebra, that was scanned; 0 of none."""
    to_lps = neck.frames[level].affine @ grid.affine
    points = np.argwhere(mask) @ to_lps[:3, :3].T + to_lps[:3, 3]
    return float(np.mean(scanner.covers(points))) if len(points) else 0.0
