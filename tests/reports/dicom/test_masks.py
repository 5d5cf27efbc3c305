"""Masks on the voxels of the original slices, for any geometry, and their round trip through DICOM segmentations."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from scipy import ndimage
from tests.support.dciodvfy import DCIODVFY, errors_of
from tests.support.dicom import make_hu, write_enhanced, write_series
from tests.support.phantom import predict_case, write_phantom

from cspine.dicom import discover, load_volume, select_series
from cspine.dicom.read_planes import read_slice
from cspine.dicom.series import Series
from cspine.localization.coarse import coarse_affine
from cspine.reports.dicom.derived_series import SegmentationType
from cspine.reports.dicom.masks import BonePlanes, slice_affine, vertebra_mask
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.segmentation import segment_vertebrae
from cspine.reports.dicom.source_images import source_images
from cspine.spine.bone_crop import BoneCrop
from cspine.spine.spine_map import VertebraLabelMap

HU = make_hu()
TILT = np.deg2rad(15.0)

GEOMETRIES: dict[str, dict[str, Any]] = {
    "axial": {},
    "descending": {"upward": False},
    "feet first": {"directions": ((0, 0, -1), (0, 1, 0), (-1, 0, 0)), "origin": (56.0, -48.0, 117.0)},
    "tilted": {
        "directions": ((0, 0, 1), (0, np.cos(TILT), np.sin(TILT)), (1, 0, 0)),
    },
    "sheared": {"shear_mm": 0.6},
    "missing slice": {"change": lambda dataset, k: None if k == 20 else dataset},
}


def write_and_select(folder: Path, **geometry: Any) -> Series:
    write_series(folder, HU, **geometry)
    return select_series(discover(folder).studies[0]).selected


def label_map_within(series: Series) -> VertebraLabelMap:
    """Return a label map of two blocks, C3 above C4, in the center of a series."""
    stack = series.stack
    ends = [slice_affine(series.headers[stack.order[k]], stack) @ [24, 28, 1] for k in (0, -1)]
    labels = np.zeros((14, 12, 12), np.uint8)
    labels[8:12, 3:9, 3:9], labels[3:7, 3:9, 3:9] = 3, 4
    origin = np.mean(ends, axis=0) - 3.0 * (np.array(labels.shape[::-1]) - 1) / 2
    return VertebraLabelMap(labels, (labels > 0).astype(np.float32), coarse_affine(origin))


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ReportContext:
    folder = write_phantom(tmp_path_factory.mktemp("phantom"))
    return ReportContext(predict_case(folder).findings, datetime.now(UTC))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_voxels_are_labeled_at_their_position(geometry: str, tmp_path: Path) -> None:
    series = write_and_select(tmp_path, **GEOMETRIES[geometry])
    label_map, source = label_map_within(series), source_images(series)

    mask = vertebra_mask(label_map, source.headers, series.stack)

    assert mask.shape == (len(source.headers), 48, 56)
    assert None not in source.headers
    to_index = np.linalg.inv(label_map.affine_lps)
    rng = np.random.default_rng(0)
    n_equal = 0
    for _ in range(400):
        k, row, column = (int(rng.integers(0, side)) for side in mask.shape)
        dataset = source.datasets[k]  # PS3.3 C.7.6.2.1.1, from the data set itself
        row_direction, column_direction = (
            np.array(dataset.ImageOrientationPatient[:3], float),
            np.array(dataset.ImageOrientationPatient[3:], float),
        )
        point = (
            np.array(dataset.ImagePositionPatient, float) + row_direction * 2.0 * column + column_direction * 2.0 * row
        )
        index = np.rint(to_index[:3, :3] @ point + to_index[:3, 3]).astype(int)
        inside = np.all((index >= 0) & (index < label_map.labels.shape))
        n_equal += mask[k, row, column] == (label_map.labels[tuple(index)] if inside else 0)
    assert n_equal >= 396  # rounding and interpolation may differ at borders
    for number in (3, 4):
        volume_mm3 = (mask == number).sum() * 2.0 * 2.0 * series.stack.spacing_mm
        assert volume_mm3 == pytest.approx(4 * 6 * 6 * 27.0, rel=0.12)


@pytest.mark.parametrize(("geometry", "encoding"), [*((name, "labelmap") for name in GEOMETRIES), ("tilted", "binary")])
def test_a_segmentation_is_read_back_unchanged(
    geometry: str, encoding: SegmentationType, context: ReportContext, tmp_path: Path
) -> None:
    series = write_and_select(tmp_path / "ct", **GEOMETRIES[geometry])
    source = source_images(series)
    mask = vertebra_mask(label_map_within(series), source.headers, series.stack)

    written = segment_vertebrae(context, source, mask, encoding)
    assert written is not None
    written.save_as(tmp_path / "seg.dcm")

    assert not (DCIODVFY and errors_of(tmp_path / "seg.dcm"))
    read = hd.seg.segread(tmp_path / "seg.dcm")
    assert str(read.SegmentationType) == encoding.upper()
    described = [(item.SegmentNumber, item.SegmentLabel) for item in read.SegmentSequence]
    assert described[:2] == [(1, "C3"), (2, "C4")]  # viewers take the n-th item for segment n
    assert described[2:] == ([(0, "Background")] if encoding == "labelmap" else [])
    assert list(read.segment_numbers) == [1, 2]
    for level in (3, 4):
        pixels = np.zeros(mask.shape, bool)
        for position, frame in _frames(read, level - 2):
            (k,) = [  # by position, as a viewer would overlay it
                k
                for k, each in enumerate(source.datasets)
                if np.allclose(np.array(each.ImagePositionPatient, float), position, atol=1e-3)
            ]
            pixels[k] = frame
        expected = mask == level
        assert 2 * (pixels & expected).sum() / (pixels.sum() + expected.sum()) == 1.0


def _nearest(positions: list[Any], position: Any) -> int:
    """Return the index of the slice at a position."""
    distance = np.linalg.norm(np.array(positions, float) - position, axis=1)
    assert distance.min() < 1e-3
    return int(distance.argmin())


def _frames(segmentation: Any, number: int) -> list[tuple[Any, Any]]:
    """Return position and pixels of the frames of a segment."""
    pixels, frames = segmentation.pixel_array, []
    is_labelmap = segmentation.SegmentationType == "LABELMAP"
    for frame, groups in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        is_segment = is_labelmap or groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number
        if is_segment:
            position = groups.PlanePositionSequence[0].ImagePositionPatient
            frames.append((np.array(position, float), pixels[frame] == (number if is_labelmap else 1)))
    return frames


def test_a_segmentation_refers_to_the_frames_of_a_multi_frame_file(context: ReportContext, tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "all.dcm", HU, order=[*range(1, 40), 0])
    series = select_series(discover(tmp_path / "ct").studies[0]).selected
    source = source_images(series)
    mask = vertebra_mask(label_map_within(series), source.headers, series.stack)

    written = segment_vertebrae(context, source, mask)

    assert written is not None
    assert len(source.datasets) == 1
    positions = [header.position_mm for header in source.headers if header]
    pixels = np.zeros(mask.shape, bool)
    for position, frame in _frames(written, 1):
        pixels[_nearest(positions, position)] = frame
    np.testing.assert_array_equal(pixels, mask == 3)


def bone_of(series: Series, label_map: VertebraLabelMap) -> BonePlanes:
    volume = load_volume(series)
    crop = BoneCrop.of(volume, label_map)
    assert crop is not None
    headers = (series.headers[index] for index in series.stack.order)
    return BonePlanes(crop, {(header.sop_instance_uid, header.frame): k for k, header in enumerate(headers)})


@pytest.mark.parametrize("geometry", ["axial", "descending", "feet first"])
def test_a_mask_follows_the_bone_within_what_the_localizer_segments(geometry: str, tmp_path: Path) -> None:
    series = write_and_select(tmp_path, **GEOMETRIES[geometry])
    label_map, source = label_map_within(series), source_images(series)
    hu = np.stack([read_slice(header) for header in source.headers if header is not None])
    unsure = replace(label_map, probability=0.6 * label_map.probability)

    plain, surely, possibly = (
        vertebra_mask(each, source.headers, series.stack, bone) > 0
        for each, bone in (
            (label_map, None),
            (label_map, bone_of(series, label_map)),
            (unsure, bone_of(series, label_map)),
        )
    )

    assert (hu[plain] == 40).any()
    assert (hu[plain] == 600).any()
    assert (surely & ~plain & (hu >= 600)).any()  # bone at the border, where the localizer is in doubt
    inside = ndimage.binary_erosion(plain, iterations=2)
    assert surely[inside].all()  # marrow stays
    bone = ndimage.binary_erosion(hu >= 600, np.ones((1, 3, 3), np.bool_))
    soft = ndimage.binary_erosion(hu < 600, np.ones((1, 3, 3), np.bool_))
    assert possibly[inside & bone].all()
    assert not possibly[soft].any()


def test_without_the_scan_of_a_slice_its_mask_is_the_localizers(tmp_path: Path) -> None:
    series = write_and_select(tmp_path)
    label_map, source = label_map_within(series), source_images(series)
    bone = bone_of(series, label_map)

    without = vertebra_mask(label_map, source.headers, series.stack, replace(bone, index={}))

    np.testing.assert_array_equal(without, vertebra_mask(label_map, source.headers, series.stack))
    assert bone.crop.plane(-1, slice(5), slice(5)) is None
    _, height, width = bone.crop.hu.shape
    _, row, column = bone.crop.first
    assert bone.crop.plane(bone.crop.first[0], slice(row, row + height), slice(column, column + width)) is not None
    assert bone.crop.plane(bone.crop.first[0], slice(row - 1, row + 3), slice(column, column + width)) is None
    assert BoneCrop.of(load_volume(series), replace(label_map, probability=0.0 * label_map.probability)) is None


def test_a_segmentation_leaves_out_empty_slices_between_others(context: ReportContext, tmp_path: Path) -> None:
    series = write_and_select(tmp_path / "ct")
    source = source_images(series)
    mask = vertebra_mask(label_map_within(series), source.headers, series.stack)
    middle = int(np.median(np.flatnonzero(mask.any(axis=(1, 2)))))
    mask[middle] = 0

    written = segment_vertebrae(context, source, mask)

    positions = [np.array(each.ImagePositionPatient, float) for each in source.datasets]
    pixels = np.zeros(mask.shape, bool)
    shown = []
    for position, frame in _frames(written, 1):
        shown.append(_nearest(positions, position))
        pixels[shown[-1]] = frame
    assert shown
    assert middle not in shown
    np.testing.assert_array_equal(pixels, mask == 3)


def test_an_empty_mask_has_no_segmentation(context: ReportContext, tmp_path: Path) -> None:
    series = write_and_select(tmp_path / "ct")
    source = source_images(series)
    mask = np.zeros((len(source.headers), 48, 56), np.uint8)

    assert segment_vertebrae(context, source, mask) is None


def test_source_images_are_in_the_order_of_the_stack(tmp_path: Path) -> None:
    series = write_and_select(tmp_path / "ct", upward=False)
    source = source_images(series)

    heights = [float(dataset.ImagePositionPatient[2]) for dataset in source.datasets]
    assert heights == sorted(heights)
    for dataset, header in zip(source.datasets, source.headers, strict=True):
        assert header is not None
        original = pydicom.dcmread(header.file.container, stop_before_pixels=True)
        assert dataset.SOPInstanceUID == original.SOPInstanceUID
        assert dataset.ImagePositionPatient == original.ImagePositionPatient
