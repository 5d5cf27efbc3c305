"""NIfTI volumes, and segmentations resampled to the voxels of their study."""

import gzip
import itertools
import struct
import zipfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from tests.support.dicom import make_hu, write_series

from cspine.core.errors import CspineError, LabelError, SourceError
from cspine.dicom import discover, load_segmentation, load_volume, select_series
from cspine.phantom import PhantomSettings, synthesize

RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
HU = make_hu((14, 20, 24))
AFFINE_LPS = np.array([[0, 0, 2.0, -20.0], [0, 1.5, 0, -30.0], [3.0, 0, 0, -400.0], [0, 0, 0, 1.0]])
ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def make_image(array: npt.NDArray[Any], order: tuple[int, ...], signs: tuple[int, ...]) -> nib.Nifti1Image:
    """Return ``array[k, j, i]`` of `AFFINE_LPS` with its axes in another order and direction."""
    turned = array.transpose(order)[tuple(slice(None, None, sign) for sign in signs)]
    affine = AFFINE_LPS[:, [*order, 3]].copy()
    for axis, sign in enumerate(signs):
        if sign < 0:
            affine[:3, 3] += affine[:3, axis] * (turned.shape[axis] - 1)
            affine[:3, axis] *= -1
    return nib.Nifti1Image(np.ascontiguousarray(turned), RAS @ affine)


@pytest.mark.parametrize(("order", "signs"), ORDERS)
def test_every_order_of_axes_gives_the_same_volume(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    nib.save(make_image(HU, order, signs), tmp_path / "1.2.3.nii")

    volume = load_volume(tmp_path / "1.2.3.nii")

    np.testing.assert_array_equal(volume.array, HU)
    np.testing.assert_allclose(volume.affine, AFFINE_LPS, atol=1e-4)
    assert volume.provenance is not None
    assert volume.provenance.study_instance_uid == "1.2.3"
    assert volume.provenance.repairs[0].startswith("NIfTI does not declare the unit of its values")


def test_ranges_and_step_of_compressed_and_zipped_files(tmp_path: Path) -> None:
    image = make_image(HU, (2, 1, 0), (1, -1, 1))
    nib.save(image, tmp_path / "a.nii.gz")
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.write(tmp_path / "a.nii.gz", "x/a.nii.gz")

    for path in (tmp_path / "a.nii.gz", tmp_path / "b.zip"):
        part = load_volume(path, rows=(3, 17), slices=(1, 12), step=2)
        np.testing.assert_array_equal(part.array, HU[1:12:2, 3:17:2, ::2])


def test_scaled_values_and_nan(tmp_path: Path) -> None:
    values = HU.astype(np.float32) + np.float32(0.4)
    values[0, 0, 0] = np.nan
    values[0, 0, 1] = 1e9
    nib.save(make_image(values, (0, 1, 2), (1, 1, 1)), tmp_path / "float.nii")
    scaled = make_image(HU // 2, (0, 1, 2), (1, 1, 1))
    scaled.header.set_slope_inter(2.0, 10.0)
    nib.save(scaled, tmp_path / "scaled.nii")

    as_float = load_volume(tmp_path / "float.nii").array
    assert (as_float[0, 0, 0], as_float[0, 0, 1]) == (-1024, 32767)
    np.testing.assert_array_equal(as_float[1:], HU[1:])
    np.testing.assert_array_equal(load_volume(tmp_path / "scaled.nii").array, HU // 2 * 2 + 10)


def test_lengths_in_meters_and_oblique_axes_are_converted(tmp_path: Path) -> None:
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]]
    affine = RAS @ turn @ AFFINE_LPS
    image = nib.Nifti1Image(HU, affine * np.array([[0.001], [0.001], [0.001], [1.0]]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "m.nii")

    volume = load_volume(tmp_path / "m.nii")

    np.testing.assert_array_equal(volume.array, HU)
    np.testing.assert_allclose(volume.affine, turn @ AFFINE_LPS, atol=1e-3)


def test_a_sheared_affine_is_resampled_straight(tmp_path: Path) -> None:
    affine = AFFINE_LPS.copy()
    affine[1, 0] = 1.5  # every slice lies one row further back
    nib.save(nib.Nifti1Image(HU, RAS @ affine), tmp_path / "s.nii")

    volume = load_volume(tmp_path / "s.nii")

    assert volume.provenance is not None
    assert any("tilted by 26.6 degrees" in message for message in volume.provenance.repairs)
    for k in (0, 5, 13):
        np.testing.assert_array_equal(volume.array[k, k : k + 20], HU[k])


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (nib.Nifti1Image(np.zeros((4, 5, 6, 3), np.int16), np.eye(4)), "is 4 x 5 x 6 x 3 voxels; export one"),
        (nib.Nifti1Image(np.zeros((4, 5), np.int16), np.eye(4)), "voxels; export one"),
        (nib.Nifti1Image(np.zeros((4, 5, 6), np.complex64), np.eye(4)), "holds complex64 values"),
        (nib.Nifti1Image(np.zeros((4, 5, 6), np.int16), None), "has neither sform nor qform"),
    ],
)
def test_images_that_are_not_volumes_in_space_are_rejected(tmp_path: Path, image: Any, message: str) -> None:
    nib.save(image, tmp_path / "x.nii")

    with pytest.raises(SourceError, match=rf"x\.nii: .*{message}"):
        discover(tmp_path / "x.nii")


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_an_invalid_affine_is_rejected(tmp_path: Path, value: float) -> None:
    image = make_image(HU, (0, 1, 2), (1, 1, 1))
    nib.save(image, tmp_path / "x.nii")
    data = bytearray((tmp_path / "x.nii").read_bytes())
    for position in range(296, 312, 4):  # the second row of the sform
        struct.pack_into("<f", data, position, value)
    (tmp_path / "x.nii").write_bytes(data)

    with pytest.raises(SourceError, match=r"x\.nii: its affine does not place it"):
        discover(tmp_path / "x.nii")


