"""An evaluation as Markdown that can be read as it is."""

from cspine.anatomy import OVERALL, RESEARCH_USE_ONLY
from cspine.evaluate.evaluation import Evaluation
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
    """
    lines = [f"**{RESEARCH_USE_ONLY}**", ""]
    if phantom:
        lines += [f"**{PHANTOM_STATEMENT}**", ""]
    lines += [
        f"{weights} on {evaluation.studies} studies of {evaluation.patients} patients. Intervals: 95 %, bootstrap over "
        f"patients ({evaluation.draws:,} draws); sensitivity and specificity: Wilson.",
        "",
        "| challenge log loss | per study | global |",
        "|---|---|---|",
        *(f"| {row.name} | {_show(row.study, 4)} | {_show(row.overall, 4)} |" for row in evaluation.losses),
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
        f"Mean label accuracy {100 * evaluation.accuracy:.1f} %; calling everything unbroken already gets "
        f"{100 * evaluation.all_negative_accuracy:.1f} %.",
        "",
    ]
    return "\n".join(lines)


def _show(interval: Interval, digits: int) -> str:
    if interval.value != interval.value:  # NaN: one class only
        return "-"
    return f"{interval.value:.{digits}f} ({interval.low:.{digits}f}-{interval.high:.{digits}f})"
