"""Predictions for all studies of a compiled data set."""

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pandas as pd

from cspine.classification.baseline import Baseline, study_probabilities
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.saliency import strongest_point
from cspine.core.anatomy import TARGETS, VERTEBRAE, Level
from cspine.core.columns import MARK_COLUMNS, STUDY
from cspine.core.errors import SourceError
from cspine.core.execution.shards import Shard
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats
from cspine.datasets.compiled import CompiledDataset
from cspine.views.bridged_gaps import BridgedGaps
from cspine.views.level_views import LevelViews, split_mosaic

Classified = tuple[pd.DataFrame, pd.DataFrame | None]
"""Probabilities of studies, and the points with the greatest saliency of their vertebrae."""


def classify_dataset(
    dataset: CompiledDataset, classifier: Baseline | LevelClassifier, *, progress: Progress = silent
) -> pd.DataFrame:
    """Return a probability for every study and target of a compiled data set.

    Parameters
    ----------
    dataset : CompiledDataset
        Compiled with the settings of the weights' metadata (`images`).
    classifier : Baseline or LevelClassifier
        The classifier, with its weights loaded.
    progress : Progress
        Called with the number of studies done.

    Returns
    -------
    DataFrame
        Indexed by StudyInstanceUID, columns `TARGETS`: probabilities, calibrated where the weights are. A vertebra that
        was not localized has the fracture rate of such vertebrae.

    Raises
    ------
    SourceError
        The data set holds no images, or was compiled with other settings.
    """
    probability, _ = predict_dataset(dataset, classifier, progress=progress)
    if isinstance(classifier, Baseline):
        return probability
    return probability.fillna(classifier.metadata.not_found_fracture_rate)


def predict_dataset(
    dataset: CompiledDataset,
    classifier: Baseline | LevelClassifier,
    *,
    shard: Shard | None = None,
    progress: Progress = silent,
) -> Classified:
    """Return the probabilities of `classify_dataset`, and the point with the greatest saliency of each vertebra.

    Parameters and errors are those of `classify_dataset`; of a shard, only its studies are classified.

    Returns
    -------
    probability : DataFrame
        As of `classify_dataset`, but NaN for vertebrae that were not localized, as in findings.
    marks : DataFrame or None
        Columns `cspine.core.columns.MARK_COLUMNS`, points in LPS mm; None for networks without saliency maps.
    """
    manifest = dataset.manifest()
    if manifest.empty:
        raise SourceError(f"{dataset.folder}: holds no compiled images; see studies.parquet for the reasons")
    if not classifier.metadata.matches(dataset.settings):
        raise SourceError(
            f"{dataset.folder}: was compiled with settings {dataset.settings.hash}, but the weights were trained with "
            f"{classifier.metadata.images.hash}; compile it again with the same settings"
        )
    if shard is not None:
        manifest = manifest[manifest["study_instance_uid"].map(lambda uid: shard.has(str(uid))).astype(bool)]
    marks: list[tuple[Any, ...]] | None = None
    if isinstance(classifier, Baseline):
        rows = dict(_predict_images(dataset, classifier, manifest, progress))
    else:
        marks = []
        rows = dict(_predict_levels(dataset, classifier, manifest, marks, progress))
    probability = pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis(STUDY)
    return probability, None if marks is None else pd.DataFrame(marks, columns=list(MARK_COLUMNS))


def _predict_images(
    dataset: CompiledDataset, classifier: Baseline, manifest: pd.DataFrame, progress: Progress
) -> Iterator[tuple[str, Floats]]:
    """Yield the UID and the eight probabilities of each study."""
    groups = manifest.groupby("study_instance_uid", sort=True)
    for done, (uid, rows) in enumerate(groups):
        progress("classify", done, len(groups))
        images = dataset.read_images(rows["path"], classifier.metadata.image_size)
        yield str(uid), study_probabilities(classifier.image_probabilities(images))
    progress("classify", len(groups), len(groups))


def _predict_levels(
    dataset: CompiledDataset,
    classifier: LevelClassifier,
    manifest: pd.DataFrame,
    marks: list[tuple[Any, ...]],
    progress: Progress,
) -> Iterator[tuple[str, Floats]]:
    """Yield the UID and the eight probabilities of each study, and append its points to the marks."""
    tables = dict(iter(dataset.levels().groupby("study_instance_uid")))
    studies = sorted(set(manifest["study_instance_uid"].astype(str)))
    for done, uid in enumerate(studies):
        progress("classify", done, len(studies))
        levels = read_views(dataset, tables[uid]) if uid in tables else ()
        scores = classifier.predict_scores(levels)
        probabilities, overall = classifier.calibrate(scores)
        for views in levels:
            number = VERTEBRAE.index(views.level)
            point = strongest_point(views, *classifier.strongest_plane(scores.evidence[number]))[2]
            marks.append((uid, views.level, float(probabilities[number]), *point.tolist(), np.nan, np.nan, np.nan))
        yield uid, np.array([overall, *probabilities.tolist()])
    progress("classify", len(studies), len(studies))


def read_views(dataset: CompiledDataset, rows: pd.DataFrame) -> tuple[LevelViews, ...]:
    """Read the views of a study's vertebrae.

    Parameters
    ----------
    dataset : CompiledDataset
        A data set with level views.
    rows : DataFrame
        The study's rows of `CompiledDataset.levels`.

    Raises
    ------
    InputError
        A mosaic is missing or damaged.
    SourceError
        The data set was compiled without level views.
    """
    settings = dataset.settings.levels
    if settings is None:
        raise SourceError(f"{dataset.folder}: was compiled without level views; compile it again with them")
    levels = []
    for row in rows.itertuples():
        images = split_mosaic((dataset.folder / str(row.path)).read_bytes(), str(row.path), settings)
        box_lps = np.asarray(row.box_lps, np.float64).reshape(4, 4)
        numbers = getattr(row, "bridged_gaps", None)  # missing, or nan, where no gaps were recorded
        has_numbers = isinstance(numbers, (list, np.ndarray))
        gaps = BridgedGaps.from_list(np.asarray(numbers, np.float64).tolist()) if has_numbers else None
        levels.append(LevelViews(cast("Level", str(row.level)), images, box_lps, settings, gaps))
    return tuple(levels)
