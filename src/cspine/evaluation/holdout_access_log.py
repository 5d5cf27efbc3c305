"""The log of evaluations on the test part of a locked split."""

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

_LOOKS: Final = ".holdout_access.jsonl"


def holdout_access_path(split_path: Path) -> Path:
    """Return where looks at a split's hidden part are recorded."""
    return split_path.with_name(split_path.name + _LOOKS)


def record_holdout_access(
    split_path: Path, split: LockedSplit, systems: Sequence[Predictions], *, now: datetime | None = None
) -> int:
    """Record a look at the hidden part, before it is taken; return how many there were before.

    Raises
    ------
    LabelError
        The record is damaged.
    DiskFullError, OutputError
        It cannot be written.
    """
    before = read_holdout_accesses(split_path)
    entry = {
        "when": (now or datetime.now(UTC)).isoformat(timespec="seconds"),
        "split": split.sha256,
        "systems": {system.name: predictions_hash(system) for system in systems},
        "weights": sorted({str(sha) for system in systems for sha in _weights(system)}),
        "software": __version__,
    }
    append_line(holdout_access_path(split_path), json.dumps(entry, sort_keys=True))
    return len(before)


def read_holdout_accesses(split_path: Path) -> list[dict[str, Any]]:
    """Return the looks that were taken, first ones first; raises LabelError where their record is damaged."""
    path = holdout_access_path(split_path)
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as error:
        raise LabelError(f"{path}: the record of looks is damaged; restore it before another is taken") from error


def predictions_hash(system: Predictions) -> str:
    """Return a hash of what a system said, whatever file it was read from."""
    table = system.probability[list(TARGETS)].sort_index().round(9)
    return hashlib.sha256(table.to_csv().encode()).hexdigest()


def _weights(system: Predictions) -> "pd.Series[str] | tuple[str, ...]":
    return system.about["weights"] if "weights" in system.about.columns else ()
