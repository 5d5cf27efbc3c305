"""Segmentations are read voxel by voxel by dcmqi, the library of 3D Slicer's DICOM readers, in ITK's WebAssembly.

`make nightly` installs it; its first start takes a minute.
"""

from pathlib import Path

import numpy as np
import pydicom
import pytest

from cspine.reports.dicom.objects import DicomOptions, write_dicom
from tests.support.phantom import as_suspicious, predict_case, write_phantom

itkwasm = pytest.importorskip("itkwasm_dicom_wasi", reason="itkwasm-dicom-wasi, which `make nightly` installs")
pytestmark = [pytest.mark.nightly, pytest.mark.timeout(1500)]


@pytest.mark.parametrize(("encoding", "name"), [("binary", "vertebrae"), ("labelmap", "evidence")])
def test_every_voxel_lies_where_it_was_written(encoding: str, name: str, tmp_path: Path) -> None:
    case_result = as_suspicious(predict_case(write_phantom(tmp_path / "study")), {"C2", "C6"})
    write_dicom(case_result, tmp_path / "dicom", DicomOptions(encoding))  # type: ignore[arg-type]

    image, description, *_ = itkwasm.read_segmentation(tmp_path / "dicom" / f"{name}.dcm")

    written = pydicom.dcmread(tmp_path / "dicom" / f"{name}.dcm")
    values = np.asarray(image.data)
    pixels, order = written.pixel_array, []
    for frame, groups in enumerate(written.PerFrameFunctionalGroupsSequence):
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        position = np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float)
        k = round((position[2] - image.origin[2]) / image.spacing[2])
        assert position[:2] == pytest.approx(image.origin[:2], abs=1e-3)
        assert position[2] == pytest.approx(image.origin[2] + k * image.spacing[2], abs=1e-3)
        assert (values[k] == number)[pixels[frame] > 0].all()
        order.append((k, number))
    assert (values > 0).sum() == (pixels > 0).sum()
    labels = [each["SegmentLabel"] for group in description["segmentAttributes"] for each in group]
    assert labels == [item.SegmentLabel for item in written.SegmentSequence]
    assert len(set(order)) == len(order)
