"""What a data set shows of the vertebrae that a system got wrong."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cspine.datasets.compiled import CompiledDataset
from cspine.evaluation.failures import Failure
from cspine.reports.evaluation.page import ShownFailure
from cspine.views.level_views import PLANES, split_mosaic
from cspine.views.sagittal import encode_jpeg

_QUALITY = 85


def picture_failures(store: CompiledDataset, failures: Sequence[Failure]) -> list[ShownFailure]:
    """Return failures with pictures: a vertebra's middle planes, or else the study's middle sagittal image.

    Raises
    ------
    InputError
        An image is missing or damaged.
    """
    levels, manifest = store.levels(), store.manifest()
    return [ShownFailure(failure, _picture(store, failure, levels, manifest)) for failure in failures]


def _picture(store: CompiledDataset, failure: Failure, levels: pd.DataFrame, manifest: pd.DataFrame) -> bytes | None:
    settings = store.settings.levels
    rows = levels[(levels["study_instance_uid"] == failure.study) & (levels["level"] == failure.level)]
    if settings is not None and len(rows):
        path = str(rows["path"].iloc[0])
        tiles = split_mosaic((store.folder / path).read_bytes(), path, settings)
        fracture_types = [plane for plane, _ in settings.planes]
        shown = [np.flatnonzero([kind == plane for kind in fracture_types]) for plane in PLANES]
        middle = [tiles[numbers[len(numbers) // 2]] for numbers in shown if len(numbers)]
        grey = np.hstack(middle) * np.float32(255 / settings.max_gray)
        return encode_jpeg(grey.astype(np.uint8), _QUALITY)
    images = manifest[manifest["study_instance_uid"] == failure.study]
    if not len(images):
        return None
    return (store.folder / str(images["path"].iloc[len(images) // 2])).read_bytes()
