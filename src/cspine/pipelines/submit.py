"""Predictions of a training run as a submission to the RSNA 2022 challenge."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from cspine.classification.loading import load_classifier
from cspine.classification.predict_dataset import classify_dataset
from cspine.core.files import write_text
from cspine.core.progress import Progress, silent
from cspine.core.run_files import WEIGHTS_FILE
from cspine.core.storage.locations import as_path
from cspine.core.typing import Floats
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.submission import submission_table
from cspine.metrics.rsna2022 import metric_optimal, study_optimal

Transform = Literal["none", "metric-optimal", "study-optimal"]

_TRANSFORMS: Final[dict[Transform, Callable[[Floats], Floats]]] = {
    "none": lambda probability: probability,
    "metric-optimal": metric_optimal,
    "study-optimal": study_optimal,
}


@dataclass(frozen=True)
class SubmissionSummary:
    """A written submission.

    Attributes
    ----------
    path : Path
        The file.
    n_studies, n_rows : int
        Studies in it, and rows.
    transform : str
        Transform of the probabilities.
    missing_studies : tuple of str
        Studies of the data set without images, which have no rows; the challenge requires rows of all studies.
    """

    path: Path
    n_studies: int
    n_rows: int
    transform: Transform
    missing_studies: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the summary as a plain dictionary."""
        return {
            "file": str(self.path),
            "n_studies": self.n_studies,
            "n_rows": self.n_rows,
            "transform": self.transform,
            "missing_studies": list(self.missing_studies),
        }


def write_submission(
    data: str | Path, run: str | Path, out: str | Path, transform: Transform = "none", *, progress: Progress = silent
) -> SubmissionSummary:
    """Classify a compiled data set and write the challenge's submission file.

    Parameters
    ----------
    data : str or Path
        Folder of a compiled data set.
    run : str or Path
        Folder of the training run.
    out : str or Path
        The CSV to write, columns row_id and fractured, eight rows per study.
    transform : str
        ``none`` for the probabilities; ``metric-optimal`` or ``study-optimal`` for the predictions that the metric
        rewards under global normalization or normalization per study (see `cspine.metrics.rsna2022`).
    progress : Progress
        Called with the number of classified studies.

    Raises
    ------
    WeightsError
        The run holds no weights that can be used.
    SourceError
        The data set holds no images, or was compiled differently.
    DiskFullError, OutputError
        The file cannot be written.
    """
    data, run, out = as_path(data), as_path(run), as_path(out)
    classifier = load_classifier(run / WEIGHTS_FILE)
    dataset = CompiledDataset.open(data)
    probability = classify_dataset(dataset, classifier, progress=progress)
    table = submission_table(list(probability.index), _TRANSFORMS[transform](probability.to_numpy()))
    write_text(out, table.to_csv(index=False, lineterminator="\n"))
    studies = dataset.studies()["study_instance_uid"].astype(str)
    missing = tuple(sorted(set(studies) - set(probability.index)))
    return SubmissionSummary(out, len(probability), len(table), transform, missing)
