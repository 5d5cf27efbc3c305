"""Cases that a model does not answer: how many there are, and how they count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.anatomy import OVERALL, TARGETS
from cspine.evaluation.cases import LEVELS, Cases, MatchedPredictions
from cspine.evaluation.predictions import NOT_FOUND, Predictions

_MAX_NAMED: Final = 3


@dataclass(frozen=True)
class Unanswered:
    """Cases that a model does not answer.

    Attributes
    ----------
    n_fractured_patients, n_intact_patients : int
        Studies without a probability of the patient: those that are not assessable.
    n_fractured_vertebrae, n_intact_vertebrae : int
        Vertebrae without a probability, those of studies that are not assessable included.
    n_not_found : int
        Those of them that lie within the scanned extent and were not found.
    fractured : tuple of (str, str)
        Study and target of each fractured case among them, patients first.
    """

    n_fractured_patients: int
    n_intact_patients: int
    n_fractured_vertebrae: int
    n_intact_vertebrae: int
    n_not_found: int
    fractured: tuple[tuple[str, str], ...]

    def sentences(self) -> tuple[str, ...]:
        """Return how many cases are not answered, and how they count, for reports."""
        return (
            *_sentences("patient", "patients", self.n_fractured_patients, self.n_intact_patients, self._named(OVERALL)),
            *_sentences("vertebra", "vertebrae", self.n_fractured_vertebrae, self.n_intact_vertebrae, self._named()),
            *(
                [f"{self.n_not_found} of these vertebrae lie within the scanned extent and were not found there."]
                if self.n_not_found
                else []
            ),
        )

    def _named(self, target: str = "") -> str:
        cases = [(study, at) for study, at in self.fractured if (at == OVERALL) == (target == OVERALL)]
        return _name_first([study if at == OVERALL else f"{at} of {study}" for study, at in cases])


def count_unanswered(matched: MatchedPredictions, model: Predictions, cases: Mapping[str, Cases]) -> Unanswered:
    """Count the cases that a model does not answer.

    Parameters
    ----------
    matched : MatchedPredictions
        The model's predictions, matched with the reference standard.
    model : Predictions
        The model, with the coverage of vertebrae where it reports it.
    cases : mapping of str to Cases
        Its cases by target.
    """
    studies = matched.reference.labels.index
    fractured = [
        (str(studies[study]), TARGETS[column])
        for target in (OVERALL, LEVELS)
        for study, column in _fractured_unanswered(cases[target])
    ]
    coverage = model.study_metadata.reindex(index=studies, columns=[f"{level} coverage" for level in TARGETS[1:]])
    patients, vertebrae = cases[OVERALL], cases[LEVELS]
    return Unanswered(
        patients.n_unanswered_fractured,
        patients.n_unanswered_intact,
        vertebrae.n_unanswered_fractured,
        vertebrae.n_unanswered_intact,
        int((coverage == NOT_FOUND).to_numpy().sum()),
        tuple(fractured),
    )


def model_notes(
    matched: MatchedPredictions, model: Predictions, unanswered: Unanswered, *, uses_own_points: bool
) -> tuple[str, ...]:
    """Return sentences on the cases that a model does not answer or that are not evaluated, for reports.

    Parameters
    ----------
    matched : MatchedPredictions
        The model's predictions, matched with the reference standard.
    model : Predictions
        The model, with warnings of how its predictions were read.
    unanswered : Unanswered
        The cases that it does not answer.
    uses_own_points : bool
        Whether the model is evaluated at operating points of its own, if it has any.
    """
    warnings = (*model.warnings, *(model.operating_points_warnings if uses_own_points else ()))
    not_assessable, unmatched = matched.not_assessable[model.name], matched.unmatched[model.name]
    notes = [_as_sentence(warning) for warning in warnings]
    if not_assessable:
        n_fractured = int(matched.reference.labels.loc[list(not_assessable), OVERALL].sum())
        notes.append(
            f"{_count(len(not_assessable), 'study was', 'studies were')} rated not assessable, {n_fractured} of "
            f"them with a fracture ({_name_first(not_assessable)})."
        )
    notes += unanswered.sentences()
    if unmatched:
        notes.append(
            f"{_count(len(unmatched), 'predicted study is', 'predicted studies are')} not in the evaluated reference "
            "standard, and ignored "
            f"({_name_first(unmatched)})."
        )
    return tuple(notes)


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"


def _name_first(names: Sequence[str]) -> str:
    """Return names, or the first of many.

    >>> _name_first(["C1", "C2"]), _name_first(["1", "2", "3", "4"])
    ('C1, C2', 'first: 1, 2, 3')
    """
    named = ", ".join(name[:80] for name in names[:_MAX_NAMED])
    return f"first: {named}" if len(names) > _MAX_NAMED else named


def _as_sentence(text: str) -> str:
    """Return a warning with a capital letter and a full stop.

    >>> _as_sentence("two files are damaged")
    'Two files are damaged.'
    """
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _fractured_unanswered(cases: Cases) -> list[tuple[int, int]]:
    chosen = np.flatnonzero(~cases.is_answered & (cases.truth > 0))
    return list(zip(cases.studies[chosen].tolist(), cases.columns[chosen].tolist(), strict=True))


def _sentences(one: str, many: str, n_fractured: int, n_intact: int, named: str) -> list[str]:
    sentences = []
    if n_fractured:
        counted = (
            f"1 fractured {one} was not answered; it counts as missed"
            if n_fractured == 1
            else f"{n_fractured} fractured {many} were not answered; they count as missed"
        )
        sentences.append(f"{counted} ({named}).")
    if n_intact:
        counted = (
            f"1 intact {one} was not answered: it is"
            if n_intact == 1
            else f"{n_intact} intact {many} were not answered: they are"
        )
        sentences.append(
            f"{counted} neither true negative nor false positive; specificity is that of the answered ones."
        )
    return sentences
