"""Arrays and tables in, numbers out: the challenge's metric, AUC, intervals, splits, figures.

The public names below are imported when they are first used: prediction needs the challenge's formulas, and should not
wait for scikit-learn to load.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "Evaluation": "evaluation",
    "Interval": "intervals",
    "LabelDescription": "describe",
    "areas": "delong",
    "challenge_loss": "kaggle",
    "challenge_losses": "kaggle",
    "constant_baselines": "kaggle",
    "describe_geometry": "describe",
    "describe_labels": "describe",
    "evaluate": "evaluation",
    "evaluation_markdown": "report",
    "metric_optimal": "kaggle",
    "save_figure": "figures",
    "split_patients": "split",
    "study_optimal": "kaggle",
    "submission": "kaggle",
    "unweighted": "kaggle",
}

__all__ = [
    "Evaluation",
    "Interval",
    "LabelDescription",
    "areas",
    "challenge_loss",
    "challenge_losses",
    "constant_baselines",
    "describe_geometry",
    "describe_labels",
    "evaluate",
    "evaluation_markdown",
    "metric_optimal",
    "save_figure",
    "split_patients",
    "study_optimal",
    "submission",
    "unweighted",
]

if TYPE_CHECKING:
    from cspine.evaluate.delong import areas
    from cspine.evaluate.describe import LabelDescription, describe_geometry, describe_labels
    from cspine.evaluate.evaluation import Evaluation, evaluate
    from cspine.evaluate.figures import save_figure
    from cspine.evaluate.intervals import Interval
    from cspine.evaluate.kaggle import (
        challenge_loss,
        challenge_losses,
        constant_baselines,
        metric_optimal,
        study_optimal,
        submission,
        unweighted,
    )
    from cspine.evaluate.report import evaluation_markdown
    from cspine.evaluate.split import split_patients


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
