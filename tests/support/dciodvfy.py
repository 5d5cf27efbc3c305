"""Conformity to the standard, as dciodvfy of dicom3tools sees it."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from pydicom import dcmread

DCIODVFY: Final = shutil.which("dciodvfy")

LABELMAP: Final = "1.2.840.10008.5.1.4.1.1.66.7"
"""SOP class of Label Map Segmentation Storage."""

LABELMAP_ERRORS: Final = re.compile(
    r"Error - (Information Object Not found|SegmentNumber not monotonically .* with SegmentNumber of 0)"
)
"""Errors of every Label Map Segmentation: dciodvfy does not know that class, in which 0 is a segment, too."""


def errors_of(path: Path) -> list[str]:
    """Return the errors that dciodvfy reports, without those that it reports of every label map."""
    if DCIODVFY is None:
        pytest.skip("dciodvfy (Debian's dicom3tools) is not installed")
    done = subprocess.run([DCIODVFY, str(path)], check=False, capture_output=True, text=True, errors="replace")
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    if dcmread(path, specific_tags=["SOPClassUID"]).SOPClassUID == LABELMAP:
        return [error for error in errors if not LABELMAP_ERRORS.fullmatch(error)]
    return errors
