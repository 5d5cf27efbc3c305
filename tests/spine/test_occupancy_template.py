"""How much of a vertebra a scan shows, by its frame and its ordinary shape."""

import numpy as np
import pytest

from cspine.spine.occupancy_template import OccupancyTemplate, mean_occupancy_template

RNG = np.random.default_rng(8)


def brick(half: tuple[float, float, float]) -> np.ndarray:
    """The voxels, 2 mm apart, of a brick."""
    axes = [np.arange(-side + 1.0, side, 2.0) for side in half]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def test_a_mean_shape_fills_what_its_vertebrae_fill() -> None:
    shape = mean_occupancy_template([brick((20.0, 15.0, 10.0)), brick((20.0, 15.0, 10.0))], 8.0)

    assert sum(cell[3] for cell in shape.cells) * 5.0**3 == pytest.approx(40 * 30 * 20, rel=0.05)
    assert OccupancyTemplate.model_validate_json(shape.model_dump_json()) == shape


@pytest.mark.parametrize("height", [-30.0, -4.0, 0.0, 6.0, 30.0])
def test_the_share_is_what_lies_above_a_border(height: float) -> None:
    shape = mean_occupancy_template([brick((20.0, 15.0, 10.0))], 8.0)
    frame = np.eye(4)
    frame[:3, 3] = 3.0, -7.0, height

    scanned_fraction = shape.scanned_fraction(frame, lambda lps: lps[:, 2] > 0.0)

    assert scanned_fraction == pytest.approx(np.clip((10.0 + height) / 20.0, 0, 1), abs=0.13)  # cells are 5 mm high


def test_what_few_vertebrae_have_is_left_out() -> None:
    usual, spur = brick((10.0, 10.0, 10.0)), np.array([[40.0, 0.0, 0.0]])

    shape = mean_occupancy_template([*[usual] * 19, np.concatenate([usual, spur])], 8.0)

    assert max(cell[0] for cell in shape.cells) < 3
