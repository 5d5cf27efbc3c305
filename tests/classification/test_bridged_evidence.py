"""Evidence in bridged gaps does not count."""

from pathlib import Path

import numpy as np
import pytest
from tests.support.phantom import detector, predict_case, write_phantom
from tests.views.test_bridged_gaps import SETTINGS, views_with_gaps

from cspine.classification.bridged_evidence import discount_bridged_evidence
from cspine.classification.ensemble import NetworkOutput
from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Floats
from cspine.dicom.study_collection import open_collection
from cspine.views.level_views import CHANNELS, LevelViews, view_indices

C4 = VERTEBRAE.index("C4")
VIEWS = (views_with_gaps(30.0, 29),)
INDICES = view_indices(SETTINGS)


def output(level: float, overall: float = 0.5, *, row: int = 0, saliency: float = 0.0) -> NetworkOutput:
    """Return an output for C4 alone, with saliency in a row of cells of the sagittal view."""
    levels, evidence = np.full(len(VERTEBRAE), 0.9), np.zeros((len(VERTEBRAE), len(INDICES), CHANNELS, 4, 4))
    levels[C4] = level
    evidence[C4, 0, 1, row] = saliency
    return NetworkOutput(levels, np.asarray(overall), np.zeros((len(VERTEBRAE), 2)), evidence)


def limit(bridged: NetworkOutput, below: float, above: float) -> NetworkOutput:
    """Return the discounted output where the part below and the part above the gap have probabilities of their own."""

    def predict(levels: tuple[LevelViews, ...]) -> NetworkOutput:
        sagittal = levels[0].images[1]
        return output(below if sagittal[-1].any() else above, overall=float(bridged.overall))

    return discount_bridged_evidence(bridged, VIEWS, INDICES, predict)


@pytest.mark.parametrize(
    ("bridged", "row", "below", "above", "expected"),
    [
        (0.9, 2, 0.02, 0.03, 0.02),  # only the gap looks fractured
        (0.9, 0, 0.02, 0.8, 0.8),  # the fracture lies in the upper part
        (0.9, 0, 0.95, 0.02, 0.9),  # no more than with the gap
        (0.1, 0, 0.95, 0.99, 0.1),
    ],
)
def test_a_level_has_what_its_measured_parts_show(
    bridged: float, row: int, below: float, above: float, expected: float
) -> None:
    limited = limit(output(bridged, bridged, row=row, saliency=0.9), below, above)

    assert limited.levels[C4] == pytest.approx(expected)
    assert float(limited.overall) == pytest.approx(expected)


def test_saliency_in_the_gap_is_zero() -> None:
    limited = limit(output(0.9, row=2, saliency=0.9), 0.1, 0.1)

    assert limited.evidence[C4, 0, 1, 2].max() == 0.0
    assert limit(output(0.9, row=0, saliency=0.9), 0.1, 0.1).evidence[C4, 0, 1, 0].min() == 0.9


def test_a_missing_slice_raises_no_probability_of_the_level(tmp_path: Path) -> None:
    whole = predict_case(write_phantom(tmp_path / "whole"))
    assert whole.compiled is not None
    assert whole.compiled.images.spine is not None
    stack, series = whole.compiled.stack, whole.compiled.series
    center = whole.compiled.images.spine["C4"].frame_lps[:3, 3]
    nearest = int(np.argmin(np.abs(stack.along_mm - (center - stack.origin_mm) @ stack.normal)))
    write_phantom(tmp_path / "gap")
    (tmp_path / "gap" / Path(series.headers[stack.order[nearest]].file.name).name).unlink()

    (source,) = open_collection(tmp_path / "gap").studies
    bridged = detector().predict_case(source)

    before, after = (probabilities(each.findings.vertebrae) for each in (whole, bridged))
    assert np.all(after[2:6] <= before[2:6] + 0.02)
    reasons = {vertebra.level: vertebra.reasons for vertebra in bridged.findings.vertebrae}
    assert "1.5 mm of it were interpolated across missing slices, where evidence does not count" in reasons["C4"]
    assert not any("interpolated" in reason for reason in reasons["C1"])
    assert all(views.gaps is None for views in whole.compiled.images.levels)


def probabilities(vertebrae: tuple[object, ...]) -> Floats:
    return np.array([getattr(vertebra, "probability", None) for vertebra in vertebrae], np.float64)
