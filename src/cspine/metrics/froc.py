"""Whether a reader points at what is broken: sensitivity against false alarms."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cspine.core.errors import InputError
from cspine.core.typing import Floats


@dataclass(frozen=True)
class Froc:
    """A free-response ROC curve.

    Attributes
    ----------
    threshold : (n,)
        Falling.
    false_alarms : (n,)
        Marks per study that hit nothing, at each threshold.
    sensitivity : (n,)
        Share of what is broken that is hit.
    """

    threshold: Floats
    false_alarms: Floats
    sensitivity: Floats

    def at(self, false_alarms: float) -> float:
        """Return the sensitivity at so many false alarms per study."""
        return float(np.max(self.sensitivity[self.false_alarms <= false_alarms], initial=0.0))


def froc(strength: npt.ArrayLike, hits: npt.ArrayLike, *, broken: int, studies: int) -> Froc:
    """Return the free-response ROC curve of marks (Bunch, Hamilton, Sanderson and Simmons 1978).

    Parameters
    ----------
    strength : (n,)
        How sure the reader is of each mark.
    hits : (n,) int
        Number of what a mark hits, -1 where it hits nothing. What is hit twice counts once, and no false alarm.
    broken : int
        How many there are to be hit.
    studies : int
        How many were read.

    Raises
    ------
    InputError
        Nothing is broken, no study was read, or strengths and hits are not as many.

    >>> curve = froc([0.9, 0.8, 0.3], [0, -1, 1], broken=2, studies=1)
    >>> curve.at(0.0), curve.at(1.0)
    (0.5, 1.0)
    """
    marks, found = np.asarray(strength, np.float64), np.asarray(hits, np.int64)
    if marks.shape != found.shape or marks.ndim != 1:
        raise InputError(f"{marks.shape} strengths and {found.shape} hits; give one hit for each mark")
    if broken < 1 or studies < 1:
        raise InputError(f"{broken} fractures in {studies} studies; a curve needs one of each")
    thresholds = np.unique(marks)[::-1]
    false, hit = np.empty(len(thresholds)), np.empty(len(thresholds))
    for number, threshold in enumerate(thresholds.tolist()):
        shown = found[marks >= threshold]
        false[number] = np.count_nonzero(shown < 0) / studies
        hit[number] = len(np.unique(shown[shown >= 0])) / broken
    return Froc(thresholds, false, hit)
