"""The sections of an evaluation, in the order of the reporting guidelines."""

import math
from collections.abc import Callable, Iterable
from typing import Final

from cspine.core.anatomy import OVERALL
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import UNINFORMED, EvaluationResult
from cspine.evaluation.operating_point_metrics import PREVALENCES, OperatingPointMetrics
from cspine.evaluation.operating_points import DEFAULT_OPERATING_POINT
from cspine.evaluation.subgroups import SubgroupMetrics
from cspine.evaluation.target_metrics import MIN_CASES, TargetMetrics
from cspine.reports.evaluation.location_sections import (
    false_alarms_by_mimic,
    lesion_localization,
    level_confusion,
    model_prefix,
    model_suffix,
)
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
ANSWERED_CASES: Final = "Discrimination of the answered cases"
CALIBRATION: Final = "Calibration"
OPERATING_POINTS: Final = "Operating points"
MODEL_COMPARISON: Final = "Model comparison"
DECISION_CURVE: Final = "Decision curve analysis"
STUDIES: Final = "Studies"

_DELTA_VS_REFERENCE: Final = "Δ vs. reference"


def evaluation_sections(result: EvaluationResult) -> tuple[Section, ...]:
    """Return all sections of an evaluation."""
    builders: list[Callable[[EvaluationResult], Iterable[Section]]] = [
        _studies, _discrimination, _answered_cases, _calibration, _operating_points, _predictive_values,
        _challenge_loss, _model_comparison, lesion_localization, level_confusion, false_alarms_by_mimic,
        _decision_curve, _subgroup_analysis,
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
        text += [f"{model_prefix(result, model, ': ')}{note}" for note in model.notes]
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
    prefixes = [model_prefix(result, model) for model in result.models]
    metrics_of_model = ("not answered", "AUC", "AP") if _has_unanswered(result) else ("AUC", "AP")
    header = ("cases", "fractured", *(f"{prefix}{metric}" for prefix in prefixes for metric in metrics_of_model))
    rows = []
    for number, row in enumerate(result.models[0].targets):
        cells = [f"{target_name(row.target)}{_star(row.is_small_sample)}", f"{row.n_positives:,} of {row.n_cases:,}"]
        for model in result.models:
            metrics = model.targets[number]
            unanswered = [_format_unanswered(metrics)] if _has_unanswered(result) else []
            cells += [*unanswered, format_interval(metrics.auc), format_interval(metrics.average_precision)]
        rows.append(tuple(cells))
    text = (
        "AUC: area under the ROC curve, the probability that a fractured case is ranked above an intact one. AP: "
        "average precision, to be compared with the fraction of cases that are fractured.",
        *_unanswered_note(result, "Fractured cases that are not answered rank lowest; intact ones are left out."),
        *_small_sample_note(any(row.is_small_sample for row in result.models[0].targets)),
    )
    yield Section(DISCRIMINATION, text, Table(header, tuple(rows)), "roc.png")


def _answered_cases(result: EvaluationResult) -> Iterable[Section]:
    rows = tuple(
        (
            f"{model_prefix(result, model)}{target_name(row.target)}",
            f"{row.n_unanswered_fractured:,} of {row.n_positives:,}",
            *map(format_interval, (row.auc, row.answered_auc, row.average_precision, row.answered_average_precision)),
        )
        for model in result.models
        for row in model.targets
        if row.n_unanswered_fractured
    )
    if rows:
        text = "Both conventions where they differ: fractured cases that are not answered ranked lowest, and left out."
        header = ("cases", "fractured, not answered", "AUC", "AUC, answered only", "AP", "AP, answered only")
        yield Section(ANSWERED_CASES, (text,), Table(header, rows))


def _has_unanswered(result: EvaluationResult) -> bool:
    """Return whether any model leaves a case without an answer."""
    targets = (row for model in result.models for row in model.targets)
    return any(row.n_unanswered_fractured or row.n_unanswered_intact for row in targets)


def _format_unanswered(row: TargetMetrics | SubgroupMetrics | OperatingPointMetrics) -> str:
    return f"{row.n_unanswered_fractured:,} fractured, {row.n_unanswered_intact:,} intact"


def _unanswered_note(result: EvaluationResult, text: str) -> tuple[str, ...]:
    return (text,) if _has_unanswered(result) else ()


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
                    f"{model_prefix(result, model)}{target_name(row.target)}",
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
        *_unanswered_note(result, "Calibration is that of the answered cases: the others have no probability."),
    )
    yield Section(CALIBRATION, text, Table(header, tuple(rows)), "reliability.png")


