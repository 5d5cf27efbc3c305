"""Padding that would hide tissue is ignored, and told; padding outside of the patient stays air."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import write_series

from cspine.core.typing import HounsfieldUnits
from cspine.dicom import load_volume

Change = Callable[[Dataset, int], Dataset]


def scan() -> HounsfieldUnits:
    """Return noisy muscle with a ring of fat and bone, in air, within a round field of view that is marked by -2000."""
    rng = np.random.default_rng(3)
    j, i = np.mgrid[:48, :48] - 23.5
    radius = np.hypot(i, j)
    hu = np.select([radius > 23, radius > 18, radius > 14, radius < 4], [-2000, -1000, -100, 700], 50)
    noise = np.where(hu == -2000, 0, rng.normal(0, 15, (12, 48, 48)))
    return np.asarray(np.rint(hu + noise), np.int16)


HU = scan()
BODY = HU > -500
OUTSIDE = HU == -2000


def stored_as(*, signed: bool, padding: int, limit: int | None = None) -> Change:
    def change(dataset: Dataset, k: int) -> Dataset:
        offset = 0 if signed else 2048
        dataset.PixelRepresentation, dataset.RescaleIntercept = int(signed), -offset
        dataset.PixelData = (HU[k].astype(np.int32) + offset).astype("<i2" if signed else "<u2").tobytes()
        vr = "SS" if signed else "US"
        dataset.add_new("PixelPaddingValue", vr, padding)
        if limit is not None:
            dataset.add_new("PixelPaddingRangeLimit", vr, limit)
        return dataset

    return change


@pytest.mark.parametrize(
    ("change", "outside_hu"),
    [
        (stored_as(signed=True, padding=0), -2000),  # copied from unsigned values; water here
        (stored_as(signed=True, padding=50), -2000),
        (stored_as(signed=False, padding=48, limit=2200), -1024),  # from the outside up to muscle
        (stored_as(signed=False, padding=0, limit=4095), -2000),  # everything
    ],
    ids=["water", "muscle", "up to muscle", "everything"],
)
def test_padding_that_would_hide_tissue_is_ignored_and_told(tmp_path: Path, change: Change, outside_hu: int) -> None:
    write_series(tmp_path, HU, change=change)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array[BODY], HU[BODY])
    assert np.all(volume.array[OUTSIDE] == outside_hu)
    assert volume.provenance is not None
    assert "PixelPaddingValue would hide tissue" in volume.provenance.repairs[0]


@pytest.mark.parametrize(
    "change",
    [
        stored_as(signed=True, padding=-2000),
        stored_as(signed=False, padding=48),
        stored_as(signed=False, padding=0, limit=100),
        stored_as(signed=True, padding=-2000, limit=-1500),
    ],
    ids=["signed", "unsigned", "range", "signed range"],
)
def test_padding_outside_of_the_patient_becomes_air_without_a_word(tmp_path: Path, change: Change) -> None:
    write_series(tmp_path, HU, change=change)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, np.where(OUTSIDE, -1024, HU))
    assert volume.provenance is not None
    assert volume.provenance.repairs == ()


def test_an_area_of_one_value_is_padding_whatever_its_value(tmp_path: Path) -> None:
    hu = np.where(OUTSIDE, 0, HU).astype(np.int16)
    hu[(hu == 0) & ~OUTSIDE] = 1

    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.PixelRepresentation, dataset.RescaleIntercept = 1, 0
        dataset.PixelData = hu[k].astype("<i2").tobytes()
        dataset.add_new("PixelPaddingValue", "SS", 0)
        return dataset

    write_series(tmp_path, hu, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, np.where(OUTSIDE, -1024, hu))
