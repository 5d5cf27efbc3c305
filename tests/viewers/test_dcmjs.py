"""The objects are read back by dcmjs, by which OHIF and other viewers in JavaScript read them."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pydicom
import pytest
from PIL import ImageColor

from cspine.core.anatomy import COLORS, VERTEBRAE
from cspine.reports.dicom.measurements import has_place
from cspine.reports.dicom.objects import DicomOptions, dicom_objects
from tests.support.phantom import as_suspicious, predict_case, write_phantom
from tests.viewers.npm_packages import needs_node, node_folder, node_program

pytestmark = needs_node


def test_dcmjs_reads_measurements_and_segments(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    node = node_folder(pytestconfig)
    case_result = as_suspicious(predict_case(write_phantom(tmp_path / "study")), {"C1", "C2", "C6"})
    objects = dicom_objects(case_result)
    objects["binary.dcm"] = dicom_objects(case_result, DicomOptions("binary"))["vertebrae.dcm"]
    paths = [tmp_path / name for name in ("report.dcm", "vertebrae.dcm", "binary.dcm", "evidence.dcm")]
    for path in paths:
        objects[path.name].save_as(path, enforce_file_format=True)

    command = [node_program(pytestconfig), str(node / "read_back.mjs"), *map(str, paths)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    suspicious = [vertebra for vertebra in case_result.findings.vertebrae if has_place(vertebra)]
    assert len(suspicious) == 3
    assert [group["site"] for group in read["groups"]] == [f"{vertebra.level} vertebra" for vertebra in suspicious]
    for group, vertebra in zip(read["groups"], suspicious, strict=True):
        assert vertebra.strongest is not None
        position = vertebra.strongest.slice
        assert position is not None
        assert group["finding"] == "Fracture of bone"
        assert group["probability"] == pytest.approx(vertebra.probability, abs=1e-9)
        assert group["image"] == position.sop_instance_uid
        assert group["pixel"] == pytest.approx([position.column + 0.5, position.row + 0.5], abs=1e-3)
    labelmap, binary, evidence = read["segmentations"]
    vertebrae = [described(number, level, COLORS[level]) for number, level in enumerate(VERTEBRAE, start=1)]
    assert binary["segments"] == vertebrae
    assert labelmap["segments"] == [*vertebrae, described(0, "Background", "#000000")]
    assert [each["type"] for each in read["segmentations"]] == ["LABELMAP", "BINARY", "BINARY"]
    assert [each["label"] for each in evidence["segments"]] == [
        f"Evidence for a fracture of {vertebra.level}" for vertebra in suspicious
    ]
    for path, each in zip(paths[1:], read["segmentations"], strict=True):
        written = pydicom.dcmread(path)
        assert each["frames"] == written.NumberOfFrames
        assert each["spacing"] == list(written.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing)
        if each["type"] == "BINARY":
            assert each["voxels"] == int(written.pixel_array.sum()) > 0


def described(number: int, label: str, color: str) -> dict[str, Any]:
    return {"number": number, "label": label, "color": list(ImageColor.getrgb(color))}
