"""Monotone interpolation is SciPy's, without the cost of importing it."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.interpolate import PchipInterpolator

from cspine.spine.interpolation import interpolate_monotone


@pytest.mark.parametrize("n_points", [2, 3, 4, 9])
@pytest.mark.parametrize("seed", range(20))
def test_monotone_interpolation_is_that_of_scipy(n_points: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.cumsum(rng.uniform(0.5, 20.0, n_points))
    y = np.round(rng.normal(0.0, 3.0, (n_points, 3)))  # with plateaus
    positions = np.concatenate([x, rng.uniform(x[0], x[-1], 50)])

    values = interpolate_monotone(x, y, positions)

    np.testing.assert_allclose(values, PchipInterpolator(x, y)(positions), atol=1e-10)


def test_a_centerline_needs_no_scipy_interpolate() -> None:
    code = "import sys, cspine.spine.centerline; sys.exit('scipy.interpolate' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
