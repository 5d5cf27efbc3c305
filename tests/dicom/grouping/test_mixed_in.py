"""Images that do not belong to the slices, and copies that are not equal, under one SeriesInstanceUID."""

from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pydicom.uid import generate_uid
from tests.support.dicom import make_hu, write_enhanced, write_series
from tests.support.dicom_mix import HU, OTHERS, series_of, stacks_of, tags, write_mixed

from cspine.dicom import load_volume

NOISY = np.asarray(HU + np.random.default_rng(1).integers(-3, 4, HU.shape), dtype=np.int16)
"""The stack as lossy compression changes it."""


def own_uid(dataset: Dataset, _: int) -> Dataset:
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    return dataset


def test_a_scout_image_within_the_series_is_left_out(tmp_path: Path) -> None:
    for name, image_type in (("named", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), ("unnamed", ["ORIGINAL", "PRIMARY"])):
        folder = tmp_path / name
        write_series(folder, HU)
        directions = ((0, 1, 0), (0, 0, -1), (1, 0, 0))
        scout = tags(ImageType=image_type, SOPInstanceUID=generate_uid(), InstanceNumber=99)
        (path,) = write_series(folder / "scout", HU[:1], directions=directions, change=scout)
        path.rename(folder / "0.dcm")

        np.testing.assert_array_equal(load_volume(folder).array, HU)


def test_a_dose_sheet_within_the_series_is_left_out(tmp_path: Path) -> None:
    (path, *_) = write_series(tmp_path, HU)
    sheet = own_uid(dcmread(path), 0)
    del sheet.ImagePositionPatient, sheet.ImageOrientationPatient, sheet.PixelSpacing
    sheet.SamplesPerPixel, sheet.PhotometricInterpretation, sheet.PlanarConfiguration = 3, "RGB", 0
    sheet.BitsAllocated, sheet.BitsStored, sheet.HighBit = 8, 8, 7
    sheet.PixelData = bytes(3 * HU[0].size)
    sheet.save_as(tmp_path / "0.dcm")

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_slices_of_two_frames_of_reference_are_never_joined(tmp_path: Path) -> None:
    hu = make_hu((24, 10, 14))
    write_series(tmp_path, hu, change=tags(FrameOfReferenceUID=lambda k: "1.2.3" if k < 12 else "1.2.4"))

    parts = series_of(tmp_path)

    assert [len(part.headers) for part in parts] == [12, 12]
    for part in parts:
        assert "2 stacks that differ in FrameOfReferenceUID" in part.warnings[0]


def test_a_lossy_copy_is_no_duplicate(tmp_path: Path) -> None:
    derived = tags(ImageType=["DERIVED", "PRIMARY", "AXIAL"], LossyImageCompression="01")
    named = write_mixed(tmp_path / "named", tags(), lambda d, k: derived(own_uid(d, k), k), stacks=(HU, NOISY))
    write_series(tmp_path / "same" / "a", HU)
    write_series(tmp_path / "same" / "b", NOISY, change=tags(LossyImageCompression="01"))

    assert [len(series.headers) for series in series_of(named)] == [12, 12]
    assert [len(series.headers) for series in series_of(tmp_path / "same")] == [12, 12]
    np.testing.assert_array_equal(load_volume(named).array, HU)  # the original one


def test_enhanced_files_of_a_series_in_time_are_read_apart(tmp_path: Path) -> None:
    for number, hu in enumerate((HU, OTHERS[0])):

        def change(dataset: Dataset, number: int = number) -> None:
            own_uid(dataset, 0).InstanceNumber = number + 1

        write_enhanced(tmp_path / f"{number}.dcm", hu, change=change)

    assert stacks_of(tmp_path) == [0, 1]


def test_blanks_and_null_bytes_after_a_uid_do_not_divide_a_series(tmp_path: Path) -> None:
    def pad(dataset: Dataset, k: int) -> Dataset:
        tag = Tag("SeriesInstanceUID")
        value = b"1.2.3\0" if k % 2 else b"1.2.3 "
        dataset._dict[tag] = RawDataElement(tag, "UI", len(value), value, 0, False, True)
        return dataset

    write_series(tmp_path, HU, change=pad)

    assert stacks_of(tmp_path) == [0]
