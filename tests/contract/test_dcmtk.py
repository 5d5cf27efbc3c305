"""Reports and presentation states are read by DCMTK, an implementation that nothing here shares.

Its readers check more than syntax: which items may stand below which, and what a presentation state must hold.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from tests.support.phantom import as_suspicious, predict_case, write_phantom
from tests.support.structured_reports import PATIENT, read_statements

from cspine.reports.dicom.objects import write_dicom

pytestmark = pytest.mark.skipif(shutil.which("dsrdump") is None, reason="dsrdump (Debian's dcmtk)")

_KNOWN = (
    "Check for template constraints not yet supported",
    "The VR checker does not support this Specific Character Set",
    "Testing: ",
    "Test passed",
)
"""What the programs warn of in every file, and the way in which dcmpschk speaks."""


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("objects")
    case_result = as_suspicious(predict_case(write_phantom(folder / "study")), {"C2", "C6"})
    write_dicom(case_result, folder / "dicom")
    return folder / "dicom"


def read_by(program: str, path: Path) -> str:
    """Return what a program of DCMTK says of a file that it reads without a complaint."""
    done = subprocess.run([program, str(path)], check=False, capture_output=True, text=True, timeout=120)
    lines = (done.stdout + done.stderr).splitlines()
    complaints = [line for line in lines if re.match("[EFW]: ", line)]
    assert done.returncode == 0, complaints
    assert not [line for line in complaints if not any(known in line for known in _KNOWN)]
    return "\n".join(lines)


def test_the_report_is_read_with_its_values_and_points(objects: Path) -> None:
    text = read_by("dsrdump", objects / "report.dcm")

    assert "Comprehensive 3D SR Document" in text
    statements = read_statements(pydicom.dcmread(objects / "report.dcm"))
    numbers = [float(value) for value in re.findall(r'NUM:\(.*?\)="([0-9.eE+-]+)"', text)]
    marked = {level: each for level, each in statements.items() if each.pixel is not None}
    assert set(marked) == {"C2", "C6"}
    for statement in (*marked.values(), statements[PATIENT]):
        assert any(number == pytest.approx(statement.probability, abs=1e-6) for number in numbers)
    points = [tuple(map(float, each)) for each in re.findall(r'Image Region"\)=\(POINT,([0-9.]+)/([0-9.]+)\)', text)]
    assert points == [pytest.approx(each.pixel, abs=1e-3) for each in marked.values()]


@pytest.mark.parametrize(("program", "name"), [("dsrdump", "key-images"), ("dcmpschk", "marks")])
def test_key_objects_and_presentation_states_are_read(program: str, name: str, objects: Path) -> None:
    text = read_by(program, objects / f"{name}.dcm")

    assert "Key Object Selection Document" in text or "Test passed" in text
