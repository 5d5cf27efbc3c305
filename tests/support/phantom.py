"""The embedded phantom study, and the embedded weights, loaded once."""

import zipfile
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import cache
from importlib import resources
from io import BytesIO
from pathlib import Path

import pydicom
from pydicom import Dataset

from cspine.classification.result import CaseResult
from cspine.dicom.study_collection import open_collection
from cspine.pipelines.predict import Detector


@cache
def detector() -> Detector:
    """Return the detector with the embedded weights."""
    return Detector.load()


def write_phantom(folder: Path, change: Callable[[Dataset], None] = lambda _: None) -> Path:
    """Write the slices of the embedded study to a folder and return it.

    Parameters
    ----------
    folder : Path
        Created where it does not exist.
    change : callable
        Applied in place to the data set of each slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    archive = resources.files("cspine.phantom").joinpath("embedded/study.zip").read_bytes()
    with zipfile.ZipFile(BytesIO(archive)) as members:
        for name in members.namelist():
            dataset = pydicom.dcmread(BytesIO(members.read(name)))
            change(dataset)
            dataset.save_as(folder / Path(name).name)
    return folder


def predict_case(path: Path) -> CaseResult:
    """Return the result for the only study at a path."""
    (source,) = open_collection(path).studies
    return detector().predict_case(source)


def as_suspicious(case_result: CaseResult, levels: Collection[str]) -> CaseResult:
    """Return a result in which these vertebrae, and no others, are suspicious, whatever the weights say."""
    vertebrae = [
        vertebra.model_copy(
            update={"operating_points_reached": ("rule-out", "triage") if vertebra.level in levels else ()}
        )
        for vertebra in case_result.findings.vertebrae
    ]
    return replace(case_result, findings=case_result.findings.model_copy(update={"vertebrae": tuple(vertebrae)}))


def hostile(dataset: Dataset) -> None:
    """Set malicious header values: markup, control characters, excessive lengths, other alphabets."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = "<script>alert(1)</script>^" + "山田" * 20_000
    dataset.PatientID = "a\x00b\nc<img src=x onerror=alert(2)>"
    dataset.AccessionNumber = "x" * 500
    dataset.StudyDate = "yesterday"
    dataset.PatientSex = "?"
    dataset.ReferringPhysicianName = "Док^Тор=\u202eevil"
    dataset.Manufacturer = "<svg onload=alert(3)>"
    dataset.ConvolutionKernel = '"><img src=x onerror=alert(4)>'
    dataset.SeriesDescription = dataset.StudyDescription = "</title><script>alert(5)</script>"
