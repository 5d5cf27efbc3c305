"""Model cards: a description of weights that is written beside them (Mitchell et al., Model cards, FAT* 2019)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from cspine.core.anatomy import OVERALL, RESEARCH_USE_ONLY, TARGETS
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult
from cspine.evaluation.failures import Failure
from cspine.models.metadata import BaselineMetadata, LevelsMetadata, LocalizerMetadata
from cspine.reports.evaluation.evaluation_sections import target_name
from cspine.reports.evaluation.markdown import PHANTOM_STATEMENT, escape_markdown, table_lines
from cspine.reports.evaluation.sections import Table, format_interval

if TYPE_CHECKING:
    from cspine.models.weights import Weights

_MAX_SUBGROUPS: Final = 8
"""Number of subgroups with the lowest AUC that the card lists."""

_TARGETS: Final = (OVERALL, LEVELS)

_INTENDED_USE: Final = (
    "- Intended use: research on the detection of cervical spine fractures in CT of adults after trauma, by users who "
    "assess each prediction themselves.",
    "- Out of scope: diagnosis, triage of patients, children, MRI, postoperative scans, levels other than C1 to C7.",
    "- Input: axial series of thin slices. Series that are too thick, show motion or metal, or show no cervical spine "
    "are rejected as not assessable or marked as unreliable.",
)


def model_card(
    metadata: BaselineMetadata | LevelsMetadata,
    sha256: str,
    result: EvaluationResult,
    failures: Sequence[Failure],
    *,
    localizer: "Weights[LocalizerMetadata] | None" = None,
) -> str:
    """Return a model card as Markdown.

    Parameters
    ----------
    metadata : BaselineMetadata or LevelsMetadata
        Metadata of the weights.
    sha256 : str
        Hash of the weights file.
    result : EvaluationResult
        Evaluation of these weights alone.
    failures : sequence of Failure
        The failures of the failure analysis; the missed fractures among them are listed.
    localizer : Weights, optional
        Weights of the localizer that these weights are used with; its training data have sources and licenses, too.
    """
    lines = [
        f"# Model card: {escape_markdown(metadata.name)}",
        "",
        f"**{RESEARCH_USE_ONLY}**",
        "",
        *([f"**{PHANTOM_STATEMENT}**", ""] if result.is_phantom else []),
        *_training_statement(metadata),
        "## Model details",
        "",
        f"- Weights: sha256 `{sha256}`, trained with cspine {metadata.software}",
        f"- Output: probabilities of a fracture of {', '.join(TARGETS[1:])}, and of any of them, for one CT study",
        f"- Training data: {escape_markdown(metadata.trained_on)}",
        f"- Data hash `{metadata.data_hash}`, settings hash `{metadata.settings_hash}`",
        *(_localizer(localizer) if localizer else []),
        _calibration(metadata),
        "",
        "## Intended use",
        "",
        *_INTENDED_USE,
        "",
        "## Evaluation",
        "",
        *_leakage_warning(result),
        f"{result.n_studies:,} studies of {result.n_patients:,} patients; reference standard: "
        f"{escape_markdown(result.reference_name)}. Intervals are 95 % confidence intervals.",
        "",
        *(f"- {escape_markdown(note)}" for note in result.models[0].notes),
        *([""] if result.models[0].notes else []),
        *table_lines(_metrics_table(result)),
        "",
        f"Operating points, chosen on: {escape_markdown(result.operating_points.chosen_on)}.",
        "",
        *table_lines(_operating_points_table(result)),
        "",
        "## Limitations",
        "",
        "Subgroups with the lowest AUC, and missed fractures with the lowest probability:",
        "",
        *_weakest_subgroups(result),
        *(f"- {escape_markdown(failure.caption)}" for failure in failures if failure.is_fractured),
        "",
    ]
    return "\n".join(lines)


def _training_statement(metadata: BaselineMetadata | LevelsMetadata) -> list[str]:
    """Return the statement of weights that have learnt no fracture of a patient."""
    if metadata.phantom_only:
        return ["**These weights were trained on phantoms only.**", ""]
    if metadata.synthetic_only:
        return [
            "**These weights have learnt fractures from phantoms and virtual ones only, from no patient's.**",
            "",
        ]
    return []


def _localizer(weights: "Weights[LocalizerMetadata]") -> list[str]:
    """Return which localizer it is, and its training data with their sources and licenses."""
    metadata = weights.metadata
    return [
        f"- Localizer: sha256 `{weights.sha256}`, trained with cspine {metadata.software}",
        f"- Training data of the localizer, with sources and licenses: {escape_markdown(metadata.trained_on)}",
    ]


def _leakage_warning(result: EvaluationResult) -> list[str]:
    """Return a warning if the weights were trained on patients of the evaluation."""
    count = result.protocol.n_training_leaks
    if not count:
        return []
    return [f"**{count} of these studies are of patients in the training data: the results are optimistic.**", ""]


def _metrics_table(result: EvaluationResult) -> Table:
    rows = tuple(
        (
            target_name(row.target),
            f"{row.n_positives:,} of {row.n_cases:,}",
            format_interval(row.auc),
            format_interval(row.average_precision),
            format_interval(row.brier_score),
        )
        for row in map(result.models[0].target, _TARGETS)
    )
    return Table(("cases", "fractured", "AUC", "AP", "Brier score"), rows)


def _calibration(metadata: BaselineMetadata | LevelsMetadata) -> str:
    if isinstance(metadata, BaselineMetadata):
        return "- Not calibrated"
    underpowered = "; too few patients to calibrate all probabilities" if metadata.calibration_underpowered else ""
    return (
        f"- Calibrated on {escape_markdown(metadata.calibration_data)}, for a prevalence of "
        f"{100 * metadata.calibration_prevalence:.0f} % of patients{underpowered}"
    )


def _operating_points_table(result: EvaluationResult) -> Table:
    rows = tuple(
        (
            f"{target_name(row.target)}, {point.name}",
            f"{point.threshold:.4g}",
            format_interval(point.sensitivity),
            format_interval(point.specificity),
        )
        for row in map(result.models[0].target, _TARGETS)
        for point in row.operating_points
    )
    return Table(("operating point", "threshold", "sensitivity", "specificity"), rows)


def _weakest_subgroups(result: EvaluationResult) -> list[str]:
    """Return the subgroups with the lowest AUC among those of sufficient size."""
    subgroups = [row for row in result.models[0].subgroups if not row.is_small_sample]
    return [
        f"- {escape_markdown(f'{row.unit}, {row.group} {row.value}')}: AUC {format_interval(row.auc)}, "
        f"{row.n_positives} fractured"
        for row in sorted(subgroups, key=lambda row: row.auc.value)[:_MAX_SUBGROUPS]
    ]
