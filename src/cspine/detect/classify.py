"""Images of a study to its eight probabilities."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pandas as pd

from cspine.anatomy import TARGETS
from cspine.detect.baseline import Baseline
from cspine.errors import SourceError
from cspine.evaluate.kaggle import unweighted
from cspine.progress import Progress, silent
from cspine.reformat.store import CompiledStore, shrink


def image_probabilities(weights: Baseline, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Return plain probabilities per image.

    A network trained with positives weighted w times settles at p' = wp / (1 + (w - 1)p); this gives p back, so that
    the number reads as a probability. The challenge's metric wants p' again: `cspine submit --transform`.

    Parameters
    ----------
    weights : Baseline
        What to classify with.
    images : (n, rows, rows) uint8
        Compiled images of any size.

    Returns
    -------
    (n, 8) float
        Columns `TARGETS`.
    """
    small = np.stack([shrink(image, weights.card.image_size) for image in images])
    return np.asarray(unweighted(weights.run(small), positive_weight=weights.card.positive_weight))


def study_probabilities(per_image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return a study's probabilities: the mean over its images, (n, 8) to (8,)."""
    return np.asarray(per_image.mean(axis=0))


def classify_store(store: CompiledStore, weights: Baseline, *, progress: Progress = silent) -> pd.DataFrame:
    """Return the plain probabilities of every study of a compiled data set.

    Parameters
    ----------
    store : CompiledStore
        Compiled with the settings that the weights were trained with.
    weights : Baseline
        What to classify with.
    progress : Progress
        Told how many studies are done.

    Returns
    -------
    DataFrame
        Indexed by StudyInstanceUID, columns `TARGETS`.

    Raises
    ------
    SourceError
        The data set holds no images, or was compiled in another way than the weights saw.
    """
    manifest = store.manifest()
    if manifest.empty:
        raise SourceError(f"{store.folder}: holds no compiled images; see studies.parquet for the reasons")
    if not weights.card.fits(store.settings):
        raise SourceError(
            f"{store.folder}: was compiled with settings {store.settings.hash}, the weights saw images of "
            f"{weights.card.images.hash}; compile it again with the same settings"
        )
    rows = dict(_rows(store, weights, manifest, progress))
    return pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS)).rename_axis("StudyInstanceUID")


def _rows(
    store: CompiledStore, weights: Baseline, manifest: pd.DataFrame, progress: Progress
) -> Iterator[tuple[str, npt.NDArray[np.float64]]]:
    groups = manifest.groupby("study_instance_uid", sort=True)
    for done, (uid, rows) in enumerate(groups):
        progress("classify", done, len(groups))
        images = store.read_images(rows["path"], weights.card.image_size)
        yield str(uid), study_probabilities(image_probabilities(weights, images))
    progress("classify", len(groups), len(groups))
