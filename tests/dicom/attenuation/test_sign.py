"""Values whose sign the header denies are read by their peaks."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import write_series

from cspine.core.typing import HounsfieldUnits
from cspine.dicom import load_volume


def scan() -> HounsfieldUnits:
    """Return noisy muscle with a ring of fat around it and bone within it, in air."""
    rng = np.random.default_rng(3)
    j, i = np.mgrid[:48, :48] - 23.5
    radius = np.hypot(i, j)
    hu = np.select([radius > 20, radius > 14, radius < 5], [-1000, -100, 500], 50)
    return np.rint(hu + rng.normal(0, 15, (12, 48, 48))).clip(-1024).astype(np.int16)


HU = scan()


@pytest.mark.parametrize(("offset", "declared_signed", "word"), [(0, False, "signed"), (32768, True, "unsigned")])
def test_the_peaks_decide_about_the_sign(tmp_path: Path, offset: int, declared_signed: bool, word: str) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        stored = HU[k].astype(np.int32) + offset
        dataset.PixelData = (stored & 0xFFFF).astype("<u2").tobytes()
        dataset.PixelRepresentation, dataset.RescaleIntercept = int(declared_signed), -offset
        return dataset

    write_series(tmp_path, HU, change=change)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, HU)
    assert volume.provenance is not None
    assert f"the values are {word}, which the header denies" in volume.provenance.repairs[0]
