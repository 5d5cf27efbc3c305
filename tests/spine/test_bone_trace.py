"""The spine is traced from bone alone."""

import highdicom
import numpy as np
import pytest
from tests.support.dicom import make_hu

from cspine.core.errors import NotAssessableError
from cspine.spine.bone_trace import trace_spine

AFFINE = np.array([[0, 0, 2, -56], [0, 2, 0, -48], [3, 0, 0, 100], [0, 0, 0, 1]], dtype=float)


def neck_volume(*, shift_x_mm: float = 0.0) -> highdicom.Volume:
    affine = AFFINE.copy()
    affine[0, 3] += shift_x_mm
    return highdicom.Volume(make_hu(), affine, "PATIENT")


def test_center_is_that_of_the_bone_not_of_the_image() -> None:
    trace = trace_spine(neck_volume())

    assert trace.center_lps_mm[0] == pytest.approx(10.0, abs=1.5)  # the image's center is at 0
    assert trace.extent_z_mm == pytest.approx((98.5, 218.5))


@pytest.mark.parametrize("shift", [-14.0, -6.0, 0.0, 9.0, 15.0])
def test_center_follows_the_patient(shift: float) -> None:
    trace = trace_spine(neck_volume(shift_x_mm=shift))

    assert trace.center_lps_mm[0] == pytest.approx(10.0 + shift, abs=1.5)


def test_scan_without_bone_is_not_assessable() -> None:
    volume = neck_volume()

    with pytest.raises(NotAssessableError, match="no bone") as caught:
        trace_spine(volume.with_array(np.minimum(volume.array, 100)))

    assert caught.value.code == "no-bone"


def test_scan_of_too_little_height_is_not_assessable() -> None:
    volume = neck_volume()

    with pytest.raises(NotAssessableError, match="covers only") as caught:
        trace_spine(highdicom.Volume(volume.array[:6], volume.affine, "PATIENT"))

    assert caught.value.code == "too-short"
