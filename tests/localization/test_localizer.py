"""The cascade from a scan to named vertebrae, with networks that know the answer."""

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from cspine.core.typing import Floats, Floats32
from cspine.localization import localizer as module
from cspine.localization.cascade.assembly import LocalizedScan
from cspine.localization.cascade.crops import CROP_CLASSES, CROP_SHAPE
from cspine.localization.cascade.region import REGION_CLASSES, find_neck
from cspine.localization.cascade.vertebrae import VERTEBRA_CLASSES, find_vertebral_voxels
from cspine.localization.coarse import OFFSET_UNIT_MM, REGION_MM, CoarseVolume
from cspine.localization.localizer import Localizer
from cspine.localization.scan import Scan
from cspine.models.metadata import COARSE_MM, PADDING
from cspine.spine.level_settings import LEVELS, expected_distance_mm
from cspine.spine.spine_map import SpineMap, Vertebra

NECK = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2")
TOP_MM = 75.0
RADIUS_MM = 9.0


def origins(levels: tuple[str, ...] = NECK) -> dict[str, Floats]:
    """Return the origins of a straight spine whose C1 lies at `TOP_MM`."""
    return {level: np.array([0.0, 0.0, TOP_MM - expected_distance_mm("C1", level)]) for level in levels}


def make_scan(low_mm: float, high_mm: float, width_mm: float = 150.0) -> Scan:
    affine = np.zeros((4, 4))
    affine[2, 0], affine[1, 1], affine[0, 2] = 1.5, 2.0, 2.0
    affine[:, 3] = [-width_mm / 2, -width_mm / 2, low_mm, 1.0]
    side = round(width_mm / 2.0)
    return Scan(np.zeros((round((high_mm - low_mm) / 1.5), side, side), np.int16), affine)


@dataclass
class Truth:
    """Networks that see beads of bone about the origins of a spine, wherever they are asked."""

    scan: Scan
    levels: tuple[str, ...] = NECK
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def _points(self, shape: tuple[int, ...], origin: Floats, spacing_mm: float) -> Floats:
        index = np.moveaxis(np.indices((shape[0], shape[1], shape[2])), 0, -1)
        return np.asarray(origin + spacing_mm * index[..., ::-1])

    def find_regions(self, image: Floats32) -> Floats32:
        shape = image.shape[1:]
        points = self._points(shape, self.scan.coarsen(REGION_MM).origin_lps_mm - 2 * REGION_MM, REGION_MM)
        regions = np.zeros((len(REGION_CLASSES), *shape), np.float32)
        for level, origin in origins(self.levels).items():
            name = "upper cervical" if level in {"C1", "C2"} else "lower cervical"
            number = REGION_CLASSES.index(name if level[0] == "C" else "thoracic" if level[0] == "T" else "lumbar")
            regions[number][np.linalg.norm(points - origin, axis=-1) < RADIUS_MM] = 0.9
        return regions

    def find_vertebrae(self, image: Floats32) -> tuple[Floats32, Floats32]:
        shape = image.shape[1:]
        self.shapes.append(shape)
        region = find_neck(self.scan.coarsen(REGION_MM), self.find_regions)
        assert region is not None
        low, high = region.network_box(self.scan)
        assert tuple(np.round((high - low) / COARSE_MM).astype(int)[::-1]) == shape
        points = self._points(shape, low + COARSE_MM / 2, COARSE_MM)
        probabilities = np.zeros((len(VERTEBRA_CLASSES), *shape), np.float32)
        positions = np.zeros((6, *shape), np.float32)
        for level, origin in origins(self.levels).items():
            name = level if level in VERTEBRA_CLASSES else "thoracic" if level[0] == "T" else "lumbar"
            near = np.linalg.norm(points - origin, axis=-1) < RADIUS_MM
            probabilities[VERTEBRA_CLASSES.index(name)][near] = 0.97
            offsets = (origin - points[near]).T / OFFSET_UNIT_MM
            positions[:, near] = np.concatenate([offsets, -offsets])
        return probabilities, positions

    def align_frames(self, crops: Floats32) -> tuple[Floats32, Floats32]:
        levels = np.full((len(crops), len(CROP_CLASSES)), 1e-3, np.float32)
        levels[:, 1:] = 1.0 / 11
        return levels, np.zeros((len(crops), 4, *CROP_SHAPE), np.float32)


def localizer_of(truth: Truth, monkeypatch: pytest.MonkeyPatch) -> Localizer:
    monkeypatch.setattr(module, "LocalizerNetworks", lambda _: truth)
    metadata = SimpleNamespace(occupancy_templates={}, level_assignment=None)
    return Localizer(cast("Any", SimpleNamespace(metadata=metadata)), None)


def test_every_vertebra_of_a_scan_is_named_and_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = make_scan(-120.0, 130.0)

    localized = localizer_of(Truth(scan), monkeypatch).localize(scan)

    assert tuple(vertebra.level for vertebra in localized.spine_map.vertebrae) == NECK
    for vertebra in localized.spine_map.vertebrae:
        np.testing.assert_allclose(vertebra.frame_lps[:3, 3], origins()[vertebra.level], atol=0.5)
        assert vertebra.coverage == "complete"
    assert localized.spine_map.not_found == ()


def test_vertebrae_that_the_scan_cuts_off_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_mm = origins()["C5"][2] + 1.0
    scan = make_scan(cut_mm, 130.0)

    localized = localizer_of(Truth(scan), monkeypatch).localize(scan)

    by_level = {vertebra.level: vertebra for vertebra in localized.spine_map.vertebrae}
    assert set(by_level) == {"C1", "C2", "C3", "C4", "C5"}
    assert by_level["C5"].coverage == "partial"
    error_mm = by_level["C5"].frame_lps[:3, 3] - origins()["C5"]
    assert 0.0 <= error_mm[2] <= 1.6  # this network is right, and it is corrected for what others err outward
    np.testing.assert_allclose(error_mm[:2], 0.0, atol=0.5)


