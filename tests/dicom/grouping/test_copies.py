"""Copies of images: equal pixels at one place count once, whatever their UIDs, attributes and encoding."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import JPEGLSLossless, generate_uid
from tests.support.dicom import write_enhanced, write_series
from tests.support.dicom_mix import HU, Change, series_of, tags

from cspine.dicom import load_volume


@pytest.mark.parametrize(
    "change",
    [
        tags(SOPInstanceUID=lambda _: generate_uid()),
        tags(SOPInstanceUID=lambda _: generate_uid(), InstanceNumber=lambda k: 900 + k, ContentTime="130000"),
        tags(AcquisitionNumber=2),
        tags(ConvolutionKernel=None),
    ],
    ids=["uids", "numbers", "acquisition", "kernel"],
)
def test_a_half_that_was_sent_again_is_left_out(tmp_path: Path, change: Change) -> None:
    write_series(tmp_path / "a", HU, change=tags(ConvolutionKernel="Br59", AcquisitionNumber=1))
    write_series(tmp_path / "b", HU[:6], change=lambda d, k: change(tags(ConvolutionKernel="Br59")(d, k) or d, k))

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, HU)
    assert volume.provenance is not None
    assert volume.provenance.repairs == ("6 duplicate slices removed, first: b/1.dcm lies where a/1.dcm does",)


def test_copies_in_another_encoding_are_left_out(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU)
    write_series(
        tmp_path / "b", HU, syntax=JPEGLSLossless, encode=lambda pixels: bytes(imagecodecs.jpegls_encode(pixels))
    )

    (series,) = series_of(tmp_path)

    np.testing.assert_array_equal(load_volume(series).array, HU)


def test_a_multi_frame_file_and_its_copy_are_one_series(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "a.dcm", HU)
    write_enhanced(tmp_path / "b.dcm", HU, order=[*range(11, -1, -1)])

    (series,) = series_of(tmp_path)

    np.testing.assert_array_equal(load_volume(series).array, HU)
