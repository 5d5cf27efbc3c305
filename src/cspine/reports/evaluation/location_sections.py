"""Sections of an evaluation on places: lesion localization, confusion of levels, false alarms by mimic; model names."""

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from cspine.core.anatomy import VERTEBRAE
from cspine.evaluation.evaluate import EvaluationResult, ModelResult
from cspine.evaluation.localization import LesionLocalization
from cspine.evaluation.mimics import MIMIC_DISTANCE_MM, MimicFalseAlarms
from cspine.reports.evaluation.sections import NOT_AVAILABLE, Section, Table, format_interval

LESION_LOCALIZATION: Final = "Lesion localization (FROC)"
FALSE_ALARMS_BY_MIMIC: Final = "False alarms by mimic"


def lesion_localization(result: EvaluationResult) -> Iterable[Section]:
    """Yield the section on whether marks hit fractures, of each model with marks."""
    for model in result.models:
        localization = model.localization
        if localization is None:
            continue
        sensitivities = ", ".join(
            f"{format_interval(value, 2)} at {rate:g}" for rate, value in localization.sensitivity_at.items()
        )
        text = (
            f"{localization.n_fractured} fractured vertebrae with known fracture location in {localization.n_studies} "
            f"studies. A mark is a hit if it lies {localization.hit_criterion}.",
            *_unlocalized(localization),
            f"Sensitivity at false positives per study: {sensitivities}.",
            "Correctly localized: fraction of the detected vertebrae with a hit at or above the threshold.",
        )
        rows = tuple(
            (
                part.name,
                f"{part.threshold:.4g}",
                format_interval(part.sensitivity),
                format_interval(part.correct_location),
            )
            for part in localization.operating_points
        )
        header = ("operating point", "threshold", "sensitivity", "correctly localized")
        yield Section(f"{LESION_LOCALIZATION}{model_suffix(result, model)}", text, Table(header, rows), "froc.png")


def _unlocalized(localization: LesionLocalization) -> Iterable[str]:
    """Yield how many fractured vertebrae are missed for want of an answer, and how many are not evaluated."""
    if localization.n_unanswered:
        yield f"{localization.n_unanswered} of these vertebrae were not answered; they count as missed."
    if localization.n_unlocated:
        yield f"The location of {localization.n_unlocated} further fractured vertebrae is not known; they are left out."


def level_confusion(result: EvaluationResult) -> Iterable[Section]:
    """Yield the confusion matrix of levels of each model."""
    for model in result.models:
        n_unanswered = int(model.n_unanswered_single_fractures.sum())
        total = int(model.level_confusion.sum()) + n_unanswered
        if not total:
            continue
        counts_of = np.column_stack([model.level_confusion, model.n_unanswered_single_fractures]).tolist()
        columns = (*VERTEBRAE, "not answered") if n_unanswered else VERTEBRAE
        rows = tuple(
            (level, *(str(count) if count else "" for count in counts[: len(columns)]))
            for level, counts in zip(VERTEBRAE, counts_of, strict=True)
        )
        text = (
            f"In {int(model.level_confusion.trace())} of {total} studies with a single fractured vertebra, this "
            "vertebra has the highest probability. Rows: fractured level; columns: level with the highest probability"
            f"{', or that the fractured one was not answered' if n_unanswered else ''}."
        )
        header = ("fractured", *columns)
        yield Section(f"Level confusion matrix{model_suffix(result, model)}", (text,), Table(header, rows))


def false_alarms_by_mimic(result: EvaluationResult) -> Iterable[Section]:
    """Yield the false alarms at vertebrae with and without each mimic, of each model; nothing where none are known."""
    for model in result.models:
        if not model.mimics:
            continue
        text = (
            "Fraction of the answered intact vertebrae at or above the threshold of the operating point "
            f"{model.operating_points.points[-1].name}, with a finding that mimics a fracture, and without it at the "
            "levels at which it occurs. A vertebra may have several mimics.",
            f"At the mimic: false alarms whose mark lies within {MIMIC_DISTANCE_MM:g} mm of the mimic, of those with a "
            "mark where the place of the mimic is known. A vertebra is a few times as wide, so that some marks lie so "
            "close by coincidence.",
        )
        yield Section(f"{FALSE_ALARMS_BY_MIMIC}{model_suffix(result, model)}", text, mimic_table(model.mimics))


def mimic_table(mimics: Sequence[MimicFalseAlarms]) -> Table:
    """Return the false alarms at vertebrae with and without each mimic, the most frequent alarms first."""
    rows = (
        (
            row.mimic,
            f"{row.n_with:,}",
            format_interval(row.false_alarms_with),
            f"{row.n_without:,}",
            format_interval(row.false_alarms_without),
            f"{row.n_at_mimic} of {row.n_located}" if row.n_located else NOT_AVAILABLE,
        )
        for row in sorted(mimics, key=lambda row: -row.false_alarms_with.value)
    )
    header = ("mimic", "intact with it", "false alarms", "intact without it", "false alarms", "at the mimic")
    return Table(header, tuple(rows))


def model_prefix(result: EvaluationResult, model: ModelResult, separator: str = ", ") -> str:
    """Return the name of a model before the name of its cases; nothing if there is only one model."""
    return f"{model.name}{separator}" if len(result.models) > 1 else ""


def model_suffix(result: EvaluationResult, model: ModelResult) -> str:
    """Return the name of a model after a heading; nothing if there is only one model."""
    return f": {model.name}" if len(result.models) > 1 else ""
