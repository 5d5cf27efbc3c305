"""A real viewer shows every object: OHIF, driven by mouse in headless Chromium, over Orthanc's DICOMweb.

Research use only, not a medical device. `make test` looks at one release of OHIF, `make nightly` at others and the
newest, at the evidence, and at both encodings of the vertebrae. Screenshots lie in pytest's folder of the test.
"""

import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from PIL import Image, ImageColor
from pydicom import Dataset
from pydicom.uid import CTImageStorage

from cspine.core.anatomy import COLORS, VERTEBRAE
from cspine.reports.dicom.derived_series import SegmentationType
from cspine.reports.dicom.objects import DicomOptions, write_dicom
from tests.support.orthanc import needs_orthanc, running_orthanc
from tests.support.phantom import as_suspicious, predict_case, write_phantom
from tests.support.structured_reports import Statement, read_statements
from tests.viewers.npm_packages import needs_node, node_folder, node_program, ohif_site
from tests.viewers.ohif_server import running_ohif

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    needs_node,
    needs_orthanc,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium"),
    pytest.mark.timeout(1500),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

STEP_MS = 120_000
"""How long any step may take; on an idle machine all of them take half a minute."""

SERIES = {
    "CT Phantom, axial": 99,
    "OT cspine captures": 6,
    "PMAP cspine saliency map": 1,
    "SEG cspine fracture evidence": 1,
    "SEG cspine vertebrae": 1,
    "SR cspine fracture report": 1,
    "PR cspine marks on suspicious slices": 1,
    "KO cspine suspicious slices": 1,
}
"""What the list of series must name, with the number of images."""

SUSPICIOUS = {"C1", "C2", "C3", "C6", "C7"}

EVIDENCE_COLOR = "#FF3C00"


def as_of_a_scanner(dataset: Dataset) -> None:
    """Add what the challenge's files lack and viewers need: class, modality, frame of reference, descriptions."""
    dataset.SOPClassUID, dataset.Modality = CTImageStorage, "CT"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.FrameOfReferenceUID = "1.2.826.0.1.3680043.8.498.1"
    dataset.PatientName, dataset.PatientID = "Phantom^Cervical", "PHANTOM"
    dataset.StudyDate, dataset.StudyTime, dataset.StudyDescription = "20260102", "101500", "Phantom, research use only"
    dataset.SeriesNumber, dataset.SeriesDescription = 2, "Phantom, axial"


