"""Items of reporting guidelines that an evaluation bears on, and whether it answers them.

CLAIM: Mongan, Moy and Kahn, Checklist for Artificial Intelligence in Medical Imaging, Radiology: Artificial
Intelligence 2 (2020) e200029. TRIPOD+AI: Collins et al., BMJ 385 (2024) e078378. Items are told in own words.
"""

from dataclasses import dataclass
from typing import Final

from cspine.evaluation.evaluate import EvaluationResult
from cspine.evaluation.operating_point_metrics import HALF

_PEOPLE: Final = {"sex", "age", "site", "hospital", "ethnicity", "race"}
"""Columns that tell who is among the patients."""


@dataclass(frozen=True)
class Item:
    """One item; whether it is answered (yes, in part, no), and where, or what is missing."""

    guideline: str
    number: str
    asks: str
    answered: str
    where: str


def guideline_items(judgement: EvaluationResult, *, failures: bool) -> tuple[Item, ...]:
    """Return the items.

    Parameters
    ----------
    judgement : Judgement
        What is reported.
    failures : bool
        Whether single failures are shown.
    """
    frozen = judgement.points != HALF and not judgement.thresholds_in_sample
    groups = {row.group for row in judgement.systems[0].subgroups} - {"level", "kind", "visibility"}
    grouped, who = bool(groups), bool({group.lower() for group in groups} & _PEOPLE)
    split = judgement.protocol.part
    points = any(system.localisation for system in judgement.systems)
    phantom = judgement.is_phantom
    return tuple(
        Item(guideline, number, asks, answered, where)
        for guideline, number, asks, answered, where in (
            ("CLAIM", "7", "data sources", "in part", _source(judgement)),
            ("CLAIM", "8", "eligibility criteria", "no", "who was scanned, and why"),
            ("CLAIM", "13", "missing data", "yes", "Studies: refusals and vertebrae without an answer are counted"),
            ("CLAIM", "14-18", "reference standard", "in part" if phantom else "no", _reference(phantom=phantom)),
            ("CLAIM", "19", "sample size", "in part", "counts and intervals; no size was planned here"),
            ("CLAIM", "20-21", "partitions", "yes" if split else "no", _partition(split)),
            ("CLAIM", "26", "how the model was selected", "no", "see the weights' card and the run's curves"),
            ("CLAIM", "28", "measures of performance", "yes", "Ranking, Calibration, Operating points"),
            ("CLAIM", "29", "uncertainty, significance", "yes", "intervals; Systems against each other"),
            ("CLAIM", "30", "robustness", "in part" if grouped else "no", "Parts of the cases; see cspine robustness"),
            ("CLAIM", "31", "explanation", "yes" if points else "no", "Pointing" if points else "no system points"),
            ("CLAIM", "32", "external data", "no", "whether these studies are external"),
            ("CLAIM", "34", "who the patients are", "in part" if who else "no", _people(known=who)),
            ("CLAIM", "36", "diagnostic accuracy and its precision", "yes", "Operating points, with intervals"),
            ("CLAIM", "37", "failures", "yes" if failures else "in part", _failures(shown=failures)),
            ("TRIPOD+AI", "8", "outcome", "in part", "a fracture of C1 to C7, as labelled"),
            ("TRIPOD+AI", "11", "missing data", "yes", "Studies"),
            ("TRIPOD+AI", "12e", "measures of performance", "yes", "Ranking, Calibration, Decision curve"),
            ("TRIPOD+AI", "13", "class imbalance", "yes", "average precision; predictive values by prevalence"),
            ("TRIPOD+AI", "14", "fairness", "in part" if who else "no", _people(known=who)),
            ("TRIPOD+AI", "15", "output and thresholds", "yes" if frozen else "no", _thresholds(judgement)),
            ("TRIPOD+AI", "16", "training against evaluation data", "no", "see the weights' card"),
            ("TRIPOD+AI", "20", "participants", "in part", "Studies, counts only"),
            ("TRIPOD+AI", "23a", "performance with intervals", "yes", "all but what Studies names"),
            ("TRIPOD+AI", "23b", "heterogeneity", "yes" if grouped else "no", "Parts of the cases"),
            ("TRIPOD+AI", "26", "limitations", "in part" if phantom else "no", _limits(phantom=phantom)),
            ("TRIPOD+AI", "27", "use in practice", "no", "research use only"),
        )
    )


def _partition(part: str) -> str:
    return f"by patient; this is the part {part}" if part else "cspine split makes and hashes them"


def _people(*, known: bool) -> str:
    return "Parts of the cases" if known else "--groups may tell age, sex and site"


def _thresholds(judgement: EvaluationResult) -> str:
    if judgement.points == HALF:
        return "give --points"
    return f"chosen on: {judgement.points.chosen_on}"


def _limits(*, phantom: bool) -> str:
    return "phantoms are no patients" if phantom else "not told here"


def _source(judgement: EvaluationResult) -> str:
    return f"{judgement.truth}, {'drawn by a program' if judgement.is_phantom else 'described elsewhere'}"


def _reference(*, phantom: bool) -> str:
    return "exact: the program drew the fractures" if phantom else "who labelled, how, and how well they agreed"


def _failures(*, shown: bool) -> str:
    return "What it got most wrong" if shown else "which vertebra is blamed; no single case is shown"
