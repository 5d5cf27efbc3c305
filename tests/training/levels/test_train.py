"""The level network: what it is given, what it says, and that it learns what can be seen."""

import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
from tests.support.views import VIEWS, make_views

from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.predict_dataset import classify_dataset, read_views
from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.core.errors import LabelError, OutputTakenError, WeightsError
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import make_split
from cspine.datasets.reference_standard import read_reference_standard
from cspine.localization.localizer import Localizer
from cspine.metrics.scores import auc
from cspine.training import trainer as fitting
from cspine.training.checkpoint import save_state
from cspine.training.levels.augmentation import Views, augment, mirrored, thickened
from cspine.training.levels.dataset import LevelData, kinds_of, list_cases, load_views
from cspine.training.levels.initialization import load_pretrained
from cspine.training.levels.network import LevelNetwork, LevelOutputs, PositionPrior, overall_logit
from cspine.training.levels.onnx_graph import level_graph
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.task import evidence_loss, level_loss
from cspine.training.levels.train import LevelSummary, train_levels
from cspine.training.levels.training_data import LevelTrainingData
from cspine.training.trainer import DataShard, load_batches
from cspine.views.level_views import LevelViews, view_numbers

QUICK = LevelTrainSettings(
    pretrain_epochs=2,
    epochs=6,
    batch_size=4,
    folds=4,
    workers=0,
    train_views=(1, 1, 1),
    precision="32-true",
    ema_decay=0.9,
)

ONCE = QUICK.model_copy(update={"cracks": 0, "epochs": 1})


