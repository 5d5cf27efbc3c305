"""A map is held against the scan: what is no neck, lies the other way round or has a false scale is not answered."""

from collections.abc import Callable
from dataclasses import replace
from importlib import resources
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from cspine.core.errors import NotAssessableError
from cspine.core.typing import Floats
from cspine.dicom import load_volume
from cspine.localization.cascade.assembly import Candidates, LocalizedScan
from cspine.localization.cascade.crops import CROP_CLASSES
from cspine.localization.cascade.frames import RefinedFrames
from cspine.localization.coarse import CoarseVolume
from cspine.localization.localizer import Localizer
from cspine.localization.plausibility import (
    MIN_AGREEMENT_BELOW_SKULL,
    MIN_RECOGNIZED_AGREEMENT,
    check_plausibility,
    mean_agreement,
)
from cspine.localization.scan import Scan
from cspine.spine.level_settings import expected_distance_mm
from cspine.spine.spine_map import LEVEL_UNCERTAIN, SpineMap, Vertebra

LEVELS = ("C2", "C3", "C4", "C5", "C6", "C7")
TEMPLATES = Localizer.load().weights.metadata.occupancy_templates
TOP_MM = 60.0


def no_spine(_: Scan) -> LocalizedScan:
    return LocalizedScan(SpineMap(()))


def column(levels: tuple[str, ...] = LEVELS, *, scale: float = 1.0) -> SpineMap:
    """Return a straight column of vertebrae, `scale` times an adult's."""
    vertebrae = []
    for level in levels:
        frame = np.eye(4)
        frame[2, 3] = TOP_MM - scale * expected_distance_mm(levels[0], level)
        vertebrae.append(Vertebra(level, frame, frame[:3, 3], np.zeros((2, 3)), 1.0, 0.99, 9000.0))
    return SpineMap(tuple(vertebrae))


def render(spine: SpineMap, *, scale: float = 1.0, upside_down: bool = False) -> CoarseVolume:
    """Return a scan that shows the mean vertebra of each level in its frame, in soft tissue."""
    hu = np.full((70, 50, 50), 40, np.int16)
    origin = np.array([-75.0, -75.0, -90.0])
    k, j, i = np.indices(hu.shape)
    lps = origin + 3.0 * np.stack([i, j, k], axis=-1)
    for vertebra in spine.vertebrae:
        occupancy = {tuple(cell[:3]): cell[3] for cell in TEMPLATES[vertebra.level].cells}
        own = (lps - vertebra.frame_lps[:3, 3]) / scale
        if upside_down:
            own = own * [1.0, 1.0, -1.0]
        cells = np.floor(own / 5.0).astype(int).reshape(-1, 3)
        bone = np.array([occupancy.get(tuple(cell), 0.0) for cell in cells.tolist()]).reshape(hu.shape)
        hu = np.maximum(hu, (40 + 600 * bone).astype(np.int16))
    for above, below in zip(spine.vertebrae, spine.vertebrae[1:], strict=False):  # disc spaces
        middle = round(((above.frame_lps[2, 3] + below.frame_lps[2, 3]) / 2 - origin[2]) / 3.0)
        hu[middle, 20:30, 20:30] = 80
    return CoarseVolume(hu, origin, np.ones(hu.shape, np.bool_))


def check(spine: SpineMap, coarse: CoarseVolume, localize: Callable[[Scan], LocalizedScan] = no_spine) -> SpineMap:
    scan = Scan(coarse.hu, coarse.affine_lps)
    return check_plausibility(LocalizedScan(spine, coarse), scan, TEMPLATES, localize)


def test_a_spine_that_looks_like_one_is_left_as_it_is() -> None:
    spine = column()

    assert check(spine, render(spine)) is spine


def test_a_spine_without_doubt_is_localized_once() -> None:
    spine = column()

    def fail(_: Scan) -> LocalizedScan:
        raise AssertionError("localized again")

    assert check(spine, render(spine), fail) is spine


@pytest.mark.parametrize(("outer_mm", "inner_mm"), [(8, 0), (15, 9), (20, 12)])
def test_rods_and_tubes_are_no_spine(outer_mm: float, inner_mm: float) -> None:
    coarse = render(SpineMap(()))
    y, x = np.indices(coarse.hu.shape[1:]) * 3.0 - 75.0
    radius = np.hypot(x, y)
    coarse.hu[:, (radius < outer_mm) & (radius >= inner_mm)] = 700

    checked = check(column(), coarse)

    assert checked.implausible is not None
    assert checked.implausible.code == "no-cervical-spine"
    with pytest.raises(NotAssessableError, match="send a scan of the cervical spine"):
        checked.require_cervical()


