"""Metal and motion are reported for the vertebrae that they affect, and for no others."""

import highdicom
import numpy as np
import pytest

from cspine.spine.spine_map import Vertebra
from cspine.views.image_quality import detect_motion_lps_mm, image_quality_problems, metal_mm3


def volume(*, motion_mm: float = 0.0, noise_hu: float = 20.0) -> highdicom.Volume:
    """Return a leaning neck of 100 x 80 mm with noise; from slice 40 on it is displaced sideways."""
    z, y, x = np.meshgrid(np.arange(80.0), np.arange(-75.0, 75.0), np.arange(-75.0, 75.0), indexing="ij")
    shift = 0.2 * z + np.where(z >= 40, motion_mm, 0.0)
    hu = np.where(((x - shift) / 50) ** 2 + (y / 40) ** 2 < 1, 40.0, -1000.0)
    hu += np.random.default_rng(0).normal(0.0, noise_hu, hu.shape)
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = 1.0
    affine[:, 3] = [-75.0, -75.0, 0.0, 1.0]
    return highdicom.Volume(np.rint(hu).astype(np.int16), affine, "PATIENT")


def vertebra(level: str, z: float) -> Vertebra:
    frame = np.eye(4)
    frame[:3, 3] = [5.0, 0.0, z]
    return Vertebra(level, frame, frame[:3, 3], np.array([[-20.0, -9, -8], [20.0, 40, 8]]), 1.0, 1.0, 9000.0)


@pytest.mark.parametrize("motion", [3.0, -5.0])
def test_motion_is_detected_where_it_occurs(motion: float) -> None:
    assert detect_motion_lps_mm(volume(motion_mm=motion)) == pytest.approx([39.5], abs=1.0)


def test_a_leaning_neck_without_motion_has_none() -> None:
    assert not len(detect_motion_lps_mm(volume()))
    assert not len(detect_motion_lps_mm(volume(motion_mm=0.4, noise_hu=60.0)))


def test_motion_is_reported_for_the_vertebra_at_its_height() -> None:
    problems = image_quality_problems(
        volume(motion_mm=4.0), [vertebra("C3", 60.0), vertebra("C4", 38.0), vertebra("C5", 20.0)]
    )

    assert problems == {"C4": ("the patient moved while it was scanned",)}


def test_metal_is_measured_and_reported_at_its_position() -> None:
    scan = volume()
    scan.array[18:22, 75:79, 78:83] = 3000  # 80 cubic mm about C5

    assert metal_mm3(scan, vertebra("C5", 20.0)) == pytest.approx(80.0)
    assert metal_mm3(scan, vertebra("C3", 60.0)) == 0.0
    assert image_quality_problems(scan, [vertebra("C3", 60.0), vertebra("C5", 20.0)]) == {
        "C5": ("metal in or beside it: 80 cubic mm at 2500 HU and more",)
    }


def test_a_vertebra_outside_the_scan_has_no_metal() -> None:
    assert metal_mm3(volume(), vertebra("C1", 400.0)) == 0.0


def test_motion_is_not_detected_in_few_slices() -> None:
    scan = volume(motion_mm=9.0)
    few = highdicom.Volume(scan.array[38:42], scan.affine, "PATIENT")

    assert not len(detect_motion_lps_mm(few))
