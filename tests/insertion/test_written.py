"""Virtual studies as DICOM: outside of what was touched they are their source, bit for bit."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
from tests.support.dicom import STUDY_UID, write_series
from tests.support.intact import SPACING_MM, phantom, spine_map

from cspine.core.typing import Bools, HounsfieldUnits
from cspine.dicom import load_volume
from cspine.insertion.identity import VirtualIdentity
from cspine.insertion.scan import IntactScan
from cspine.insertion.settings import InsertionSettings
from cspine.insertion.study import Kind, render_virtual_study
from cspine.phantom.rsna_files import write_study_files
from cspine.phantom.scanner.dicom import WriteOptions

SETTINGS = InsertionSettings(
    level_mix={"C4": 1.0, "C5": 1.0},  # neighbors, whose windows overlap
    type_mix={"teardrop": 1.0},  # which bleeds, so that soft tissue is stretched
    vertebrae_per_study={2: 1.0},
    displacement_mm=(2.0, 4.0),
)
METAL_HU, AIR_HU = 12000, -1024


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a neck with the highest and the lowest values that a scan may have, beside the bone."""
    folder = tmp_path_factory.mktemp("source")
    hu = phantom().hu.copy()
    hu[:, :3, :3], hu[:, -3:, -3:] = METAL_HU, AIR_HU
    write_series(folder, hu, spacing=(SPACING_MM,) * 3, origin=phantom().affine_lps[:3, 3].tolist())
    return folder


def stored_hu(folder: Path) -> HounsfieldUnits:
    """Read the slices of a folder without cspine, from caudal to cranial, (k, j, i)."""
    slices = sorted(map(pydicom.dcmread, folder.glob("*.dcm")), key=lambda each: float(each.ImagePositionPatient[2]))
    planes = [each.pixel_array.astype(np.int32) * each.RescaleSlope + each.RescaleIntercept for each in slices]
    return np.stack(planes).astype(np.int16)


def write(source: Path, kind: Kind, out: Path) -> tuple[HounsfieldUnits, Bools]:
    """Write a virtual study of a source; return its stored HU and which voxels were touched."""
    scan = IntactScan.of(load_volume(source), spine_map())
    study = render_virtual_study(scan, kind, SETTINGS, np.random.default_rng(3), thickness_mm=SPACING_MM)
    identity = VirtualIdentity("patient", STUDY_UID, 0, 0, kind)
    write_study_files(study, identity, WriteOptions(upward=False, full_header=False, compressed=False), out)
    return stored_hu(out / "train_images" / identity.study_uid), study.touched_mask


@pytest.mark.parametrize("kind", ["fracture", "sham"])
def test_a_written_study_is_its_source_bit_for_bit_where_it_was_not_touched(
    source: Path, kind: Kind, tmp_path: Path
) -> None:
    before = stored_hu(source)

    after, touched = write(source, kind, tmp_path)

    assert before.max() == METAL_HU
    assert before.min() == AIR_HU
    np.testing.assert_array_equal(after[~touched], before[~touched])
    assert (after != before)[touched].mean() > 0.5  # the region is no larger than it needs to be
    assert touched.mean() < 0.25
    for level in ("C2", "T1"):  # other vertebrae, but for their neighbors
        point = np.linalg.inv(phantom().affine_lps) @ phantom().frames[level][:, 3]
        assert not touched[tuple(np.rint(point[:3]).astype(int))]


def test_a_written_intact_study_is_its_source_bit_for_bit(source: Path, tmp_path: Path) -> None:
    after, touched = write(source, "intact", tmp_path)

    assert not touched.any()
    np.testing.assert_array_equal(after, stored_hu(source))
