"""Place the vertebrae of a segmentation: their frames, one after the other from the head down."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from cspine.core.typing import Floats
from cspine.spine.level_settings import expected_distance_mm
from cspine.spine.mask_frames import FrameFit, PosePrior, VertebraMask, fit_frame
from cspine.spine.occupancy_template import OccupancyTemplate

_LOWEST_TEMPLATES: Final = ("T2", "T1")
"""Thoracic vertebrae without a template of their own are compared with the first of these."""

_MIN_SURE_AGREEMENT: Final = 0.8
"""With a lower agreement, rotations far from the neighbor's are searched, too."""


class PlacedVertebra(NamedTuple):
    """A vertebra with its mask and its frame."""

    level: str
    mask: VertebraMask
    fit: FrameFit
    template: OccupancyTemplate


def place_vertebrae(
    masks: Mapping[str, VertebraMask], templates: Mapping[str, OccupancyTemplate]
) -> tuple[PlacedVertebra, ...]:
    """Return the vertebrae with their frames, from the head down.

    Whole vertebrae come first: their sizes, and the frames of the nearest of them, are what is expected of those that
    the border of the scan cuts off.

    Parameters
    ----------
    masks : dict
        Level to mask, from the head down.
    templates : dict
        Level to the mean occupancy of such vertebrae.
    """
    placed: dict[str, PlacedVertebra] = {}
    for level, mask in masks.items():
        template = template_of(level, templates)
        if template is None or mask.is_cut:
            continue
        neighbor = placed[next(reversed(placed))] if placed else None
        placed[level] = PlacedVertebra(level, mask, _place(mask, template, neighbor), template)
    whole = tuple(placed.values())
    log_size = np.median([each.fit.pose.log_size for each in whole], axis=0) if whole else np.zeros(3)
    for level, mask in masks.items():
        template = template_of(level, templates)
        if template is not None and mask.is_cut:
            prior = PosePrior(log_size, frame_lps=_expected_frame(level, whole, list(masks)))
            placed[level] = PlacedVertebra(level, mask, fit_frame(mask, template, prior), template)
    return tuple(placed[level] for level in masks if level in placed)


def template_of(level: str, templates: Mapping[str, OccupancyTemplate]) -> OccupancyTemplate | None:
    """Return the template that a level is compared with; None of lumbar vertebrae."""
    if level in templates or level[0] not in "CT":
        return templates.get(level)
    return next((templates[name] for name in _LOWEST_TEMPLATES if name in templates), None)


def _place(mask: VertebraMask, template: OccupancyTemplate, neighbor: PlacedVertebra | None) -> FrameFit:
    """Fit the frame of a whole vertebra, from the rotation of the one above where there is one."""
    if neighbor is None:
        return fit_frame(mask, template)
    pose = neighbor.fit.pose
    fit = fit_frame(mask, template, PosePrior(axes_lps=pose.frame_lps[:3, :3]))
    if fit.agreement >= _MIN_SURE_AGREEMENT:
        return fit
    return max(fit, fit_frame(mask, template), key=lambda each: each.agreement)


def _expected_frame(level: str, whole: Sequence[PlacedVertebra], order: Sequence[str]) -> Floats | None:
    """Return where a vertebra is expected from the nearest whole one: along its axis, with its rotation."""
    if not whole:
        return None
    nearest = min(whole, key=lambda each: abs(order.index(each.level) - order.index(level)))
    is_above = order.index(level) < order.index(nearest.level)
    pair = (level, nearest.level) if is_above else (nearest.level, level)
    size = float(np.exp(np.median([each.fit.pose.log_size[2] for each in whole])))
    distance_mm = size * expected_distance_mm(*pair) * (1.0 if is_above else -1.0)
    frame = nearest.fit.pose.frame_lps.copy()
    frame[:3, 3] += distance_mm * frame[:3, 2]
    return frame
