"""The challenge's loss of several ways to answer the same studies: both normalisations, intervals, differences."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cspine.core.typing import Floats
from cspine.metrics.bootstrap import Interval, bootstrap_mean, bootstrap_ratio, percentile_interval
from cspine.metrics.rsna2022 import weighted_losses


@dataclass(frozen=True)
class LossRow:
    """The challenge's loss of one way to answer.

    Attributes
    ----------
    name : str
        Which answer, and in which form.
    per_study, globally : Interval
        Normalised within each study, and over all studies.
    per_study_difference, globally_difference : Interval
        The same less the first answer's, in the same draws: above 0, this answer is worse than the first.
    """

    name: str
    per_study: Interval
    globally: Interval
    per_study_difference: Interval
    globally_difference: Interval


def loss_rows(
    labels: npt.ArrayLike, answers: Mapping[str, Floats], draws: npt.NDArray[np.int32]
) -> tuple[LossRow, ...]:
    """Return the losses of all answers, the first of which the others are held against.

    Parameters
    ----------
    labels : (n, 8)
        Columns `TARGETS`.
    answers : mapping of str to (n, 8)
        Probabilities; where one is NaN, neither its loss nor its weight counts.
    draws : (draws, n)
        Of `cspine.metrics.bootstrap.patient_weights`.

    Raises
    ------
    InputError
        A label is not 0 or 1, or a probability is not from 0 to 1.
    """
    values: list[tuple[float, float]] = []
    drawn: list[tuple[Floats, Floats]] = []
    for said in answers.values():
        there = ~np.isnan(said)
        weights, losses = weighted_losses(labels, np.where(there, said, 0.5))
        above, below = (losses * there).sum(axis=1), (weights * there).sum(axis=1)
        values.append((float(np.mean(above / below)), float(above.sum() / below.sum())))
        drawn.append((bootstrap_mean(above / below, draws), bootstrap_ratio(above, below, draws)))
    return tuple(
        LossRow(
            name,
            *(percentile_interval(values[row][kind], drawn[row][kind]) for kind in (0, 1)),
            *(
                percentile_interval(values[row][kind] - values[0][kind], drawn[row][kind] - drawn[0][kind])
                for kind in (0, 1)
            ),
        )
        for row, name in enumerate(answers)
    )
