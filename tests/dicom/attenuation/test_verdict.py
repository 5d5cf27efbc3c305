"""What the histogram of values proves: Hounsfield units, a known fault, or nothing."""

import numpy as np
import numpy.typing as npt
import pytest
from tests.support.tissue import SHAPE, make_mr, make_neck

from cspine.dicom.attenuation.histogram import Scale, ValueHistogram
from cspine.dicom.attenuation.verdict import Verdict, assess_values

NECK = make_neck()


def assess(values: npt.ArrayLike, intercept: float = 0.0) -> Verdict:
    array = np.clip(np.rint(values), -32768, 32767).astype(np.int16)
    return assess_values(ValueHistogram.of(array), intercept)


def padded(value: int) -> npt.NDArray[np.int16]:
    values = NECK.copy()
    values[:, :20] = value
    return values


BODY = NECK[:, 18:46, 18:46]
WATER = np.random.default_rng(1).normal(0.0, 12.0, SHAPE)

RIGHT = {
    "neck": NECK,
    "within the body": BODY,
    "padding -2000": padded(-2000),
    "padding -3024": padded(-3024),
    "padding -2000 of lossy compression": padded(-2000) + (padded(-2000) == -2000) * WATER / 3,
    "that, and noise": np.where(padded(-2000) == -2000, WATER / 3 - 2000, NECK + 9 * WATER),
    "padding -1024": padded(-1024),
    "padding 0": padded(0),
    "contrast": np.where((NECK > 0) & (NECK < 45), 350, NECK),
    "metal": np.where(np.indices(SHAPE)[2] > 58, 3071, NECK),
    "water": WATER,
    "water in air": np.where(NECK > -500, WATER, NECK),
    "acrylic": WATER + 120,
    "brain": np.where(NECK > -500, WATER + 35, NECK),
    "bone only": np.where(NECK > -500, np.abs(WATER) * 30 + 300, NECK),
    "air only": WATER - 1000,
    "constant": np.zeros(SHAPE),
    "few values": NECK[:, ::8, ::8],
    "0.5 mm of noise": NECK + 6 * WATER,
}


@pytest.mark.parametrize("intercept", [0.0, -1024.0])
@pytest.mark.parametrize("name", RIGHT)
def test_values_that_may_be_hounsfield_units_are_left_alone(name: str, intercept: float) -> None:
    assert assess(RIGHT[name], intercept) == Verdict()


@pytest.mark.parametrize(
    ("values", "intercept", "scale"),
    [
        (NECK + 1024, 0.0, Scale(1.0, 1024.0)),
        (np.maximum(NECK + 1000, 0), 0.0, Scale(1.0, 1000.0)),
        (np.where(NECK < -900, 0, NECK + 1024), 0.0, Scale(1.0, 1024.0)),
        (BODY + 1024, 0.0, Scale(1.0, 1024.0)),
        (NECK - 1024, -1024.0, Scale(1.0, -1024.0)),
        (NECK + 8192, 0.0, Scale(1.0, 8192.0)),
        (NECK + 7168, -1024.0, Scale(1.0, 7168.0)),
        (NECK * 10, 0.0, Scale(10.0)),
        (NECK / 10, 0.0, Scale(0.1)),
        (NECK * 2, 0.0, Scale(2.0)),
        (NECK * 2 + 1024, -1024.0, Scale(2.0, 1024.0)),
        (NECK / 2 - 512, -1024.0, Scale(0.5, -512.0)),
    ],
)
def test_offsets_and_slopes_that_are_certain(values: npt.ArrayLike, intercept: float, scale: Scale) -> None:
    assert assess(values, intercept) == Verdict(scale)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (np.maximum(NECK, 0), "what is below 0, air and fat, was cut off"),
        ((np.clip(NECK, -160, 240) + 160.0) * 255 / 400, "as in a picture"),
        ((NECK + 1024) / 4000 * 30, "different values"),
        ((NECK - NECK.mean()) / NECK.std(), "all values lie between -1 and"),
        (np.where(NECK > 200, 3, np.where(NECK > -50, 1, 0)), "3 different values, from 0 to 3, as labels have"),
        (make_mr(), "the lowest value is 0, where air should be -1000"),
        (NECK.astype(int) + 32768, "where only metal is"),
        (NECK.view(np.uint16).byteswap().view(np.int16), "where only metal is"),
    ],
)
def test_values_that_no_scan_in_hounsfield_units_has(values: npt.ArrayLike, fault: str) -> None:
    verdict = assess(np.tile(values, (1, 1, 2)))

    assert verdict.scale is None
    assert fault in str(verdict.fault)


def test_mr_whose_tissue_lies_at_1024_is_not_taken_for_ct() -> None:
    verdict = assess(make_mr() * 3.2)

    assert verdict.scale is None
    assert verdict.fault is not None
