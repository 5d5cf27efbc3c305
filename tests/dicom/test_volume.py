"""Series loaded as volumes: voxels, affine, resampling, provenance and errors."""

import itertools
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import DecodeError, DicomError, GeometryError
from cspine.dicom import discover, load_volume, select_series

HU = make_hu((14, 20, 24))


def test_voxels_and_affine_are_those_written(tmp_path: Path) -> None:
    write_series(tmp_path, HU)

    volume = load_volume(tmp_path)

    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, HU)
    np.testing.assert_allclose(volume.affine @ [1, 1, 1, 1], [-54, -46, 3, 1])
    assert volume.provenance is not None
    assert len(volume.provenance.sop_instance_uids) == 14
    assert volume.provenance.repairs == ()


@pytest.mark.parametrize("upward", [True, False])
def test_slices_are_sorted_by_position_not_by_instance_number(tmp_path: Path, upward: bool) -> None:
    write_series(tmp_path, HU, upward=upward)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


AXES = np.eye(3)
ORIENTATIONS = [
    np.array(signs)[:, None] * AXES[list(order)]
    for order in itertools.permutations(range(3))
    for signs in itertools.product((1.0, -1.0), repeat=3)
]


@settings(max_examples=48, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=st.integers(0, len(ORIENTATIONS) - 1))
def test_every_flip_and_slice_direction_gives_the_same_physical_volume(
    tmp_path_factory: pytest.TempPathFactory, number: int
) -> None:
    truth = HU[:12, :12, :12]
    origin = np.array([-10.0, -20.0, -30.0])
    directions = ORIENTATIONS[number]  # rows: LPS directions of k, j, i
    pixels = _along(truth, directions)
    start = origin + sum(11.0 * 2.0 * np.where(axis < 0, -axis, 0.0) for axis in directions)
    folder = tmp_path_factory.mktemp("flip")
    write_series(folder, pixels, spacing=(2, 2, 2), directions=directions.tolist(), origin=start.tolist())

    study = discover(folder).studies[0]
    series_uid = study.series[0].series_instance_uid
    volume = load_volume(select_series(study, series_uid=series_uid).selected).to_patient_orientation("HPL")

    np.testing.assert_array_equal(volume.array, truth)
    np.testing.assert_allclose(volume.affine[:3, 3], origin)


def _along(truth: npt.NDArray[np.int16], directions: npt.NDArray[np.float64]) -> npt.NDArray[np.int16]:
    """Reorder ``truth[z, y, x]`` so that its axes run along the given LPS directions."""
    axes = [2 - int(np.argmax(np.abs(direction))) for direction in directions]
    flips = tuple(slice(None, None, 1 if direction.sum() > 0 else -1) for direction in directions)
    return np.ascontiguousarray(truth.transpose(axes)[flips])


