"""The sections of an evaluation, in the order of the reporting guidelines."""

import math
from collections.abc import Callable, Iterable
from typing import Final

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult, ModelResult
from cspine.evaluation.operating_point_metrics import DEFAULT_OPERATING_POINT, PREVALENCES
from cspine.evaluation.subgroups import SubgroupMetrics
from cspine.evaluation.target_metrics import MIN_CASES
from cspine.reports.evaluation.sections import (
    NOT_AVAILABLE,
    Row,
    Section,
    Table,
    format_interval,
    format_number,
)

SUBGROUP_ANALYSIS: Final = "Subgroup analysis"
DISCRIMINATION: Final = "Discrimination"
CALIBRATION: Final = "Calibration"
OPERATING_POINTS: Final = "Operating points"
MODEL_COMPARISON: Final = "Model comparison"
LESION_LOCALIZATION: Final = "Lesion localization (FROC)"
DECISION_CURVE: Final = "Decision curve analysis"
STUDIES: Final = "Studies"

_DELTA_VS_REFERENCE: Final = "Δ vs. reference"


def evaluation_sections(result: EvaluationResult) -> tuple[Section, ...]:
    """Return all sections of an evaluation."""
    builders: list[Callable[[EvaluationResult], Iterable[Section]]] = [
        _studies, _discrimination, _calibration, _operating_points, _predictive_values, _challenge_loss,
        _model_comparison, _lesion_localization, _level_confusion, _decision_curve, _subgroup_analysis,
    ]  # fmt: skip
    return tuple(section for build in builders for section in build(result))


def target_name(target: str) -> str:
    """Return the name of a target in tables.

    >>> target_name("patient_overall"), target_name("C3"), target_name("levels")
    ('patient', 'C3', 'all levels')
    """
    return {OVERALL: "patient", LEVELS: "all levels"}.get(target, target)


def _studies(result: EvaluationResult) -> Iterable[Section]:
    text = [
        *_protocol(result),
        f"{result.n_studies:,} studies of {result.n_patients:,} patients; reference standard: {result.reference_name}.",
        "Intervals are 95 % confidence intervals: DeLong for AUCs, Wilson for proportions, and the bootstrap over "
        f"patients ({result.n_resamples:,} resamples) for all other values. Where patients have several cases, as for "
        "all levels, AUCs have Obuchowski's intervals and proportions those of the bootstrap. Calibration errors, "
        "label accuracies, counts and decision curves have no interval.",
    ]
    for model in result.models:
        if model.phantom_only:
            text.append(f"{model.name} was trained on phantoms only.")
        if model.n_not_assessable:
            text.append(
                f"{model.name} rejected {model.n_not_assessable} studies as not assessable, "
                f"{model.n_not_assessable_fractured} of them with a fracture; no model is evaluated on them."
            )
        if model.n_unmatched_predictions:
            text.append(
                f"{model.name} has predictions for {model.n_unmatched_predictions} studies without reference standard; "
                "they are ignored."
            )
    n_unscored = result.models[0].n_unscored_vertebrae
    if n_unscored:
        text.append(f"{n_unscored} vertebrae lack a prediction of at least one model; no model is evaluated on them.")
    yield Section(STUDIES, tuple(text))


def _protocol(result: EvaluationResult) -> Iterable[str]:
    protocol = result.protocol
    if protocol.n_training_leaks:
        yield (
            f"{protocol.n_training_leaks} of these studies are of patients that the model was trained on: the results "
            "are optimistic; evaluate on other patients."
        )
    if protocol.part:
        yield f"Part '{protocol.part}' of the split {protocol.split_sha256[:16]}."
    if protocol.n_earlier_accesses is not None:
        yield f"Earlier evaluations on this part: {protocol.n_earlier_accesses}; each is recorded beside the split."


