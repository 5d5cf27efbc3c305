"""Small volumes with the histogram of a neck: air, fat, muscle, bone and noise."""

import numpy as np

from cspine.core.typing import HounsfieldUnits

SHAPE = (12, 64, 64)


def make_neck(seed: int = 0) -> HounsfieldUnits:
    """Return the HU of a cylinder of fat and muscle about a bone, in air, with noise; at least -1024."""
    _, j, i = np.meshgrid(*[np.arange(n, dtype=float) for n in SHAPE], indexing="ij")
    radius = np.hypot(j - SHAPE[1] / 2, i - SHAPE[2] / 2)
    noise = np.random.default_rng(seed).normal(0.0, 15.0, SHAPE)
    hu = np.select([radius < 4.0, radius < 7.0, radius < 17.0, radius < 24.0], [250.0, 700.0, 50.0, -100.0], -1000.0)
    return np.rint(np.maximum(hu + noise, -1024.0)).astype(np.int16)


def make_mr(seed: int = 0) -> HounsfieldUnits:
    """Return a volume with the histogram of an MR image: noise about 0, tissues at no particular values."""
    _, j, i = np.meshgrid(*[np.arange(n, dtype=float) for n in SHAPE], indexing="ij")
    radius = np.hypot(j - SHAPE[1] / 2, i - SHAPE[2] / 2)
    noise = np.random.default_rng(seed).normal(0.0, 15.0, SHAPE)
    signal = np.select([radius < 7.0, radius < 17.0, radius < 24.0], [90.0, 320.0, 700.0], 0.0)
    return np.rint(np.abs(signal + noise)).astype(np.int16)
