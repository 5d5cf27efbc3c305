"""Lengths of headers are compared with limits as a person would: 3.0000003 mm is 3 mm."""

from pathlib import Path

import numpy as np
import pytest
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import GeometryError, NotAssessableError
from cspine.dicom import load_volume
from cspine.dicom.limits import MAX_SLICE_SPACING_MM, exceeds_mm
from cspine.dicom.loading import check_slice_spacing


@pytest.mark.parametrize("length_mm", [0.0, 2.9, 3.0, 3.0000003, float(np.float32(3.004))])
def test_lengths_up_to_the_limit_pass(length_mm: float) -> None:
    assert not exceeds_mm(length_mm, 3.0)
    check_slice_spacing(length_mm)


@pytest.mark.parametrize(("length_mm", "text"), [(3.01, "3.01 mm"), (3.06, "3.1 mm"), (5.0, "5.0 mm")])
def test_longer_lengths_do_not(length_mm: float, text: str) -> None:
    assert exceeds_mm(length_mm, MAX_SLICE_SPACING_MM)
    with pytest.raises(NotAssessableError, match=f"slices {text} apart"):
        check_slice_spacing(length_mm)


def test_a_limit_of_many_digits_is_rounded_too() -> None:
    assert not exceeds_mm(2.345, 2.345)
    assert not exceeds_mm(2.3451, 2.345)


def test_a_gap_of_the_limit_is_bridged_whatever_the_last_digits(tmp_path: Path) -> None:
    hu = make_hu((12, 20, 24))
    write_series(tmp_path, hu, change=lambda dataset, k: None if k == 6 else dataset, spacing=(1.5000002, 2, 2))

    assert load_volume(tmp_path, max_gap_mm=3.0).shape == hu.shape


def test_the_remedy_of_a_wide_gap_is_wide_enough(tmp_path: Path) -> None:
    hu = make_hu((12, 20, 24))
    write_series(tmp_path, hu, change=lambda dataset, k: None if k == 6 else dataset, spacing=(1.57, 2, 2))

    with pytest.raises(GeometryError, match=r"a 3\.1 mm gap .* pass --max-gap-mm 3\.2"):
        load_volume(tmp_path)
    assert load_volume(tmp_path, max_gap_mm=3.2).shape == hu.shape
