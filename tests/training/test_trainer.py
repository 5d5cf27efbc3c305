"""The trainer: accumulated gradients, precisions, preemption in the middle of an epoch, observers, processes."""

import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from cspine.core.errors import InputError, PreemptedError
from cspine.training.checkpoint import load_checkpoint
from cspine.training.devices import check_precision, check_tasks, device_name, open_fabric
from cspine.training.epoch_observers import observe_epochs
from cspine.training.preemption import requeue_job, signals_caught
from cspine.training.settings import TrainerSettings
from cspine.training.task import ALL_DATA, VAL_LOSS, Batch, DataShard, Loader, load_batches
from cspine.training.trainer import TrainingResult, fit

N_EXAMPLES = 24


class Examples(Dataset[Batch]):
    """Points of a plane, with noise that depends on the epoch's seed and the example alone."""

    def __init__(self, seed: int | None) -> None:
        self.seed = seed

    def __len__(self) -> int:
        return N_EXAMPLES

    def __getitem__(self, number: int) -> Batch:
        generator = torch.Generator().manual_seed((self.seed or 0) * 1_000 + number)
        point = torch.randn(4, generator=generator)
        return {"x": point, "y": point.sum().reshape(1), "number": torch.tensor(number)}


class PlaneTask:
    """Regression of a plane; sends this process a signal before the n-th loss."""

    def __init__(self, settings: TrainerSettings, signal_before: int = -1, number: int = signal.SIGTERM) -> None:
        self.settings, self.signal_before, self.signal = settings, signal_before, number
        self.batches: list[list[int]] = []

    def train_loader(self, epoch: int, shard: DataShard = ALL_DATA) -> Loader:
        return load_batches(Examples(epoch + 1), self.settings, epoch + 1, shard)

    def val_loader(self) -> Loader:
        return load_batches(Examples(None), self.settings)

    def inputs(self, batch: Batch) -> tuple[torch.Tensor, ...]:
        return (batch["x"],)

    def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
        if len(self.batches) == self.signal_before:
            os.kill(os.getpid(), self.signal)
        self.batches.append(batch["number"].tolist())
        return nn.functional.mse_loss(outputs.float(), batch["y"])

    def validate(self, predictions: Iterable[tuple[Any, Batch]]) -> Mapping[str, float]:
        losses = [float(nn.functional.mse_loss(outputs.float(), batch["y"])) for outputs, batch in predictions]
        return {VAL_LOSS: sum(losses) / len(losses)}


def build() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 1))


def make_settings(**values: Any) -> TrainerSettings:
    return TrainerSettings.model_validate(
        {"epochs": 2, "batch_size": 4, "precision": "32-true", "workers": 0, "ema_decay": 0.9, **values}
    )


def run(task: PlaneTask, out: Path) -> TrainingResult[nn.Module]:
    result = fit(open_fabric(task.settings), build, task, out, task.settings)
    assert result is not None
    return result


def weights(result: TrainingResult[nn.Module]) -> list[torch.Tensor]:
    return [value.detach().clone() for value in result.network.state_dict().values()]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_run_stopped_in_the_middle_of_an_epoch_ends_with_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, name: str, workers: int
) -> None:
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"this system has no {name}")
    settings = make_settings(workers=workers, grad_accumulation_steps=2)
    whole = PlaneTask(settings)
    expected = run(whole, tmp_path / "whole")
    before = signal.getsignal(number)
    stopped = PlaneTask(settings, signal_before=8, number=number)  # the third batch of the second epoch

    with pytest.raises(PreemptedError, match="a checkpoint is written; run the same command again"):
        run(stopped, tmp_path / "run")

    assert signal.getsignal(number) == before
    assert len(stopped.batches) == 10  # up to the end of the accumulated step
    state = load_checkpoint(tmp_path / "run")
    assert state is not None
    assert (state["epoch"], state["partial"]["batches"]) == (1, 4)
    resumed = PlaneTask(settings)
    result = run(resumed, tmp_path / "run")
    assert [*stopped.batches, *resumed.batches] == whole.batches  # none is loaded twice
    for ours, theirs in zip(weights(result), weights(expected), strict=True):
        assert torch.equal(ours, theirs)
    losses = [[(row["train_loss"], row[VAL_LOSS]) for row in each.curve] for each in (result, expected)]
    assert losses[0] == losses[1]


def test_the_rest_of_an_epoch_is_trained_by_another_number_of_processes(tmp_path: Path) -> None:
    settings = make_settings()
    with pytest.raises(PreemptedError):
        run(PlaneTask(settings, signal_before=2), tmp_path)
    state = load_checkpoint(tmp_path)
    assert state is not None
    state["partial"] |= {"processes": 2, "batches": 2}  # two of three batches of each of two processes
    torch.save(state, tmp_path / "checkpoint.pt")
    resumed = PlaneTask(settings)

    run(resumed, tmp_path)

    assert len(resumed.batches) == 2 + 6


