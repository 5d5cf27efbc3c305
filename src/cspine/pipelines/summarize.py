"""Summary of a data set: labels, co-occurrence of fractures and series geometry, with figures."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import as_path
from cspine.datasets.compiled import MARKER, CompiledDataset
from cspine.datasets.rsna2022_labels import read_labels
from cspine.datasets.summary import LabelSummary, summarize_geometry, summarize_labels
from cspine.datasets.survey import survey_geometry
from cspine.dicom.study_collection import open_collection
from cspine.plots.dataset_figures import cooccurrence_figure, geometry_figure, labels_figure
from cspine.plots.figure_style import save_figure


@dataclass(frozen=True)
class DatasetSummary:
    """Summary of a data set.

    Attributes
    ----------
    labels : LabelSummary
        Frequency of fractures per level, and how they co-occur.
    geometry : DataFrame
        As returned by `cspine.datasets.summary.summarize_geometry`.
    is_phantom : bool
        Whether all studies are phantoms.
    figures : tuple of Path
        Figures that were written.
    """

    labels: LabelSummary
    geometry: pd.DataFrame
    is_phantom: bool
    figures: tuple[Path, ...]

    def to_json(self) -> dict[str, Any]:
        """Return labels and geometry as plain dictionaries."""
        return {
            "is_phantom": self.is_phantom,
            "labels": {**asdict(self.labels), "cooccurrence": self.labels.cooccurrence.to_dict()},
            "geometry": self.geometry.T.to_dict(),
        }


@dataclass(frozen=True)
class _Tables:
    """Labels, and one row of geometry per study."""

    labels: pd.DataFrame
    geometry: pd.DataFrame
    is_phantom: bool


def summarize_dataset(data: str | Path, out: str | Path, *, progress: Progress = silent) -> DatasetSummary:
    """Summarize a data set and write its figures.

    Parameters
    ----------
    data : str or Path
        A compiled data set, or a folder in the challenge's layout with train.csv.
    out : str or Path
        Folder of the figures.
    progress : Progress
        Called with the number of studies whose headers were read.

    Raises
    ------
    LabelError
        No study has labels.
    DiskFullError, OutputError
        A figure cannot be written.
    """
    data, out = as_path(data), as_path(out)
    tables = _read_compiled(data) if (data / MARKER).is_file() else _read_challenge(data, progress)
    labels = summarize_labels(tables.labels)
    figures = {
        "labels.png": labels_figure(tables.labels, is_phantom=tables.is_phantom),
        "cooccurrence.png": cooccurrence_figure(labels.cooccurrence, is_phantom=tables.is_phantom),
        "geometry.png": geometry_figure(tables.geometry, is_phantom=tables.is_phantom),
    }
    for name, figure in figures.items():
        save_figure(figure, out / name)
    geometry = summarize_geometry(tables.geometry)
    return DatasetSummary(labels, geometry, tables.is_phantom, tuple(out / name for name in figures))


def _read_compiled(data: Path) -> _Tables:
    dataset = CompiledDataset.open(data)
    studies = dataset.studies().query("status == 'compiled'")
    labeled = studies.dropna(subset=list(TARGETS))
    if labeled.empty:
        raise LabelError(f"{data}: no study has labels; compile a folder with train.csv")
    return _Tables(labeled[list(TARGETS)].astype(int), studies, dataset.is_phantom)


def _read_challenge(data: Path, progress: Progress) -> _Tables:
    collection = open_collection(data, progress=progress)
    if collection.labels_path is None:
        raise LabelError(f"{data}: has no train.csv to summarize; give the challenge's folder or a compiled data set")
    labels = read_labels(collection.labels_path)
    return _Tables(labels, survey_geometry(collection, progress=progress), collection.is_phantom)
