"""Scans that are made to end within the neck: what is left, and which labels hold."""

import math
from pathlib import Path

import pytest
import torch
from tests.support.views import VIEWS, make_level_dataset

from cspine.core.anatomy import VERTEBRAE
from cspine.training.levels.augmentation import Views
from cspine.training.levels.dataset import LevelDataset, list_cases
from cspine.training.levels.scan_ends import ScanEnd, cut_case, draw_scan_end
from cspine.training.levels.view_positions import view_positions
from cspine.views.level_views import PLANES

HALF_MM = 32.0
PRESENT = torch.ones(len(VERTEBRAE), dtype=torch.bool)
INTACT = torch.zeros_like(PRESENT)
UPWARD = torch.tensor([0.0, 0.0, 1.0])


def white_views(fractured: int | None = None, cell_row: int = 8) -> Views:
    """Return white views, one of each plane; a row of cells of one vertebra is fractured in the sagittal one."""
    cells = torch.zeros(len(VERTEBRAE), 3, 3, 16, 16)
    if fractured is not None:
        cells[fractured, 0, :, cell_row] = 1.0
    return Views(torch.ones(len(VERTEBRAE), 3, 3, 64, 64), torch.tensor([0, 1, 2]), torch.zeros(3), cells)


def test_positions_are_those_of_the_planes() -> None:
    positions = view_positions(torch.tensor([[0, 1, 2]]), torch.tensor([[5.0, 6.0, 7.0]]), 10.0, (4, 4))

    for plane, top_left in zip(
        range(len(PLANES)), [(5.0, -7.5, 7.5), (-7.5, 6.0, 7.5), (-7.5, -7.5, 7.0)], strict=True
    ):
        assert positions[0, plane, 0, 0].tolist() == pytest.approx(top_left)


def test_beyond_a_caudal_end_all_is_black_and_vertebrae_are_absent() -> None:
    end = ScanEnd(level=3, direction=1.0, height_mm=-4.0, normal=UPWARD)

    cut = cut_case(white_views(), PRESENT, INTACT, HALF_MM, end)

    assert cut is not None
    assert cut.present.tolist() == [True] * 4 + [False] * 3
    for level, height_mm in ((3, -4.0), (2, -21.0)):
        rows = cut.views.images[level, 0, 0, :, 0]
        first_black = int((rows == 0).nonzero()[0])
        assert first_black == pytest.approx(32 * (1 - height_mm / HALF_MM), abs=1)
    assert cut.views.images[3, 2].all()  # the axial plane lies above the end
    assert not cut.views.images[4:].any()


def test_a_cranial_end_leaves_what_lies_below() -> None:
    end = ScanEnd(level=1, direction=-1.0, height_mm=2.0, normal=UPWARD)

    cut = cut_case(white_views(), PRESENT, INTACT, HALF_MM, end)

    assert cut is not None
    assert cut.present.tolist() == [False] + [True] * 6
    assert not cut.views.images[1, 2].any()  # the axial plane lies above the end
    assert cut.views.images[1, 0, 0, -1].all()
    assert not cut.views.images[1, 0, 0, 0].any()


def test_an_oblique_end_is_oblique_in_the_plane_that_it_crosses() -> None:
    pitch = math.radians(30.0)
    normal = torch.tensor([0.0, math.sin(pitch), math.cos(pitch)])

    cut = cut_case(white_views(), PRESENT, INTACT, HALF_MM, ScanEnd(3, 1.0, 0.0, normal))

    assert cut is not None
    black_rows = (cut.views.images[3, :, 0] == 0).sum(dim=1)  # of each column
    assert black_rows[0, 0] > 32 > black_rows[0, -1]  # more is left behind, where the normal points to
    assert black_rows[1].min() == black_rows[1].max()


@pytest.mark.parametrize(
    ("cell_row", "height_mm", "is_hidden"),
    [(2, -4.0, False), (14, -4.0, True)],
)
def test_a_fracture_beyond_the_end_labels_nothing(cell_row: int, height_mm: float, is_hidden: bool) -> None:
    fractured = INTACT.clone()
    fractured[3] = True

    cut = cut_case(white_views(3, cell_row), PRESENT, fractured, HALF_MM, ScanEnd(3, 1.0, height_mm, UPWARD))

    assert cut is not None
    assert cut.hidden.tolist() == [level == 3 and is_hidden for level in range(7)]
    assert bool(cut.views.cells.any()) != is_hidden


def test_a_fracture_that_would_be_left_in_part_stays_whole() -> None:
    fractured = INTACT.clone()
    fractured[3] = True
    views = white_views(3, 2)
    views.cells[3, 0, :, 12:15] = 1.0  # a quarter of the fracture lies above the end

    assert cut_case(views, PRESENT, fractured, HALF_MM, ScanEnd(3, 1.0, -4.0, UPWARD)) is None


def test_a_fracture_whose_cells_are_not_known_is_not_cut() -> None:
    fractured = INTACT.clone()
    fractured[3] = True

    assert cut_case(white_views(), PRESENT, fractured, HALF_MM, ScanEnd(3, 1.0, -4.0, UPWARD)) is None
    assert cut_case(white_views(), PRESENT, fractured, HALF_MM, ScanEnd(6, 1.0, -4.0, UPWARD)) is not None


def test_ends_lie_within_vertebrae_that_are_present() -> None:
    present = torch.tensor([False, True, False, False, True, False, False])
    generator = torch.Generator().manual_seed(0)

    ends = [draw_scan_end(present, generator) for _ in range(60)]

    assert {end.level for end in ends} == {1, 4}
    assert {end.direction for end in ends} == {1.0, -1.0}
    assert all(-11.0 <= end.height_mm <= 6.0 for end in ends)
    assert all(float(end.normal.norm()) == pytest.approx(1.0) and end.normal[2] > 0.8 for end in ends)


def test_cases_that_are_cut_have_the_labels_of_what_is_left(tmp_path: Path) -> None:
    cases = list_cases(make_level_dataset(tmp_path, 8))
    data = LevelDataset(cases, VIEWS, ("lamina",), (1, 1, 1), 5, scan_end_fraction=1.0)

    examples = [data[number] for number in range(len(cases))]

    assert any(example["present"].sum() < len(VERTEBRAE) for example in examples)
    for example in examples:
        left = example["truth"][1:] * example["present"]
        assert example["truth"][0] == float(left.any())
        assert not example["cells"][~example["present"]].any()