def test_a_signal_in_the_only_step_of_an_epoch_stops_the_run_after_the_epoch(tmp_path: Path) -> None:
    settings = make_settings(epochs=4, batch_size=N_EXAMPLES)
    expected = run(PlaneTask(settings), tmp_path / "whole")
    stopped = PlaneTask(settings, signal_before=1)

    with pytest.raises(PreemptedError, match="a checkpoint is written"):
        run(stopped, tmp_path / "run")

    assert len(stopped.batches) == 2
    state = load_checkpoint(tmp_path / "run")
    assert state is not None
    assert (state["epoch"], state["partial"]) == (2, None)
    result = run(PlaneTask(settings), tmp_path / "run")
    assert result.resumed_from == 2
    for ours, theirs in zip(weights(result), weights(expected), strict=True):
        assert torch.equal(ours, theirs)


def test_a_signal_between_stages_stops_the_next_one(tmp_path: Path) -> None:
    settings = make_settings(batch_size=N_EXAMPLES)
    before, second = signal.getsignal(signal.SIGTERM), PlaneTask(settings)

    with signals_caught():
        run(PlaneTask(settings), tmp_path / "pretraining")
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(PreemptedError, match="all finished work is kept"):
            run(second, tmp_path / "main")

    assert second.batches == []
    assert signal.getsignal(signal.SIGTERM) == before
    assert run(second, tmp_path / "main").resumed_from == 0  # the request went with its context


def test_a_training_call_keeps_a_signal_for_its_next_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cspine.pipelines import train as pipeline

    settings = make_settings()

    def stages(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)  # while the data are read
        run(PlaneTask(settings), tmp_path)

    monkeypatch.setitem(pipeline._RUNNERS, "levels", stages)

    with pytest.raises(PreemptedError, match="run the same command again"):
        pipeline.train_network("levels", tmp_path, tmp_path)


def test_accumulated_batches_take_the_step_of_one_batch(tmp_path: Path) -> None:
    """Without batch norm, which sees each batch alone, and without dropout."""

    def plain() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))

    results = []
    for batch_size, steps in ((12, 1), (4, 3)):
        settings = make_settings(batch_size=batch_size, grad_accumulation_steps=steps)
        task = PlaneTask(settings)
        results.append(fit(open_fabric(settings), plain, task, tmp_path / str(steps), settings))

    one, accumulated = results
    assert one is not None
    assert accumulated is not None
    for ours, theirs in zip(weights(accumulated), weights(one), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)


def test_bfloat16_trains_on_the_cpu(tmp_path: Path) -> None:
    seen = []

    class Watched(PlaneTask):
        def loss(self, outputs: torch.Tensor, batch: Batch) -> torch.Tensor:
            seen.append(outputs.dtype)
            return super().loss(outputs, batch)

    result = run(Watched(make_settings(precision="bf16-mixed", epochs=8, learning_rate=0.05)), tmp_path)

    assert result.best_loss < result.curve[0]["train_loss"]
    assert all(parameter.dtype == torch.float32 for parameter in result.network.parameters())
    if device_name() == "CPU":
        assert set(seen) == {torch.float32}  # Fabric hands outputs back in 32 bits
    exact = run(PlaneTask(make_settings(epochs=8, learning_rate=0.05)), tmp_path / "exact")
    assert any(not torch.equal(*pair) for pair in zip(weights(result), weights(exact), strict=True))


def test_a_precision_that_the_device_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"^--precision 16-mixed: half precision needs a CUDA GPU, and this is CPU"):
        check_precision("16-mixed", "CPU")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda _: False)
    with pytest.raises(InputError, match=r"^--precision bf16-mixed: Tesla T4 has no bfloat16; use 16-mixed or 32-true"):
        check_precision("bf16-mixed", "Tesla T4")
    for precision in ("32-true", "16-mixed"):
        check_precision(precision, "Tesla T4")


def test_several_tasks_of_slurm_without_torchrun_are_refused() -> None:
    check_tasks({"SLURM_STEP_NUM_TASKS": "4", "TORCHELASTIC_RUN_ID": "1"})
    check_tasks({"SLURM_NTASKS": "4"})  # the batch script itself
    with pytest.raises(InputError, match="srun started 4 tasks of one training run"):
        check_tasks({"SLURM_STEP_NUM_TASKS": "4"})


def test_observers_get_the_curve_and_can_end_the_run(tmp_path: Path) -> None:
    lengths = []

    def observe(stage: str, curve: Any) -> None:
        assert stage == "steps"
        lengths.append(len(curve))
        if len(curve) == 2:
            raise InputError("enough")

    with observe_epochs(observe), pytest.raises(InputError, match="enough"):
        run(PlaneTask(make_settings(epochs=5)), tmp_path)

    assert lengths == [1, 2]
    state = load_checkpoint(tmp_path)
    assert state is not None
    assert state["epoch"] == 2


def test_outside_slurm_nothing_is_requeued() -> None:
    with pytest.raises(InputError, match="this is no job of Slurm"):
        requeue_job({})


def test_slurm_requeues_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "scontrol"
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/called\n', encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert requeue_job({"SLURM_JOB_ID": "17"}) == "17"
    assert (tmp_path / "called").read_text(encoding="utf-8") == "requeue 17\n"
    program.write_text("#!/bin/sh\necho no such job >&2\nexit 1\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"scontrol refused \(no such job\)"):
        requeue_job({"SLURM_JOB_ID": "17"})
