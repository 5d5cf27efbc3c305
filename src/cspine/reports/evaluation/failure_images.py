"""Images of the vertebrae that a model classified worst, from the compiled data set."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pandas as pd

from cspine.datasets.compiled import CompiledDataset
from cspine.evaluation.failures import Failure
from cspine.reports.evaluation.page import FailureImage
from cspine.views.level_views import PLANES, split_mosaic
from cspine.views.sagittal import encode_jpeg

_JPEG_QUALITY: Final = 85


def failure_images(dataset: CompiledDataset, failures: Sequence[Failure]) -> list[FailureImage]:
    """Return failures with images.

    An image shows the central view of the vertebra in each plane. If the data set has no views of it, the central
    sagittal image of the study stands in.

    Parameters
    ----------
    dataset : CompiledDataset
        The compiled data set that holds the studies.
    failures : sequence of Failure
        False positives and false negatives to be shown.

    Raises
    ------
    InputError
        An image is missing or damaged.
    """
    levels, manifest = dataset.levels(), dataset.manifest()
    images = []
    for failure in failures:
        jpeg = _vertebra_jpeg(dataset, failure, levels)
        images.append(FailureImage(failure, _sagittal_jpeg(dataset, failure, manifest) if jpeg is None else jpeg))
    return images


def _vertebra_jpeg(dataset: CompiledDataset, failure: Failure, levels: pd.DataFrame) -> bytes | None:
    settings = dataset.settings.levels
    rows = levels[(levels["study_instance_uid"] == failure.study) & (levels["level"] == failure.level)]
    if settings is None or not len(rows):
        return None
    path = str(rows["path"].iloc[0])
    views = split_mosaic((dataset.folder / path).read_bytes(), path, settings)
    planes = np.array([plane for plane, _ in settings.planes])
    indices = [np.flatnonzero(planes == plane) for plane in PLANES]
    central = [views[number[len(number) // 2]] for number in indices if len(number)]
    gray = np.hstack(central) * np.float32(255 / settings.max_gray)
    return encode_jpeg(gray.astype(np.uint8), _JPEG_QUALITY)


def _sagittal_jpeg(dataset: CompiledDataset, failure: Failure, manifest: pd.DataFrame) -> bytes | None:
    images = manifest[manifest["study_instance_uid"] == failure.study]
    if not len(images):
        return None
    return (dataset.folder / str(images["path"].iloc[len(images) // 2])).read_bytes()
