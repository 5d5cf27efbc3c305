"""Studies and comparisons for tests of shards."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd

from cspine.core.anatomy import TARGETS
from tests.support.dicom import make_hu, write_series

N_STUDIES = 16


def write_small_studies(folder: Path, count: int = N_STUDIES) -> list[str]:
    """Write studies of 40 small slices in the challenge's layout, each with other voxels, and return their UIDs.

    The first study is damaged, and one has labels but no images.
    """
    uids = [f"1.2.826.0.1.{number}" for number in range(count)]
    for number, uid in enumerate(uids):
        hu = make_hu((20, 24, 28), (6.0, 4.0, 4.0)) + np.int16(number)
        paths = write_series(folder / "train_images" / uid, hu, spacing=(2.5, 4.0, 4.0), study=uid, series=f"{uid}.1")
        if number == 0:
            for path in paths:
                path.write_bytes(b"no DICOM")
    labels = pd.DataFrame({target: [0] * (count + 1) for target in TARGETS})
    labels.insert(0, "StudyInstanceUID", [*uids, "1.2.826.0.2"])
    labels.to_csv(folder / "train.csv", index=False)
    return [*uids, "1.2.826.0.2"]


def file_hashes(folder: Path, *, without: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the hash of every file of a job by its path, but for what shards recorded and for some names."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.relative_to(folder).parts[0] != "shards" and path.name not in without
    }