def test_damaged_files_are_named(tmp_path: Path) -> None:
    nib.save(make_image(HU, (0, 1, 2), (1, 1, 1)), tmp_path / "a.nii.gz")
    data = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "cut.nii").write_bytes(gzip.decompress(data)[:-3000])
    (tmp_path / "cut.nii.gz").write_bytes(data[: len(data) // 2])
    (tmp_path / "text.nii").write_text("this is no NIfTI")

    for name in ("cut.nii", "cut.nii.gz"):
        with pytest.raises(CspineError, match=rf"{name}: .*copy it again"):
            load_volume(tmp_path / name)
    with pytest.raises(SourceError, match=r"text\.nii: is not a readable NIfTI"):
        load_volume(tmp_path / "text.nii")


def test_a_volume_that_is_too_large_is_rejected_before_memory_is_allocated(tmp_path: Path) -> None:
    header = nib.Nifti1Header()
    header.set_data_shape((8000, 8000, 8000))
    header.set_data_dtype(np.int16)
    header.set_sform(np.eye(4), 1)
    (tmp_path / "big.nii").write_bytes(header.binaryblock + bytes(100))

    with pytest.raises(CspineError, match=r"big\.nii: .*(GiB|readable)"):
        load_volume(tmp_path / "big.nii")


def test_a_segmentation_beside_dicom_is_skipped(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    nib.save(make_image(HU, (0, 1, 2), (1, 1, 1)), tmp_path / "mask.nii.gz")

    discovery = discover(tmp_path)

    assert len(discovery.studies) == 1
    assert [(skip.name, skip.reason.split(";")[0]) for skip in discovery.skipped] == [
        ("mask.nii.gz", "a NIfTI volume beside DICOM files")
    ]


def test_an_axial_nifti_is_selected(tmp_path: Path) -> None:
    nib.save(make_image(HU, (2, 0, 1), (-1, 1, 1)), tmp_path / "x.nii")

    selection = select_series(discover(tmp_path).studies[0])

    assert selection.reasons[0] == "14 axial slices 3.00 mm apart"


# --- segmentations ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("phantom") / "data"
    synthesize(root, studies=1, seed=3, settings=PhantomSettings(matrix=96, slice_spacing_mm=(2.0, 2.0)))
    return root


def test_the_phantoms_segmentation_overlaps_its_bones(phantom: Path) -> None:
    (folder,) = (phantom / "train_images").iterdir()
    volume = load_volume(folder)

    labels = load_segmentation(phantom / "segmentations" / f"{folder.name}.nii", volume)

    assert labels.shape == volume.array.shape
    assert set(np.unique(labels)) >= set(range(1, 8))
    assert np.median(volume.array[labels > 0]) > 250
    heights = [np.argwhere(labels == level)[:, 0].mean() for level in range(1, 8)]
    assert heights == sorted(heights, reverse=True)  # C1 at the head end


@pytest.mark.parametrize(("order", "signs"), ORDERS[::5])
def test_labels_in_every_order_of_axes_map_to_the_same_voxels(
    tmp_path: Path, order: tuple[int, ...], signs: tuple[int, ...]
) -> None:
    truth = np.random.default_rng(0).integers(0, 20, HU.shape).astype(np.uint8)
    nib.save(make_image(HU, (0, 1, 2), (1, 1, 1)), tmp_path / "ct.nii")
    nib.save(make_image(truth, order, signs), tmp_path / "labels.nii")
    volume = load_volume(tmp_path / "ct.nii")

    np.testing.assert_array_equal(load_segmentation(tmp_path / "labels.nii", volume), truth)
    flipped = volume.flip_spatial([0, 2])
    np.testing.assert_array_equal(load_segmentation(tmp_path / "labels.nii", flipped), truth[::-1, :, ::-1])
    part = load_volume(tmp_path / "ct.nii", rows=(4, 16), step=2)
    np.testing.assert_array_equal(load_segmentation(tmp_path / "labels.nii", part), truth[::2, 4:16:2, ::2])


def test_labels_on_an_oblique_volume_are_sampled_by_nearest_neighbor(tmp_path: Path) -> None:
    truth = np.zeros(HU.shape, np.uint8)
    truth[4:9, 6:14, 8:18] = 5
    nib.save(make_image(truth, (2, 1, 0), (1, 1, 1)), tmp_path / "labels.nii")
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    nib.save(nib.Nifti1Image(HU, RAS @ turn @ AFFINE_LPS), tmp_path / "ct.nii")
    volume = load_volume(tmp_path / "ct.nii")

    labels = load_segmentation(tmp_path / "labels.nii", volume)

    index = np.stack([*np.meshgrid(*map(np.arange, HU.shape), indexing="ij"), np.ones(HU.shape)]).reshape(4, -1)
    at = np.rint((np.linalg.inv(AFFINE_LPS) @ volume.affine @ index)[:3]).astype(int)
    inside = np.all((at >= 0) & (at < np.array(HU.shape)[:, None]), axis=0)
    expected = np.zeros(at.shape[1], np.uint8)
    expected[inside] = truth[tuple(at[:, inside])]
    assert np.mean(labels.ravel() == expected) > 0.999  # ties may fall either way
    assert np.count_nonzero(labels) > 100


def test_files_that_are_not_segmentations_of_the_study_are_rejected(tmp_path: Path) -> None:
    nib.save(make_image(HU, (0, 1, 2), (1, 1, 1)), tmp_path / "ct.nii")
    volume = load_volume(tmp_path / "ct.nii")
    far = AFFINE_LPS.copy()
    far[2, 3] += 5000
    nib.save(nib.Nifti1Image(np.ones(HU.shape, np.uint8), RAS @ far), tmp_path / "far.nii")

    with pytest.raises(LabelError, match=r"far\.nii: lies outside the volume"):
        load_segmentation(tmp_path / "far.nii", volume)
    with pytest.raises(LabelError, match=r"ct\.nii: holds other values than labels"):
        load_segmentation(tmp_path / "ct.nii", volume)
    with pytest.raises(LabelError, match=r"none\.nii: is not there; copy it again"):
        load_segmentation(tmp_path / "none.nii", volume)


def test_labels_that_are_too_large_are_rejected_before_memory_is_allocated(tmp_path: Path) -> None:
    nib.save(make_image(HU, (0, 1, 2), (1, 1, 1)), tmp_path / "ct.nii")
    volume = load_volume(tmp_path / "ct.nii")
    header = nib.Nifti1Header()
    header.set_data_dtype(np.float64)
    header.set_data_shape((4000, 4000, 4000))
    header.set_sform(np.eye(4), 1)
    header["vox_offset"] = 352
    with gzip.open(tmp_path / "labels.nii.gz", "wb") as file:
        file.write(header.binaryblock + bytes(1000))

    with pytest.raises(LabelError, match=r"labels\.nii\.gz: would take 476\.8 GiB, at most 8 GiB are read"):
        load_segmentation(tmp_path / "labels.nii.gz", volume)


def test_a_nifti_beside_files_that_are_not_images_is_read(tmp_path: Path) -> None:
    nib.save(make_image(HU, (0, 1, 2), (1, 1, 1)), tmp_path / "ct.nii.gz")
    (tmp_path / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0" * 500)

    discovery = discover(tmp_path)

    assert [skip.name for skip in discovery.skipped] == ["Thumbs.db"]
    np.testing.assert_array_equal(load_volume(tmp_path).array, HU)


def test_the_content_tells_whether_a_volume_is_compressed_and_not_its_ending(tmp_path: Path) -> None:
    hu = make_hu((12, 10, 8))
    nib.save(nib.Nifti1Image(hu.transpose(2, 1, 0), np.diag([-2.0, -2.0, 3.0, 1.0])), tmp_path / "a.nii.gz")
    packed = (tmp_path / "a.nii.gz").read_bytes()
    (tmp_path / "packed.nii").write_bytes(packed)
    (tmp_path / "plain.nii.gz").write_bytes(gzip.decompress(packed))
    (tmp_path / "empty.nii").touch()

    expected = load_volume(tmp_path / "a.nii.gz").array

    np.testing.assert_array_equal(load_volume(tmp_path / "packed.nii").array, expected)
    np.testing.assert_array_equal(load_volume(tmp_path / "plain.nii.gz").array, expected)
    with pytest.raises(SourceError, match=r"empty\.nii: is empty; copy it again"):
        load_volume(tmp_path / "empty.nii")
