"""Volumes whose headers misdescribe their values: corrected with a sentence, or refused."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import write_series
from tests.support.tissue import make_mr, make_neck

from cspine.core.errors import NotHounsfieldError
from cspine.core.not_assessable import not_assessable_from
from cspine.dicom import load_volume
from cspine.dicom.read_planes import read_slice

NECK = make_neck()
Stored = npt.NDArray[np.integer]


def writer(stored: Stored, intercept: float = 0.0, slope: float = 1.0) -> Callable[[Dataset, int], Dataset]:
    """Return a change that stores other values, signed or not by their type."""

    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.PixelRepresentation = int(stored.dtype.kind == "i")
        dataset.PixelData = stored[k].astype(f"<{stored.dtype.kind}2").tobytes()
        dataset.RescaleIntercept, dataset.RescaleSlope = intercept, slope
        return dataset

    return change


SHIFTED = (NECK + 1024).astype(np.uint16)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (writer(SHIFTED), "Hounsfield units + 1024, by the peaks of fat and muscle; 1024 was subtracted"),
        (writer(NECK, -1024), "Hounsfield units - 1024, by the peaks of fat and muscle; 1024 was added"),
        (writer((NECK + 8192).astype(np.uint16)), "8192 was subtracted"),
        (writer((NECK.astype(int) + 32768).astype(np.uint16)), "32768 was subtracted"),
        (writer(NECK.view(np.uint16)), "signed, which the header denies"),
        (writer(SHIFTED.byteswap(), -1024), "the bytes of the values are swapped"),
        (writer(SHIFTED * 2, -1024), "Hounsfield units x 2 + 1024"),
        (writer(SHIFTED * 2, -1024, 0.25), "Hounsfield units x 0.5 - 512"),
        (writer(NECK * 10), "Hounsfield units x 10"),
    ],
)
def test_dicom_is_corrected_and_the_correction_is_a_sentence(
    tmp_path: Path, change: Callable[[Dataset, int], Dataset], sentence: str
) -> None:
    write_series(tmp_path, NECK, change=change)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, NECK)
    assert volume.provenance is not None
    assert len(volume.provenance.repairs) == 1
    assert sentence in volume.provenance.repairs[0]
    assert volume.series is not None
    np.testing.assert_array_equal(read_slice(volume.series.headers[0]), NECK[0])


@pytest.mark.parametrize("part", [{"slices": slice(None, None, 3)}, {"rows": (24, 40), "slices": (2, 5)}, {"step": 4}])
def test_every_part_of_a_series_is_corrected_alike(tmp_path: Path, part: dict[str, object]) -> None:
    write_series(tmp_path, NECK, change=writer(SHIFTED))
    full = load_volume(tmp_path)

    volume = load_volume(tmp_path, **part)  # type: ignore[arg-type]

    assert volume.provenance is not None
    assert full.provenance is not None
    assert volume.provenance.repairs == full.provenance.repairs
    assert set(np.unique(volume.array)) <= set(np.unique(NECK))


def test_slices_of_one_series_are_corrected_each_by_its_own_values(tmp_path: Path) -> None:
    stored = NECK.copy()
    stored[5:] += 1024
    write_series(tmp_path, NECK, change=writer(stored))

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, NECK)
    assert volume.provenance is not None
    assert volume.provenance.repairs[0].startswith("of 7 of 12 slices the values are Hounsfield units + 1024")


@pytest.mark.parametrize("is_right", [True, False])
def test_half_of_the_slices_may_declare_another_intercept(tmp_path: Path, is_right: bool) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        stored = NECK if k % 2 and is_right else NECK + 1024
        return writer(stored, 0 if k % 2 else -1024)(dataset, k)

    write_series(tmp_path, NECK, change=change)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, NECK)
    assert volume.provenance is not None
    assert len(volume.provenance.repairs) == (0 if is_right else 1)


def test_padding_that_the_header_declares_does_not_mislead(tmp_path: Path) -> None:
    stored, expected = SHIFTED.copy(), NECK.copy()
    stored[:, :10], expected[:, :10] = 0, -1024

    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.add_new("PixelPaddingValue", "US", 0)
        return writer(stored)(dataset, k)

    write_series(tmp_path, NECK, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, expected)


def nifti(path: Path, values: npt.NDArray[np.generic]) -> Path:
    nib.save(nib.Nifti1Image(values.transpose(2, 1, 0), np.diag([-2.0, -2.0, 3.0, 1.0])), path)
    return path


@pytest.mark.parametrize(
    "values",
    [
        SHIFTED,
        SHIFTED.astype(">u2"),
        NECK.view(np.uint16),
        NECK.astype(np.float32) * 10,
        NECK.astype(np.float64) + 1024,
    ],
)
def test_nifti_is_corrected(tmp_path: Path, values: npt.NDArray[np.generic]) -> None:
    volume = load_volume(nifti(tmp_path / "a.nii", values))

    np.testing.assert_array_equal(volume.array, NECK)
    assert volume.provenance is not None
    assert len(volume.provenance.repairs) == 1


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ((NECK + 1024.0) / 2000, "different values"),
        ((NECK - NECK.mean()) / NECK.std(), "all values lie between -1 and"),
        (np.maximum(NECK, 0), "air and fat, was cut off"),
        (make_mr(), "the lowest value is 0, where air should be -1000"),
    ],
)
def test_what_is_not_hounsfield_units_is_refused_with_its_code(
    tmp_path: Path, values: npt.NDArray[np.generic], fault: str
) -> None:
    path = nifti(tmp_path / "a.nii", np.tile(values, (1, 1, 2)))

    with pytest.raises(NotHounsfieldError, match=rf"^a\.nii: .*{fault}.*; send the original CT") as caught:
        load_volume(path)
    assert not_assessable_from(caught.value).code == "not-hounsfield"


def test_values_beyond_the_declared_bits_are_a_sentence(tmp_path: Path) -> None:
    stored = SHIFTED.copy()
    stored[3, 5, 5] = 9000

    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.BitsStored, dataset.HighBit = 12, 11
        return writer(stored, -1024)(dataset, k)

    write_series(tmp_path, NECK, change=change)

    volume = load_volume(tmp_path)

    assert volume.array[3, 5, 5] == (9000 & 0xFFF) - 1024
    assert volume.provenance is not None
    assert "bits above the 12 of BitsStored (1, first: 4.dcm)" in volume.provenance.repairs[0]


def test_signed_values_of_twelve_bits_set_no_further_bits(tmp_path: Path) -> None:
    stored = np.clip(NECK, -1024, 1023)

    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.BitsStored, dataset.HighBit = 12, 11
        return writer(stored if k % 2 else (stored & 0xFFF).astype(np.int16))(dataset, k)

    write_series(tmp_path, NECK, change=change)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, stored)
    assert volume.provenance is not None
    assert volume.provenance.repairs == ()


def test_a_wrong_slice_between_those_that_are_checked_is_a_warning(tmp_path: Path) -> None:
    stored = NECK.copy()
    stored[4] += 1024
    write_series(tmp_path, NECK, change=writer(stored))

    volume = load_volume(tmp_path)

    assert volume.provenance is not None
    assert volume.provenance.repairs[0].endswith("from slice 4 to 5: some slices may not be in Hounsfield units")
