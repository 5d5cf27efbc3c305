"""Visibility orders fractures by how hard they are to see."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from tests.support.fractures import intact_neck, plain_fracture

from cspine.phantom import PhantomSettings
from cspine.phantom.anatomy.soft_tissue import coarse_grid
from cspine.phantom.fractures.fracture import Fracture
from cspine.phantom.sampler import draw_fractured_neck
from cspine.phantom.scanner.scanner import Scanner, draw_scanner
from cspine.phantom.settings import DOMAINS
from cspine.phantom.truth import describe_fractures
from cspine.phantom.visibility import visibility

BONE_HU = 700.0


def test_visibility_increases_with_width_and_displacement_and_decreases_with_noise() -> None:
    scanner = draw_scanner(intact_neck(), PhantomSettings(matrix=128), np.random.default_rng(0))
    (surface,) = plain_fracture("C7", "spinous process")
    surface = replace(surface, width_mm=0.25, translation_mm=np.zeros(3))

    def value_of(fracture: Fracture, scanner: Scanner = scanner) -> float:
        return visibility(fracture, BONE_HU, scanner)

    value = value_of(surface)
    assert 0.0 < value_of(replace(surface, width_mm=0.05)) < 0.35
    assert value_of(replace(surface, width_mm=2.0)) > value + 0.1
    assert value_of(replace(surface, translation_mm=np.array([3.0, 0, 0]))) > value + 0.05
    assert value_of(surface, replace(scanner, noise_hu=4 * scanner.noise_hu)) < value - 0.1
    assert value_of(surface, replace(scanner, thickness_mm=6.0)) < value - 0.05
    assert visibility(surface, BONE_HU, scanner, 4 * scanner.noise_hu) < value - 0.1  # local noise


@pytest.mark.parametrize("domain", ["source", "shifted"])
def test_fractures_of_a_domain_range_from_occult_to_obvious(domain: str) -> None:
    words: Counter[str] = Counter()
    settings = DOMAINS[domain].model_copy(update={"prevalence": 1.0})
    for index in range(30):
        neck, scanner = draw_fractured_neck(44, index, settings)
        # The noise of slices needs the attenuation of the shoulders only, which a coarser grid gives as well.
        neck = replace(neck, soft_tissue=replace(neck.soft_tissue, grid=coarse_grid(4.0)))
        words.update(fracture["visibility_grade"] for fracture in describe_fractures(neck, scanner))

    assert set(words) == {"occult", "subtle", "clear", "obvious"}
    assert max(words.values()) < 0.6 * words.total()