def _compressed(codec: str) -> object:
    return {
        "ls": lambda pixels: bytes(imagecodecs.jpegls_encode(pixels)),
        "2k": lambda pixels: bytes(imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", level=0, reversible=True)),
        "ljpeg": lambda pixels: bytes(imagecodecs.ljpeg_encode(pixels, bitspersample=16)),
    }[codec]


@pytest.mark.parametrize(
    ("syntax", "codec"),
    [(JPEGLSLossless, "ls"), (JPEG2000Lossless, "2k"), (JPEGLosslessSV1, "ljpeg")],
    ids=["jpeg-ls", "jpeg-2000", "jpeg-lossless"],
)
def test_lossless_compression_gives_the_same_voxels(tmp_path: Path, syntax: UID, codec: str) -> None:
    write_series(tmp_path, HU, syntax=syntax, encode=_compressed(codec))  # type: ignore[arg-type]

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_native_syntaxes_give_the_same_voxels(tmp_path: Path, syntax: UID) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        if syntax == ExplicitVRBigEndian:
            dataset.PixelData = np.frombuffer(dataset.PixelData, "<u2").astype(">u2").tobytes()
        return dataset

    write_series(tmp_path, HU, syntax=syntax, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_rle_gives_the_same_voxels(tmp_path: Path) -> None:
    for path in write_series(tmp_path, HU):
        dataset = dcmread(path)
        dataset.compress(RLELossless, encoding_plugin="pydicom")
        dataset.save_as(path)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_unused_bits_sign_and_slope_are_applied(tmp_path: Path) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        stored = np.frombuffer(dataset.PixelData, "<u2").astype(np.int32) - 1024  # -1024..1500 fits 12 bits signed
        dataset.PixelData = ((stored & 0x0FFF) | 0x9000).astype("<u2").tobytes()  # rubbish above the stored bits
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, 1
        dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "10"
        return dataset

    write_series(tmp_path, HU, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, np.rint(HU * 0.5 + 10).astype(np.int16))


def test_padding_becomes_air(tmp_path: Path) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.add_new("PixelPaddingValue", "US", 1064)  # stored value of 40 HU here
        return dataset

    write_series(tmp_path, HU, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, np.where(HU == 40, -1024, HU))


def test_ranges_and_step_equal_cropping_the_complete_volume(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    full = load_volume(tmp_path)

    part = load_volume(tmp_path, slices=(2, 11), rows=slice(3, 18), step=2)

    np.testing.assert_array_equal(part.array, full.array[2:11:2, 3:18:2, ::2])
    np.testing.assert_allclose(part.affine @ [1, 1, 1, 1], full.affine @ [4, 5, 2, 1])


def test_slices_may_have_another_step(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    full = load_volume(tmp_path)

    part = load_volume(tmp_path, slices=slice(1, None, 3))

    np.testing.assert_array_equal(part.array, full.array[1::3])
    np.testing.assert_allclose(part.affine @ [2, 3, 4, 1], full.affine @ [7, 3, 4, 1])
    with pytest.raises(GeometryError, match="must be 1 or more"):
        load_volume(tmp_path, slices=slice(None, None, -1))


def test_only_requested_slices_are_decoded(tmp_path: Path) -> None:
    paths = write_series(tmp_path, HU)
    dataset = dcmread(paths[-1])
    dataset.PixelData = dataset.PixelData[:-100]  # the last slice cannot be decoded
    dataset.save_as(paths[-1])

    assert load_volume(tmp_path, slices=(0, 5)).shape == (5, 20, 24)
    with pytest.raises(DecodeError):
        load_volume(tmp_path)


def test_a_file_cut_off_in_its_pixels_is_left_out_and_named(tmp_path: Path) -> None:
    paths = write_series(tmp_path, HU, spacing=(1.0, 2.0, 2.0))
    paths[5].write_bytes(paths[5].read_bytes()[:-300])

    volume = load_volume(tmp_path)

    assert volume.shape == HU.shape
    assert volume.provenance is not None
    assert volume.provenance.repairs[0] == (
        "1 file could not be read: 6.dcm: is cut off within its pixels; copy it again"
    )


def test_a_series_whose_files_are_all_cut_off_is_named(tmp_path: Path) -> None:
    for path in write_series(tmp_path, HU):
        path.write_bytes(path.read_bytes()[:-300])

    with pytest.raises(DecodeError, match=r"\.dcm: .*cut off, .*copy"):
        load_volume(tmp_path)


def test_damaged_compressed_pixels_are_named_with_their_codec(tmp_path: Path) -> None:
    write_series(tmp_path, HU, syntax=JPEGLSLossless, encode=lambda _: b"\xff\xd8 rubbish!")

    with pytest.raises(DecodeError, match=r"\.dcm: the JPEG-LS lossless pixels are damaged"):
        load_volume(tmp_path)


def test_a_path_with_two_studies_is_rejected(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU, study="1.1")
    write_series(tmp_path / "b", HU, study="1.2")

    with pytest.raises(DicomError, match="holds 2 studies"):
        load_volume(tmp_path)


def test_a_volume_that_is_too_large_is_rejected_before_memory_is_allocated(tmp_path: Path) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.Rows = dataset.Columns = 8192
        return dataset

    write_series(tmp_path, make_hu((70, 8, 8)), change=change)

    with pytest.raises(GeometryError, match="would take"):
        load_volume(tmp_path)


def test_a_second_scan_of_the_same_region_is_a_separate_part(tmp_path: Path) -> None:
    def numbered(number: int) -> Callable[[Dataset, int], Dataset]:
        def change(dataset: Dataset, _: int) -> Dataset:
            dataset.AcquisitionNumber = number
            return dataset

        return change

    write_series(tmp_path / "a", HU, change=numbered(1))
    write_series(tmp_path / "b", HU[:12] // 2, change=numbered(2))

    (study,) = discover(tmp_path).studies
    volume = load_volume(select_series(study).selected)

    assert [(series.part, len(series.headers)) for series in study.series] == [(0, 14), (1, 12)]
    np.testing.assert_array_equal(volume.array, HU)
    assert volume.provenance is not None
    assert volume.provenance.repairs == ()


def test_a_second_scan_between_the_slices_of_the_first_is_not_mixed_in(tmp_path: Path) -> None:
    def numbered(number: int) -> Callable[[Dataset, int], Dataset]:
        def change(dataset: Dataset, k: int) -> Dataset:
            # The first scan's two halves are numbered on their own; the second scan repeats one of them.
            dataset.AcquisitionNumber = number if number == 3 else 1 + k // 7
            return dataset

        return change

    write_series(tmp_path / "a", HU, change=numbered(1))
    write_series(tmp_path / "b", HU[:7] // 2, origin=(-56.0, -48.0, 1.0), change=numbered(3))

    (study,) = discover(tmp_path).studies

    assert [len(series.headers) for series in study.series] == [14, 7]
    np.testing.assert_array_equal(load_volume(study.series[0]).array, HU)


def test_one_scan_in_several_acquisitions_stays_one_series(tmp_path: Path) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.AcquisitionNumber = 1 + k // 5
        return dataset

    write_series(tmp_path, HU, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_values_without_a_declared_unit_are_reported(tmp_path: Path) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        del dataset.RescaleIntercept
        dataset.PixelRepresentation, dataset.PixelData = 1, HU[k].astype("<i2").tobytes()
        return dataset

    write_series(tmp_path, HU, change=change)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array, HU)
    assert volume.provenance is not None
    assert volume.provenance.repairs[0] == "RescaleIntercept is missing; stored values taken as Hounsfield units"


@pytest.mark.parametrize("shape", [(12, 512, 519), (11, 768, 768), (12, 31, 17)])
def test_odd_sizes_are_loaded(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    hu = np.random.default_rng(0).integers(-1024, 2000, shape).astype(np.int16)
    write_series(tmp_path, hu)

    np.testing.assert_array_equal(load_volume(tmp_path).array, hu)


def test_stored_bits_above_the_lowest_are_shifted(tmp_path: Path) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        stored = np.frombuffer(dataset.PixelData, "<u2")
        dataset.PixelData = (stored << 4).astype("<u2").tobytes()
        dataset.BitsStored, dataset.HighBit = 12, 15
        return dataset

    write_series(tmp_path, HU, change=change)

    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_slope_and_intercept_are_applied_per_slice(tmp_path: Path) -> None:
    def change(dataset: Dataset, k: int) -> Dataset:
        dataset.RescaleSlope, dataset.RescaleIntercept = (1, -1024) if k % 2 else ("0.5", f"{-1000 - k}")
        return dataset

    write_series(tmp_path, HU, change=change)

    volume = load_volume(tmp_path)

    np.testing.assert_array_equal(volume.array[1::2], HU[1::2])
    np.testing.assert_array_equal(volume.array[4], np.rint((HU[4] + 1024) * 0.5 - 1004))


def test_a_requested_series_of_a_path_is_loaded(tmp_path: Path) -> None:
    write_series(tmp_path / "a", HU, series="1.1")
    write_series(tmp_path / "b", HU[:, ::-1], series="1.2")

    np.testing.assert_array_equal(load_volume(tmp_path, series_uid="1.2").array, HU[:, ::-1])
    with pytest.raises(DicomError, match=r"has no series 1\.3"):
        load_volume(tmp_path, series_uid="1.3")


def test_progress_counts_headers_and_slices(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    updates: list[tuple[str, int, int]] = []

    load_volume(tmp_path, progress=lambda *step: updates.append(step))

    assert (updates[0], updates[-1]) == (("headers", 0, 14), ("decode", 14, 14))
    assert [done for stage, done, _ in updates if stage == "decode"] == [0, 4, 8, 12, 14]
