"""How much of each vertebra a scan shows."""

from typing import Final

import numpy as np

from cspine.anatomy import VERTEBRAE
from cspine.phantom.grid import Grid, around, sample
from cspine.phantom.neck import Neck
from cspine.phantom.scanner import Scanner

_STEP_MM: Final = 1.5


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
    parts, frame = neck.bone(level), neck.frames[level]
    low, high = around(parts)
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = _STEP_MM
    affine[:, 3] = [*low, 1.0]
    k, j, i = np.ceil((high - low) / _STEP_MM).astype(int)[::-1].tolist()
    inside = np.argwhere(sample(parts, Grid(affine, (k + 1, j + 1, i + 1))) < 0)
    places = inside @ (frame.affine @ affine)[:3, :3].T + (frame.affine @ affine)[:3, 3]
    return float(np.mean(scanner.covers(places)))
