"""A level that lies within the scan and was not found is not taken for one outside of it."""

from dataclasses import replace

import numpy as np
import pytest

from cspine.core.typing import Bools, Floats
from cspine.localization.missing_levels import find_missing_levels, is_incomplete
from cspine.spine.level_settings import expected_distance_mm
from cspine.spine.occupancy_template import IsInside
from cspine.spine.spine_map import SpineMap, Vertebra

LEVELS = ("C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1", "T2")


def spine(size: float = 1.0, tilt_deg: float = 0.0) -> dict[str, Vertebra]:
    """Return C1 to T2 on a straight line that leans forward, with C1 at the origin."""
    frame = np.eye(4)
    c, s = np.cos(np.radians(tilt_deg)), np.sin(np.radians(tilt_deg))
    frame[:3, :3] = [[1, 0, 0], [0, c, s], [0, -s, c]]
    vertebrae = {}
    for level in LEVELS:
        each = frame.copy()
        each[:3, 3] = -size * expected_distance_mm("C1", level) * frame[:3, 2]
        vertebrae[level] = Vertebra(level, each, each[:3, 3], np.array([[-9, -9, -7], [9, 9, 7]]), 1.0, 1.0, 9000.0)
    return vertebrae


def slab(low_z: float, high_z: float) -> IsInside:
    def is_inside(points: Floats) -> Bools:
        return np.asarray((points[:, 2] > low_z) & (points[:, 2] < high_z))

    return is_inside


def chosen(vertebrae: dict[str, Vertebra], names: str) -> list[Vertebra]:
    return [vertebrae[name] for name in names.split()]


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ("C1 C2 C3 C4 C5 C6 C7", ()),
        ("C1 C2 C4 C5 C6 C7", ("C3",)),
        ("C1 C2 C5 C6 C7", ("C3", "C4")),
        ("C1 C2 C3 C4 C5 T1", ("C6", "C7")),
        ("C4 C5 C6 C7", ("C1", "C2", "C3")),
        ("C1 C2 C3 C4 C5", ("C6", "C7")),
        ("C4", ("C1", "C2", "C3", "C5", "C6", "C7")),
        ("T1 T2", ()),
    ],
)
def test_levels_that_lie_within_the_scan_are_missing(names: str, missing: tuple[str, ...]) -> None:
    assert find_missing_levels(chosen(spine(), names), slab(-200.0, 60.0)) == missing


def test_no_vertebra_gives_no_level() -> None:
    assert find_missing_levels([], slab(-200.0, 60.0)) == ()


@pytest.mark.parametrize("size", [0.7, 1.0, 1.3])
@pytest.mark.parametrize("tilt_deg", [-25.0, 0.0, 25.0])
def test_levels_beyond_the_scan_are_not_missing(size: float, tilt_deg: float) -> None:
    vertebrae = spine(size, tilt_deg)
    z = {level: vertebra.frame_lps[2, 3] for level, vertebra in vertebrae.items()}
    within = slab((z["C5"] + z["C6"]) / 2 - 1.0, (z["C2"] + z["C3"]) / 2 + 1.0)

    assert find_missing_levels(chosen(vertebrae, "C3 C4 C5"), within) == ()
    assert find_missing_levels(chosen(vertebrae, "C4 C5"), within) == ("C3",)
    assert find_missing_levels(chosen(vertebrae, "C3 C4"), within) == ("C5",)


def curved_spine(bend_deg: float, lean_deg: float) -> dict[str, Vertebra]:
    """Return C1 to T2, each turned against the one above; positive angles make a kyphosis."""
    vertebrae, origin, angle = {}, np.zeros(3), np.radians(lean_deg)
    for number, level in enumerate(LEVELS):
        frame, c, s = np.eye(4), np.cos(angle), np.sin(angle)
        frame[:3, :3], frame[:3, 3] = [[1, 0, 0], [0, c, s], [0, -s, c]], origin
        vertebrae[level] = Vertebra(level, frame, frame[:3, 3], np.array([[-9, -9, -7], [9, 9, 7]]), 1.0, 1.0, 9000.0)
        middle = angle + np.radians(bend_deg) / 2
        step_mm = expected_distance_mm(level, LEVELS[number + 1]) if level != LEVELS[-1] else 0.0
        origin = origin - step_mm * np.array([0.0, np.sin(middle), np.cos(middle)])
        angle += np.radians(bend_deg)
    return vertebrae


@pytest.mark.parametrize("bend_deg", [-6.0, 0.0, 6.0])
@pytest.mark.parametrize("lean_deg", [-25.0, 0.0, 25.0])
def test_levels_of_a_curved_spine_are_missing_where_their_bodies_lie_within_the_scan(
    bend_deg: float, lean_deg: float
) -> None:
    vertebrae = curved_spine(bend_deg, lean_deg)
    z = {level: vertebra.frame_lps[2, 3] for level, vertebra in vertebrae.items()}
    within = slab(z["C7"] - 12.0, z["C2"] + 12.0)

    assert find_missing_levels(chosen(vertebrae, "C3 C4 C5 C6 C7"), within) == ("C2",)
    assert find_missing_levels(chosen(vertebrae, "C2 C3 C4 C5"), within) == ("C6", "C7")
    assert find_missing_levels(chosen(vertebrae, "C2 C3 C5 C6 C7"), within) == ("C4",)


def test_the_volume_of_an_oblique_scan_decides() -> None:
    vertebrae = spine()

    def is_inside(points: Floats) -> Bools:
        return np.asarray(np.abs(points[:, 2] + 60.0 + points[:, 1]) < 40.0)

    assert find_missing_levels(chosen(vertebrae, "C3 C4 C5 C6"), is_inside) == ()
    assert find_missing_levels(chosen(vertebrae, "C3 C4 C5"), is_inside) == ("C6",)


@pytest.mark.parametrize(
    ("names", "incomplete"),
    [
        ("C1 C2 C3 C4 C5 C6 C7 T1 T2", False),
        ("C1 C2 C3 C4 C5 C6 C7", True),
        ("C2 C3 C4 C5 C6 C7 T1", True),
        ("C1 C2 C4 C5 C6 C7 T1", True),
        ("T1 T2", False),
    ],
)
def test_a_neck_is_complete_from_c1_to_t1(names: str, incomplete: bool) -> None:
    vertebrae = chosen(spine(), names)

    assert is_incomplete(SpineMap(tuple(vertebrae))) == incomplete


def test_a_neck_whose_first_vertebra_is_cut_off_is_incomplete() -> None:
    first, *others = chosen(spine(), "C1 C2 C3 C4 C5 C6 C7 T1")

    assert is_incomplete(SpineMap((replace(first, scanned_fraction=0.5), *others)))
    assert not is_incomplete(SpineMap(()))