def _operating_points(result: EvaluationResult) -> Iterable[Section]:
    text = list(_thresholds(result))
    if result.thresholds_in_sample:
        text.append("These are the studies of this evaluation: the results are optimistic.")
    text += _unanswered_note(
        result,
        "Fractured cases that are not answered count as missed, in sensitivity and NPV. Intact ones are neither true "
        "negatives nor false positives: specificity is that of the answered ones, with the number of the others beside "
        "it.",
    )
    unanswered = ("not answered",) if _has_unanswered(result) else ()
    header = ("cases, operating point", "threshold", "sensitivity", "specificity", *unanswered, "PPV", "NPV")
    rows = [
        (
            f"{model_prefix(result, model)}{target_name(row.target)}, {point.name}",
            f"{point.threshold:.4g}",
            format_interval(point.sensitivity),
            format_interval(point.specificity),
            *([_format_unanswered(point)] if unanswered else []),
            format_interval(point.ppv),
            format_interval(point.npv),
        )
        for model in result.models
        for row in model.targets
        for point in row.operating_points
    ]
    yield Section(OPERATING_POINTS, tuple(text), Table(header, tuple(rows)))


def _thresholds(result: EvaluationResult) -> Iterable[str]:
    """Yield what the operating points were chosen on, once where they are the same for all models."""
    are_shared = all(model.operating_points == result.operating_points for model in result.models)
    for model in result.models[:1] if are_shared else result.models:
        name = "" if are_shared else f"{model.name}: "
        if model.operating_points == DEFAULT_OPERATING_POINT:
            yield f"{name}No operating points were given; the default threshold was not chosen on any data."
        else:
            yield f"{name}Chosen on: {model.operating_points.chosen_on}."


def _predictive_values(result: EvaluationResult) -> Iterable[Section]:
    prevalences = [f"{100 * prevalence:.0f} %" for prevalence in PREVALENCES]
    header = ("operating point", *(f"{value} at {at}" for at in prevalences for value in ("PPV", "NPV")))
    rows = [
        (
            f"{model_prefix(result, model)}{point.name}",
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
        *_unanswered_note(
            result,
            f"The challenge requires a probability of each target; one that is not answered counts as {UNINFORMED:g}.",
        ),
    ]
    text += [
        f"Mean label accuracy{model_suffix(result, model)}: {100 * model.accuracy:.1f} % at threshold 0.5; calling "
        f"every case intact yields {100 * model.all_negative_accuracy:.1f} %."
        for model in result.models
    ]
    yield Section("RSNA 2022 challenge loss", tuple(text), Table(header, rows))


def _model_comparison(result: EvaluationResult) -> Iterable[Section]:
    if not result.comparisons:
        return
    rows = tuple(
        (
            f"{part.model} vs. {part.other}, {target_name(part.target)}",
            f"{part.n_fractured:,} of {part.n_fractured + part.n_intact:,}",
            format_interval(part.difference.interval, 3, sign="+"),
            NOT_AVAILABLE if math.isnan(part.difference.p_value) else f"{part.difference.p_value:.2g}",
        )
        for part in result.comparisons
    )
    text = (
        "Difference in AUC on the same cases, and its two-sided p value (DeLong; Obuchowski for vertebrae).",
        *_unanswered_note(
            result,
            "The cases are all fractured ones, of which each model ranks those lowest that it does not answer, and the "
            "intact ones that both answer: the difference may not be that of the AUCs above.",
        ),
    )
    yield Section(MODEL_COMPARISON, text, Table(("models", "fractured", "Δ AUC", "p"), rows))


def _decision_curve(result: EvaluationResult) -> Iterable[Section]:
    patients = result.models[0].target(OVERALL)
    text = (
        f"{patients.n_positives:,} of {patients.n_cases:,} patients have a fracture. Net benefit, in true positives "
        "per patient, against the threshold probability, compared with treating all patients and treating none "
        "(Vickers and Elkin 2006).",
        *_unanswered_note(result, "Patients that are not answered count as not treated."),
    )
    yield Section(DECISION_CURVE, text, None, "decision.png")


def _subgroup_analysis(result: EvaluationResult) -> Iterable[Section]:
    for model in result.models:
        if not model.subgroups:
            continue
        has_gaps = any(row.n_unanswered_fractured or row.n_unanswered_intact for row in model.subgroups)
        rows = tuple(_subgroup_row(row, has_gaps=has_gaps) for row in model.subgroups)
        text = (
            f"Sensitivity at the operating point {model.operating_points.points[-1].name}. Subgroups by a property of "
            "the fracture compare the fractured cases with this property with all intact cases.",
            *_small_sample_note(any(row.is_small_sample for row in model.subgroups)),
        )
        header = ("subgroup", "fractured", *(("not answered",) if has_gaps else ()), "AUC", "sensitivity")
        title = f"{SUBGROUP_ANALYSIS}{model_suffix(result, model)}"
        yield Section(title, text, Table(header, rows), "subgroups.png")


def _subgroup_row(row: SubgroupMetrics, *, has_gaps: bool) -> Row:
    return (
        f"{row.unit}, {row.group}: {row.value}{_star(row.is_small_sample)}",
        f"{row.n_positives:,} of {row.n_cases:,}",
        *([_format_unanswered(row)] if has_gaps else []),
        format_interval(row.auc),
        format_interval(row.sensitivity),
    )
