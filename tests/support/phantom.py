"""The phantom study that comes with cspine, read once."""

import zipfile
from collections.abc import Callable
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
    """Return the detector with the weights that come with cspine."""
    return Detector.load()


def write_phantom(folder: Path, change: Callable[[Dataset], None] = lambda _: None) -> Path:
    """Write the embedded study's slices, each changed in a chosen way; return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    archive = resources.files("cspine.phantom").joinpath("embedded/study.zip").read_bytes()
    with zipfile.ZipFile(BytesIO(archive)) as members:
        for name in members.namelist():
            dataset = pydicom.dcmread(BytesIO(members.read(name)))
            change(dataset)
            dataset.save_as(folder / Path(name).name)
    return folder


def predict_case(path: Path) -> CaseResult:
    """Read the one study at a path."""
    (source,) = open_collection(path).studies
    return detector().predict_case(source)


def hostile(dataset: Dataset) -> None:
    """Put into a header what an attacker would: markup, control characters, absurd lengths, other alphabets."""
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
