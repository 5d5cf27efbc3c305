"""The tasks of the localizer's networks: what they are given, and their losses."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from tests.training.localizer.conftest import draw_sample

from cspine.localization.cascade.crops import CROP_CLASSES, CROP_MM, CROP_SHAPE, crop_affine
from cspine.localization.cascade.region import REGION_CLASSES
from cspine.localization.cascade.vertebrae import VERTEBRA_CLASSES
from cspine.localization.coarse import OFFSET_UNIT_MM
from cspine.localization.instances import rigid_frame
from cspine.training.localizer.classes import UNKNOWN
from cspine.training.localizer.examples import LocalizerSample
from cspine.training.localizer.frame_task import (
    CROPS_PER_SAMPLE,
    FrameDataset,
    FrameTask,
    build_frame_network,
    crop_geometry,
    positions_in_frame,
)
from cspine.training.localizer.losses import SegmentationLoss
from cspine.training.localizer.network import SpineUNet, pack, unpack
from cspine.training.localizer.region_task import RegionDataset
from cspine.training.localizer.vertebra_task import VertebraDataset, draw_center
from cspine.training.settings import TrainerSettings

HEAD = VERTEBRA_CLASSES.index("head")


@pytest.fixture
def path(tmp_path: Path, sample: LocalizerSample) -> Path:
    sample.save(tmp_path / "0.npz")
    return tmp_path / "0.npz"


@pytest.mark.parametrize("dataset", [VertebraDataset, RegionDataset, FrameDataset])
def test_examples_depend_on_the_seed_of_the_epoch_only(dataset: type, path: Path) -> None:
    one, same, other = (dataset([path], seed)[0] for seed in (1, 1, 2))

    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["image"], other["image"])


def test_packing_is_inverted_and_halves_the_sides() -> None:
    image = torch.rand(2, 3, 4, 6, 8)

    packed = pack(image)

    assert packed.shape == (2, 24, 2, 3, 4)
    assert torch.equal(unpack(packed), image)
    network = SpineUNet(5, (4, 8)).eval()
    assert network(torch.rand(1, 2, 4, 8, 12)).shape == (1, 5, 4, 8, 12)


def test_unlabeled_head_may_be_classified_as_head_or_background() -> None:
    batch = {"classes": torch.zeros(1, 4, 4, 4, dtype=torch.uint8), "knows_skull": torch.tensor([False])}
    logits = torch.zeros(1, len(VERTEBRA_CLASSES), 4, 4, 4)
    logits[:, HEAD] = 20.0
    loss = SegmentationLoss(VERTEBRA_CLASSES)

    unlabeled = loss(logits, batch)
    labeled = loss(logits, {**batch, "knows_skull": torch.tensor([True])})

    assert labeled > unlabeled + 5.0


def test_dice_loss_is_that_of_its_definition() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, len(REGION_CLASSES), 4, 4, 4, generator=generator)
    classes = torch.randint(0, len(REGION_CLASSES), (2, 4, 4, 4), generator=generator)
    classes[0, 0] = UNKNOWN
    batch = {"classes": classes.to(torch.uint8), "knows_skull": torch.tensor([True, True])}
    head = REGION_CLASSES.index("head")
    known = classes != UNKNOWN
    probability = torch.softmax(logits, dim=1)
    weight = torch.where(classes > 0, 3.0, 1.0) * known
    truth = torch.where(known, classes, 0)
    entropy = -torch.log(probability.gather(1, truth[:, None])[:, 0])
    expected = (entropy * weight).sum() / weight.sum()
    mask = known & (classes != head)
    ratios = []
    for number in set(range(1, len(REGION_CLASSES))) - {head}:
        chance, target = probability[:, number] * mask, (classes == number) & mask
        ratios.append(1 - 2 * (chance * target).sum() / (chance.sum() + target.sum()))

    loss = SegmentationLoss(REGION_CLASSES)(logits, batch)

    assert float(loss) == pytest.approx(float(expected + torch.stack(ratios).mean()), rel=1e-4)


def test_patches_are_mostly_about_the_neck() -> None:
    long = draw_sample(("C5", "C6", "C7", "T1", "T2", "T3", "T4", "T5", "T6", "T7"))
    rng = np.random.default_rng(0)

    centers = np.array([draw_center(long, rng) for _ in range(300)])

    neck_k = long.index_of(long.frames[6][None, :3, 3])[0, 0]
    assert np.mean(np.abs(centers[:, 0] - neck_k) < 45) > 0.7
    assert centers[:, 0].min() < long.scanned[0, 0] + 15


@pytest.mark.parametrize("is_mirrored", [False, True])
def test_positions_of_a_crop_lead_to_the_true_frame(is_mirrored: bool) -> None:
    fine = draw_sample(("C3", "C4", "C5"), 1.5)
    truth, motion = fine.frames[3], np.eye(4)
    motion[:3, :3] = Rotation.from_rotvec([5.0, -8.0, 3.0], degrees=True).as_matrix()
    motion[:3, 3] = [2.0, -3.0, 4.0]
    start = truth @ motion
    rng = np.random.default_rng(0)
    geometry = replace(crop_geometry(fine, start, 1.0, is_mirrored=is_mirrored, rng=rng), knots=None)

    position = positions_in_frame(fine, geometry, geometry.source_index().numpy(), truth)

    points = np.indices(CROP_SHAPE).reshape(3, -1).T @ crop_affine(np.eye(4))[:3, :3].T + crop_affine(np.eye(4))[:3, 3]
    canonical = OFFSET_UNIT_MM * position.reshape(3, -1).T.astype(float)
    frame, misfit_mm = rigid_frame(canonical, points, np.ones(len(points)))
    mirror = np.diag([-1.0 if is_mirrored else 1.0, 1.0, 1.0, 1.0])
    assert misfit_mm < 1e-3
    np.testing.assert_allclose(start @ mirror @ frame @ mirror, truth, atol=1e-3)


def test_crops_show_levels_and_places_without_a_vertebra(tmp_path: Path) -> None:
    draw_sample(("C3", "C4", "C5"), 1.5).save(tmp_path / "0.npz")
    draw_sample((), 1.5).save(tmp_path / "1.npz")

    crops = [FrameDataset([tmp_path / "0.npz"], seed)[0] for seed in range(8)]
    empty = FrameDataset([tmp_path / "1.npz"], 0)[0]

    levels = torch.cat([each["level"] for each in crops])
    assert crops[0]["image"].shape == (CROPS_PER_SAMPLE, 2, *CROP_SHAPE)
    assert set(levels.tolist()) == {0, *(CROP_CLASSES.index(level) for level in ("C3", "C4", "C5"))}
    assert (levels == 0).float().mean() < 0.3
    for each in crops:
        n_voxels = each["mask"].flatten(1).sum(dim=1)
        assert (n_voxels[each["level"] == 0] == 0).all()
        assert (n_voxels[each["level"] > 0] > 60).all()
        distance_mm = OFFSET_UNIT_MM * each["position"].norm(dim=1)[each["mask"]]
        assert float(distance_mm.max()) < 10.0
    assert not empty["mask"].any()


def test_frame_network_learns_where_a_bead_is(tmp_path: Path) -> None:
    draw_sample(("C3", "C4", "C5"), CROP_MM).save(tmp_path / "0.npz")
    task = FrameTask([tmp_path / "0.npz"], [tmp_path / "0.npz"], TrainerSettings(batch_size=1, workers=0))
    torch.manual_seed(0)
    network = build_frame_network()
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-3)
    losses = []
    for epoch in range(8):
        for batch in task.train_loader(epoch):
            outputs = network(*task.inputs(batch))
            assert outputs[0].shape == (CROPS_PER_SAMPLE, len(CROP_CLASSES))
            assert outputs[1].shape == (CROPS_PER_SAMPLE, 4, *CROP_SHAPE)
            loss = task.loss(outputs, batch)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(loss.item())

    assert np.mean(losses[-3:]) < 0.9 * np.mean(losses[:3])
