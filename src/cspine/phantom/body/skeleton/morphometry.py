"""Morphometry of the thoracic and lumbar spine below T2: means and standard deviations of the measures of vertebrae.

Sources, in mm, adults of both sexes:

- endplates, pedicles, canals and posterior heights of T3 to L5: Panjabi et al., Spine 16 (1991) 888-901 and 17 (1992)
  299-306, 12 spines each, enlarged by 4 %, since these were small people; rounded and smoothed
  from level to level.
- heights of bodies: Kunkel et al., Journal of Anatomy 219 (2011) 375-387 (thoracic discs and bodies on radiographs) and
  Zhou et al., European Spine Journal 9 (2000) 242-248 (L3 to L5 on CT, 27 to 28 mm).
- disc heights: the same; 4 to 6 mm in thoracic spines, 8 to 11 mm in lumbar ones.
- lengths of spinous and transverse processes are typical values, from the posterior wall of the canal and from the
  midline.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np

from cspine.phantom.anatomy.morphometry import MAX_DEVIATION_SD, Measure
from cspine.phantom.anatomy.person import Person

THORACIC: Final = tuple(f"T{number}" for number in range(3, 13))
"""Thoracic vertebrae below T2."""

LUMBAR: Final = tuple(f"L{number}" for number in range(1, 6))

LOWER_STACK: Final = (*THORACIC, *LUMBAR, "S1")
"""Vertebrae below T2, from cranial to caudal."""

_SIZE_LOADING, _MEASURE_LOADING, _OWN_LOADING = 0.6, 0.7, 0.39
"""Correlation of a measure with body size, with the same measure at other levels, and what is left to the level."""


def _by_level(means: str, sd: float) -> dict[str, Measure]:
    return {level: Measure(float(mean), sd) for level, mean in zip(LOWER_STACK, means.split(), strict=True)}


LOWER_MORPHOMETRY: Final[Mapping[str, Mapping[str, Measure]]] = {
    "body width": _by_level("26.3 26.3 27.0 28.3 29.6 31.2 33.1 35.0 38.5 42.2 44.0 45.8 47.9 50.0 50.3 50.0", 2.4),
    "body depth above": _by_level(
        "22.0 23.6 25.3 27.0 28.5 29.0 30.5 31.7 33.2 34.1 34.9 35.4 35.8 36.0 35.6 33.5", 1.9
    ),
    "body depth below": _by_level(
        "23.2 24.5 26.4 27.8 29.4 30.2 31.6 32.4 33.0 34.4 35.5 35.6 35.8 35.4 34.6 24.0", 1.9
    ),
    "body height": _by_level("17.0 17.4 17.9 18.6 19.3 19.9 20.6 21.6 22.6 24.2 25.7 26.5 27.0 27.0 26.6 29.0", 1.3),
    "canal depth": _by_level("15.8 15.8 15.8 15.8 15.8 15.8 15.8 15.8 16.2 17.2 18.2 17.6 17.2 17.8 18.4 15.0", 1.3),
    "canal width": _by_level("18.2 17.6 17.4 17.4 17.4 17.8 18.2 18.6 19.8 22.4 23.6 23.8 24.4 25.4 27.2 31.0", 1.6),
    "pedicle width": _by_level("6.6 6.2 6.0 6.0 6.1 6.6 7.4 8.4 9.2 8.8 8.4 8.8 10.2 12.6 16.0 20.0", 0.9),
    "spinous process length": _by_level(
        "33.0 35.0 37.0 38.0 38.0 37.0 35.0 32.0 29.0 28.0 31.0 33.0 33.0 30.0 24.0 15.0", 3.0
    ),
    "transverse reach": _by_level(
        "33.0 32.5 32.0 31.5 31.0 30.5 30.0 28.5 26.0 23.0 37.0 42.0 47.0 45.0 47.0 55.0", 2.8
    ),
    "disc height": _by_level("3.6 3.6 3.9 4.2 4.6 4.9 5.2 5.6 6.2 7.2 8.3 9.6 10.6 11.0 10.2 2.0", 0.9)
    | {"T2": Measure(3.7, 0.6)},
}
"""Measure to level to its distribution.

A disc belongs to the vertebra above it; its height is that at its center. The transverse reach is the distance of the
tip of a transverse process from the midline. S1 stands for the sacrum, whose first body is measured.
"""

_MIN_FRACTION_OF_MEAN: Final = 0.5
"""Lower bound of a drawn measure, as a fraction of its mean."""


def draw_lower_measures(person: Person, rng: np.random.Generator, *, morphometry_sd_factor: float = 1.0) -> Person:
    """Return a person who also has measures and traits of the vertebrae below T2.

    Each measure is correlated with body size and with the same measure at other levels.

    Parameters
    ----------
    person : Person
        With measures of C1 to T2.
    rng : numpy Generator
        Random number generator; it is advanced.
    morphometry_sd_factor : float
        Factor on all standard deviations.
    """
    measures = {level: dict(of_level) for level, of_level in person.measures.items()}
    for name, levels in LOWER_MORPHOMETRY.items():
        common = rng.normal()
        for level, measure in levels.items():
            deviation = _SIZE_LOADING * person.size + _MEASURE_LOADING * common + _OWN_LOADING * rng.normal()
            deviation_sd = float(np.clip(deviation, -MAX_DEVIATION_SD, MAX_DEVIATION_SD))
            drawn = measure.mean + morphometry_sd_factor * measure.sd * deviation_sd
            measures.setdefault(level, {})[name] = max(drawn, _MIN_FRACTION_OF_MEAN * measure.mean)
    traits = dict(person.traits)
    for level in LOWER_STACK:
        traits[level] = {
            trait: float(np.clip(0.5 * value + 0.5 * rng.random(), 0, 1)) for trait, value in traits["T2"].items()
        }
    return replace(person, measures=measures, traits=traits)