def _discrimination(result: EvaluationResult) -> Iterable[Section]:
    prefixes = [_prefix(result, model) for model in result.models]
    header = ("cases", "fractured", *(f"{prefix}{metric}" for prefix in prefixes for metric in ("AUC", "AP")))
    rows = []
    for number, row in enumerate(result.models[0].targets):
        cells = [f"{target_name(row.target)}{_star(row.is_small_sample)}", f"{row.n_positives:,} of {row.n_cases:,}"]
        for model in result.models:
            metrics = model.targets[number]
            cells += [format_interval(metrics.auc), format_interval(metrics.average_precision)]
        rows.append(tuple(cells))
    text = (
        "AUC: area under the ROC curve, the probability that a fractured case is ranked above an intact one. AP: "
        "average precision, to be compared with the fraction of cases that are fractured.",
        *_small_sample_note(any(row.is_small_sample for row in result.models[0].targets)),
    )
    yield Section(DISCRIMINATION, text, Table(header, tuple(rows)), "roc.png")


def _star(is_small_sample: bool) -> str:
    return " *" if is_small_sample else ""


def _small_sample_note(has_small_sample: bool) -> tuple[str, ...]:
    return (f"* fewer than {MIN_CASES} fractured or intact cases: imprecise.",) if has_small_sample else ()


def _calibration(result: EvaluationResult) -> Iterable[Section]:
    header = ("cases", "Brier score", "calibration error", "slope", "intercept")
    rows = []
    for model in result.models:
        for row in model.targets:
            line = row.calibration_line
            rows.append(
                (
                    f"{_prefix(result, model)}{target_name(row.target)}",
                    format_interval(row.brier_score),
                    format_number(row.calibration_error),
                    format_interval(line.slope, 2) if line else NOT_AVAILABLE,
                    format_interval(line.intercept, 2) if line else NOT_AVAILABLE,
                )
            )
    text = (
        "Calibration error: expected calibration error over ten bins of equally many cases. Calibrated probabilities "
        "have slope 1 and intercept 0; a slope below 1 means that they are too extreme, an intercept above 0 that they "
        "are too low. The intervals of slope and intercept assume independent cases.",
    )
    yield Section(CALIBRATION, text, Table(header, tuple(rows)), "reliability.png")


def _operating_points(result: EvaluationResult) -> Iterable[Section]:
    is_default = result.operating_points == DEFAULT_OPERATING_POINT
    text = (
        "No operating points were given; the default threshold was not chosen on any data."
        if is_default
        else f"Chosen on: {result.operating_points.chosen_on}."
    )
    if result.thresholds_in_sample:
        text += " These are the studies of this evaluation: the results are optimistic."
    header = ("cases, operating point", "threshold", "sensitivity", "specificity", "PPV", "NPV")
    rows = [
        (
            f"{_prefix(result, model)}{target_name(row.target)}, {point.name}",
            f"{point.threshold:.4g}",
            *(format_interval(value) for value in (point.sensitivity, point.specificity, point.ppv, point.npv)),
        )
        for model in result.models
        for row in model.targets
        for point in row.operating_points
    ]
    yield Section(OPERATING_POINTS, (text,), Table(header, tuple(rows)))


def _predictive_values(result: EvaluationResult) -> Iterable[Section]:
    prevalences = [f"{100 * prevalence:.0f} %" for prevalence in PREVALENCES]
    header = ("operating point", *(f"{value} at {at}" for at in prevalences for value in ("PPV", "NPV")))
    rows = [
        (
            f"{_prefix(result, model)}{point.name}",
            *(format_interval(value) for part in point.at_prevalence for value in (part.ppv, part.npv)),
        )
        for model in result.models
        for point in model.target(OVERALL).operating_points
    ]
    text = "Predictive values of patients at other prevalences, by Bayes' theorem from sensitivity and specificity."
    yield Section("Predictive values at stated prevalences", (text,), Table(header, tuple(rows)))