def inputs(count: int = 2, views: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(count, 7, views, 3, 32, 32, generator=generator)
    present = torch.ones(count, 7, dtype=torch.bool)
    return images, torch.arange(views).expand(count, -1) % 3, torch.zeros(count, views), present


def test_shapes_are_as_said() -> None:
    found = LevelNetwork(5).eval()(*inputs())

    assert found.levels.shape == (2, 7)
    assert found.overall.shape == (2,)
    assert found.fracture_types.shape == (2, 7, 5)
    assert found.evidence.shape == (2, 7, 3, 3, 4, 4)


def test_absent_vertebrae_say_nothing_to_the_others() -> None:
    network = LevelNetwork(2).eval()
    images, planes, offsets, present = inputs()
    present[:, 6] = False
    other = images.clone()
    other[:, 6] = 1.0 - other[:, 6]

    first, second = network(images, planes, offsets, present), network(other, planes, offsets, present)

    torch.testing.assert_close(first.levels[:, :6], second.levels[:, :6])
    torch.testing.assert_close(first.overall, second.overall)
    assert not torch.allclose(first.levels[:, 6], second.levels[:, 6])


def test_the_order_of_views_does_not_matter() -> None:
    network = LevelNetwork(2).eval()
    images, planes, offsets, present = inputs()
    order = torch.tensor([2, 0, 1])

    first = network(images, planes, offsets, present)
    second = network(images[:, :, order], planes[:, order], offsets[:, order], present)

    torch.testing.assert_close(first.levels, second.levels, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("between", [-20.0, 0.0, 20.0])
def test_the_patient_is_never_less_suspicious_than_a_vertebra(between: float) -> None:
    levels = torch.randn(200, 7, generator=torch.Generator().manual_seed(3)) * 2
    present = torch.ones(200, 7, dtype=torch.bool)

    overall = torch.sigmoid(overall_logit(levels, torch.full((200,), between), present))

    chances = torch.sigmoid(levels)
    assert torch.all(overall >= chances.amax(dim=1) - 1e-6)
    assert torch.all(overall <= 1 - torch.prod(1 - chances, dim=1) + 1e-6)


def test_absent_vertebrae_do_not_make_a_patient_suspicious() -> None:
    levels = torch.full((1, 7), -4.0)
    levels[0, 6] = 8.0
    present = torch.ones(1, 7, dtype=torch.bool)
    present[0, 6] = False

    assert torch.sigmoid(overall_logit(levels, torch.zeros(1), present)).item() < 0.15


def test_a_place_in_the_frame_says_the_same_in_planes_of_all_kinds_and_on_both_sides() -> None:
    torch.manual_seed(3)
    place = PositionPrior()
    fresh = place(torch.tensor([[0, 1, 2]]), torch.tensor([[0.0, 5.0, -5.0]]), (14, 14))
    torch.nn.init.normal_(place.layers[-1].get_parameter("weight"))
    middles = (torch.arange(14) - 6.5) / 7 * 33.6  # of cells, mm
    right, behind, up = 3, 10, 4  # cells from the patient's right, from the front, from below
    offsets = torch.stack([middles[right], middles[behind], middles[up], -middles[right]])[None]

    said = place(torch.tensor([[0, 1, 2, 0]]), offsets, (14, 14))[0, 2]

    assert not fresh.any()
    sagittal, coronal, axial = said[0, 13 - up, behind], said[1, 13 - up, right], said[2, behind, right]
    torch.testing.assert_close(torch.stack([coronal, axial]), sagittal.expand(2))
    torch.testing.assert_close(said[3], said[0])
    torch.testing.assert_close(said[1], said[1].flip(1))
    assert said[0].std() > 0.01


def test_the_loss_has_the_challenges_weights_and_leaves_out_what_is_absent() -> None:
    truth = torch.tensor([[1.0, 0, 1, 0, 0, 0, 0, 0]])
    present = torch.ones(1, 7, dtype=torch.bool)
    outputs = LevelOutputs(torch.zeros(1, 7), torch.zeros(1), torch.zeros(1, 7, 1), torch.zeros(1, 7, 1, 3, 1, 1))

    whole = level_loss(outputs, {"truth": truth, "present": present})
    present[0, 1] = False  # C2, which is broken, weighs 2
    without = level_loss(outputs, {"truth": truth, "present": present})

    unit = float(np.log(2.0)) / 14
    assert whole.item() == pytest.approx((14 + 2 + 6) * unit)
    assert (whole - without).item() == pytest.approx(2 * unit)


def test_evidence_counts_only_where_it_is_known() -> None:
    nowhere = torch.full((1, 7, 2, 3, 4, 4), -3.0)
    outputs = LevelOutputs(torch.zeros(1, 7), torch.zeros(1), torch.zeros(1, 7, 1), nowhere)
    batch = {
        "cells": torch.zeros(1, 7, 2, 3, 4, 4),
        "knows_cells": torch.ones(1, 7, dtype=torch.bool),
        "present": torch.ones(1, 7, dtype=torch.bool),
    }
    before = evidence_loss(outputs, batch)
    batch["cells"][0, 3] = 1.0
    batch["knows_cells"][0, 3] = False

    assert evidence_loss(outputs, batch).item() == pytest.approx(before.item(), rel=0.05)
    batch["knows_cells"][0, 3] = True
    assert evidence_loss(outputs, batch).item() > 2 * before.item()


def test_necks_are_read_with_their_truth(tmp_path: Path) -> None:
    cases = list_cases(make_views(tmp_path, 4))

    assert [case.study for case in cases] == ["1.3.0.0", "1.3.0.1", "1.3.0.2", "1.3.0.3"]
    assert cases[0].truth == (1, 1, 0, 0, 0, 0, 0, 0)
    assert set(cases[0].mosaics) == set(VERTEBRAE) - {"C7"}
    assert list(cases[0].cells) == ["C1"]
    assert kinds_of(cases) == ("lamina",)
    example = LevelData(cases, VIEWS, ("lamina",), None, None)[0]
    assert example["images"].shape == (7, 3, 3, 32, 32)
    assert example["cells"].shape == (7, 3, 3, 4, 4)
    assert example["cells"][0].sum() == 3 * 3 * 2 * 4  # rows 1 and 2, columns 0 to 3
    assert not example["cells"][1:].any()
    assert example["present"].tolist() == [True] * 6 + [False]
    assert example["fracture_types"][0].tolist() == [1.0]
    assert example["images"][6].max() == 0.0


def test_a_neck_without_labels_is_none(tmp_path: Path) -> None:
    store = make_views(tmp_path, 2)
    store.finish(None)

    with pytest.raises(LabelError, match="no vertebrae with labels"):
        list_cases(store)


def test_views_change_anew_each_epoch_and_alike_for_a_seed(tmp_path: Path) -> None:
    cases = list_cases(make_views(tmp_path, 2))

    first, again, later = (LevelData(cases, VIEWS, ("lamina",), (1, 1, 1), seed)[0] for seed in (1, 1, 2))

    torch.testing.assert_close(first["images"], again["images"])
    assert not torch.allclose(first["images"], later["images"])
    assert first["images"].min() >= 0.0
    assert first["images"].max() <= 1.0


def test_the_mirror_image_of_a_mirror_image_is_the_neck(tmp_path: Path) -> None:
    (case,) = list_cases(make_views(tmp_path, 1))
    views = load_views(case, VIEWS, view_numbers(VIEWS))
    views.images[:, :, :, :, :5] = 0.9  # no longer the same both ways
    views.cells[:, 0, 0] = 0.0  # nor every plane alike

    once, twice = mirrored(views), mirrored(mirrored(views))

    torch.testing.assert_close(twice.images, views.images)
    torch.testing.assert_close(twice.cells, views.cells)
    torch.testing.assert_close(twice.offsets_mm, views.offsets_mm)
    torch.testing.assert_close(once.images[:, 0], views.images[:, 0].flip(1))  # sagittal: neighbours change places
    torch.testing.assert_close(once.images[:, 1:], views.images[:, 1:].flip(-1))
    torch.testing.assert_close(once.cells[:, 0], views.cells[:, 0].flip(1))


def test_thicker_slices_run_along_the_spine_and_into_the_next_plane() -> None:
    images = torch.zeros(1, 3, 3, 32, 32)
    images[0, :2, 1, 16] = 1.0  # a row in the sagittal and the coronal view
    images[0, 2, 0] = 1.0  # the first of the axial planes
    views = Views(images, torch.arange(3), torch.zeros(3), torch.zeros(1, 3, 3, 8, 8))
    seen = [thickened(views, torch.Generator().manual_seed(seed)) for seed in range(12)]

    for found in seen:
        for view in (0, 1):
            rows = found[0, view, 1, :, 5]
            assert rows[14:19].sum().item() == pytest.approx(1.0, abs=1e-5)  # spread, and nothing lost
            assert torch.equal(found[0, view, 1, :, 0], found[0, view, 1, :, 31])  # not along columns
            assert not found[0, view, 0].any()
        first, second, third = (found[0, 2, plane, 9, 9].item() for plane in range(3))
        assert first + second >= 1.0 - 0.16
        assert 0.0 < second < first
        assert third == 0.0  # no plane mixes with the next but one
    assert len({round(found[0, 0, 1, 16, 5].item(), 3) for found in seen}) > 6
    assert any(found[0, 0, 1, 14, 5] > 0 for found in seen)
    assert any(found[0, 0, 1, 14, 5] == 0 for found in seen)


def test_truth_moves_with_what_it_marks(tmp_path: Path) -> None:
    (case,) = list_cases(make_views(tmp_path, 1))
    for seed in range(8):
        views = augment(load_views(case, VIEWS, view_numbers(VIEWS)), torch.Generator().manual_seed(seed))
        dark = torch.nn.functional.avg_pool2d(views.images[0, :, 1], 4) < 0.35
        inner = slice(1, -1)
        marked = views.cells[0, :, 1, inner, inner] > 0
        overlap = (dark[:, inner, inner] & marked).sum() / marked.sum()
        assert overlap > 0.6, seed


def test_training_learns_what_can_be_seen_and_ends_in_weights(tmp_path: Path) -> None:
    store = make_views(tmp_path / "data", 48)

    summary = trained(store, tmp_path / "run", QUICK)

    classifier = LevelClassifier.load(*summary.weights, localizer=Localizer.load())
    new = make_views(tmp_path / "new", 16, seed=5)
    said = classify_dataset(new, classifier)
    truth = new.studies().set_index("study_instance_uid").loc[said.index, list(TARGETS)].to_numpy(int)
    assert auc(truth[:, 0], said.to_numpy()[:, 0]) > 0.9
    assert auc(truth[:, 1:7].ravel(), said.to_numpy()[:, 1:7].ravel()) > 0.9
    metadata = classifier.metadata
    assert metadata.phantom_only
    assert metadata.fracture_types == ("lamina",)
    assert metadata.localizer_sha256 == "0" * 64
    assert len(set(said["C7"])) == 1  # absent everywhere
    assert said["C7"].iloc[0] == metadata.not_found_fracture_rate < 0.2
    assert (tmp_path / "run" / "out-of-fold.csv").read_text().count("\n") == 13
    with pytest.raises(OutputTakenError):
        train_levels(store, tmp_path / "run", QUICK.model_copy(update={"seed": 3}))


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make_views(tmp_path / "data", 16)
    settings = QUICK.model_copy(update={"epochs": 3})
    whole = trained(store, tmp_path / "whole", settings)
    count, save = itertools.count(1), save_state

    def stop_after_two(folder: Path, state: dict[str, object]) -> None:
        save(folder, state)
        if next(count) == 4:  # two passes over pieces, and two epochs
            raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "save_state", stop_after_two)
    with pytest.raises(KeyboardInterrupt):
        train_levels(store, tmp_path / "cut", settings)
    monkeypatch.setattr(fitting, "save_state", save)
    cut = trained(store, tmp_path / "cut", settings)

    assert cut.resumed_from == 2
    assert cut.weights[0].read_bytes() == whole.weights[0].read_bytes()


def test_every_fold_has_a_network_and_they_are_calibrated_together(tmp_path: Path) -> None:
    store = make_views(tmp_path / "data", 24)
    settings = QUICK.model_copy(update={"epochs": 1, "folds": 3, "fold": None})

    summary = trained(store, tmp_path / "run", settings)

    assert [path.name for path in summary.weights] == ["weights-0.onnx", "weights-1.onnx", "weights-2.onnx"]
    said = pd.read_csv(tmp_path / "run" / "out-of-fold.csv", index_col=0)
    assert len(said) == 24  # each patient once, by the network that did not learn from him
    assert said.index.is_unique
    one, *others = (LevelClassifier.load(path) for path in summary.weights)
    assert all(other.metadata.operating_points_overall == one.metadata.operating_points_overall for other in others)
    assert "all 3 folds" in one.metadata.calibration_data
    averaged = LevelClassifier.load(*summary.weights, tta=True)
    assert averaged.identity.trained_on.startswith("3 networks averaged: 16 phantom necks")
    levels = read_views(store, store.levels().groupby("study_instance_uid").get_group(said.index[0]))
    alone = [classifier.scores(levels).levels[:6] for classifier in (one, *others)]  # C7 is absent
    together = LevelClassifier.load(*summary.weights).scores(levels).levels[:6]
    np.testing.assert_array_less(np.min(alone, axis=0) - 1e-9, together)
    np.testing.assert_array_less(together, np.max(alone, axis=0) + 1e-9)


def test_a_neck_and_its_mirror_image_get_the_same_answer_with_flips(tmp_path: Path) -> None:
    store = make_views(tmp_path / "data", 16)
    weights = trained(store, tmp_path / "run", QUICK.model_copy(update={"epochs": 1})).weights
    classifier = LevelClassifier.load(*weights, tta=True)
    uid = store.levels()["study_instance_uid"].iloc[0]
    levels = read_views(store, store.levels().groupby("study_instance_uid").get_group(uid))

    def mirror(views: LevelViews) -> LevelViews:
        planes = views.images.reshape(3, 3, *views.images.shape[1:])  # one view of each kind, three planes each
        turned = np.concatenate([planes[:1, ::-1], planes[1:, :, :, ::-1]])
        return replace(views, images=turned.reshape(views.images.shape))

    here, there = classifier.scores(levels), classifier.scores(tuple(mirror(views) for views in levels))

    np.testing.assert_allclose(here.levels, there.levels, atol=1e-5)
    np.testing.assert_allclose(here.overall, there.overall, atol=1e-5)
    np.testing.assert_allclose(here.evidence[:, 1:], there.evidence[:, 1:, ..., ::-1], atol=1e-5)
    np.testing.assert_allclose(here.evidence[:, :1], there.evidence[:, :1, ::-1], atol=1e-5)


def test_two_processes_train_one_network_and_one_of_them_writes(tmp_path: Path) -> None:
    make_views(tmp_path / "data", 24)
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "cspine", "train",
        "--data", str(tmp_path / "data"), "--out", str(tmp_path / "run"), "--model", "levels", "--epochs", "2",
        "--batch-size", "4", "--folds", "3", "--train-views", "1,1,1", "--precision", "32-true",
    ]  # fmt: skip

    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("weights: ") == 1
    curve = pd.read_csv(tmp_path / "run" / "curves.csv")
    assert curve["epoch"].tolist() == [1, 2]
    assert LevelClassifier.load(tmp_path / "run" / "weights.onnx").metadata.phantom_only


