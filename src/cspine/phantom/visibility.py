"""Visibility of a fracture in a scan: a contrast-to-noise model, and its four grades."""

from typing import Final, Literal

import numpy as np

from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.scanner.scanner import Scanner

VisibilityGrade = Literal["occult", "subtle", "clear", "obvious"]

_GRADE_LIMITS: Final[tuple[tuple[float, VisibilityGrade], ...]] = ((0.5, "occult"), (0.75, "subtle"), (0.9, "clear"))
"""Upper limit of each grade. They were fixed before any network was evaluated; no reader has calibrated them."""

_CONSPICUITY_SCALE: Final = 0.81
_CONSPICUITY_POWER: Final = 1.22
"""They put the limits of grades at conspicuities of 0.6, 1.06 and 1.6: by eye, on 37 virtual fractures in two necks,
before any network was evaluated on them."""

_GAP_HU: Final = 40.0
"""Blood, which fills fracture gaps."""


def visibility_grade(value: float) -> VisibilityGrade:
    """Return the grade of a visibility.

    >>> visibility_grade(0.3), visibility_grade(0.6), visibility_grade(0.8), visibility_grade(0.95)
    ('occult', 'subtle', 'clear', 'obvious')
    """
    return next((grade for limit, grade in _GRADE_LIMITS if value < limit), "obvious")


def visibility_of_conspicuity(value: float) -> float:
    """Return the visibility, from 0 to 1, of a fracture whose conspicuity in an image is known.

    >>> round(visibility_of_conspicuity(0.6), 2), round(visibility_of_conspicuity(1.6), 2)
    (0.5, 0.9)
    """
    return float(1 - np.exp(-((value / _CONSPICUITY_SCALE) ** _CONSPICUITY_POWER)))


def visibility(fracture: Fracture, bone_hu: float, scanner: Scanner, noise_hu: float | None = None) -> float:
    """Return the visibility of a fracture surface, from 0 (occult) to 1 (obvious).

    It is 1 - exp(-(0.06 c + 0.4 s)). The contrast-to-noise ratio c is the loss of HU in the gap after the point spread
    function (slice thickness included), over the noise, times the square root of the number of independent positions
    along the surface (Rose 1948). The step s is the displacement along the surface plus twice the loss of height, over
    the width of the point spread function.

    Parameters
    ----------
    fracture : Fracture
        The fracture surface, with its gap and displacement.
    bone_hu : float
        Density of the bone that the surface crosses, in HU.
    scanner : Scanner
        Gives blur, slice thickness and noise.
    noise_hu : float, optional
        Standard deviation of noise and streaks at the fracture; by default that of the scanner at C4.
    """
    blur_mm = float(np.hypot(scanner.psf_fwhm_mm, 0.5 * scanner.thickness_mm))
    contrast_hu = (bone_hu - _GAP_HU) * (1 - np.exp(-fracture.gap_mm / blur_mm))
    length_mm = min(fracture.gap_radius_mm, float(fracture.half_extent_mm.min()))
    contrast_to_noise = contrast_hu / (noise_hu or scanner.noise_hu) * np.sqrt(max(length_mm / blur_mm, 1.0))
    # The displacement along the normal is part of the gap already.
    slide = fracture.translation_mm - (fracture.translation_mm @ fracture.normal) * fracture.normal
    step = (float(np.linalg.norm(slide)) + 2.0 * fracture.height_loss_mm) / blur_mm
    return float(1 - np.exp(-(0.06 * contrast_to_noise + 0.4 * step)))
