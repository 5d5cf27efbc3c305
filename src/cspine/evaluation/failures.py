"""What a system got most wrong."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cspine.core.anatomy import TARGETS
from cspine.core.columns import STUDY
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.cases import LEVELS, Cases


@dataclass(frozen=True)
class Failure:
    """A vertebra that a system got wrong.

    Attributes
    ----------
    kind : str
        What is known of the fracture, '' of whole ones.
    """

    study: str
    level: str
    fractured: bool
    probability: float
    kind: str

    @property
    def caption(self) -> str:
        """What is wrong, in words."""
        truth = f"broken ({self.kind})" if self.kind else "broken" if self.fractured else "whole"
        return f"{self.level}, {truth}, called {100 * self.probability:.1f} % likely to be broken; study {self.study}"


def worst_failures(truth: ReferenceStandard, cases: Mapping[str, Cases], count: int = 6) -> list[Failure]:
    """Return whole vertebrae that are called likeliest to be broken, then broken ones that are called least likely.

    Parameters
    ----------
    truth : Truth
        Of the judged studies, in the order of the cases' studies.
    cases : mapping of str to Cases
        A system's, as `cspine.evaluation.evaluate.EvaluationResult.cases` holds them.
    count : int
        Of either at most.
    """
    levels = cases[LEVELS]
    kinds = _kinds(truth)
    names = truth.labels.index.to_numpy(dtype=str)
    order = np.argsort(levels.said, kind="stable")
    alarms = [place for place in order[::-1] if not levels.truth[place]][:count]
    misses = [place for place in order if levels.truth[place]][:count]
    found = []
    for place in (*alarms, *misses):
        study, level = str(names[levels.studies[place]]), TARGETS[levels.columns[place]]
        fractured = bool(levels.truth[place])
        kind = kinds.get((study, level), "") if fractured else ""
        found.append(Failure(study, level, fractured, float(levels.said[place]), kind))
    return found


def _kinds(truth: ReferenceStandard) -> dict[tuple[str, str], str]:
    """Return what is known of each broken vertebra's fractures."""
    if truth.fractures is None:
        return {}
    found: dict[tuple[str, str], str] = {}
    for row in truth.fractures.sort_values("kind").itertuples():
        key = str(getattr(row, STUDY)), str(row.level)
        told = f"{row.kind}, {row.visibility}"
        found[key] = f"{found[key]}; {told}" if key in found else told
    return found
