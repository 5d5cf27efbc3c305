"""Compiled studies to their eight probabilities."""

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
from cspine.core.progress import Progress, silent
from cspine.core.typing import Floats
from cspine.datasets.compiled import CompiledDataset
from cspine.views.level_views import LevelViews, split_mosaic


def classify_dataset(
    store: CompiledDataset, classifier: Baseline | LevelClassifier, *, progress: Progress = silent
) -> pd.DataFrame:
    """Classify every compiled study.

    Parameters
    ----------
    store : CompiledDataset
        Compiled with the settings that the weights were trained with.
    classifier : Baseline or LevelClassifier
        What to classify with.
    progress : Progress
        Told how many studies are done.

    Returns
    -------
    DataFrame
        Indexed by StudyInstanceUID, columns `TARGETS`: plain probabilities, calibrated where the weights are; of a
        vertebra that was not found, how often such a one is fractured.

    Raises
    ------
    SourceError
        The data set holds no images, or was compiled in another way than the weights saw.
    """
    said, _ = predict_dataset(store, classifier, progress=progress)
    return said if isinstance(classifier, Baseline) else said.fillna(classifier.metadata.not_found_fracture_rate)


def predict_dataset(
    store: CompiledDataset, classifier: Baseline | LevelClassifier, *, progress: Progress = silent
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Classify every compiled study, and tell where it points; parameters and errors are those of `classify_dataset`.

    Returns
    -------
    probability : DataFrame
        As of `classify_dataset`, but NaN of a vertebra that was not found, as findings have it.
    marks : DataFrame or None
        Columns `cspine.core.columns.MARK_COLUMNS`: the strongest place of each vertebra, LPS mm. None of networks
        that point at none.
    """
    manifest = store.manifest()
    if manifest.empty:
        raise SourceError(f"{store.folder}: holds no compiled images; see studies.parquet for the reasons")
    if not classifier.metadata.matches(store.settings):
        raise SourceError(
            f"{store.folder}: was compiled with settings {store.settings.hash}, the weights saw images of "
            f"{classifier.metadata.images.hash}; compile it again with the same settings"
        )
    marks: list[tuple[Any, ...]] | None = None
    if isinstance(classifier, Baseline):
        rows = dict(_of_images(store, classifier, manifest, progress))
    else:
        marks = []
        rows = dict(_of_levels(store, classifier, manifest, marks, progress))
    said = pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis(STUDY)
    return said, None if marks is None else pd.DataFrame(marks, columns=list(MARK_COLUMNS))


def _of_images(
    store: CompiledDataset, classifier: Baseline, manifest: pd.DataFrame, progress: Progress
) -> Iterator[tuple[str, Floats]]:
    groups = manifest.groupby("study_instance_uid", sort=True)
    for done, (uid, rows) in enumerate(groups):
        progress("classify", done, len(groups))
        images = store.read_images(rows["path"], classifier.metadata.image_size)
        yield str(uid), study_probabilities(classifier.image_probabilities(images))
    progress("classify", len(groups), len(groups))


def _of_levels(
    store: CompiledDataset,
    classifier: LevelClassifier,
    manifest: pd.DataFrame,
    marks: list[tuple[Any, ...]],
    progress: Progress,
) -> Iterator[tuple[str, Floats]]:
    """Yield studies' probabilities, and add to the marks."""
    tables = dict(iter(store.levels().groupby("study_instance_uid")))
    studies = sorted(set(manifest["study_instance_uid"].astype(str)))
    for done, uid in enumerate(studies):
        progress("classify", done, len(studies))
        views = read_views(store, tables[uid]) if uid in tables else ()
        scores = classifier.scores(views)
        levels, overall = classifier.calibrated(scores)
        for shown in views:
            number = VERTEBRAE.index(shown.level)
            point = strongest_point(shown, *classifier.strongest(scores.evidence[number]))[2]
            marks.append((uid, shown.level, float(levels[number]), *point.tolist(), np.nan, np.nan, np.nan))
        yield uid, np.array([overall, *levels.tolist()])
    progress("classify", len(studies), len(studies))


def read_views(store: CompiledDataset, rows: pd.DataFrame) -> tuple[LevelViews, ...]:
    """Return the views of a study's vertebrae, from its rows of `CompiledDataset.levels`.

    Raises
    ------
    InputError
        A mosaic is missing or damaged.
    SourceError
        The data set holds no views.
    """
    settings = store.settings.levels
    if settings is None:
        raise SourceError(f"{store.folder}: was compiled without vertebrae's own images; compile it again with them")
    found = []
    for row in rows.itertuples():
        images = split_mosaic((store.folder / str(row.path)).read_bytes(), str(row.path), settings)
        box = np.asarray(row.box_lps, np.float64).reshape(4, 4)
        found.append(LevelViews(cast("Level", str(row.level)), images, box, settings))
    return tuple(found)