def test_what_the_second_network_sees_does_not_grow_with_the_scan(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = make_scan(-700.0, 180.0, width_mm=480.0)
    truth = Truth(scan, LEVELS)

    localized = localizer_of(truth, monkeypatch).localize(scan)

    assert max(int(np.prod(shape)) for shape in truth.shapes) < 600_000
    assert {vertebra.level for vertebra in localized.spine_map.vertebrae} >= set(NECK)


def test_a_scan_without_a_neck_has_no_vertebrae(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = make_scan(-500.0, -150.0)
    lumbar = tuple(level for level in LEVELS if level[0] == "L")

    localized = localizer_of(Truth(scan, lumbar), monkeypatch).localize(scan)

    assert localized.spine_map.vertebrae == ()
    assert localized.coarse is None


def test_bone_that_a_network_sees_far_outside_of_the_scan_is_none() -> None:
    """An oblique scan fills a part of its box, and what the network says of the rest had taken minutes."""
    scan = make_scan(-120.0, 130.0)
    coarse = scan.coarsen(COARSE_MM)
    outside = CoarseVolume(coarse.hu, coarse.origin_lps_mm, np.zeros_like(coarse.scanned_mask))
    outside.scanned_mask[:4] = True

    def everywhere(image: Floats32) -> tuple[Floats32, Floats32]:
        probabilities = np.full((len(VERTEBRA_CLASSES), *image.shape[1:]), 0.9, np.float32)
        return probabilities, np.zeros((6, *image.shape[1:]), np.float32)

    voxels = find_vertebral_voxels(outside, everywhere)

    assert voxels is not None
    assert voxels.index[:, 0].max() == 3 + PADDING[0]
    outside.scanned_mask[:] = False
    assert find_vertebral_voxels(outside, everywhere) is None


def test_a_small_patient_is_seen_at_the_size_of_an_adult(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Scan] = []

    def localize(_: Localizer, scan: Scan) -> LocalizedScan:
        seen.append(scan)
        size = 0.6 * scan.affine_lps[1, 1] / 2.0
        vertebrae = []
        for level, origin in origins().items():
            frame = np.eye(4)
            frame[:3, 3] = size * origin
            vertebrae.append(Vertebra(level, frame, frame[:3, 3], np.ones((2, 3)), 1.0, 0.99, 9000.0))
        return LocalizedScan(SpineMap(tuple(vertebrae)))

    scan = make_scan(-120.0, 130.0)
    monkeypatch.setattr(Localizer, "_localize", localize)

    localized = localizer_of(Truth(scan), monkeypatch).localize(scan)

    assert [round(float(each.affine_lps[1, 1] / 2.0), 3) for each in seen] == [1.0, round(1 / 0.6, 3)]
    assert localized.scale == pytest.approx(1 / 0.6)
    true = localized.spine_map.scaled(1.0 / localized.scale)
    np.testing.assert_allclose(true["C5"].frame_lps[:3, 3], 0.6 * origins()["C5"])
    np.testing.assert_allclose(true["C5"].frame_lps[:3, :3], np.eye(3))
    assert true["C5"].volume_mm3 == pytest.approx(9000.0 * 0.6**3)


def small_spine(levels: tuple[str, ...], size: float, scan: Scan) -> LocalizedScan:
    """Return a spine of a size in a scan, whose enlargement shows in its slices' rows of 2 mm."""
    vertebrae = []
    for level, origin in origins(levels).items():
        frame = np.eye(4)
        frame[:3, 3] = size * scan.affine_lps[1, 1] / 2.0 * origin
        vertebrae.append(Vertebra(level, frame, frame[:3, 3], np.ones((2, 3)), 1.0, 0.99, 9000.0))
    return LocalizedScan(SpineMap(tuple(vertebrae)))


@pytest.mark.parametrize(
    ("levels", "size", "scale"),
    [
        (NECK, 0.9, 1.0),
        (NECK[2:7], 0.9, 0.9**-1.7),
        (NECK[:4], 0.9, 0.9**-1.7),
        (NECK[:3] + NECK[4:], 0.9, 0.9**-1.7),
        (NECK[2:7], 0.98, 1.0),
        (NECK[2:7], 0.8, 1.4),
        (NECK[7:], 0.9, 1.0),
    ],
)
def test_a_small_patient_whose_neck_is_incomplete_is_seen_enlarged(
    levels: tuple[str, ...], size: float, scale: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = make_scan(-120.0, 130.0)
    monkeypatch.setattr(Localizer, "_localize", lambda _, seen: small_spine(levels, size, seen))

    assert localizer_of(Truth(scan), monkeypatch).localize(scan).scale == pytest.approx(scale)


@pytest.mark.parametrize(("lost", "agreements"), [(1, [0.5, 0.5]), (0, [0.5, 0.39]), (0, [0.32, 0.27])])
def test_an_enlarged_view_is_dropped_where_it_shows_fewer_or_worse_vertebrae(
    lost: int, agreements: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan, levels = make_scan(-120.0, 130.0), NECK[2:7]

    def localize(_: Localizer, seen: Scan) -> LocalizedScan:
        return small_spine(levels[lost if seen is not scan else 0 :], 0.9, seen)

    monkeypatch.setattr(Localizer, "_localize", localize)
    monkeypatch.setattr(module, "mean_agreement", lambda *_: agreements.pop(0))

    localized = localizer_of(Truth(scan), monkeypatch).localize(scan)

    assert localized.scale == 1.0
    assert tuple(vertebra.level for vertebra in localized.spine_map.vertebrae) == levels