@pytest.mark.parametrize("scale", [0.6, 1.7])
def test_a_false_scale_is_doubtful_at_least(scale: float) -> None:
    spine = column(scale=scale)

    checked = check(spine, render(spine, scale=scale))

    assert checked.implausible or checked.doubts
    assert max(vertebra.confidence for vertebra in checked.vertebrae) < 0.8


def test_a_spine_that_fits_better_upside_down_refutes_the_header() -> None:
    true = column()
    stated = replace(true, vertebrae=true.vertebrae[:2])

    checked = check(stated, render(true), lambda _: LocalizedScan(true, render(true)))

    assert checked.implausible is not None
    assert checked.implausible.code == "implausible-anatomy"
    assert "head and feet are exchanged" in checked.implausible.reason
    assert "correct ImageOrientationPatient" in checked.implausible.reason


def test_few_vertebrae_are_uncertain_and_say_so() -> None:
    spine = column(("C4", "C5"))

    checked = check(spine, render(spine))

    assert checked.implausible is None
    assert checked.doubts == (f"{LEVEL_UNCERTAIN}: fewer than 3 vertebrae were found",)
    assert max(vertebra.confidence for vertebra in checked.vertebrae) < 0.8
    checked.require_cervical()


def test_a_fused_spine_is_doubted_and_not_refused() -> None:
    spine = column()
    coarse = render(spine)
    coarse.hu[:, 22:29, 22:29] = 500  # bone from C2 to C7

    checked = check(spine, coarse)

    assert checked.implausible is None
    assert checked.doubts


def test_a_skull_lies_above_c1() -> None:
    spine = column(("C1", *LEVELS))
    coarse = render(spine)
    tall = CoarseVolume(
        np.concatenate([coarse.hu, np.full((20, 50, 50), 40, np.int16)]),
        coarse.origin_lps_mm,
        np.ones((90, 50, 50), bool),
    )

    without = check(spine, tall)
    tall.hu[56:75, 5:45, [5, 6, 44, 45]] = 900

    assert without.doubts == (f"{LEVEL_UNCERTAIN}: no skull lies above C1",)
    assert not check(spine, tall).doubts


def test_no_skull_is_missed_above_the_end_of_the_scan() -> None:
    """The network sees a margin of air beyond the scan."""
    spine = column(("C1", *LEVELS))
    coarse = render(spine)
    scanned = np.ones((90, 50, 50), bool)
    scanned[60:] = False
    padded = CoarseVolume(
        np.concatenate([coarse.hu, np.full((20, 50, 50), -1024, np.int16)]), coarse.origin_lps_mm, scanned
    )

    assert not check(spine, padded).doubts


@pytest.mark.parametrize("axes", [(1, 2), (0, 2)], ids=["prone", "upside-down"])
def test_a_patient_who_lies_otherwise_than_stated_is_not_answered(axes: tuple[int, int]) -> None:
    with resources.as_file(resources.files("cspine.phantom").joinpath("embedded", "study.zip")) as study:
        stated = load_volume(study)
    turned = stated.with_array(np.flip(stated.array, axes))

    checked = Localizer.load()(turned)

    assert checked.implausible is not None
    assert checked.implausible.code == "implausible-anatomy"


def recognized(spine: SpineMap, probability: float, head_lps_mm: Floats | None = None) -> Candidates:
    """Return detections that the frame network takes for the levels of a map with a probability."""
    probabilities = np.zeros((len(spine.vertebrae), len(CROP_CLASSES)))
    probabilities[:, -1] = 1.0 - probability
    for row, vertebra in zip(probabilities, spine.vertebrae, strict=True):
        row[CROP_CLASSES.index(vertebra.level)] = probability
    frames = np.stack([vertebra.frame_lps for vertebra in spine.vertebrae])
    voxels = SimpleNamespace(head_lps_mm=np.empty((0, 3)) if head_lps_mm is None else head_lps_mm)
    return Candidates(cast("Any", voxels), [], RefinedFrames(frames, probabilities))


def faint(spine: SpineMap) -> CoarseVolume:
    """Return a scan in which cortex alone is bone, as in osteoporosis, so that little agrees with the templates."""
    coarse = render(spine)
    noise = np.random.default_rng(0).normal(0.0, 185.0, coarse.hu.shape)
    return replace(coarse, hu=(coarse.hu * 0.3 + noise).astype(np.int16))


