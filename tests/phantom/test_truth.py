"""The truth names every fracture in the scan, with masks and boxes of its own."""

from typing import Any

import numpy as np
import pytest

from cspine.core.anatomy import FRACTURE_STEP, SEGMENT_NUMBERS
from cspine.phantom import PhantomSettings, render_study
from cspine.phantom.rsna_files import _boxes
from cspine.phantom.sampler import draw_fractured_neck
from cspine.phantom.truth import describe_mimics, describe_study


def test_truth_has_every_fracture_of_a_study_and_boxes_contain_it() -> None:
    settings = PhantomSettings(matrix=128, slice_spacing_mm=(1.2, 1.2), prevalence=1.0)
    for index in range(3):
        study = render_study(21, index, settings)
        truth = study.truth
        assert {fracture["level"] for fracture in truth["fractures"]} == set(truth["levels"])
        assert all(0.0 <= fracture["visibility"] <= 1.0 for fracture in truth["fractures"])
        for level in truth["levels"]:
            assert max(each["scanned_fraction"] for each in truth["fractures"] if each["level"] == level) >= 0.1
        boxed = np.zeros(study.hu.shape, bool)
        for box in _boxes(study, "1.2.3", upward=True):
            rows = slice(int(box["y"]), int(box["y"] + box["height"]))
            boxed[box["slice_number"] - 1, rows, int(box["x"]) : int(box["x"] + box["width"])] = True
        mask = study.fracture_level_mask
        assert boxed[mask > 0].all()
        assert set(np.unique(mask)) - {0} <= {SEGMENT_NUMBERS[level] for level in truth["levels"]}


def test_truth_of_an_intact_neck_has_mimics_at_their_vertebrae_and_no_fractures() -> None:
    study = render_study(21, 0, PhantomSettings(matrix=128, slice_spacing_mm=(1.2, 1.2), prevalence=0.0))

    assert not study.fracture_level_mask.any()
    assert study.truth["fractures"] == []
    axes, origin = study.affine_lps[:3, :3], study.affine_lps[:3, 3]
    placed = [mimic for mimic in study.truth["mimics"] if mimic["points_lps_mm"]]
    assert len({mimic["name"] for mimic in placed}) >= 5
    for mimic in placed:
        vertebra_mm = np.argwhere(study.labels == SEGMENT_NUMBERS[mimic["level"]]) @ axes.T + origin
        for point in mimic["points_lps_mm"]:
            assert np.linalg.norm(vertebra_mm - point, axis=1).min() < 5.0, mimic


def test_fractures_of_one_vertebra_have_separate_masks_and_boxes() -> None:
    settings = PhantomSettings(
        matrix=160, slice_spacing_mm=(1.0, 1.0), prevalence=1.0, p_additional_fracture=0.5, truncated_fraction=0.5
    )
    n_second_fractures = 0
    for index in range(4):
        study = render_study(24, index, settings)
        fractures = study.truth["fractures"]
        values = [fracture["mask_value"] for fracture in fractures]
        assert len(set(values)) == len(values)
        assert set(np.unique(study.fracture_mask)) <= {0, *values}
        for fracture in fractures:
            assert fracture["mask_value"] % FRACTURE_STEP == SEGMENT_NUMBERS[fracture["level"]]
            assert fracture["scanned_fraction"] >= 0.1
        boxed = {(box["level"], box["mask_value"]) for box in _boxes(study, "1.2.3", upward=True)}
        assert boxed == {(fracture["level"], fracture["mask_value"]) for fracture in fractures}
        marked = set(np.unique(study.fracture_mask)) - {0}
        n_second_fractures += len(marked) - len({value % FRACTURE_STEP for value in marked})
    assert n_second_fractures > 0


PLAIN: dict[str, Any] = {"prevalence": 0.0, "soft_fraction": 0.0, "sharp_fraction": 0.0, "adaptive_fraction": 0.0}


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"bone_contrast": (1.0, 1.0)}, []),
        ({"bone_contrast": (1.0, 1.0), "soft_fraction": 1.0}, ["soft kernel"]),
        ({"bone_contrast": (1.0, 1.0), "sharp_fraction": 1.0}, ["sharp kernel with edge enhancement"]),
        ({"bone_contrast": (1.12, 1.15), "adaptive_fraction": 1.0}, ["adaptive reconstruction", "high bone contrast"]),
        ({"bone_contrast": (0.8, 0.88)}, ["low bone contrast"]),
    ],
)
def test_what_the_technique_does_is_a_mimic_of_the_whole_neck(changes: dict[str, Any], names: list[str]) -> None:
    neck, scanner = draw_fractured_neck(21, 0, PhantomSettings(**PLAIN | changes))

    of_scan = [each for each in describe_mimics(neck, scanner) if each["name"] in scanner.mimic_names]
    assert of_scan == [{"name": name, "level": None, "points_lps_mm": []} for name in names]
    low, high = changes["bone_contrast"]
    assert low <= describe_study(neck, scanner, [])["scanner"]["bone_contrast"] <= high
