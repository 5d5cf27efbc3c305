"""Disorders change what they name, keep frames in bodies, and leave existing phantoms as they are."""

import numpy as np
import pytest

from cspine.phantom.anatomy.neck import Neck, draw_neck
from cspine.phantom.disorders.disorders import _EXCLUSIVE, DRAW, Disorders, draw_disorders
from cspine.phantom.disorders.settings import DisorderSettings
from cspine.phantom.geometry.parts import distance_at
from cspine.phantom.geometry.points import PointCloud

NEVER = DisorderSettings(**dict.fromkeys(DRAW, 0.0))


def neck_with(*names: str, seed: int = 3) -> Neck:
    disorders = Disorders(tuple(DRAW[name](np.random.default_rng([seed, 1])) for name in names))
    return draw_neck(np.random.default_rng([seed, 2]), changes=disorders)


def test_settings_name_every_disorder() -> None:
    assert set(DisorderSettings.model_fields) == set(DRAW)
    assert set().union(*_EXCLUSIVE) <= set(DRAW)


def test_without_disorders_the_neck_is_the_same() -> None:
    plain = draw_neck(np.random.default_rng(4))

    changed = draw_neck(np.random.default_rng(4), changes=draw_disorders(np.random.default_rng(0), NEVER))

    assert changed.person == plain.person
    assert changed.variants.names == plain.variants.names
    for level, frame in plain.frames.items():
        np.testing.assert_array_equal(changed.frames[level].affine, frame.affine)


def test_disorders_are_drawn_by_their_probability_and_exclude_each_other() -> None:
    always = replace_probabilities(child=1.0, osteoporosis=1.0, listhesis=1.0)

    drawn = [draw_disorders(np.random.default_rng(seed), always).names for seed in range(5)]

    for names in drawn:
        assert any(name.startswith("listhesis") for name in names)
        assert any(name.startswith("child,") for name in names) != ("osteoporosis" in names)


def replace_probabilities(**probabilities: float) -> DisorderSettings:
    return NEVER.model_copy(update=probabilities)


@pytest.mark.parametrize("name", DRAW)
def test_names_are_in_the_truth_and_origins_in_the_bodies(name: str) -> None:
    neck = neck_with(name)

    assert set(neck.variants.names) >= set(DRAW[name](np.random.default_rng([3, 1])).names)
    np.testing.assert_allclose(neck.frames["C4"].center_mm, 0.0, atol=1e-9)
    for level in ("C3", "C4", "C5", "C6", "C7", "T1"):
        axes = neck.frames[level].axes
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)
        if name == "corpectomy" and f"corpectomy {level}" in neck.variants.names:
            continue
        origin = PointCloud(*np.zeros((3, 1, 1, 1), np.float32))
        assert distance_at(neck.vertebra_parts(level), origin)[0, 0, 0] < -1.5


def test_kyphosis_bends_the_neck_forward() -> None:
    kyphotic, plain = neck_with("kyphosis"), neck_with()

    def flexion_deg(neck: Neck) -> float:
        upper, lower = (neck.frames[level].axes[:, 1] for level in ("C2", "C7"))
        return float(np.degrees(np.arctan2(upper[2], upper[1]) - np.arctan2(lower[2], lower[1])))

    assert flexion_deg(kyphotic) > flexion_deg(plain) + 20.0


def test_listhesis_shifts_all_that_lies_above() -> None:
    slipped, plain = neck_with("listhesis"), neck_with()
    (name,) = (name for name in slipped.variants.names if name.startswith("listhesis"))
    upper, lower = name.split()[1], name.split()[3]

    def offset_mm(neck: Neck) -> float:
        return float((neck.frames[upper].center_mm - neck.frames[lower].center_mm) @ neck.frames[lower].axes[:, 1])

    assert 1.5 < abs(offset_mm(slipped) - offset_mm(plain)) < 5.5


def test_children_are_small_with_large_heads() -> None:
    child, adult = neck_with("child"), neck_with()
    factor = child.size_factor

    assert 0.5 <= factor < 0.97
    length, normal = (
        float(np.linalg.norm(neck.frames["C2"].center_mm - neck.frames["C7"].center_mm)) for neck in (child, adult)
    )
    assert length < factor * normal * 1.02  # bodies are low
    vaults = [neck.hard_tissues[0].parts[0].solid.bounding_box() for neck in (child, adult)]
    width, normal_width = (float(box[1, 0] - box[0, 0]) for box in vaults)
    assert width > (factor + 0.1) * normal_width


def test_collapsed_discs_leave_no_space() -> None:
    neck = neck_with("collapsed_discs")
    names = [name for name in neck.variants.names if name.startswith("collapsed disc")]

    for name in names:
        upper, lower = name.split()[-1].split("-")
        top = neck.frames[upper].to_lps([0, 0, -neck.person.measures[upper]["body height"] / 2])
        bottom = neck.frames[lower].to_lps([0, 0, neck.person.measures[lower]["body height"] / 2])
        assert -0.1 < (top - bottom) @ neck.frames[lower].axes[:, 2] < 2.1


def test_osteoporosis_thins_bone() -> None:
    bone = neck_with("osteoporosis").person.bone

    assert 40.0 <= bone.trabecular_hu <= 120.0
    assert bone.cortex_mm < 0.8


def test_ribs_of_a_transitional_t1_are_short() -> None:
    short, plain = neck_with("transitional_t1"), neck_with()

    def reach_mm(neck: Neck) -> float:
        of_t1 = [tissue.parts for tissue in neck.hard_tissues if np.array_equal(tissue.frame, neck.frames["T1"].affine)]
        assert len(of_t1) == 2
        return max(float(np.abs(part.solid.bounding_box()[0, 1])) for parts in of_t1 for part in parts)

    assert len(short.hard_tissues) == len(plain.hard_tissues)
    assert reach_mm(short) < reach_mm(plain)


def test_a_plate_lies_on_the_occiput() -> None:
    neck = neck_with("occipitocervical_fusion")
    skull = neck.hard_tissues[0]

    plates = [insert for insert in neck.inserts if np.array_equal(insert.frame, neck.frames["C0"].affine)]

    low, high = plates[0].parts[0].solid.bounding_box()
    middle = PointCloud(*np.reshape((low + high) / 2, (3, 1, 1, 1)).astype(np.float32))
    assert -1.0 < distance_at(skull.parts, middle, truncation_mm=9.0)[0, 0, 0] < 4.0
    assert all(insert.hu > 3000.0 for insert in neck.inserts)
