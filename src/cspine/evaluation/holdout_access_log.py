"""The log of evaluations on the holdout part of a locked split."""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from cspine import __version__
from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError
from cspine.core.files import append_line
from cspine.datasets.locked_split import LockedSplit
from cspine.evaluation.predictions import Predictions

_SUFFIX: Final = ".holdout_access.jsonl"


def holdout_access_path(split_path: Path) -> Path:
    """Return the path of the access log of a split: a file beside it."""
    return split_path.with_name(split_path.name + _SUFFIX)


def record_holdout_access(
    split_path: Path, split: LockedSplit, models: Sequence[Predictions], *, now: datetime | None = None
) -> int:
    """Record an evaluation on the holdout part, before it takes place.

    Parameters
    ----------
    split_path : Path
        File of the split; the log lies beside it.
    split : LockedSplit
        The locked split, to which the log belongs.
    models : sequence of Predictions
        Models that are evaluated.
    now : datetime, optional
        Time of the access; the present if omitted.

    Returns
    -------
    int
        Number of earlier accesses.

    Raises
    ------
    LabelError
        The log is damaged.
    DiskFullError, OutputError
        The log cannot be written.
    """
    earlier = read_holdout_accesses(split_path)
    entry = {
        "when": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "split": split.sha256,
        "models": {model.name: hash_predictions(model) for model in models},
        "weights": sorted({str(sha256) for model in models for sha256 in _weights(model)}),
        "software": __version__,
    }
    append_line(holdout_access_path(split_path), json.dumps(entry, sort_keys=True))
    return len(earlier)


def read_holdout_accesses(split_path: Path) -> list[dict[str, Any]]:
    """Return the recorded accesses in chronological order; raises LabelError where the log is damaged."""
    path = holdout_access_path(split_path)
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise LabelError(f"{path}: the access log is damaged; restore it before the next evaluation") from error


def hash_predictions(model: Predictions) -> str:
    """Return the SHA-256 of a model's probabilities, independent of the file format and of the order of studies."""
    table = model.probability[list(TARGETS)].sort_index().round(9)
    return hashlib.sha256(table.to_csv(lineterminator="\n").encode()).hexdigest()


def _weights(model: Predictions) -> "pd.Series[str] | tuple[str, ...]":
    return model.study_metadata["weights"] if "weights" in model.study_metadata.columns else ()
