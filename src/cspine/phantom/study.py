"""A phantom study: a neck with its fractures, scanned, and the truth about it."""

from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from cspine.core.anatomy import FRACTURE_STEP, SEGMENT_NUMBERS
from cspine.phantom.anatomy.neck import Neck
from cspine.phantom.fractures.coverage import coverage, fracture_coverage
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.sampler import draw_broken_neck
from cspine.phantom.scanner.render import TRABECULAR
from cspine.phantom.scanner.scanner import Scanner, acquire, noise_of_slices
from cspine.phantom.settings import PhantomSettings, stream

_LEVELS: Final = {number: level for level, number in SEGMENT_NUMBERS.items()}

VisibilityWord = Literal["occult", "subtle", "clear", "obvious"]

_WORDS: Final[tuple[tuple[float, VisibilityWord], ...]] = ((0.5, "occult"), (0.75, "subtle"), (0.9, "clear"))
"""Below each value, that word. Declared before any network was judged by them; no reader has calibrated them."""

_SOFT_HU: Final = 40.0
"""What fills a gap: blood."""

LEAST_SCANNED: Final = 0.1
"""A fracture of which less was scanned is none of the study's."""


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
    thickness_mm : float
        Of a slice.
    round_field : bool
        Whether what lies outside a slice's largest circle is padding.
    fracture_mask : (k, j, i) uint8
        Where each fracture is, as its ``mask_value`` in the truth.
    truth : dict
        Person, posture and scanner; per fracture its level, kind, width, displacement, visibility and place; per
        vertebra its place, axes, centroid and the share that is in the scan. Fractures outside the scan are none.
    """

    hu: npt.NDArray[np.int16]
    affine_lps: npt.NDArray[np.float64]
    labels: npt.NDArray[np.uint8]
    thickness_mm: float
    round_field: bool
    fracture_mask: npt.NDArray[np.uint8]
    truth: dict[str, Any]

    @property
    def broken(self) -> npt.NDArray[np.uint8]:
        """Number of the broken vertebra where it is broken, (k, j, i) uint8."""
        return self.fracture_mask % np.uint8(FRACTURE_STEP)


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
    marked = set(np.unique(scan.fracture_mask).tolist()) - {0}
    fractures = [found for found in known_fractures(neck, scanner) if found["mask_value"] in marked]
    for value in marked - {found["mask_value"] for found in fractures}:  # too little of it was scanned to be judged
        scan.fracture_mask[scan.fracture_mask == value] = 0
    truth = _truth(neck, scanner, fractures) | {"centroids": _centroids(scan.labels, scanner.grid.affine)}
    return PhantomStudy(
        scan.hu, scanner.grid.affine, scan.labels, scanner.thickness_mm, scanner.round_field, scan.fracture_mask, truth
    )


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


def visibility(fracture: Fracture, bone_hu: float, scanner: Scanner, noise_hu: float | None = None) -> float:
    """Return how well a fracture can be seen, from 0 (occult) to 1 (obvious).

    What a gap takes from the bone's HU once the scanner has spread it over its point spread (slices included), over the
    noise, grows with the root of the independent places along the crack (Rose 1948); a step or a loss of height adds
    its size over the point spread.

    Parameters
    ----------
    fracture : Crack
        The fracture, or one of its cracks.
    bone_hu : float
        Of the bone that it runs through.
    scanner : Scanner
        Blur and slices.
    noise_hu : float, optional
        Deviation of noise and streaks where it lies; the scanner's at C4 where left out.
    """
    morphometry_sd_factor = float(np.hypot(scanner.blur_mm, 0.5 * scanner.thickness_mm))
    left = (bone_hu - _SOFT_HU) * (1 - np.exp(-fracture.gap_mm / morphometry_sd_factor))
    reach = min(fracture.extent_mm, float(fracture.half_mm.min()))
    ratio = left / (noise_hu or scanner.noise_hu) * np.sqrt(max(reach / morphometry_sd_factor, 1.0))
    slid = (
        fracture.shift_mm - (fracture.shift_mm @ fracture.normal) * fracture.normal
    )  # along the normal it widens the gap
    step = (float(np.linalg.norm(slid)) + 2.0 * fracture.crush_mm) / morphometry_sd_factor
    return float(1 - np.exp(-(0.06 * ratio + 0.4 * step)))


def known_fractures(neck: Neck, scanner: Scanner) -> list[dict[str, Any]]:
    """Return what is known of each fracture of which enough was scanned."""
    noise = np.hypot(*noise_of_slices(neck, scanner)).astype(np.float64)
    found: list[dict[str, Any]] = []
    for level, fractures in neck.fractures.items():
        shares = {id(fracture): fracture_coverage(neck, level, fracture, scanner) for fracture in fractures}
        for place, kind in enumerate(dict.fromkeys(fracture.kind for fracture in fractures)):
            own = [fracture for fracture in fractures if fracture.kind == kind]
            scanned = max(shares[id(fracture)] for fracture in own)
            if scanned < LEAST_SCANNED:
                continue
            value = SEGMENT_NUMBERS[level] + FRACTURE_STEP * place
            told = _fracture(neck, scanner, noise, level, own)
            found.append(told | {"scanned": scanned, "mask_value": value})
    return found


def _fracture(
    neck: Neck, scanner: Scanner, noise: npt.NDArray[np.float64], level: str, fractures: list[Fracture]
) -> dict[str, Any]:
    """Return what is known of one fracture, from its cracks."""
    bone, frame = neck.person.bone, neck.frames[level]
    bone_hu = 0.5 * (bone.cortex_hu + bone.trabecular_hu * TRABECULAR[level])
    places = [frame.to_lps(fracture.centre_mm) for fracture in fractures]
    here = [float(np.interp(place[2], scanner.grid.heights_mm, noise)) for place in places]
    value = max(visibility(fracture, bone_hu, scanner, about) for fracture, about in zip(fractures, here, strict=True))
    return {
        "level": level,
        "kind": fractures[0].kind,
        "width_mm": max(fracture.gap_mm for fracture in fractures),
        "displacement_mm": max(float(np.linalg.norm(fracture.shift_mm)) for fracture in fractures),
        "height_loss_mm": max(fracture.crush_mm for fracture in fractures),
        "visibility": value,
        "visibility_word": visibility_word(value),
        "noise_hu": max(here),
        "centre_lps_mm": places[0].tolist(),
        "normal_lps": (frame.axes @ fractures[0].normal).tolist(),
        "cracks": len(fractures),
    }


def _truth(neck: Neck, scanner: Scanner, fractures: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what is known of a study; fractured are those levels only whose fractures are in the scan."""
    heights, coordinates = scanner.grid.heights_mm, {found["level"] for found in fractures}
    return {
        "levels": [level for level in neck.fractures if level in coordinates],
        "levels_out_of_scan": [level for level in neck.fractures if level not in coordinates],
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
