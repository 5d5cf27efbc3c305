"""How much of each vertebra and of each fracture a scan shows."""

from typing import Final

import numpy as np
import numpy.typing as npt

from cspine.core.anatomy import VERTEBRAE
from cspine.phantom.anatomy.grid import Grid, around, sample
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.anatomy.solids import Box
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.scanner.scanner import Scanner

_STEP_MM: Final = 1.5
_CRACK_STEP_MM: Final = 1.0


def coverage(neck: Neck, scanner: Scanner) -> dict[str, float]:
    """Return the share of each vertebra, C1 to C7, that lies within a scan.

    Parameters
    ----------
    neck : Neck
        Its vertebrae are taken whole, whatever is broken.
    scanner : Scanner
        The technique.

    Returns
    -------
    dict
        Level to share, from 0 (absent) to 1 (whole).
    """
    return {level: _share(neck, level, scanner) for level in VERTEBRAE}


def _share(neck: Neck, level: str, scanner: Scanner) -> float:
    parts = neck.bone(level)
    grid = _lattice(around(parts), _STEP_MM)
    return _covered(neck, level, scanner, grid, sample(parts, grid) < 0)


def fracture_coverage(neck: Neck, level: str, fracture: Fracture, scanner: Scanner) -> float:
    """Return the share of a crack that lies within a scan, from 0 to 1."""
    grid = _lattice(fracture.box(), _CRACK_STEP_MM)
    points = grid.points()
    near = fracture.within(points) & (np.abs(fracture.side(points)) < _CRACK_STEP_MM)
    if not fracture.crush_mm:
        near &= fracture.half_gap(points) > 0
    return _covered(neck, level, scanner, grid, near & (sample(neck.bone(level), grid) < 0))


def _lattice(box: Box, step_mm: float) -> Grid:
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = step_mm
    affine[:, 3] = [*box[0], 1.0]
    k, j, i = np.ceil((box[1] - box[0]) / step_mm).astype(int)[::-1].tolist()
    return Grid(affine, (k + 1, j + 1, i + 1))


def _covered(neck: Neck, level: str, scanner: Scanner, grid: Grid, chosen: npt.NDArray[np.bool_]) -> float:
    """Return which share of some points of a lattice in a vertebra's frame was scanned; 0 of none."""
    to_lps = neck.frames[level].affine @ grid.affine
    places = np.argwhere(chosen) @ to_lps[:3, :3].T + to_lps[:3, 3]
    return float(np.mean(scanner.covers(places))) if len(places) else 0.0
