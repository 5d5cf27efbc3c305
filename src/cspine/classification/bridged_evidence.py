"""Evidence in bridged gaps does not count: a level's probability does not rise where missing slices were interpolated.

The network has no input for "unknown here", but it has seen vertebrae that a scan cuts off. A vertebra with a bridged
gap is therefore classified three times: with the gap interpolated, and from the measured part above and the one below
it, as if the scan ended at the gap. Its probability is at most that of the interpolated images, and at most that of the
part with the greater one where saliency at a distance from the gap supports it; of the part with the lesser one where
not. Interpolation alone raised probabilities by up to 0.95; docs/concepts/level-classification.md has the measurements.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

import numpy as np

from cspine.classification.ensemble import NetworkOutput
from cspine.core.anatomy import VERTEBRAE
from cspine.core.typing import Bools, Floats, Indices
from cspine.views.bridged_gaps import is_near_gap, show_part
from cspine.views.level_views import CHANNELS, LevelViews

_MARGIN_MM: Final = 6.0
"""Saliency at this distance from a gap and beyond is as it was without the gap: cells are 4.8 mm wide."""

_MIN_SALIENCY: Final = 0.5
"""Saliency from here on supports a probability."""

Predict = Callable[[tuple[LevelViews, ...]], NetworkOutput]
"""Runs the network, or the ensemble, on the views of a case."""


def discount_bridged_evidence(
    bridged: NetworkOutput, levels: tuple[LevelViews, ...], view_indices: Indices, predict: Predict
) -> NetworkOutput:
    """Return the output of a case without the evidence in its bridged gaps.

    Parameters
    ----------
    bridged : NetworkOutput
        The output of the case with its gaps interpolated.
    levels : tuple of LevelViews
        The views of the case; `LevelViews.gaps` is set where a gap crosses them.
    view_indices : (views,) int
        Which of all views the network sees.
    predict : callable
        Runs the network on the views of a case.

    Returns
    -------
    NetworkOutput
        No probability of a level or of the patient is above that of `bridged`; saliency in the gaps is 0.
    """
    evidence, supported = bridged.evidence.copy(), np.ones(len(VERTEBRAE), np.bool_)
    for views in levels:
        if views.gaps is not None:
            number = VERTEBRAE.index(views.level)
            supported[number] = _is_supported(evidence[number], views, view_indices)
            evidence[number][_near_gaps(views, evidence[number].shape, view_indices, 0.0)] = 0.0
    parts = _predict_parts(levels, predict)
    of_parts = [part.levels for part in parts]
    limited = np.where(supported, np.max(of_parts, axis=0), np.min(of_parts, axis=0))
    probabilities = np.minimum(bridged.levels, limited)
    present = np.isin(VERTEBRAE, [views.level for views in levels])
    dependence = min(_dependence(output, present) for output in (bridged, *parts))
    low, high = _bounds(probabilities[present])
    overall = np.minimum(bridged.overall, low + dependence * (high - low))
    return replace(bridged, levels=probabilities, overall=overall, evidence=evidence)


def _predict_parts(levels: tuple[LevelViews, ...], predict: Predict) -> list[NetworkOutput]:
    """Return the output for each measured part of all levels; levels with fewer parts repeat their last."""
    parts = {views.level: views.gaps.measured_parts for views in levels if views.gaps is not None}
    outputs = []
    for number in range(max(map(len, parts.values()))):
        shown = (
            show_part(views, parts[views.level][min(number, len(parts[views.level]) - 1)])
            if views.level in parts
            else views
            for views in levels
        )
        outputs.append(predict(tuple(shown)))
    return outputs


def _is_supported(evidence: Floats, views: LevelViews, view_indices: Indices) -> bool:
    """Return whether saliency far from every gap says that the vertebra is fractured."""
    near = _near_gaps(views, evidence.shape, view_indices, _MARGIN_MM)
    return bool(np.where(near, 0.0, evidence).max() >= _MIN_SALIENCY)


def _near_gaps(views: LevelViews, shape: tuple[int, ...], view_indices: Indices, margin_mm: float) -> Bools:
    """Return which cells of a vertebra's saliency maps, (views, 3, rows, columns), lie in or near a gap."""
    near = np.zeros(shape, np.bool_)
    for view, index in enumerate(view_indices.tolist()):
        for channel in range(CHANNELS):
            plane = CHANNELS * index + channel
            near[view, channel] = is_near_gap(views, plane, (shape[2], shape[3]), margin_mm)
    return near


def _dependence(output: NetworkOutput, present: Bools) -> float:
    """Return where the patient's probability lies between its bounds, from 0 to 1; the network predicts it."""
    low, high = _bounds(output.levels[present])
    return float(np.clip((float(output.overall) - low) / (high - low), 0.0, 1.0)) if high > low else 0.0


def _bounds(levels: Floats) -> tuple[float, float]:
    """Return the bounds of the patient's probability: that of the most suspicious level, and of independent levels."""
    return float(levels.max()), float(1.0 - np.prod(1.0 - levels))
