"""Masks lie on the slices' own voxels, however the slices lie, and come back as they were written."""

from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
import pytest
from tests.support.dicom import neck, write_enhanced, write_series
from tests.support.phantom import predict_case, write_phantom

from cspine.dicom import discover, select_series
from cspine.dicom.series import Series
from cspine.localization.coarse import coarse_affine
from cspine.reports.dicom.masks import slice_affine, vertebra_mask
from cspine.reports.dicom.report_context import ReportContext
from cspine.reports.dicom.segmentation import segment_vertebrae
from cspine.reports.dicom.source_images import source_images
from cspine.spine.spine_map import BoneMap

HU = neck()
TILT = np.deg2rad(15.0)

WAYS: dict[str, dict[str, Any]] = {
    "straight": {},
    "downward": {"upward": False},
    "feet first": {"directions": ((0, 0, -1), (0, 1, 0), (-1, 0, 0)), "origin": (56.0, -48.0, 117.0)},
    "tilted": {
        "directions": ((0, 0, 1), (0, np.cos(TILT), np.sin(TILT)), (1, 0, 0)),
    },
    "sheared": {"shear_mm": 0.6},
    "with a gap": {"change": lambda dataset, k: None if k == 20 else dataset},
}


def series_at(folder: Path, **how: Any) -> Series:
    write_series(folder, HU, **how)
    return select_series(discover(folder).studies[0]).selected


def bone_about(series: Series) -> BoneMap:
    """Two blocks, C3 above C4, amid a series."""
    stack = series.stack
    ends = [slice_affine(series.headers[stack.order[k]], stack) @ [24, 28, 1] for k in (0, -1)]
    numbers = np.zeros((14, 12, 12), np.uint8)
    numbers[8:12, 3:9, 3:9], numbers[3:7, 3:9, 3:9] = 3, 4
    origin = np.mean(ends, axis=0) - 3.0 * (np.array(numbers.shape[::-1]) - 1) / 2
    return BoneMap(numbers, (numbers > 0).astype(np.float32), coarse_affine(origin))


@pytest.mark.parametrize("way", WAYS)
def test_voxels_are_labelled_where_they_lie(way: str, tmp_path: Path) -> None:
    series = series_at(tmp_path, **WAYS[way])
    bone, source = bone_about(series), source_images(series)

    mask = vertebra_mask(bone, source.headers, series.stack)

    assert mask.shape == (len(source.headers), 48, 56)
    assert None not in source.headers
    to_index = np.linalg.inv(bone.affine_lps)
    rng = np.random.default_rng(0)
    agreed = 0
    for _ in range(400):
        k, row, column = (int(rng.integers(0, side)) for side in mask.shape)
        dataset = source.datasets[k]  # PS3.3 C.7.6.2.1.1, from the data set itself
        along, down = (
            np.array(dataset.ImageOrientationPatient[:3], float),
            np.array(dataset.ImageOrientationPatient[3:], float),
        )
        place = np.array(dataset.ImagePositionPatient, float) + along * 2.0 * column + down * 2.0 * row
        index = np.rint(to_index[:3, :3] @ place + to_index[:3, 3]).astype(int)
        inside = np.all((index >= 0) & (index < bone.numbers.shape))
        agreed += mask[k, row, column] == (bone.numbers[tuple(index)] if inside else 0)
    assert agreed >= 396  # at borders rounding and interpolation may differ
    for number in (3, 4):
        volume_mm3 = (mask == number).sum() * 2.0 * 2.0 * series.stack.spacing_mm
        assert volume_mm3 == pytest.approx(4 * 6 * 6 * 27.0, rel=0.12)


@pytest.mark.parametrize("way", WAYS)
def test_a_segmentation_comes_back_voxel_for_voxel(way: str, tmp_path: Path) -> None:
    series = series_at(tmp_path / "ct", **WAYS[way])
    source = source_images(series)
    mask = vertebra_mask(bone_about(series), source.headers, series.stack)
    making = _making(tmp_path)

    written = segment_vertebrae(making, source, mask)
    assert written is not None
    written.save_as(tmp_path / "seg.dcm")

    read = hd.seg.segread(tmp_path / "seg.dcm")
    for number, level in enumerate((3, 4), start=1):
        back = np.zeros(mask.shape, bool)
        for position, frame in _frames(read, number):  # by place, as a viewer would lay it over
            (k,) = [
                k
                for k, each in enumerate(source.datasets)
                if np.allclose(np.array(each.ImagePositionPatient, float), position, atol=1e-3)
            ]
            back[k] = frame > 0
        wanted = mask == level
        assert 2 * (back & wanted).sum() / (back.sum() + wanted.sum()) == 1.0


def _nearest(positions: list[Any], position: Any) -> int:
    """Return which of the slices lies at a position."""
    off = np.linalg.norm(np.array(positions, float) - position, axis=1)
    assert off.min() < 1e-3
    return int(off.argmin())


def _frames(segmentation: Any, number: int) -> list[tuple[Any, Any]]:
    pixels, found = np.atleast_3d(segmentation.pixel_array), []
    for frame, groups in enumerate(segmentation.PerFrameFunctionalGroupsSequence):
        if groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber == number:
            position = groups.PlanePositionSequence[0].ImagePositionPatient
            found.append((np.array(position, float), pixels[frame]))
    return found


def _making(folder: Path) -> ReportContext:
    from datetime import UTC, datetime

    return ReportContext(predict_case(write_phantom(folder / "phantom")).findings, datetime.now(UTC))


def test_frames_of_a_multi_frame_file_are_referred_to(tmp_path: Path) -> None:
    write_enhanced(tmp_path / "ct" / "all.dcm", HU, order=[*range(1, 40), 0])
    series = select_series(discover(tmp_path / "ct").studies[0]).selected
    source = source_images(series)
    mask = vertebra_mask(bone_about(series), source.headers, series.stack)

    written = segment_vertebrae(_making(tmp_path), source, mask)

    assert written is not None
    assert len(source.datasets) == 1
    positions = [header.position_mm for header in source.headers if header]
    back = np.zeros(mask.shape, bool)
    for position, frame in _frames(written, 1):
        back[_nearest(positions, position)] = frame > 0
    np.testing.assert_array_equal(back, mask == 3)


def test_nothing_to_segment_is_no_segmentation(tmp_path: Path) -> None:
    series = series_at(tmp_path / "ct")
    source = source_images(series)
    mask = np.zeros((len(source.headers), 48, 56), np.uint8)

    assert segment_vertebrae(_making(tmp_path), source, mask) is None


def test_slices_are_referred_to_in_their_place(tmp_path: Path) -> None:
    series = series_at(tmp_path / "ct", upward=False)
    source = source_images(series)

    heights = [float(dataset.ImagePositionPatient[2]) for dataset in source.datasets]
    assert heights == sorted(heights)
    for dataset, header in zip(source.datasets, source.headers, strict=True):
        assert header is not None
        original = pydicom.dcmread(header.file.container, stop_before_pixels=True)
        assert dataset.SOPInstanceUID == original.SOPInstanceUID
        assert dataset.ImagePositionPatient == original.ImagePositionPatient
