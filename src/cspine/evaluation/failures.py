"""The most confident errors of a model, for review."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cspine.core.anatomy import TARGETS
from cspine.core.columns import STUDY
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.cases import LEVELS, Cases


@dataclass(frozen=True)
class Failure:
    """A vertebra with a confident error.

    Attributes
    ----------
    study, level : str
        StudyInstanceUID, and C1 to C7.
    is_fractured : bool
        Whether the vertebra is fractured by the reference standard.
    probability : float
        Predicted probability of a fracture, 0 to 1.
    fracture_type : str
        Type and visibility of its fractures where they are known, else ''.
    """

    study: str
    level: str
    is_fractured: bool
    probability: float
    fracture_type: str

    @property
    def caption(self) -> str:
        """Sentence for a report: reference standard, probability and study."""
        reference = "fractured" if self.is_fractured else "no fracture"
        reference += f" ({self.fracture_type})" if self.fracture_type else ""
        return f"{self.level}, {reference}, predicted probability {100 * self.probability:.1f} %; study {self.study}"


def worst_failures(reference: ReferenceStandard, cases: Mapping[str, Cases], count: int = 6) -> list[Failure]:
    """Return the false positives with the highest probabilities, then the false negatives with the lowest.

    Vertebrae without an answer have no probability; `cspine.evaluation.unanswered` lists them.

    Parameters
    ----------
    reference : ReferenceStandard
        Reference standard of the evaluated studies, in the order of the cases' studies.
    cases : mapping of str to Cases
        Cases of one model by target, as in `cspine.evaluation.evaluate.EvaluationResult.cases`.
    count : int
        Maximum number of either.
    """
    levels = cases[LEVELS].answered()
    fracture_types = _fracture_types(reference)
    studies = reference.labels.index.to_numpy(dtype=str)
    ascending = np.argsort(levels.probability, kind="stable")
    false_positives = [case for case in ascending[::-1] if not levels.truth[case]][:count]
    false_negatives = [case for case in ascending if levels.truth[case]][:count]
    failures = []
    for case in (*false_positives, *false_negatives):
        study, level = str(studies[levels.studies[case]]), TARGETS[levels.columns[case]]
        is_fractured = bool(levels.truth[case])
        fracture_type = fracture_types.get((study, level), "") if is_fractured else ""
        failures.append(Failure(study, level, is_fractured, float(levels.probability[case]), fracture_type))
    return failures


def _fracture_types(reference: ReferenceStandard) -> dict[tuple[str, str], str]:
    """Return type and visibility of the fractures of each fractured vertebra, by study and level."""
    if reference.fractures is None:
        return {}
    types: dict[tuple[str, str], str] = {}
    for row in reference.fractures.sort_values("fracture_type").itertuples():
        key = str(getattr(row, STUDY)), str(row.level)
        description = f"{row.fracture_type}, {row.visibility}"
        types[key] = f"{types[key]}; {description}" if key in types else description
    return types