def test_processes_see_other_examples_than_each_other_and_in_each_epoch() -> None:
    data = [{"number": torch.tensor(number)} for number in range(12)]

    def order(epoch: int, rank: int) -> list[int]:
        loader = load_batches(data, QUICK, seed=epoch, shard=DataShard(rank, 2))  # type: ignore[arg-type]
        return [int(number) for batch in loader for number in batch["number"]]

    assert len({*order(1, 0), *order(1, 1)}) == 8  # a batch of 4 each, without the rest
    assert order(1, 0) != order(2, 0)


def trained(store: CompiledDataset, out: Path, settings: LevelTrainSettings) -> LevelSummary:
    """Train in this process."""
    summary = train_levels(store, out, settings)
    assert summary is not None
    return summary


def test_training_goes_on_from_weights_and_says_so(tmp_path: Path) -> None:
    store = make_views(tmp_path / "data", 24)
    first = trained(store, tmp_path / "first", QUICK.model_copy(update={"epochs": 2}))
    (weights,) = first.weights
    begun, known = load_pretrained(weights), LevelClassifier.load(weights)
    unmoved = QUICK.model_copy(update={"cracks": 0, "epochs": 1, "learning_rate": 1e-12, "average": 0.0})
    other = make_views(tmp_path / "other", 24, seed=7)

    summary = train_levels(other, tmp_path / "second", unmoved, start=weights)

    assert summary is not None
    second = LevelClassifier.load(*summary.weights)
    assert second.metadata.pretrained_sha256 == begun.sha256 == known.members[0].sha256
    assert second.metadata.trained_on.endswith(f"; before that on {known.metadata.trained_on}")
    moved = load_pretrained(summary.weights[0]).state
    for name, value in begun.state.items():
        if "running" not in name:  # batch norms see other images
            torch.testing.assert_close(moved[name], value, atol=2e-3, rtol=2e-3, msg=name)


