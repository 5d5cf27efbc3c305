"""A phantom study: a neck with its fractures, scanned, and the truth about it."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.anatomy import SEGMENT_NUMBERS
from cspine.phantom.coverage import coverage
from cspine.phantom.draw import draw_broken_neck
from cspine.phantom.fracture import Crack
from cspine.phantom.neck import Neck
from cspine.phantom.scanner import Scanner, acquire
from cspine.phantom.settings import PhantomSettings, stream

_LEVELS: Final = {number: level for level, number in SEGMENT_NUMBERS.items()}

VisibilityWord = Literal["occult", "subtle", "clear", "obvious"]

_WORDS: Final[tuple[tuple[float, VisibilityWord], ...]] = ((0.5, "occult"), (0.75, "subtle"), (0.9, "clear"))
"""Below each value, that word. Declared before any network was judged by them; no reader has calibrated them."""

_SOFT_HU: Final = 40.0
"""What fills a gap: blood."""


@dataclass(frozen=True)
class PhantomStudy:
    """One phantom study with its truth.

    Attributes
    ----------
    hu : (k, j, i) int16
        k from the feet to the head, j to the back, i to the left.
    affine_lps : (4, 4)
        From ``[k, j, i, 1]`` to LPS mm.
    labels : (k, j, i) uint8
        1-7 C1-C7, 8 T1, 9 T2, as the challenge numbers them.
    fracture : (k, j, i) uint8
        Number of the broken vertebra where it is broken.
    truth : dict
        Person, posture and scanner; per fracture its level, kind, width, displacement, visibility and place; per
        vertebra its place, axes, centroid and the share that is in the scan. Fractures outside the scan are none.
    """

    hu: npt.NDArray[np.int16]
    affine_lps: npt.NDArray[np.float64]
    labels: npt.NDArray[np.uint8]
    fracture: npt.NDArray[np.uint8]
    thickness_mm: float
    truth: dict[str, Any]


def render_study(seed: int, index: int, settings: PhantomSettings) -> PhantomStudy:
    """Draw and scan one neck; the same for the same seed, index and settings.

    Parameters
    ----------
    seed, index : int
        Which study.
    settings : PhantomSettings
        Ranges to draw from.
    """
    neck, scanner = draw_broken_neck(seed, index, settings)
    scan = acquire(neck, scanner, stream(seed, index, settings, 3))
    seen = {_LEVELS[number] for number in np.unique(scan.fracture[scan.fracture > 0]).tolist()}
    truth = _truth(neck, scanner, seen) | {"centroids": _centroids(scan.labels, scanner.grid.affine)}
    return PhantomStudy(scan.hu, scanner.grid.affine, scan.labels, scan.fracture, scanner.thickness_mm, truth)


def _centroids(labels: npt.NDArray[np.uint8], affine: npt.NDArray[np.float64]) -> dict[str, list[float]]:
    """Return the middle of each vertebra's voxels, LPS in mm, of those that are in the scan."""
    found = {}
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            middle = np.argwhere(labels[box] == number).mean(axis=0) + [part.start for part in box]
            found[_LEVELS[number]] = (affine @ [*middle, 1.0])[:3].tolist()
    return found


def visibility_word(value: float) -> VisibilityWord:
    """Return the word for a visibility.

    >>> visibility_word(0.3), visibility_word(0.6), visibility_word(0.8), visibility_word(0.95)
    ('occult', 'subtle', 'clear', 'obvious')
    """
    return next((word for limit, word in _WORDS if value < limit), "obvious")


def visibility(crack: Crack, bone_hu: float, scanner: Scanner) -> float:
    """Return how well a fracture can be seen, from 0 (occult) to 1 (obvious).

    What a gap takes from the bone's HU once the scanner has spread it over its point spread (slices included), over the
    noise, grows with the root of the independent places along the crack (Rose 1948); a step or a loss of height adds
    its size over the point spread.
    """
    spread = float(np.hypot(scanner.blur_mm, 0.5 * scanner.thickness_mm))
    left = (bone_hu - _SOFT_HU) * (1 - np.exp(-crack.width_mm / spread))
    reach = min(crack.extent_mm, float(crack.half_mm.min()))
    ratio = left / scanner.noise_hu * np.sqrt(max(reach / spread, 1.0))
    step = (float(np.linalg.norm(crack.shift_mm)) + 2.0 * crack.crush_mm) / spread
    return float(1 - np.exp(-(0.06 * ratio + 0.4 * step)))


def _truth(neck: Neck, scanner: Scanner, seen: set[str]) -> dict[str, Any]:
    """Return what is known of a study; fractured are those levels only whose fractures are in the scan."""
    bone = neck.person.bone
    fractures = [
        {
            "level": level,
            "kind": crack.kind,
            "width_mm": crack.width_mm,
            "displacement_mm": float(np.linalg.norm(crack.shift_mm)),
            "height_loss_mm": crack.crush_mm,
            "visibility": (value := visibility(crack, 0.5 * (bone.cortex_hu + bone.trabecular_hu), scanner)),
            "visibility_word": visibility_word(value),
            "centre_lps_mm": neck.frames[level].to_lps(crack.centre_mm).tolist(),
            "normal_lps": (neck.frames[level].axes @ crack.normal).tolist(),
        }
        for level, parts in neck.cracks.items()
        for crack in parts
        if level in seen
    ]
    heights = scanner.grid.heights_mm
    return {
        "levels": [level for level in neck.cracks if level in seen],
        "levels_out_of_scan": [level for level in neck.cracks if level not in seen],
        "fractures": fractures,
        "vertebrae": {level: neck.frames[level].centre_mm.tolist() for level in neck.levels},
        "coverage": coverage(neck, scanner),
        "axes": {level: neck.frames[level].axes.tolist() for level in neck.levels},
        "variants": list(neck.variants.names),
        "additions": list(neck.additions),
        "person": {"sex": "F" if neck.person.female else "M", "age_years": round(neck.person.age, 1)},
        "scanner": {
            "thickness_mm": scanner.thickness_mm,
            "blur_mm": scanner.blur_mm,
            "edge": scanner.edge,
            "noise_hu": scanner.noise_hu,
        },
        "scanned_z_mm": [float(heights[0]), float(heights[-1])],
    }
