"""Answers and truth in, numbers out: the challenge's metric, areas, calibration, intervals, splits, figures.

The public names below are imported when they are first used: prediction needs the challenge's formulas, and should not
wait for scikit-learn to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "Answers": "answers",
    "Interval": "intervals",
    "JudgeSettings": "judge",
    "Judgement": "judge",
    "LabelDescription": "describe",
    "Truth": "truths",
    "areas": "delong",
    "challenge_loss": "kaggle",
    "challenge_losses": "kaggle",
    "constant_baselines": "kaggle",
    "describe_geometry": "describe",
    "describe_labels": "describe",
    "judge": "judge",
    "judgement_markdown": "report",
    "make_split": "frozen",
    "metric_optimal": "kaggle",
    "read_answers": "answers",
    "read_truth": "truths",
    "save_figure": "canvas",
    "split_patients": "split",
    "study_optimal": "kaggle",
    "submission": "kaggle",
    "unweighted": "kaggle",
}

__all__ = [
    "Answers",
    "Interval",
    "JudgeSettings",
    "Judgement",
    "LabelDescription",
    "Truth",
    "areas",
    "challenge_loss",
    "challenge_losses",
    "constant_baselines",
    "describe_geometry",
    "describe_labels",
    "judge",
    "judgement_markdown",
    "make_split",
    "metric_optimal",
    "read_answers",
    "read_truth",
    "save_figure",
    "split_patients",
    "study_optimal",
    "submission",
    "unweighted",
]

if TYPE_CHECKING:
    from cspine.evaluate.answers import Answers, read_answers
    from cspine.evaluate.canvas import save_figure
    from cspine.evaluate.delong import areas
    from cspine.evaluate.describe import LabelDescription, describe_geometry, describe_labels
    from cspine.evaluate.frozen import make_split
    from cspine.evaluate.intervals import Interval
    from cspine.evaluate.judge import Judgement, JudgeSettings, judge
    from cspine.evaluate.kaggle import (
        challenge_loss,
        challenge_losses,
        constant_baselines,
        metric_optimal,
        study_optimal,
        submission,
        unweighted,
    )
    from cspine.evaluate.report import judgement_markdown
    from cspine.evaluate.split import split_patients
    from cspine.evaluate.truths import Truth, read_truth


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the type depends on the name
    """Import a public name from its module on first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
