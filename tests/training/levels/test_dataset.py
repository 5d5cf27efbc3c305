"""Cases as examples of the level network, and their augmentation."""

from pathlib import Path

import pytest
import torch
from tests.support.views import VIEWS, make_level_dataset

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import LabelError
from cspine.training.levels.augmentation import Views, augment, mirror, thicken_slices
from cspine.training.levels.dataset import LevelDataset, fracture_types_of, list_cases, load_views
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.task import DataShard, load_batches
from cspine.views.level_views import view_indices


def test_cases_are_read_with_their_labels(tmp_path: Path) -> None:
    cases = list_cases(make_level_dataset(tmp_path, 4))

    assert [case.study for case in cases] == ["1.3.0.0", "1.3.0.1", "1.3.0.2", "1.3.0.3"]
    assert cases[0].truth == (1, 1, 0, 0, 0, 0, 0, 0)
    assert set(cases[0].mosaics) == set(VERTEBRAE) - {"C7"}
    assert list(cases[0].cells) == ["C1"]
    assert fracture_types_of(cases) == ("lamina",)
    example = LevelDataset(cases, VIEWS, ("lamina",), None, None)[0]
    assert example["images"].shape == (7, 3, 3, 32, 32)
    assert example["cells"].shape == (7, 3, 3, 4, 4)
    assert example["cells"][0].sum() == 3 * 3 * 2 * 4  # rows 1 and 2, columns 0 to 3
    assert not example["cells"][1:].any()
    assert example["present"].tolist() == [True] * 6 + [False]
    assert example["fracture_types"][0].tolist() == [1.0]
    assert example["images"][6].max() == 0.0


def test_dataset_without_labels_is_refused(tmp_path: Path) -> None:
    dataset = make_level_dataset(tmp_path, 2)
    dataset.finish(None)

    with pytest.raises(LabelError, match="no vertebrae with labels"):
        list_cases(dataset)


def test_examples_depend_on_the_seed_of_the_epoch(tmp_path: Path) -> None:
    cases = list_cases(make_level_dataset(tmp_path, 2))

    first, again, later = (LevelDataset(cases, VIEWS, ("lamina",), (1, 1, 1), seed)[0] for seed in (1, 1, 2))

    torch.testing.assert_close(first["images"], again["images"])
    assert not torch.allclose(first["images"], later["images"])
    assert first["images"].min() >= 0.0
    assert first["images"].max() <= 1.0


def test_mirroring_twice_returns_the_case(tmp_path: Path) -> None:
    (case,) = list_cases(make_level_dataset(tmp_path, 1))
    views = load_views(case, VIEWS, view_indices(VIEWS))
    views.images[:, :, :, :, :5] = 0.9  # no longer symmetric
    views.cells[:, 0, 0] = 0.0  # nor the same in every plane

    once, twice = mirror(views), mirror(mirror(views))

    torch.testing.assert_close(twice.images, views.images)
    torch.testing.assert_close(twice.cells, views.cells)
    torch.testing.assert_close(twice.offsets_mm, views.offsets_mm)
    torch.testing.assert_close(once.images[:, 0], views.images[:, 0].flip(1))  # sagittal: the order of planes reverses
    torch.testing.assert_close(once.images[:, 1:], views.images[:, 1:].flip(-1))
    torch.testing.assert_close(once.cells[:, 0], views.cells[:, 0].flip(1))


def test_thicker_slices_blur_rows_and_mix_axial_neighbors() -> None:
    images = torch.zeros(1, 3, 3, 32, 32)
    images[0, :2, 1, 16] = 1.0  # a row in the sagittal and the coronal view
    images[0, 2, 0] = 1.0  # the first of the axial planes
    views = Views(images, torch.arange(3), torch.zeros(3), torch.zeros(1, 3, 3, 8, 8))

    thickened = [thicken_slices(views, torch.Generator().manual_seed(seed)) for seed in range(12)]

    for result in thickened:
        for view in (0, 1):
            rows = result[0, view, 1, :, 5]
            assert rows[14:19].sum().item() == pytest.approx(1.0, abs=1e-5)  # the sum is preserved
            assert torch.equal(result[0, view, 1, :, 0], result[0, view, 1, :, 31])  # not along columns
            assert not result[0, view, 0].any()
        first, second, third = (result[0, 2, plane, 9, 9].item() for plane in range(3))
        assert first + second >= 1.0 - 0.16
        assert 0.0 < second < first
        assert third == 0.0  # only adjacent planes are mixed
    assert len({round(result[0, 0, 1, 16, 5].item(), 3) for result in thickened}) > 6
    assert any(result[0, 0, 1, 14, 5] > 0 for result in thickened)
    assert any(result[0, 0, 1, 14, 5] == 0 for result in thickened)


def test_augmentation_moves_cells_with_the_image(tmp_path: Path) -> None:
    (case,) = list_cases(make_level_dataset(tmp_path, 1))
    for seed in range(8):
        views = augment(load_views(case, VIEWS, view_indices(VIEWS)), torch.Generator().manual_seed(seed))
        dark = torch.nn.functional.avg_pool2d(views.images[0, :, 1], 4) < 0.35
        inner = slice(1, -1)
        marked = views.cells[0, :, 1, inner, inner] > 0
        overlap = (dark[:, inner, inner] & marked).sum() / marked.sum()
        assert overlap > 0.6, seed


def test_processes_get_disjoint_examples_in_each_epoch() -> None:
    data = [{"number": torch.tensor(number)} for number in range(12)]
    settings = LevelTrainSettings(batch_size=4, workers=0)

    def order(epoch: int, rank: int) -> list[int]:
        loader = load_batches(data, settings, seed=epoch, shard=DataShard(rank, 2))  # type: ignore[arg-type]
        return [int(number) for batch in loader for number in batch["number"]]

    assert len({*order(1, 0), *order(1, 1)}) == 8  # one batch of 4 each; the rest is dropped
    assert order(1, 0) != order(2, 0)


@pytest.mark.parametrize("counts", [(0, 0, 0), (3, -1, 3)])
def test_settings_need_at_least_one_view(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one is positive"):
        LevelTrainSettings(eval_views=counts)


def test_pretraining_has_its_own_epochs_and_larger_batches() -> None:
    settings = LevelTrainSettings(pretrain_epochs=5, epochs=20, batch_size=3)

    assert settings.pretraining.epochs == 5
    assert settings.pretraining.batch_size == 12
