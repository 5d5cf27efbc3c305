"""The localizer: its training samples and patches, its loss, and training by the command."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cspine.cli import app
from cspine.core.anatomy import SEGMENT_NUMBERS, VERTEBRAE
from cspine.core.errors import SourceError
from cspine.core.typing import Floats
from cspine.localization.coarse import OFFSET_UNIT_MM
from cspine.localization.localizer import Localizer
from cspine.models.metadata import COARSE_MM, PADDING
from cspine.phantom import PhantomSettings, synthesize
from cspine.training.localizer.examples import LocalizerSample, phantom_sample, write_phantom_set, write_segmented_set
from cspine.training.localizer.patch_sampler import (
    HEAD,
    PATCH_SHAPE,
    THORACIC,
    UNKNOWN,
    LocalizerDataset,
    Patch,
    PatchTransform,
    centered_transform,
    random_transform,
    sample_patch,
)
from cspine.training.localizer.task import LocalizerLoss

SMALL = PhantomSettings(matrix=96, slice_spacing_mm=(2.0, 2.0), tilt_fraction=0.0)


@pytest.fixture(scope="module")
def sample() -> LocalizerSample:
    return phantom_sample(3, 0, PhantomSettings(truncated_fraction=0.0))


@pytest.fixture(scope="module")
def segmented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the challenge's layout with two segmented phantoms."""
    out = tmp_path_factory.mktemp("segmented") / "data"
    synthesize(out, studies=2, seed=4, settings=SMALL, workers=2)
    return out


def votes_of(patch: Patch) -> dict[int, Floats]:
    """Return the origins that the voxels of each vertebra point to, (n, 3), x, y, z in voxels of the patch."""
    votes = {}
    for number in range(1, 8):
        voxels = np.nonzero((patch.classes == number) & patch.has_coordinates)
        if len(voxels[0]) > 40:
            offset = OFFSET_UNIT_MM * patch.coordinates[:3, voxels[0], voxels[1], voxels[2]] / COARSE_MM
            votes[number] = (np.stack(voxels)[::-1] + offset).T
    return votes


def test_voxels_of_a_vertebra_agree_on_its_origin_and_know_their_position(sample: LocalizerSample) -> None:
    transform = centered_transform(sample)

    patch = sample_patch(sample, transform)

    assert patch.image.shape == (2, *PATCH_SHAPE)
    assert set(range(8)) | {THORACIC, HEAD} <= set(np.unique(patch.classes).tolist())
    for number, votes in votes_of(patch).items():
        frame = sample.frames[number - 1]
        origin = ((frame[:3, 3] - sample.origin_lps_mm) / COARSE_MM) - transform.shift[::-1]
        np.testing.assert_allclose(votes, np.broadcast_to(origin, votes.shape), atol=1e-3)
        voxels = np.nonzero((patch.classes == number) & patch.has_coordinates)
        position = OFFSET_UNIT_MM * patch.coordinates[3:, voxels[0], voxels[1], voxels[2]]
        lps = frame[:3, :3] @ position + frame[:3, 3:]
        index = np.stack(voxels) + transform.shift[:, None]
        expected = sample.origin_lps_mm[:, None] + COARSE_MM * index[::-1]
        np.testing.assert_allclose(lps, expected, atol=1e-3)


@pytest.mark.parametrize("seed", range(6))
def test_random_transform_keeps_coordinates_consistent(sample: LocalizerSample, seed: int) -> None:
    rng = np.random.default_rng(seed)

    patch = sample_patch(sample, random_transform(sample, rng), rng=rng)

    votes = votes_of(patch)
    assert votes
    for origins in votes.values():
        assert np.ptp(origins, axis=0).max() < 0.01  # all voxels point to the same origin
    for upper, lower in pairwise(VERTEBRAE):
        pair = SEGMENT_NUMBERS[upper], SEGMENT_NUMBERS[lower]
        if set(pair) <= set(votes):
            assert votes[pair[0]][0, 2] > votes[pair[1]][0, 2]
    voxels = np.nonzero((patch.classes == 5) & patch.has_coordinates)
    if len(voxels[0]) > 40:  # in a mirrored patch the vertebra's x axis is mirrored too
        own_x, patch_x = patch.coordinates[3][voxels], np.stack(voxels)[2]
        assert np.corrcoef(own_x, patch_x)[0, 1] > 0.9


