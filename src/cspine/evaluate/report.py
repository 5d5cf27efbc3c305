"""An evaluation as Markdown that can be read as it is."""

import math

from cspine.anatomy import OVERALL, RESEARCH_USE_ONLY
from cspine.evaluate.evaluation import Evaluation, LossRow
from cspine.evaluate.intervals import Interval

PHANTOM_STATEMENT = (
    "Phantom data: these numbers show that the machinery works and compare methods. They are not clinical accuracy."
)


def evaluation_markdown(evaluation: Evaluation, *, phantom: bool, weights: str) -> str:
    """Return the tables with intervals, the baselines beside the model, and what the numbers are not.

    Parameters
    ----------
    evaluation : Evaluation
        What to show.
    phantom : bool
        Whether the studies are phantoms.
    weights : str
        What was judged, for the heading.

    Returns
    -------
    str
    """
    lines = [f"**{RESEARCH_USE_ONLY}**", ""]
    if phantom:
        lines += [f"**{PHANTOM_STATEMENT}**", ""]
    lines += [
        f"{weights} on {evaluation.studies} studies of {evaluation.patients} patients. Intervals: 95 %, bootstrap over "
        f"patients ({evaluation.draws:,} draws); sensitivity and specificity: Wilson.",
        "",
        "| challenge log loss | per study | less the first row's | global | less the first row's |",
        "|---|---|---|---|---|",
        *(_loss_line(row, first=number == 0) for number, row in enumerate(evaluation.losses)),
        "",
        "Lower is better; a difference above 0 is worse than the first row. Where p is calibrated, 2p/(1+p) is "
        "optimal for the global normalisation only.",
        "",
        f"Threshold for sensitivity and specificity: a plain probability of {evaluation.threshold:g}.",
        "",
        "| target | positive | AUC | sensitivity | specificity | Brier |",
        "|---|---|---|---|---|---|",
        *(
            f"| {'patient' if row.target == OVERALL else row.target} | {row.positives} of {row.studies} | "
            f"{_show(row.auc, 2)} | {_show(row.sensitivity, 2)} | {_show(row.specificity, 2)} | {row.brier:.3f} |"
            for row in evaluation.targets
        ),
        "",
        *_unusable(evaluation),
        f"Mean label accuracy {100 * evaluation.accuracy:.1f} %; calling everything unbroken already gets "
        f"{100 * evaluation.all_negative_accuracy:.1f} %.",
        "",
    ]
    return "\n".join(lines)


def _unusable(evaluation: Evaluation) -> list[str]:
    """Tell of intervals that rest on fewer draws, because a draw held one class only."""
    few = [
        f"{row.target} {row.auc.unusable:,}" for row in evaluation.targets if 0 < row.auc.unusable < evaluation.draws
    ]
    return [f"Draws without both classes, left out of the AUC's interval: {', '.join(few)}.", ""] if few else []


def _loss_line(row: LossRow, *, first: bool) -> str:
    cells = (
        _show(row.study, 4),
        "" if first else _show(row.study_difference, 4, sign="+"),
        _show(row.overall, 4),
        "" if first else _show(row.overall_difference, 4, sign="+"),
    )
    return f"| {row.name} | {' | '.join(cells)} |"


def _show(interval: Interval, digits: int, *, sign: str = "") -> str:
    if math.isnan(interval.value):  # one class only
        return "-"
    form = f"{sign}.{digits}f"
    if math.isnan(interval.low):
        return f"{interval.value:{form}}"
    return f"{interval.value:{form}} ({interval.low:{form}} to {interval.high:{form}})"
