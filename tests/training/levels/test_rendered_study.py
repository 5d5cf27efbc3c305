"""Types of the vertebrae of a phantom: those of its fractures, and one for gaps that cortical bone lines."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from cspine.models.metadata import OLD_FRACTURE_TYPE
from cspine.phantom.study import PhantomStudy
from cspine.training.levels.rendered_study import fracture_types_of_level


def study(mimics: list[tuple[str, str | None]], fractures: Sequence[tuple[str, str]] = ()) -> PhantomStudy:
    truth: dict[str, Any] = {
        "mimics": [{"name": name, "level": level, "points_lps_mm": []} for name, level in mimics],
        "fractures": [{"level": level, "fracture_type": name} for level, name in fractures],
    }
    hu, nothing = np.zeros((1, 1, 1), np.int16), np.zeros((1, 1, 1), np.uint8)
    return PhantomStudy(hu, np.eye(4), nothing, thickness_mm=1.0, round_field=False, fracture_mask=nothing, truth=truth)


@pytest.mark.parametrize(
    ("mimics", "old"),
    [
        ([("old fracture", "C5")], {"C5"}),
        ([("unfused apophysis", "C6"), ("osteophytes", "C5")], {"C6"}),
        ([("os odontoideum", "C2"), ("os odontoideum", "C1")], {"C2"}),
        ([("cleft of the atlas", "C1"), ("anterior cleft of the atlas", "C1")], {"C1"}),
        ([("healed compression", "C4"), ("kyphosis", None)], set()),
    ],
)
def test_corticated_gaps_have_a_type_of_their_own(mimics: list[tuple[str, str | None]], old: set[str]) -> None:
    rendered = study(mimics)

    levels = {f"C{n}" for n in range(1, 8) if fracture_types_of_level(rendered, f"C{n}") == OLD_FRACTURE_TYPE}

    assert levels == old


def test_the_types_of_a_fracture_stand_beside_it() -> None:
    rendered = study([("old fracture", "C5")], [("C5", "lamina"), ("C5", "facet"), ("C6", "teardrop")])

    assert fracture_types_of_level(rendered, "C5") == f"facet;lamina;{OLD_FRACTURE_TYPE}"
    assert fracture_types_of_level(rendered, "C6") == "teardrop"
    assert fracture_types_of_level(rendered, "C7") == ""