@pytest.mark.parametrize(("probability", "is_refused"), [(0.9, False), (0.6, True)])
def test_faint_vertebrae_are_refused_unless_the_frame_network_recognizes_them(
    probability: float, is_refused: bool
) -> None:
    spine = column()
    coarse = faint(spine)
    localized = LocalizedScan(spine, coarse, recognized(spine, probability))

    checked = check_plausibility(localized, Scan(coarse.hu, coarse.affine_lps), TEMPLATES, None)

    assert (checked.implausible is not None) == is_refused
    if not is_refused:
        assert f"{LEVEL_UNCERTAIN}: the vertebrae differ in shape from cervical ones" in checked.doubts
        assert {vertebra.confidence for vertebra in checked.vertebrae} == {0.79}


def test_c1_and_c2_below_the_skull_are_a_sequence() -> None:
    spine = column(("C1", "C2"))
    coarse = render(spine)
    above = np.stack(np.meshgrid([-6.0, 0.0, 6.0], [0.0, 6.0, 12.0], np.arange(80.0, 110.0, 3.0)), axis=-1)
    head = above.reshape(-1, 3)

    with_skull, without = (
        check_plausibility(
            LocalizedScan(spine, coarse, recognized(spine, 0.9, points)),
            Scan(coarse.hu, coarse.affine_lps),
            TEMPLATES,
            None,
        )
        for points in (head, None)
    )

    few = f"{LEVEL_UNCERTAIN}: fewer than 3 vertebrae were found"
    assert few not in with_skull.doubts
    assert few in without.doubts


def test_recognized_vertebrae_below_the_skull_may_be_fainter() -> None:
    spine = column(("C1", "C2"))
    coarse = render(spine)
    noise = np.random.default_rng(0).normal(0.0, 380.0, coarse.hu.shape)
    coarse = replace(coarse, hu=(coarse.hu * 0.3 + noise).astype(np.int16))
    above = np.stack(np.meshgrid([-6.0, 0.0, 6.0], [0.0, 6.0, 12.0], np.arange(80.0, 110.0, 3.0)), axis=-1)
    scan = Scan(coarse.hu, coarse.affine_lps)
    below_skull = LocalizedScan(spine, coarse, recognized(spine, 0.9, above.reshape(-1, 3)))

    assert MIN_AGREEMENT_BELOW_SKULL < mean_agreement(below_skull, TEMPLATES) < MIN_RECOGNIZED_AGREEMENT
    assert check_plausibility(below_skull, scan, TEMPLATES, None).implausible is None
    for other in (recognized(spine, 0.9), recognized(spine, 0.6, above.reshape(-1, 3))):
        assert check_plausibility(LocalizedScan(spine, coarse, other), scan, TEMPLATES, None).implausible is not None


@pytest.mark.parametrize("size", [0.6, 0.4])
def test_an_enlarged_patient_keeps_the_true_size(size: float) -> None:
    spine = column()
    coarse = render(spine)
    shrunk = Scan(coarse.hu, coarse.affine_lps).scaled(size)

    checked = check_plausibility(LocalizedScan(spine, coarse, scale=1.0 / size), shrunk, TEMPLATES, no_spine)

    np.testing.assert_allclose(checked["C4"].frame_lps[:3, 3], size * spine["C4"].frame_lps[:3, 3])
    if size == 0.6:
        assert checked.doubts == (f"{LEVEL_UNCERTAIN}: the distances between the vertebrae are 0.6 times an adult's",)
    else:
        assert checked.implausible is not None
        assert checked.implausible.code == "implausible-anatomy"


def frame_at(z_mm: float) -> Floats:
    frame = np.eye(4)
    frame[2, 3] = z_mm
    return frame


def test_agreement_of_a_template_with_itself_is_high_and_with_its_mirror_image_lower() -> None:
    template = TEMPLATES["C4"]
    coarse = render(column(("C4",)))
    upside_down = np.diag([1.0, 1.0, -1.0, 1.0])

    upright = template.agreement(frame_at(TOP_MM), coarse.sample)
    turned = template.agreement(frame_at(TOP_MM) @ upside_down, coarse.sample)

    assert upright is not None
    assert turned is not None
    assert upright > 0.8
    assert turned < upright - 0.1


def test_a_template_mostly_outside_the_scan_is_not_compared() -> None:
    assert TEMPLATES["C4"].agreement(frame_at(1000.0), render(SpineMap(())).sample) is None