@pytest.mark.parametrize(
    ("release", "encoding"),
    [
        ("3.13.2", "labelmap"),
        pytest.param("3.11.1", "labelmap", marks=pytest.mark.nightly),
        pytest.param("3.12.0", "labelmap", marks=pytest.mark.nightly),
        pytest.param("3.12.10", "labelmap", marks=pytest.mark.nightly),
        pytest.param("3.11.1", "binary", marks=pytest.mark.nightly),
        pytest.param("latest", "binary", marks=pytest.mark.nightly),
    ],
)
def test_ohif_shows_every_object(
    release: str, encoding: SegmentationType, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    is_nightly, pytestconfig = request.node.get_closest_marker("nightly") is not None, request.config
    scripts, site = node_folder(pytestconfig), ohif_site(pytestconfig, release)
    study = write_phantom(tmp_path / "study", as_of_a_scanner)
    case_result = as_suspicious(predict_case(study), SUSPICIOUS)
    written = write_dicom(case_result, tmp_path / "dicom", DicomOptions(segmentation=encoding))
    objects = {path.stem: pydicom.dcmread(path) for path in written}
    marked = {level: one for level, one in read_statements(objects["report"]).items() if one.image is not None}
    assert set(marked) == SUSPICIOUS
    clicked = {"vertebrae": ["C2", "C6"]} | ({"evidence": [evidence_label("C2")]} if is_nightly else {})
    slices = {name: slices_of_segments(objects[name]) for name in clicked}
    (tmp_path / "orthanc").mkdir()
    with running_orthanc(tmp_path / "orthanc") as server, running_ohif(site, server.http) as url:
        server.store([*sorted(study.iterdir()), *written])
        shown = drive(
            [node_program(pytestconfig), str(scripts / "ohif.mjs")],
            {
                "url": url,
                "study": str(objects["report"].StudyInstanceUID),
                "series": len(SERIES),
                "marks": {level: {"image": one.image, "pixel": one.pixel} for level, one in marked.items()},
                "segments": {
                    name: {label: sorted(slices[name][label]) for label in labels} for name, labels in clicked.items()
                },
                "out": str(tmp_path / "screenshots"),
            },
        )

    assert shown.get("stopped") is None, shown
    assert shown["errors"] == []
    assert "Phantom" in shown["list"]
    check_series(shown["series"])
    assert "(1/6)" in shown["captures"]
    check_report(shown["report"], marked)
    colors = {
        "vertebrae": {str(level): COLORS[level] for level in VERTEBRAE},
        "evidence": {evidence_label(level): EVIDENCE_COLOR for level in marked},
    }
    assert set(shown["segmentations"]) == set(clicked)
    for name, segmentation in shown["segmentations"].items():
        check_segmentation(segmentation, slices[name], colors[name], tmp_path / "screenshots")


def evidence_label(level: str) -> str:
    return f"Evidence for a fracture of {level}"


def drive(command: list[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Return what OHIF shows, and print how long it took."""
    Path(settings["out"]).mkdir()
    settings |= {"chromium": CHROMIUM, "size": {"width": 1000, "height": 640}, "timeout": STEP_MS}
    done = subprocess.run([*command, json.dumps(settings)], check=False, capture_output=True, text=True, timeout=1400)
    print(done.stderr)  # noqa: T201 - pytest shows it of a test that fails
    assert done.returncode == 0, done.stderr
    (Path(settings["out"]) / "shown.json").write_text(done.stdout)
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown


def check_series(series: list[dict[str, Any]]) -> None:
    """Hold that every series is listed with its description and number of images; what has pixels, with a picture."""
    assert len(series) == len(SERIES)
    for name, count in SERIES.items():
        (one,) = [each for each in series if each["text"].startswith(name)]
        assert one["text"].endswith(str(count)), one
        assert one["images"] == (1 if name.startswith(("CT", "OT")) else 0)
        assert name.startswith("CT") or "RESEARCH USE ONLY" in one["text"]


def check_report(shown: dict[str, Any], marked: dict[str, Statement]) -> None:
    """Hold that the report becomes one measurement per suspicious vertebra, each a ring on its pixel of its slice."""
    assert "Probability of a fracture" in shown["label"]
    assert {one["vertebra"] for one in shown["measurements"]} == set(marked)
    assert len(shown["measurements"]) == len(marked)
    for one in shown["measurements"]:
        statement = marked[one["vertebra"]]
        assert "Fracture of bone" in one["text"]
        assert f"/instances/{statement.image}/" in one["image"]
        assert one["ring"] == pytest.approx(statement.pixel, abs=0.05)


def check_segmentation(
    shown: dict[str, Any], slices: dict[str, set[str]], colors: dict[str, str], screenshots: Path
) -> None:
    """Hold that segments have their names and colors, that a jump reaches the segment, and that it is drawn there."""
    listed = {one["label"]: one["color"] for one in shown["segments"] if one["label"] != "Background"}
    expected = {label: "rgb({}, {}, {})".format(*ImageColor.getrgb(color)) for label, color in colors.items()}
    assert listed == expected
    for label, jump in shown["jumps"].items():
        assert jump["image"].split("/instances/")[1].split("/")[0] in slices[label], label
    with_segments, without = (
        np.asarray(Image.open(screenshots / f"{jump['name']}-{state}.png").convert("RGB"), float)
        for state in ("on", "off")
    )
    change, toward = with_segments - without, np.array(ImageColor.getrgb(colors[label])) - without
    is_changed = np.abs(change).max(axis=2) > 8
    lengths = np.linalg.norm(change, axis=2) * np.linalg.norm(toward, axis=2)
    is_tinted = is_changed & ((change * toward).sum(axis=2) > 0.9 * lengths)
    assert is_changed.sum() > 150
    assert is_tinted.sum() > 0.9 * is_changed.sum()


def slices_of_segments(segmentation: Dataset) -> dict[str, set[str]]:
    """Return the SOPInstanceUIDs of the slices in which each segment has pixels, by its label."""
    labels = {int(item.SegmentNumber): str(item.SegmentLabel) for item in segmentation.SegmentSequence}
    found: dict[str, set[str]] = defaultdict(set)
    for pixels, group in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        source = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        if segmentation.SegmentationType == "BINARY":
            numbers = [group.SegmentIdentificationSequence[0].ReferencedSegmentNumber] if pixels.any() else []
        else:
            numbers = np.unique(pixels).tolist()
        for number in numbers:
            found[labels[int(number)]].add(str(source))
    return found