def _challenge_loss(result: EvaluationResult) -> Iterable[Section]:
    header = ("model", "per study", _DELTA_VS_REFERENCE, "global", _DELTA_VS_REFERENCE)
    rows = tuple(
        (
            row.name,
            format_interval(row.normalized_per_study, 4),
            format_interval(row.per_study_difference, 4, sign="+") if number else "",
            format_interval(row.normalized_globally, 4),
            format_interval(row.global_difference, 4, sign="+") if number else "",
        )
        for number, row in enumerate(result.losses)
    )
    text = [
        "Weighted log loss of the RSNA 2022 challenge, normalized per study or globally; lower is better. The "
        "reference is the first row. For calibrated probabilities p, 2p/(1+p) is optimal for the global normalization "
        "only.",
    ]
    text += [
        f"Mean label accuracy{_suffix(result, model)}: {100 * model.accuracy:.1f} % at threshold 0.5; calling every "
        f"case intact yields {100 * model.all_negative_accuracy:.1f} %."
        for model in result.models
    ]
    yield Section("RSNA 2022 challenge loss", tuple(text), Table(header, rows))


def _model_comparison(result: EvaluationResult) -> Iterable[Section]:
    if not result.comparisons:
        return
    rows = tuple(
        (
            f"{part.model} vs. {part.other}, {target_name(part.target)}",
            format_interval(part.difference.interval, 3, sign="+"),
            NOT_AVAILABLE if math.isnan(part.difference.p_value) else f"{part.difference.p_value:.2g}",
        )
        for part in result.comparisons
    )
    text = "Difference in AUC on the same cases, and its two-sided p value (DeLong; Obuchowski for vertebrae)."
    yield Section(MODEL_COMPARISON, (text,), Table(("models", "Δ AUC", "p"), rows))


def _lesion_localization(result: EvaluationResult) -> Iterable[Section]:
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
        yield Section(f"{LESION_LOCALIZATION}{_suffix(result, model)}", text, Table(header, rows), "froc.png")


def _level_confusion(result: EvaluationResult) -> Iterable[Section]:
    for model in result.models:
        total = int(model.level_confusion.sum())
        if not total:
            continue
        rows = tuple(
            (level, *(str(count) if count else "" for count in counts))
            for level, counts in zip(VERTEBRAE, model.level_confusion.tolist(), strict=True)
        )
        text = (
            f"In {int(model.level_confusion.trace())} of {total} studies with a single fractured vertebra, this "
            "vertebra has the highest probability. Rows: fractured level; columns: level with the highest probability."
        )
        header = ("fractured", *VERTEBRAE)
        yield Section(f"Level confusion matrix{_suffix(result, model)}", (text,), Table(header, rows))


def _decision_curve(result: EvaluationResult) -> Iterable[Section]:
    patients = result.models[0].target(OVERALL)
    text = (
        f"{patients.n_positives:,} of {patients.n_cases:,} patients have a fracture. Net benefit, in true positives "
        "per patient, against the threshold probability, compared with treating all patients and treating none "
        "(Vickers and Elkin 2006).",
    )
    yield Section(DECISION_CURVE, text, None, "decision.png")


def _subgroup_analysis(result: EvaluationResult) -> Iterable[Section]:
    for model in result.models:
        if not model.subgroups:
            continue
        rows = tuple(_subgroup_row(row) for row in model.subgroups)
        text = (
            f"Sensitivity at the operating point {result.operating_points.points[-1].name}. Subgroups by a property of "
            "the fracture compare the fractured cases with this property with all intact cases.",
            *_small_sample_note(any(row.is_small_sample for row in model.subgroups)),
        )
        header = ("subgroup", "fractured", "AUC", "sensitivity")
        title = f"{SUBGROUP_ANALYSIS}{_suffix(result, model)}"
        yield Section(title, text, Table(header, rows), "subgroups.png")


def _subgroup_row(row: SubgroupMetrics) -> Row:
    name = f"{row.unit}, {row.group}: {row.value}{_star(row.is_small_sample)}"
    return name, f"{row.n_positives:,} of {row.n_cases:,}", format_interval(row.auc), format_interval(row.sensitivity)


def _prefix(result: EvaluationResult, model: ModelResult) -> str:
    """Return the name of a model before the name of its cases; nothing if there is only one model."""
    return f"{model.name}, " if len(result.models) > 1 else ""


def _suffix(result: EvaluationResult, model: ModelResult) -> str:
    """Return the name of a model after a heading; nothing if there is only one model."""
    return f": {model.name}" if len(result.models) > 1 else ""
