"""The same voxels in the same place as SimpleITK's series reader and dcm2niix give."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk  # noqa: N813 - its own custom
from tests.support.codecs import SYNTAXES, Syntax
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import InputError
from cspine.dicom import discover, load_volume
from cspine.dicom.volume import Volume

HU = make_hu((16, 40, 48))
RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

# What these versions cannot read, so that nothing can be compared.
NOT_IN_SIMPLEITK = {"htj2k-lossless", "htj2k"}
# dcm2niix decodes JPEG baseline with a small decoder of its own that is off by up to 8 grey levels.
NOT_IN_DCM2NIIX = {"jpeg-ls", "jpeg-ls-near", "htj2k-lossless", "htj2k", "deflated", "jpeg-extended", "jpeg-baseline"}

needs_dcm2niix = pytest.mark.skipif(shutil.which("dcm2niix") is None, reason="dcm2niix is not installed")


def by_simpleitk(folder: Path, series_uid: str = "") -> sitk.Image:
    return sitk.ReadImage(list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series_uid)))


def by_dcm2niix(folder: Path, out: Path) -> dict[str, Any]:
    """Return what dcm2niix makes of a folder, by series UID."""
    out.mkdir()
    subprocess.run(
        ["dcm2niix", "-b", "n", "-z", "n", "-f", "%j", "-o", str(out), str(folder)], check=True, capture_output=True
    )
    return {path.stem: nib.load(path) for path in out.glob("*.nii")}


def assert_same_as_simpleitk(volume: Volume, image: sitk.Image, error: int = 0) -> None:
    theirs = np.maximum(sitk.GetArrayFromImage(image), -1024)  # their padding, below air, is air here
    assert np.abs(np.maximum(volume.array, -1024) - theirs.astype(np.int64)).max() <= error
    for k, j, i in ((0, 0, 0), (5, 6, 7)):
        place = volume.affine @ [k, j, i, 1]
        np.testing.assert_allclose(place[:3], image.TransformIndexToPhysicalPoint((i, j, k)), atol=2e-3)


def assert_same_as_nifti(volume: Volume, theirs: Any, error: int = 0) -> None:
    ours = nib.as_closest_canonical(nib.Nifti1Image(volume.array.astype(np.int16), RAS @ volume.affine))
    theirs = nib.as_closest_canonical(theirs)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=2e-3)
    values: npt.NDArray[np.float64] = np.maximum(theirs.get_fdata(), -1024)
    assert np.abs(np.maximum(ours.get_fdata(), -1024) - values).max() <= error


@pytest.mark.parametrize(
    "syntax", [s for s in SYNTAXES if s.name not in NOT_IN_SIMPLEITK], ids=lambda syntax: syntax.name
)
def test_simpleitk_reads_the_same_from_every_transfer_syntax(tmp_path: Path, syntax: Syntax) -> None:
    write_series(tmp_path, HU, syntax=syntax.uid, encode=syntax.encode, change=syntax.change)

    # Lossy decoders may round the last step of the inverse transform differently.
    assert_same_as_simpleitk(load_volume(tmp_path), by_simpleitk(tmp_path), error=16 if syntax.error > 4 else 0)


@needs_dcm2niix
@pytest.mark.parametrize(
    "syntax", [s for s in SYNTAXES if s.name not in NOT_IN_DCM2NIIX], ids=lambda syntax: syntax.name
)
def test_dcm2niix_reads_the_same_from_every_transfer_syntax(tmp_path: Path, syntax: Syntax) -> None:
    write_series(tmp_path / "in", HU, syntax=syntax.uid, encode=syntax.encode, change=syntax.change)

    (image,) = by_dcm2niix(tmp_path / "in", tmp_path / "out").values()

    assert_same_as_nifti(load_volume(tmp_path / "in"), image, error=16 if syntax.error > 4 else 0)


@needs_dcm2niix
@pytest.mark.parametrize("directions", [
    ((0, 0, -1), (0, 1, 0), (1, 0, 0)),
    ((0, 0, 1), (0, -1, 0), (-1, 0, 0)),
    ((0, 0.17365, 0.98481), (0, 0.98481, -0.17365), (1, 0, 0)),
    ((0.08716, 0, 0.99619), (0, 1, 0), (0.99619, 0, -0.08716)),
])  # fmt: skip
def test_all_agree_where_slices_are_flipped_or_turned(tmp_path: Path, directions: Any) -> None:
    write_series(tmp_path / "in", HU, directions=directions, origin=(-30.5, 12.25, -700.0))
    volume = load_volume(tmp_path / "in")

    (image,) = by_dcm2niix(tmp_path / "in", tmp_path / "out").values()

    assert_same_as_nifti(volume, image)
    theirs = by_simpleitk(tmp_path / "in")
    if directions[0][2] > 0:  # SimpleITK counts slices downward where the files' names do
        assert_same_as_simpleitk(volume, theirs)


@needs_dcm2niix
@pytest.mark.real_data
def test_every_readable_real_series_is_read_alike_by_all(real_data: Path, tmp_path: Path) -> None:
    compared = []
    folders = [path for path in sorted(real_data.iterdir()) if path.is_dir() and not list(path.glob("*.nii*"))]
    for number, folder in enumerate(folders):
        theirs = by_dcm2niix(folder, tmp_path / str(number))
        for study in discover(folder).studies:
            uids = [series.series_instance_uid for series in study.series]
            for series in study.series:
                if uids.count(series.series_instance_uid) > 1:  # others read stacks of two thicknesses as one
                    continue
                try:
                    volume = load_volume(series)
                except InputError:
                    continue
                if len(volume.array) < 2:  # a scout image: nothing tells how thick it is
                    continue
                uid = series.series_instance_uid
                assert_same_as_nifti(volume, theirs[uid])
                files = {header.file.container.parent for header in series.headers}
                assert_same_as_simpleitk(volume, by_simpleitk(files.pop(), uid))
                compared.append((folder.name, len(volume.array)))
    assert [name for name, _ in compared] == [
        "chest-thick", "philips-study", "philips-study", "vtk-head", "weasis-neck", "weasis-rt",
    ]  # fmt: skip