def test_a_network_filled_from_a_file_says_what_the_file_says(tmp_path: Path) -> None:
    (weights,) = trained(make_views(tmp_path / "data", 16), tmp_path / "run", ONCE).weights
    begun, network = load_pretrained(weights), LevelNetwork(1, half_mm=VIEWS.half_mm)
    graph = level_graph(network, VIEWS, ONCE.train_views)

    begun.fill(network, begun.metadata.fracture_types)

    with torch.no_grad():
        said = graph.network.eval()(*graph.example)
    given = {name: value.numpy() for name, value in zip(graph.inputs, graph.example, strict=True)}
    told = LevelClassifier.load(weights).members[0].session.run(list(graph.outputs), given)
    for one, other in zip(said, told, strict=True):
        np.testing.assert_allclose(one.numpy(), other, atol=1e-4)


def test_of_kinds_of_fracture_those_are_taken_over_that_both_know(tmp_path: Path) -> None:
    (weights,) = trained(make_views(tmp_path / "data", 16), tmp_path / "run", ONCE).weights
    begun, network = load_pretrained(weights), LevelNetwork(2)
    fresh = network.fracture_types.weight[0].clone()

    begun.fill(network, ("burst", "lamina"))

    torch.testing.assert_close(network.fracture_types.weight[1], begun.state["fracture_types.weight"][0])
    torch.testing.assert_close(network.fracture_types.weight[0], fresh)
    torch.testing.assert_close(network.fracture.weight, begun.state["fracture.weight"])


