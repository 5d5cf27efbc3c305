"""Series whose SOP class is not CT are refused by it, whatever Modality says or lacks."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import DicomError
from cspine.dicom import discover, select_series

SMALL = make_hu((12, 16, 16))


def select(folder: Path, sop_class: str, modality: str | None) -> int:
    """Write a series of a SOP class and return the number of slices that are selected."""

    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.SOPClassUID = sop_class
        if modality is not None:
            dataset.Modality = modality
        return dataset

    write_series(folder, SMALL, change=change)
    return len(select_series(discover(folder).studies[0]).selected.headers)


@pytest.mark.parametrize("modality", [None, "CT"])
@pytest.mark.parametrize(
    ("sop_class", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.4", "MR Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.128", "Positron Emission Tomography Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.20", "Nuclear Medicine Image Storage"),
        ("1.2.840.10008.5.1.4.1.1.481.2", "RT Dose Storage"),
    ],
)
def test_other_kinds_of_image_are_refused_with_their_kind(
    tmp_path: Path, modality: str | None, sop_class: str, name: str
) -> None:
    with pytest.raises(DicomError, match=f"no series to read .its SOP class is {name}, not CT"):
        select(tmp_path, sop_class, modality)


def test_a_secondary_capture_is_ct_only_where_its_modality_says_so(tmp_path: Path) -> None:
    capture = "1.2.840.10008.5.1.4.1.1.7"

    assert select(tmp_path / "a", capture, "CT") == 12
    with pytest.raises(DicomError, match="Secondary Capture Image Storage"):
        select(tmp_path / "b", capture, None)


@pytest.mark.parametrize("sop_class", ["1.2.840.10008.5.1.4.1.1.2", "1.3.12.2.1107.5.9.1", "1.2.840.10008.5.1.4.99"])
def test_ct_private_and_unknown_classes_are_read(tmp_path: Path, sop_class: str) -> None:
    assert select(tmp_path, sop_class, None) == 12
