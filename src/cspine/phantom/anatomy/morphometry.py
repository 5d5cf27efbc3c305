"""Morphometry of the cervical spine: means and standard deviations of the measures of vertebrae.

They are of dry bones and CT of adults, both sexes together. Sources:

- bodies, canals and spinous processes of C3 to C7: Anatomical dimensions of the typical cervical vertebrae, European
  Journal of Anatomy 24 (2020) 9-15, 100 bones (body depth 14.8 above and 15.6 below, height 10.9 +- 1.4, canal
  12.3 +- 1.7 by 22.0 +- 1.8, spinous process 15.3 +- 4.3); body width by level: Galloway collection, 404 bones
  (C3 22.1 +- 1.5 to C6 24.7 +- 1.8); trends from level to level are typical values.
- facets: angles against the transverse plane, PMC2219934, table 2 (C3 49.5 +- 4.1 to C7 44.2 +- 4.6).
- axis: Gosavi and Swamy 2012, 100 bones (dens height 14.9 +- 1.5, body depth 14.8 +- 1.7); a study of 52 bones (CORE
  303973137; dens height 17.6 +- 1.9, depth 10.6 +- 0.9, width 9.8 +- 0.9, body height 18.7 +- 2.2 in front); pedicles:
  Anatomy Research International 2014, 425868, table 2 (21.6 +- 2.4 long, 8.8 +- 2.1 wide, 5.6 +- 2.4 high; drawn with
  smaller standard deviations, since a normal distribution that wide would include pedicles of no height).
- atlas: Patel and Gupta, 100 bones (width 71.2, canal 28.2 by 26.6, arches 10.2 and 8.7 high); spreads: IJAR 2017.454
  (canal 28.8 +- 2.2 by 26.9 +- 2.5).
- disc heights, pedicles of C3 to C7, T1 and T2: typical values without one source (docs/concepts/phantom.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np


@dataclass(frozen=True)
class Measure:
    """Mean and standard deviation of a length in mm or an angle in degrees in the population."""

    mean: float
    sd: float


MAX_DEVIATION_SD: Final = 2.5
"""Draws are clipped to this many standard deviations about the mean."""

_MIN_FRACTION_OF_MEAN: Final = 0.4
"""Lower bound of a drawn measure, as a fraction of its mean; no person has less."""

_SIZE_LOADING, _MEASURE_LOADING = 0.6, 0.5
"""Correlation of a measure with body size, and with what the same measure has in common at all levels."""


def _by_level(levels: str, means: str, sd: float) -> dict[str, Measure]:
    pairs = zip(levels.split(), means.split(), strict=True)
    return {level: Measure(float(mean), sd) for level, mean in pairs}


_SUBAXIAL: Final = "C3 C4 C5 C6 C7 T1 T2"

MORPHOMETRY: Final[Mapping[str, Mapping[str, Measure]]] = {
    "body depth above": _by_level(_SUBAXIAL, "14.7 15.0 15.3 15.7 16.0 16.4 17.2", 1.4),
    "body depth below": _by_level("C2 " + _SUBAXIAL, "15.2 15.7 15.9 16.1 16.3 16.3 16.6 17.4", 1.4),
    "body width": _by_level(_SUBAXIAL, "22.1 22.7 23.6 24.7 25.0 27.5 27.0", 1.6),
    "body height": _by_level("C2 " + _SUBAXIAL, "18.7 12.0 11.3 10.7 10.9 12.7 14.8 16.3", 1.2),
    "canal depth": _by_level("C1 C2 " + _SUBAXIAL, "28.0 14.4 13.2 12.8 12.8 12.8 13.0 14.0 14.5", 1.3)
    | {"C1": Measure(28.0, 2.2)},
    "canal width": _by_level("C1 C2 " + _SUBAXIAL, "27.0 21.6 20.6 20.4 20.8 21.2 21.0 19.0 17.5", 1.6)
    | {"C1": Measure(27.0, 2.4)},
    "spinous process length": _by_level("C2 " + _SUBAXIAL, "15.5 13.5 14.0 15.0 17.5 28.0 31.0 31.0", 2.5),
    "facet angle": {
        "C2": Measure(48.0, 5.0),
        "C3": Measure(49.5, 4.1),
        "C4": Measure(44.5, 6.2),
        "C5": Measure(40.5, 5.1),
        "C6": Measure(42.3, 4.4),
        "C7": Measure(45.0, 4.6),
        "T1": Measure(55.0, 5.0),
        "T2": Measure(60.0, 5.0),
    },
    "disc height": _by_level("C2 C3 C4 C5 C6 C7 T1", "4.0 4.1 4.2 4.1 4.2 4.2 4.0", 0.7),
    "dens height": {"C2": Measure(15.8, 1.6)},
    "dens depth": {"C2": Measure(11.0, 0.9)},
    "dens width": {"C2": Measure(9.9, 0.9)},
    "pedicle width": {"C2": Measure(8.8, 1.3)} | _by_level(_SUBAXIAL, "5.2 5.2 5.5 5.9 6.6 7.5 7.0", 0.8),
    "atlas width": {"C1": Measure(72.0, 4.5)},
    "anterior arch height": {"C1": Measure(10.2, 1.2)},
    "posterior arch height": {"C1": Measure(8.7, 1.2)},
    "pedicle height": {"C2": Measure(5.6, 1.0)},
    "pedicle length": {"C2": Measure(21.6, 1.7)},
}
"""Measure to level to its distribution.

A disc belongs to the vertebra above it; its height is that at its center.
"""

Measures = dict[str, float]
"""Measures of one vertebra by name, in mm or degrees."""


def draw_measures(rng: np.random.Generator, *, size: float, morphometry_sd_factor: float = 1.0) -> dict[str, Measures]:
    """Draw the measures of all vertebrae of one person.

    Each is normally distributed, and correlated with body size and with the same measure at other levels.

    Parameters
    ----------
    rng : numpy Generator
        Random number generator; it is advanced.
    size : float
        Body size, in standard deviations of the population.
    morphometry_sd_factor : float
        Factor on all standard deviations. Values above 1 exceed the variation of people, which makes networks trained
        on the phantoms more robust.

    Returns
    -------
    dict
        Level to measure to mm or degrees.
    """
    person: dict[str, Measures] = {}
    residual = np.sqrt(1 - _SIZE_LOADING**2 - _MEASURE_LOADING**2)
    for name, levels in MORPHOMETRY.items():
        common = rng.normal()
        size_loading = 0.0 if name == "facet angle" else _SIZE_LOADING
        own_loading = residual if size_loading else np.sqrt(1 - _MEASURE_LOADING**2)
        for level, measure in levels.items():
            deviation = size_loading * size + _MEASURE_LOADING * common + own_loading * rng.normal()
            deviation_sd = float(np.clip(deviation, -MAX_DEVIATION_SD, MAX_DEVIATION_SD))
            drawn = measure.mean + morphometry_sd_factor * measure.sd * deviation_sd
            person.setdefault(level, {})[name] = max(drawn, _MIN_FRACTION_OF_MEAN * measure.mean)
    return person
