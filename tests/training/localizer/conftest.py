"""Samples of the localizer's training."""

import numpy as np
import pytest

from cspine.core.typing import Floats
from cspine.models.metadata import COARSE_MM
from cspine.phantom.scanner.render import SKULL_LABEL
from cspine.training.localizer.examples import FRAMED_LEVELS, LocalizerSample


def draw_sample(levels: tuple[str, ...], spacing_mm: float = COARSE_MM, *, has_frames: bool = True) -> LocalizerSample:
    """Return a sample with a bead of bone for each level, 15 mm apart, tilted a little, below a plate of skull."""
    shape = round(210.0 / spacing_mm), round(120.0 / spacing_mm), round(120.0 / spacing_mm)
    hu, labels = np.full(shape, 30, np.int16), np.zeros(shape, np.uint8)
    origin = np.array([-60.0, -60.0, -150.0])
    frames = np.full((len(FRAMED_LEVELS), 4, 4), np.nan)
    k, j, i = np.indices(shape)
    lps = origin + spacing_mm * np.stack([i, j, k], axis=-1)
    for number, level in enumerate(levels):
        frame = frame_at(-15.0 * number, tilt_deg=4.0 * number)
        inside = np.linalg.norm(lps - frame[:3, 3], axis=-1) < 7.0
        hu[inside], labels[inside] = 400 + 20 * number, FRAMED_LEVELS.index(level) + 1
        if has_frames:
            frames[FRAMED_LEVELS.index(level)] = frame
    hu[lps[..., 2] > 30.0], labels[lps[..., 2] > 30.0] = 900, SKULL_LABEL
    margin = round(12.0 / spacing_mm)
    scanned = np.array([np.full(3, margin), np.array(shape) - margin])
    return LocalizerSample(hu, labels, origin, spacing_mm, scanned, frames, knows_skull=True)


def frame_at(z_mm: float, tilt_deg: float = 0.0) -> Floats:
    """Return a frame at a height, rotated about x."""
    frame, angle = np.eye(4), np.radians(tilt_deg)
    frame[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    frame[2, 3] = z_mm
    return frame


@pytest.fixture(scope="package")
def sample() -> LocalizerSample:
    """C1 to T1."""
    return draw_sample(("C1", "C2", "C3", "C4", "C5", "C6", "C7", "T1"))