def test_what_a_training_cannot_start_from_is_refused(tmp_path: Path) -> None:
    store = make_views(tmp_path / "data", 16)
    (weights,) = trained(store, tmp_path / "run", ONCE).weights
    with pytest.raises(WeightsError, match="holds the network localizer; name weights of levels"):
        load_pretrained("localizer")
    for other in ({"fold": 1}, {"fold": None}, {"seed": 5}):  # some that it learnt from would be held out
        with pytest.raises(LabelError, match=r"have learnt from \d+ of the patients that are held out now"):
            train_levels(store, tmp_path / "again", ONCE.model_copy(update=other), start=weights)
    assert len(load_pretrained(weights).metadata.training_patients) == 12
    with pytest.raises(LabelError, match="shows vertebrae in another way than the weights that are started from saw"):
        train_levels(store, tmp_path / "again", ONCE, start="levels")
    with pytest.raises(OutputTakenError):  # a run from random weights is another
        train_levels(store, tmp_path / "run", ONCE, start=weights)


def test_a_file_with_other_parameters_than_a_networks_cannot_be_started_from(tmp_path: Path) -> None:
    (weights,) = trained(make_views(tmp_path / "data", 16), tmp_path / "run", ONCE).weights
    short, text, other = tmp_path / "short.onnx", tmp_path / "text.onnx", tmp_path / "other.onnx"
    model = onnx.load(weights)
    spare = onnx.helper.make_tensor("network.spare", onnx.TensorProto.STRING, [1], [b"x"])
    model.graph.initializer.append(spare)  # ONNX Runtime passes over what no node takes
    onnx.save(model, text)
    model.graph.initializer[-1].CopyFrom(onnx.numpy_helper.from_array(np.zeros(8, np.float32), "network.spare"))
    model.graph.initializer[-1].raw_data = b"123"
    onnx.save(model, short)
    old = onnx.load(weights)
    for tensor in old.graph.initializer:
        tensor.name = tensor.name.replace("network.gate.", "merged.gate.")
    for node in old.graph.node:
        node.input[:] = [name.replace("network.gate.", "merged.gate.") for name in node.input]
        node.output[:] = [name.replace("network.gate.", "merged.gate.") for name in node.output]
    onnx.save(old, other)

    assert load_pretrained(text).state.keys() == load_pretrained(weights).state.keys()
    with pytest.raises(WeightsError, match=r"short\.onnx: its parameters cannot be read"):
        load_pretrained(short)
    with pytest.raises(WeightsError, match=r"other\.onnx: does not hold the parameters of this version's network"):
        load_pretrained(other)


