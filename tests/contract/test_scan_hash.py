"""Scans are recognized as the NIfTI that dcm2niix makes of them."""

import shutil
import subprocess
from pathlib import Path

import pytest

from cspine.dicom.loading import load_volume
from cspine.importing.scan_hash import canonical, hash_scan

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed"),
]


@pytest.mark.parametrize("name", ["vtk-head", "philips-study"])
def test_a_converted_scan_has_the_same_hashes(real_data: Path, tmp_path: Path, name: str) -> None:
    volume = load_volume(real_data / name)
    assert volume.series is not None
    folder = tmp_path / "series"
    folder.mkdir()
    for header in volume.series.headers:
        (folder / header.file.container.name).symlink_to(header.file.container)
    subprocess.run(["dcm2niix", "-z", "n", "-o", tmp_path, folder], check=True, capture_output=True)

    hashes = hash_scan(canonical(volume))
    converted = [hash_scan(canonical(load_volume(path))) for path in tmp_path.glob("*.nii")]

    assert hashes in converted
