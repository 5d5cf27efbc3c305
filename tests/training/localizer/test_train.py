"""What a localizer learns from, and that it is trained by the command."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cspine.cli import app
from cspine.core.anatomy import SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.errors import SourceError
from cspine.localization.coarse import UNIT_MM
from cspine.localization.localizer import Localizer
from cspine.models.metadata import COARSE_MM, PADDING
from cspine.phantom import PhantomSettings, synthesize
from cspine.training.localizer.examples import LocalizerSample, phantom_example, write_phantom_set, write_segmented_set
from cspine.training.localizer.patch_sampler import (
    HEAD,
    PATCH,
    THORACIC,
    UNKNOWN,
    CoarseData,
    Target,
    View,
    draw_view,
    look,
    plain_view,
)
from cspine.training.localizer.task import LocalizerLoss

SMALL = PhantomSettings(matrix=96, slice_spacing_mm=(2.0, 2.0), tilted=0.0)


@pytest.fixture(scope="module")
def example() -> LocalizerSample:
    return phantom_example(3, 0, PhantomSettings(shortened=0.0))


def middles(target: Target) -> dict[int, np.ndarray]:
    """Return where voxels of each class say that their vertebra's origin is, in the patch's voxels, (x, y, z)."""
    found = {}
    for number in range(1, 8):
        at = np.nonzero((target.classes == number) & target.placed)
        if len(at[0]) > 40:
            way = UNIT_MM * target.places[:3, at[0], at[1], at[2]] / COARSE_MM
            found[number] = (np.stack(at)[::-1] + way).T
    return found


def test_all_voxels_of_a_vertebra_tell_one_origin_and_their_own_place(example: LocalizerSample) -> None:
    view = plain_view(example)

    target = look(example, view)

    assert target.image.shape == (2, *PATCH)
    assert set(range(8)) | {THORACIC, HEAD} <= set(np.unique(target.classes).tolist())
    for number, votes in middles(target).items():
        frame = example.frames[number - 1]
        origin = ((frame[:3, 3] - example.origin_lps_mm) / COARSE_MM) - view.shift[::-1]
        np.testing.assert_allclose(votes, np.broadcast_to(origin, votes.shape), atol=1e-3)
        at = np.nonzero((target.classes == number) & target.placed)
        own = UNIT_MM * target.places[3:, at[0], at[1], at[2]]
        lps = frame[:3, :3] @ own + frame[:3, 3:]
        there = example.origin_lps_mm[:, None] + COARSE_MM * (np.stack(at) + view.shift[:, None])[::-1]
        np.testing.assert_allclose(lps, there, atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_a_turned_scaled_mirrored_neck_is_still_one(example: LocalizerSample, seed: int) -> None:
    rng = np.random.default_rng(seed)
    view = draw_view(example, rng)

    target = look(example, view, rng=rng)

    found = middles(target)
    assert found
    for votes in found.values():
        assert np.ptp(votes, axis=0).max() < 0.01  # all mean the same place
    for upper, lower in pairwise(VERTEBRAE):
        pair = SEGMENT_NUMBERS[upper], SEGMENT_NUMBERS[lower]
        if set(pair) <= set(found):
            assert found[pair[0]][0, 2] > found[pair[1]][0, 2]
    at = np.nonzero((target.classes == 5) & target.placed)
    if len(at[0]) > 40:  # right stays right: in a mirror, the vertebra's own x runs the other way through the patch
        own_x, patch_x = target.places[3][at], np.stack(at)[2]
        assert np.corrcoef(own_x, patch_x)[0, 1] > 0.9


def test_nothing_is_learnt_from_what_lies_far_beyond_the_scan(example: LocalizerSample) -> None:
    whole = plain_view(example)
    low, high = whole.field.copy()
    low[0] += 40  # 120 mm are cut off at the feet
    view = View(whole.matrix, whole.shift, 1.0, mirrored=False, field=np.array([low, high]))

    target = look(example, view)

    first = int(low[0])
    assert (target.image[1, :first] == target.image[1].min()).all()  # the network is told what was not scanned
    assert (target.classes[: first - PADDING[0]] == UNKNOWN).all()
    assert (
        (target.classes[first - PADDING[0] : first] > 0) & (target.classes[first - PADDING[0] : first] < HEAD)
    ).any()
    assert not target.placed[: first - PADDING[0]].any()


def test_an_epochs_patches_depend_on_its_seed_alone(tmp_path: Path, example: LocalizerSample) -> None:
    example.save(tmp_path / "0.npz")
    one, same, other = (CoarseData([tmp_path / "0.npz"], seed)[0] for seed in (1, 1, 2))

    assert torch.equal(one["image"], same["image"])
    assert not torch.equal(one["image"], other["image"])
    (tmp_path / "0.npz").write_bytes(b"PK")
    with pytest.raises(SourceError, match="is no coarse volume"):
        LocalizerSample.load(tmp_path / "0.npz")


def test_where_the_head_is_not_labelled_it_may_be_called_either() -> None:
    classes = torch.zeros(1, 4, 4, 4, dtype=torch.uint8)
    batch = {
        "classes": classes, "places": torch.zeros(1, 6, 4, 4, 4), "placed": torch.zeros(1, 4, 4, 4, dtype=torch.bool),
        "knows_skull": torch.tensor([False]),
    }  # fmt: skip
    says_head = torch.zeros(1, 16, 4, 4, 4)
    says_head[:, HEAD] = 20.0
    loss = LocalizerLoss()

    ignorant = loss(says_head, batch)
    knowing = loss(says_head, {**batch, "knows_skull": torch.tensor([True])})

    assert knowing > ignorant + 5.0


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("segmented") / "data"
    synthesize(out, studies=2, seed=4, settings=SMALL, workers=2)
    return out


def test_segmentations_become_examples_without_frames(tmp_path: Path, segmented: Path) -> None:
    files = write_segmented_set(tmp_path / "coarse", segmented)

    for path in files:
        example = LocalizerSample.load(path)
        assert set(range(1, 8)) <= set(np.unique(example.labels).tolist())
        assert np.isnan(example.frames).all()
        assert not example.knows_skull
        target = look(example, plain_view(example))
        assert not target.placed.any()
        bone = (target.classes > 0) & (target.classes < HEAD)
        assert example.hu.shape == example.labels.shape
        assert 200 < bone.sum() < 12_000
    with pytest.raises(SourceError, match="holds no segmentations"):
        write_segmented_set(tmp_path / "none", tmp_path)


def test_the_command_trains_a_localizer_that_predict_can_use(tmp_path: Path, segmented: Path) -> None:
    run = [
        "train", "--model", "localizer", "--data", str(segmented), "--out", str(tmp_path / "run"), "--phantoms", "3",
        "--epochs", "1", "--batch-size", "2", "--precision", "32-true",
    ]  # fmt: skip

    done = CliRunner().invoke(app, run)

    assert done.exit_code == 0, done.output
    localizer = Localizer.load(tmp_path / "run" / "run" / "weights.onnx")
    assert localizer.weights.metadata.phantom_only
    assert {"C1", "C7"} <= set(localizer.weights.metadata.occupancy_templates)
    again = CliRunner().invoke(app, run)
    assert again.exit_code == 0, again.output
    assert "went on from epoch 1" in again.output


def test_a_set_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = write_phantom_set(tmp_path, studies=1, seed=5, settings=SMALL)
    before = first[0].stat().st_mtime_ns

    files = write_phantom_set(tmp_path, studies=2, seed=5, settings=SMALL)

    assert len(files) == 2
    assert files[0].stat().st_mtime_ns == before
