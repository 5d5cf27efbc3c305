"""The structured report of a study that is not assessable."""

from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset
from tests.support.dciodvfy import DCIODVFY, errors_of
from tests.support.dicom import make_hu, write_series
from tests.support.phantom import predict_case

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.errors import DicomError
from cspine.reports.dicom.objects import write_dicom

HU = make_hu((16, 32, 40), (6.0, 3.0, 3.0))
THICK = (6.0, 3.0, 3.0)


def texts(dataset: Dataset) -> dict[str, str]:
    """Return the text items of a report at any depth, by the code of their names."""
    items: dict[str, str] = {}
    for item in dataset.get("ContentSequence", ()):
        name: Any = item.ConceptNameCodeSequence[0].CodeValue
        if item.ValueType == "TEXT":
            items.setdefault(name, item.TextValue)
        items |= texts(item)
    return items


def test_it_says_which_code_why_and_what_would_help(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", HU, spacing=THICK, study="1.2.3.4", series="1.2.3.4.1")
    source = pydicom.dcmread(next((tmp_path / "ct").iterdir()))

    (path,) = write_dicom(predict_case(tmp_path / "ct"), tmp_path / "out")

    report = pydicom.dcmread(path)
    said = texts(report)
    assert (path.name, report.Modality, report.StudyInstanceUID) == ("report.dcm", "SR", "1.2.3.4")
    assert (report.PatientID, report.PatientName) == (source.PatientID, source.PatientName)
    assert said["not-assessable"] == "too-thick"
    assert "slices 6.0 mm apart" in said["reason"]
    assert said["remedy"].startswith("send the thin bone-kernel series")
    assert RESEARCH_USE_ONLY in {item.get("TextValue") for item in report.ContentSequence}
    assert not [item for item in report.ContentSequence if item.ValueType == "NUM"]
    referred = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert len(referred) == 16
    assert not (DCIODVFY and errors_of(path))


def test_it_replaces_itself(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", HU, spacing=THICK)
    case_result = predict_case(tmp_path / "ct")

    uids = {pydicom.dcmread(write_dicom(case_result, tmp_path / "out")[0]).SOPInstanceUID for _ in range(2)}

    assert len(uids) == 1
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.dcm"]


def test_series_without_a_place_in_space_can_be_referred_to(tmp_path: Path) -> None:
    def remove(dataset: Dataset, _: int) -> Dataset:
        del dataset.ImagePositionPatient, dataset.PixelSpacing
        return dataset

    write_series(tmp_path / "ct", HU, spacing=(2.5, 3.0, 3.0), change=remove)

    (path,) = write_dicom(predict_case(tmp_path / "ct"), tmp_path / "out")

    assert texts(pydicom.dcmread(path))["not-assessable"] == "no-series"


def test_images_without_uids_cannot_be_referred_to(tmp_path: Path) -> None:
    def remove(dataset: Dataset, _: int) -> Dataset:
        del dataset.SOPInstanceUID
        return dataset

    write_series(tmp_path / "ct", HU, spacing=THICK, change=remove)

    with pytest.raises(DicomError, match="no image of its series has UIDs"):
        write_dicom(predict_case(tmp_path / "ct"), tmp_path / "out")
    assert not (tmp_path / "out").exists()