def test_voxels_far_outside_the_scan_are_unknown(sample: LocalizerSample) -> None:
    complete = centered_transform(sample)
    low, high = complete.scanned.copy()
    low[0] += 40  # 120 mm are cut off at the feet
    transform = PatchTransform(complete.matrix, complete.shift, 1.0, is_mirrored=False, scanned=np.array([low, high]))

    patch = sample_patch(sample, transform)

    first = int(low[0])
    assert (patch.image[1, :first] == patch.image[1].min()).all()  # the network is told what was not scanned
    assert (patch.classes[: first - PADDING[0]] == UNKNOWN).all()
    padding = patch.classes[first - PADDING[0] : first]
    assert ((padding > 0) & (padding < HEAD)).any()
    assert not patch.has_coordinates[: first - PADDING[0]].any()


def test_patches_depend_on_the_seed_of_the_epoch_only(tmp_path: Path, sample: LocalizerSample) -> None:
    sample.save(tmp_path / "0.npz")
    one, same, other = (LocalizerDataset([tmp_path / "0.npz"], seed)[0] for seed in (1, 1, 2))

    assert torch.equal(one["image"], same["image"])
    assert not torch.equal(one["image"], other["image"])


def test_damaged_sample_is_refused(tmp_path: Path) -> None:
    (tmp_path / "0.npz").write_bytes(b"PK")

    with pytest.raises(SourceError, match="is not a coarse volume"):
        LocalizerSample.load(tmp_path / "0.npz")


def test_unlabeled_head_may_be_classified_as_head_or_background() -> None:
    batch = {
        "classes": torch.zeros(1, 4, 4, 4, dtype=torch.uint8),
        "coordinates": torch.zeros(1, 6, 4, 4, 4),
        "has_coordinates": torch.zeros(1, 4, 4, 4, dtype=torch.bool),
        "knows_skull": torch.tensor([False]),
    }
    outputs = torch.zeros(1, 16, 4, 4, 4)
    outputs[:, HEAD] = 20.0
    loss = LocalizerLoss()

    unlabeled = loss(outputs, batch)
    labeled = loss(outputs, {**batch, "knows_skull": torch.tensor([True])})

    assert labeled > unlabeled + 5.0


def test_segmented_samples_have_no_frames(tmp_path: Path, segmented: Path) -> None:
    files = write_segmented_set(tmp_path / "coarse", segmented)

    assert len(files) == 2
    for path in files:
        sample = LocalizerSample.load(path)
        assert set(range(1, 8)) <= set(np.unique(sample.labels).tolist())
        assert np.isnan(sample.frames).all()
        assert not sample.knows_skull
        patch = sample_patch(sample, centered_transform(sample))
        assert not patch.has_coordinates.any()
        bone = (patch.classes > 0) & (patch.classes < HEAD)
        assert sample.hu.shape == sample.labels.shape
        assert 200 < bone.sum() < 12_000
    with pytest.raises(SourceError, match="holds no segmentations"):
        write_segmented_set(tmp_path / "none", tmp_path)


def test_command_trains_a_localizer_and_resumes(
    tmp_path: Path, segmented: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [
        "train", "--model", "localizer", "--data", str(segmented), "--out", str(tmp_path / "run"), "--phantoms", "2",
        "--epochs", "1", "--batch-size", "2", "--precision", "32-true",
    ]  # fmt: skip

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    localizer = Localizer.load(tmp_path / "run" / "run" / "weights.onnx")
    assert localizer.weights.metadata.phantom_only
    assert {"C1", "C7"} <= set(localizer.weights.metadata.occupancy_templates)
    monkeypatch.setattr("cspine.training.localizer.train.export_onnx", lambda *_: None)  # it is exported already
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert "resumed from epoch 1" in again.output


def test_phantom_set_is_resumed(tmp_path: Path) -> None:
    first = write_phantom_set(tmp_path, studies=1, seed=5, settings=SMALL)
    before = first[0].stat().st_mtime_ns

    files = write_phantom_set(tmp_path, studies=2, seed=5, settings=SMALL)

    assert len(files) == 2
    assert files[0].stat().st_mtime_ns == before
