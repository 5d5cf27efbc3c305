"""What weights are, and are not, for people: written next to them (Mitchell et al., Model cards, FAT* 2019)."""

from typing import Final

from cspine.core.anatomy import OVERALL, RESEARCH_USE_ONLY, TARGETS
from cspine.evaluation.cases import LEVELS
from cspine.evaluation.evaluate import EvaluationResult
from cspine.evaluation.failures import Failure
from cspine.models.metadata import BaselineMetadata, LevelsMetadata
from cspine.reports.evaluation.markdown import PHANTOM_STATEMENT, escaped, table_lines
from cspine.reports.evaluation.sections import Table, name_of, show

_SHOWN: Final = 8
"""Parts of the cases that are told worst."""

_KINDS: Final = (OVERALL, LEVELS)

_USE: Final = (
    "- Intended use: research on finding fractures in CT of the cervical spine of adults after an injury, by people "
    "who judge its answers themselves.",
    "- Not for: diagnosis, triage of patients, children, MR, scans after an operation, anything but C1 to C7.",
    "- Domain: axial series of thin slices; what is too thick, moved, hidden by metal or no neck is refused, or said "
    "to be unreliable.",
)


def model_card(
    metadata: BaselineMetadata | LevelsMetadata, sha256: str, judgement: EvaluationResult, failures: list[Failure]
) -> str:
    """Return a model card as Markdown.

    Parameters
    ----------
    metadata : BaselineMetadata or LevelsMetadata
        What the weights say of themselves.
    sha256 : str
        Of the weights file.
    judgement : Judgement
        Of one system: these weights.
    failures : list of Failure
        What it got most wrong.
    """
    lines = [
        f"# Model card: {escaped(metadata.name)}",
        "",
        f"**{RESEARCH_USE_ONLY}**",
        "",
        *([f"**{PHANTOM_STATEMENT}**", ""] if judgement.is_phantom else []),
        *(["**These weights have learnt from phantoms only.**", ""] if metadata.phantom_only else []),
        "## What it is",
        "",
        f"- Weights: sha256 `{sha256}`, made by cspine {metadata.software}",
        f"- Says: probabilities of a fracture of {', '.join(TARGETS[1:])}, and of any of them, from one CT of the neck",
        f"- Trained on: {escaped(metadata.trained_on)}",
        f"- Data hash `{metadata.data_hash}`, settings hash `{metadata.settings_hash}`",
        *_calibration(metadata),
        "",
        "## What it is for",
        "",
        *_USE,
        "",
        "## How it did",
        "",
        *_seen(judgement),
        f"{judgement.n_studies:,} studies of {judgement.n_patients:,} patients, 95 % intervals, {escaped(judgement.reference_name)}",
        "",
        *table_lines(_results(judgement)),
        "",
        f"Operating points, chosen on: {escaped(judgement.operating_points.chosen_on)}.",
        "",
        *table_lines(_points(judgement)),
        "",
        "## Known misses",
        "",
        *_weakest(judgement),
        "",
        *[f"- {escaped(failure.caption)}" for failure in failures if failure.is_fractured],
        "",
    ]
    return "\n".join(lines)


def _seen(judgement: EvaluationResult) -> list[str]:
    """Say where the weights have learnt from the studies that they are judged on."""
    seen = judgement.protocol.n_training_leaks
    return [f"**{seen} of these studies were learnt from: the numbers are too good.**", ""] if seen else []


def _results(judgement: EvaluationResult) -> Table:
    rows = tuple(
        (
            name_of(row.target),
            f"{row.n_positives:,} of {row.n_cases:,}",
            show(row.auc),
            show(row.average_precision),
            show(row.brier_score),
        )
        for row in map(judgement.models[0].target, _KINDS)
    )
    return Table(("cases", "fractured", "AUC", "AP", "Brier"), rows)


def _calibration(metadata: BaselineMetadata | LevelsMetadata) -> list[str]:
    if isinstance(metadata, BaselineMetadata):
        return ["- Not calibrated"]
    few = "; too few to calibrate all probabilities on" if metadata.calibration_underpowered else ""
    return [
        f"- Calibrated on {escaped(metadata.calibration_data)}, for {100 * metadata.calibration_prevalence:.0f} % of patients fractured"
        f"{few}",
    ]


def _points(judgement: EvaluationResult) -> Table:
    rows = tuple(
        (
            f"{name_of(row.target)}, {point.name}",
            f"{point.threshold:.4g}",
            show(point.sensitivity),
            show(point.specificity),
        )
        for row in map(judgement.models[0].target, _KINDS)
        for point in row.operating_points
    )
    return Table(("operating point", "threshold", "sensitivity", "specificity"), rows)


def _weakest(judgement: EvaluationResult) -> list[str]:
    """Return the parts of the cases that are told worst, of those that are large enough to say so."""
    parts = [row for row in judgement.models[0].subgroups if not row.is_small_sample]
    worst = sorted(parts, key=lambda row: row.auc.value)[:_SHOWN]
    return [
        f"- {escaped(f'{row.unit}, {row.group} {row.value}')}: AUC {show(row.auc)}, {row.n_positives} fractured"
        for row in worst
    ]
