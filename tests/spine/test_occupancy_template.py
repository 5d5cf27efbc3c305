"""The scanned fraction of a vertebra follows from its frame and the occupancy template of its level."""

import numpy as np
import pytest

from cspine.core.typing import Floats
from cspine.spine.occupancy_template import OccupancyTemplate, mean_occupancy_template


def cuboid(half_mm: tuple[float, float, float]) -> Floats:
    """Return the voxels, 2 mm apart, of a cuboid around the origin."""
    axes = [np.arange(-side + 1.0, side, 2.0) for side in half_mm]
    return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)


def test_template_has_the_mean_volume_of_its_vertebrae() -> None:
    template = mean_occupancy_template([cuboid((20.0, 15.0, 10.0)), cuboid((20.0, 15.0, 10.0))], 8.0)

    assert sum(cell[3] for cell in template.cells) * 5.0**3 == pytest.approx(40 * 30 * 20, rel=0.05)
    assert OccupancyTemplate.model_validate_json(template.model_dump_json()) == template


@pytest.mark.parametrize("height", [-30.0, -4.0, 0.0, 6.0, 30.0])
def test_scanned_fraction_is_the_part_above_the_scan_border(height: float) -> None:
    template = mean_occupancy_template([cuboid((20.0, 15.0, 10.0))], 8.0)
    frame = np.eye(4)
    frame[:3, 3] = 3.0, -7.0, height

    scanned_fraction = template.scanned_fraction(frame, lambda lps: lps[:, 2] > 0.0)

    assert scanned_fraction == pytest.approx(np.clip((10.0 + height) / 20.0, 0, 1), abs=0.13)  # cells are 5 mm high


def test_template_leaves_out_cells_that_few_vertebrae_fill() -> None:
    usual, osteophyte = cuboid((10.0, 10.0, 10.0)), np.array([[40.0, 0.0, 0.0]])

    template = mean_occupancy_template([*[usual] * 19, np.concatenate([usual, osteophyte])], 8.0)

    assert max(cell[0] for cell in template.cells) < 3


def test_best_agreement_is_the_highest_correlation_of_the_shifted_template() -> None:
    template = mean_occupancy_template([cuboid((20.0, 15.0, 10.0))], 8.0)
    frame = np.eye(4)
    frame[:3, :3], frame[:3, 3] = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], (3.0, -7.0, 5.0)
    shifts_mm = np.array([[0.0, 0.0, 0.0], [6.0, -3.0, 2.0], [0.0, 0.0, -60.0]])

    def sample(lps_mm: Floats) -> Floats:
        hu = 300.0 * np.exp(-((lps_mm / [14.0, 18.0, 9.0]) ** 2).sum(axis=1)) - 40.0
        return np.where(lps_mm[:, 2] > -12.0, hu, np.nan)

    centers_mm, occupancy = template.grid
    expected = []
    for shift_mm in shifts_mm[:2]:
        hu = sample((centers_mm + shift_mm) @ frame[:3, :3].T + frame[:3, 3])
        is_scanned = np.isfinite(hu)
        expected.append(np.corrcoef(np.clip(hu[is_scanned], 0.0, 500.0), occupancy[is_scanned])[0, 1])
    assert template.best_agreement(frame, sample, shifts_mm) == pytest.approx(max(expected), abs=1e-12)
    assert template.best_agreement(frame, sample, shifts_mm[2:]) is None
