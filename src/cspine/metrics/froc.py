"""Free-response ROC analysis: lesion sensitivity against false positives per study."""

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
    thresholds : (n,) float
        Distinct mark strengths, descending.
    false_positives_per_study : (n,) float
        Marks per study that hit no lesion, at each threshold.
    sensitivity : (n,) float
        Fraction of lesions that are hit, at each threshold.
    """

    thresholds: Floats
    false_positives_per_study: Floats
    sensitivity: Floats

    def sensitivity_at(self, false_positives_per_study: float) -> float:
        """Return the sensitivity at a number of false positives per study; 0 where no threshold has so few."""
        allowed = self.false_positives_per_study <= false_positives_per_study
        return float(np.max(self.sensitivity[allowed], initial=0.0))

    def threshold_at(self, false_positives_per_study: float) -> float:
        """Return the lowest threshold with no more false positives per study; infinity where there is none."""
        allowed = self.thresholds[self.false_positives_per_study <= false_positives_per_study]
        return float(allowed.min()) if len(allowed) else float("inf")


def froc(strength: npt.ArrayLike, hits: npt.ArrayLike, *, n_lesions: int, n_studies: int) -> Froc:
    """Return the free-response ROC curve of marks (Bunch, Hamilton, Sanderson and Simmons 1978).

    Parameters
    ----------
    strength : (n,) array_like
        Confidence of each mark.
    hits : (n,) array_like of int
        Index of the lesion that each mark hits, -1 for none. A lesion that is hit twice counts once, and the second
        mark is no false positive.
    n_lesions : int
        Number of lesions in all studies.
    n_studies : int
        Number of studies, which false positives are divided by.

    Raises
    ------
    InputError
        There are no lesions or no studies, or strengths and hits differ in length.

    Examples
    --------
    >>> curve = froc([0.9, 0.8, 0.3], [0, -1, 1], n_lesions=2, n_studies=1)
    >>> curve.sensitivity_at(0.0), curve.sensitivity_at(1.0)
    (0.5, 1.0)
    """
    strengths, lesions = np.asarray(strength, np.float64), np.asarray(hits, np.int64)
    if strengths.shape != lesions.shape or strengths.ndim != 1:
        raise InputError(f"{strengths.shape} strengths and {lesions.shape} hits; give one hit for each mark")
    if n_lesions < 1 or n_studies < 1:
        raise InputError(f"{n_lesions} fractures in {n_studies} studies; a curve needs one of each")
    thresholds = np.unique(strengths)[::-1]
    false_positives, sensitivity = np.empty(len(thresholds)), np.empty(len(thresholds))
    for number, threshold in enumerate(thresholds.tolist()):
        shown = lesions[strengths >= threshold]
        false_positives[number] = np.count_nonzero(shown < 0) / n_studies
        sensitivity[number] = len(np.unique(shown[shown >= 0])) / n_lesions
    return Froc(thresholds, false_positives, sensitivity)
