"""Items of reporting guidelines that concern an evaluation, and whether its report covers them.

CLAIM: Mongan, Moy and Kahn, Checklist for Artificial Intelligence in Medical Imaging, Radiology: Artificial
Intelligence 2 (2020) e200029. TRIPOD+AI: Collins et al., BMJ 385 (2024) e078378. The topics are paraphrased.
"""

from dataclasses import dataclass
from typing import Final, Literal

from cspine.evaluation.evaluate import EvaluationResult
from cspine.evaluation.operating_points import DEFAULT_OPERATING_POINT
from cspine.evaluation.subgroups import BONE_LOST
from cspine.reports.evaluation.evaluation_sections import (
    CALIBRATION,
    DECISION_CURVE,
    DISCRIMINATION,
    MODEL_COMPARISON,
    OPERATING_POINTS,
    STUDIES,
    SUBGROUP_ANALYSIS,
)
from cspine.reports.evaluation.location_sections import LESION_LOCALIZATION

Reported = Literal["yes", "in part", "no"]

_DEMOGRAPHIC_COLUMNS: Final = {"sex", "age", "site", "hospital", "ethnicity", "race"}
_FRACTURE_GROUPS: Final = {"level", "fracture type", "visibility", BONE_LOST}
"""Columns of the reference standard that describe fractures, not patients or scanners."""


@dataclass(frozen=True)
class GuidelineItem:
    """An item of a reporting guideline.

    Attributes
    ----------
    guideline, number : str
        The guideline, and the number of the item in it.
    topic : str
        What is to be reported.
    reported : str
        Whether the report covers the item: yes, in part, or no.
    comment : str
        The section that covers it, or what is missing.
    """

    guideline: str
    number: str
    topic: str
    reported: Reported
    comment: str


def guideline_items(result: EvaluationResult, *, has_failures: bool) -> tuple[GuidelineItem, ...]:
    """Return the items of both guidelines.

    Parameters
    ----------
    result : EvaluationResult
        The evaluation that is reported.
    has_failures : bool
        Whether the report shows single failures.
    """
    claim = (GuidelineItem("CLAIM", *item) for item in _claim(result, has_failures=has_failures))
    tripod = (GuidelineItem("TRIPOD+AI", *item) for item in _tripod(result))
    return (*claim, *tripod)


_Item = tuple[str, str, Reported, str]


def _claim(result: EvaluationResult, *, has_failures: bool) -> tuple[_Item, ...]:
    has_subgroups, demographics = bool(_scan_groups(result)), _demographics(result)
    has_marks = any(model.localization for model in result.models)
    part = result.protocol.part
    source = f"{result.reference_name}, {'procedural phantoms' if result.is_phantom else 'described elsewhere'}"
    reference = "exact: fractures are generated" if result.is_phantom else "annotators, their method and agreement"
    failures = "Failure analysis" if has_failures else "level confusion matrix; no single case is shown"
    partitions = f"by patient; this is the part {part}" if part else "cspine split makes partitions and hashes them"
    return (
        ("7", "data sources", "in part", source),
        ("8", "eligibility criteria", "no", "who was scanned, and why"),
        ("13", "missing data", "yes", f"{STUDIES}: not assessable studies and vertebrae without prediction"),
        ("14-18", "reference standard", "in part" if result.is_phantom else "no", reference),
        ("19", "sample size", "in part", "counts and intervals; no sample size calculation"),
        ("20-21", "data partitions", "yes" if part else "no", partitions),
        ("26", "model selection", "no", "see the model card and the training curves"),
        ("28", "performance metrics", "yes", f"{DISCRIMINATION}, {CALIBRATION}, {OPERATING_POINTS}"),
        ("29", "uncertainty and significance", "yes", f"intervals; {MODEL_COMPARISON}"),
        ("30", "robustness", "in part" if has_subgroups else "no", f"{SUBGROUP_ANALYSIS}; see cspine robustness"),
        ("31", "explainability", *(("yes", LESION_LOCALIZATION) if has_marks else ("no", "no model reports marks"))),
        ("32", "external validation", "no", "whether these studies are external"),
        ("34", "demographics", *demographics),
        ("36", "diagnostic accuracy and its precision", "yes", f"{OPERATING_POINTS}, with intervals"),
        ("37", "failure analysis", "yes" if has_failures else "in part", failures),
    )


def _tripod(result: EvaluationResult) -> tuple[_Item, ...]:
    is_default = result.operating_points == DEFAULT_OPERATING_POINT
    is_prespecified = not is_default and not result.thresholds_in_sample
    thresholds = "give --operating-points" if is_default else f"chosen on: {result.operating_points.chosen_on}"
    limitations = "phantoms are not patients" if result.is_phantom else "not discussed here"
    return (
        ("8", "outcome", "in part", "a fracture of C1 to C7, as labeled"),
        ("11", "missing data", "yes", STUDIES),
        ("12e", "performance measures", "yes", f"{DISCRIMINATION}, {CALIBRATION}, {DECISION_CURVE}"),
        ("13", "class imbalance", "yes", "average precision; predictive values at stated prevalences"),
        ("14", "fairness", *_demographics(result)),
        ("15", "output and thresholds", "yes" if is_prespecified else "no", thresholds),
        ("16", "training versus evaluation data", "no", "see the model card"),
        ("20", "participants", "in part", f"{STUDIES}, counts only"),
        ("23a", "performance with intervals", "yes", f"all values but those named in {STUDIES}"),
        ("23b", "heterogeneity", "yes" if _scan_groups(result) else "no", SUBGROUP_ANALYSIS),
        ("26", "limitations", "in part" if result.is_phantom else "no", limitations),
        ("27", "usability", "no", "research use only"),
    )


def _scan_groups(result: EvaluationResult) -> set[str]:
    """Return the subgroups by patient, scanner or acquisition."""
    return {row.group for row in result.models[0].subgroups} - _FRACTURE_GROUPS


def _demographics(result: EvaluationResult) -> tuple[Reported, str]:
    if {group.lower() for group in _scan_groups(result)} & _DEMOGRAPHIC_COLUMNS:
        return "in part", SUBGROUP_ANALYSIS
    return "no", "--subgroups can add age, sex and site"
