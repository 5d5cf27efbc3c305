"""NIfTI headers that contradict the file: unit of length, place and number of the voxels, rounded quaternions."""

import gzip
import struct
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.support.dicom import make_hu

from cspine.core.errors import SourceError
from cspine.dicom import discover, load_volume

HU = make_hu((14, 20, 24))
ARRAY = np.ascontiguousarray(HU.transpose(2, 1, 0))
AFFINE_RAS = np.array([[-2.0, 0, 0, 20.0], [0, -1.5, 0, 30.0], [0, 0, 3.0, -400.0], [0, 0, 0, 1.0]])

Patch = tuple[int, str, float]
"""Offset in the header, format and value of a field (nifti1.h)."""

DIM_3, VOX_OFFSET, QUATERN_B, QUATERN_C, QUATERN_D = 46, 108, 256, 260, 264


def write(path: Path, *, unit: str = "mm", qform_only: bool = False, patches: Sequence[Patch] = ()) -> Path:
    image = nib.Nifti1Image(ARRAY, AFFINE_RAS)
    image.header.set_xyzt_units(unit)
    if qform_only:
        image.set_sform(None, 0)
        image.set_qform(AFFINE_RAS, 1)
    data = bytearray(image.to_bytes())
    for offset, form, value in patches:
        struct.pack_into(form, data, offset, value)
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("unit", ["micron", "meter"])
def test_a_unit_that_makes_no_voxels_of_a_ct_is_refused_with_the_remedy(tmp_path: Path, unit: str) -> None:
    path = write(tmp_path / "a.nii.gz", unit=unit)

    with pytest.raises(SourceError, match=rf"its unit of length is the {unit}, by which .* set its xyzt_units to mm"):
        discover(path)


@pytest.mark.parametrize("scale", [1e-4, 100.0])
def test_voxels_of_no_ct_are_refused_with_their_size(tmp_path: Path, scale: float) -> None:
    nib.save(nib.Nifti1Image(ARRAY, AFFINE_RAS * [[scale], [scale], [scale], [1.0]]), tmp_path / "a.nii")

    with pytest.raises(SourceError, match=rf"a\.nii: its voxels are {2 * scale:g} x .* mm by its affine, which no CT"):
        discover(tmp_path / "a.nii")


def test_a_quaternion_that_is_too_long_by_rounding_is_read(tmp_path: Path) -> None:
    rounded = [(QUATERN_B, "<f", 0.0), (QUATERN_C, "<f", 0.0), (QUATERN_D, "<f", 1.0000012)]

    volume = load_volume(write(tmp_path / "a.nii", qform_only=True, patches=rounded))

    np.testing.assert_array_equal(volume.array, HU)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_voxels_that_would_begin_within_the_header_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, patches=[(VOX_OFFSET, "<f", 0.0)])

    with pytest.raises(SourceError, match="its voxels begin at byte 0 by its header, which is within the header"):
        discover(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_more_voxels_than_the_header_describes_are_refused(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / name, patches=[(DIM_3, "<h", 7)])

    with pytest.raises(SourceError, match="holds more voxels than its header describes; export it again"):
        discover(path)


@pytest.mark.parametrize("rest", [bytes(512), b"rest" * 9])
def test_some_bytes_after_the_voxels_are_ignored(tmp_path: Path, rest: bytes) -> None:
    path = write(tmp_path / "a.nii")
    path.write_bytes(path.read_bytes() + rest)
    packed = write(tmp_path / "b.nii.gz")
    packed.write_bytes(packed.read_bytes() + rest)

    for file in (path, packed):
        np.testing.assert_array_equal(load_volume(file).array, HU)


def test_a_second_member_of_the_compression_belongs_to_the_volume(tmp_path: Path) -> None:
    data = write(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "b.nii.gz"
    path.write_bytes(gzip.compress(data[:9000]) + gzip.compress(data[9000:]))

    np.testing.assert_array_equal(load_volume(path).array, HU)
