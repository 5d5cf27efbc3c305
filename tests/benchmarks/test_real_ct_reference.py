"""The readers' vertebrae of the real scans are consistent frames in anatomical order."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from benchmarks.localization.truth import REFERENCE

from cspine.core.files import read_json

SCANS: dict[str, Any] = read_json(REFERENCE)["scans"]


@pytest.mark.parametrize("name", SCANS)
def test_frames_are_rotations_in_order_down_the_spine(name: str) -> None:
    """Axes are right-handed and orthonormal; each vertebra lies 8 to 45 mm below the one above, along the spine."""
    read = [each for each in SCANS[name]["vertebrae"].values() if each["origin_lps_mm"] is not None]
    for vertebra in read:
        axes = np.array(vertebra["axes"])
        np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-3)
        assert np.linalg.det(axes) > 0
        assert 0 < vertebra["accuracy_mm"] <= 5
    levels = [level for level, each in SCANS[name]["vertebrae"].items() if each["origin_lps_mm"] is not None]
    order = [*(f"C{i}" for i in range(1, 8)), *(f"T{i}" for i in range(1, 13)), *(f"L{i}" for i in range(1, 6)), "S1"]
    for (above, below), (first, second) in zip(pairwise(read), pairwise(levels), strict=True):
        if order.index(second) != order.index(first) + 1:  # levels between them were not read
            continue
        step = np.array(above["origin_lps_mm"]) - np.array(below["origin_lps_mm"])
        assert 8 < np.linalg.norm(step) < 45
        assert step @ np.array(below["axes"])[:, 2] > 8
