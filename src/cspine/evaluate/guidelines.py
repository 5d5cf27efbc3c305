"""Items of reporting guidelines that an evaluation bears on, and whether it answers them.

CLAIM: Mongan, Moy and Kahn, Checklist for Artificial Intelligence in Medical Imaging, Radiology: Artificial
Intelligence 2 (2020) e200029. TRIPOD+AI: Collins et al., BMJ 385 (2024) e078378. Items are told in own words.
"""

from dataclasses import dataclass
from typing import Literal

from cspine.evaluate.judge import Judgement
from cspine.evaluate.operating import HALF

Answered = Literal["yes", "in part", "no"]


@dataclass(frozen=True)
class Item:
    """One item, whether it is answered, and where or what is missing."""

    guideline: Literal["CLAIM", "TRIPOD+AI"]
    number: str
    asks: str
    answered: Answered
    where: str


def guideline_items(judgement: Judgement, *, failures: bool) -> tuple[Item, ...]:
    """Return the items.

    Parameters
    ----------
    judgement : Judgement
        What is reported.
    failures : bool
        Whether single failures are shown.
    """
    frozen = judgement.points != HALF
    grouped = any(row.group not in {"level", "kind", "visibility"} for row in judgement.systems[0].subgroups)
    points = any(system.localisation for system in judgement.systems)
    phantom = judgement.is_phantom
    chosen: Answered = "yes" if frozen else "no"
    where_chosen = f"thresholds were chosen on: {judgement.points.chosen_on}" if frozen else "give --points"
    return (
        Item("CLAIM", "7", "data sources", "in part", _source(judgement)),
        Item("CLAIM", "8", "eligibility criteria", "no", "who was scanned and why is for the data's own description"),
        Item("CLAIM", "13", "missing data", "yes", "Studies: refusals and vertebrae without an answer are counted"),
        Item("CLAIM", "14-18", "reference standard", "in part" if phantom else "no", _reference(phantom=phantom)),
        Item("CLAIM", "19", "sample size", "in part", "counts and intervals; no size was planned here"),
        Item(
            "CLAIM",
            "20-21",
            "partitions",
            "no",
            "cspine split makes and hashes them",
        ),
        Item("CLAIM", "26", "how the model was selected", "no", "see the weights' card and the run's curves"),
        Item(
            "CLAIM",
            "28",
            "measures of performance",
            "yes",
            "Ranking, Calibration, Operating points",
        ),
        Item(
            "CLAIM",
            "29",
            "uncertainty and significance",
            "yes",
            "an interval on each number; Systems against each other",
        ),
        Item("CLAIM", "30", "robustness", "in part" if grouped else "no", "Parts of the cases, by scan"),
        Item("CLAIM", "31", "explanation", "yes" if points else "no", "Pointing" if points else "no system points"),
        Item("CLAIM", "32", "external data", "no", "whether these studies are external"),
        Item(
            "CLAIM",
            "34",
            "who the patients are",
            "in part" if grouped else "no",
            "--groups may tell",
        ),
        Item("CLAIM", "36", "diagnostic accuracy and its precision", "yes", "Operating points, with intervals"),
        Item("CLAIM", "37", "failures", "yes" if failures else "in part", _failures(shown=failures)),
        Item(
            "TRIPOD+AI",
            "8",
            "outcome",
            "in part",
            "a fracture of C1 to C7, as labelled",
        ),
        Item("TRIPOD+AI", "11", "missing data", "yes", "Studies"),
        Item("TRIPOD+AI", "12e", "measures of performance", "yes", "Ranking, Calibration, Decision curve"),
        Item("TRIPOD+AI", "13", "class imbalance", "yes", "average precision; predictive values at stated prevalences"),
        Item("TRIPOD+AI", "14", "fairness", "in part" if grouped else "no", "Parts of the cases; give --groups"),
        Item("TRIPOD+AI", "15", "output and thresholds", chosen, where_chosen),
        Item("TRIPOD+AI", "16", "training against evaluation data", "no", "see the weights' card"),
        Item("TRIPOD+AI", "20", "participants", "in part", "Studies, counts only"),
        Item("TRIPOD+AI", "23a", "performance with intervals", "yes", "every table"),
        Item("TRIPOD+AI", "23b", "heterogeneity", "yes" if grouped else "no", "Parts of the cases"),
        Item(
            "TRIPOD+AI",
            "26",
            "limitations",
            "in part",
            "phantoms are no patients" if phantom else "not told here",
        ),
        Item("TRIPOD+AI", "27", "use in practice", "no", "research use only"),
    )


def _source(judgement: Judgement) -> str:
    return f"{judgement.truth}, {'drawn by a program' if judgement.is_phantom else 'described elsewhere'}"


def _reference(*, phantom: bool) -> str:
    return "exact: the program drew the fractures" if phantom else "who labelled, how, and how well they agreed"


def _failures(*, shown: bool) -> str:
    return "What it got most wrong" if shown else "which vertebra is blamed; no single case is shown"
