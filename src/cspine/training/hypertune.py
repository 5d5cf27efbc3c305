"""Reports of the validation loss to the hyper-parameter tuning of Vertex AI.

The service reads a file of JSON lines beside the training process. The format is that of Google's package
cloudml-hypertune 0.1 (Apache-2.0), which would only write this file.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from cspine.core.files import write_text
from cspine.training.epoch_observers import MAIN_STAGE, observe_epochs
from cspine.training.task import VAL_LOSS

METRIC_TAG: Final = VAL_LOSS
"""Name of the metric in the job's description (``metricId``)."""

FILE_VARIABLE: Final = "CLOUD_ML_HP_METRIC_FILE"
TRIAL_VARIABLE: Final = "CLOUD_ML_TRIAL_ID"
DEFAULT_FILE: Final = "/tmp/hypertune/output.metrics"  # noqa: S108 - where the service looks
_MAX_LINES: Final = 100
"""The service reads the latest lines; cloudml-hypertune keeps as many."""


@contextmanager
def report_to_hypertune(environment: Mapping[str, str] | None = None) -> Iterator[None]:
    """Report the validation loss after each epoch of what is trained within the context.

    Parameters
    ----------
    environment : mapping of str to str, optional
        Environment variables, of which the service sets the file and the trial; those of this process where omitted.
    """
    variables = os.environ if environment is None else environment
    path, trial = Path(variables.get(FILE_VARIABLE, DEFAULT_FILE)), variables.get(TRIAL_VARIABLE, "0")

    def report(stage: str, curve: Sequence[Mapping[str, float]]) -> None:
        if stage == MAIN_STAGE and variables.get("RANK", "0") == "0":
            write_text(path, "".join(_line(row, trial) for row in curve[-_MAX_LINES:]))

    with observe_epochs(report):
        yield


def _line(row: Mapping[str, float], trial: str) -> str:
    """Return an epoch as a line of the file; all numbers but the time are strings."""
    entry = {
        "timestamp": time.time(),
        "trial": trial,
        METRIC_TAG: str(row[METRIC_TAG]),
        "global_step": str(int(row["epoch"])),
        "checkpoint_path": "",
    }
    return json.dumps(entry, sort_keys=True) + "\n"
