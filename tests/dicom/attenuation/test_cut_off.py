"""Scans whose bone was cut off at the upper end of a window are refused."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tests.support.dicom import write_series

from cspine.core.errors import NotHounsfieldError
from cspine.core.typing import HounsfieldUnits
from cspine.dicom import load_volume


def scan() -> HounsfieldUnits:
    """Return noisy muscle with a ring of fat around it and bone within it, in air."""
    rng = np.random.default_rng(3)
    j, i = np.mgrid[:48, :48] - 23.5
    radius = np.hypot(i, j)
    hu = np.select([radius > 20, radius > 14, radius < 5], [-1000, -100, 500], 50)
    return np.rint(hu + rng.normal(0, 15 + 100 * (radius < 5), (12, 48, 48))).clip(-1024).astype(np.int16)


HU = scan()


@pytest.mark.parametrize(("low", "high"), [(-160, 240), (-1024, 240), (-1024, 300), (-200, 400)])
def test_a_scan_without_values_of_bone_is_refused(tmp_path: Path, low: int, high: int) -> None:
    write_series(tmp_path / "dicom", np.clip(HU, low, high))
    array = np.clip(HU, low, high).transpose(2, 1, 0)
    nib.save(nib.Nifti1Image(array, np.diag([-2.0, -2.0, 3.0, 1.0])), tmp_path / "a.nii")

    for source in (tmp_path / "dicom", tmp_path / "a.nii"):
        with pytest.raises(
            NotHounsfieldError, match=rf"no value lies above {high} and .*% are {high}: .* bone, was cut"
        ):
            load_volume(source)


@pytest.mark.parametrize("high", [3071, 1500])
def test_a_scan_whose_metal_is_cut_off_is_read(tmp_path: Path, high: int) -> None:
    hu = HU.copy()
    hu[:, 22:26, 22:26] = 9000
    write_series(tmp_path, np.clip(hu, -1024, high))

    np.testing.assert_array_equal(load_volume(tmp_path).array, np.clip(hu, -1024, high))


def test_a_scan_that_is_not_cut_off_is_read(tmp_path: Path) -> None:
    write_series(tmp_path, HU)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)