def test_kinds_are_united_with_those_of_the_start_and_told_only_where_a_level_can_have_them(tmp_path: Path) -> None:
    store = make_views(tmp_path / "data", 24)
    begun = load_pretrained(trained(store, tmp_path / "run", ONCE).weights[0])
    richer = begun.metadata.model_copy(
        update={"fracture_types": ("burst", "lamina"), "fracture_types_by_level": {"C5": ("burst",)}}
    )
    material = LevelTrainingData.of(store, None, replace(begun, metadata=richer))

    assert material.fracture_types == ("burst", "lamina")
    assert material.fracture_types_by_level["C5"] == ("burst", "lamina")
    assert material.fracture_types_by_level["C1"] == ("lamina",)
    assert "C7" not in material.fracture_types_by_level


def test_few_held_out_patients_calibrate_nothing_and_it_is_said(tmp_path: Path) -> None:
    summary = trained(make_views(tmp_path / "data", 16), tmp_path / "run", ONCE)

    assert not summary.calibrated
    assert LevelClassifier.load(*summary.weights).metadata.calibration_underpowered
    assert not LevelClassifier.load().metadata.calibration_underpowered


@pytest.mark.parametrize("counts", [(0, 0, 0), (3, -1, 3)])
def test_some_views_must_be_looked_at(counts: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="some must be looked at"):
        LevelTrainSettings(eval_views=counts)


def test_a_fold_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="fold 4 is none of 4"):
        train_levels(make_views(tmp_path / "data", 8), tmp_path / "run", QUICK.model_copy(update={"fold": 4}))


def test_a_frozen_split_says_what_is_learnt_from(tmp_path: Path) -> None:
    store = make_views(tmp_path / "data", 24)
    split = make_split(
        read_reference_standard(store.folder), {"train": 0.5, "validation": 0.25, "holdout": 0.25}, seed=1
    )

    summary = train_levels(store, tmp_path / "run", ONCE, frozen=split)

    assert summary is not None
    said = pd.read_csv(tmp_path / "run" / "out-of-fold.csv", dtype=str)["StudyInstanceUID"]
    assert set(said) == set(split.studies("validation"))
    metadata = LevelClassifier.load(*summary.weights).metadata
    assert metadata.calibration_data.endswith(f"(the part validation of the split {split.sha256[:12]})")
    assert metadata.trained_on.startswith(f"{len(split.studies('train'))} phantom necks")
    with pytest.raises(LabelError, match="ask for no folds beside it"):
        train_levels(store, tmp_path / "other", ONCE.model_copy(update={"fold": None}), frozen=split)
