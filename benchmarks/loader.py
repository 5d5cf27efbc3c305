"""Rate of the training data loader from a compiled data set, against what the level network consumes.

Cases of `levels` are loaded, drawn and augmented as in training, by the main process and by 1 and 2 loading processes,
with the files in the system's cache (warm) and after they were dropped from it (cold). The network's rate is that of
steps (forward, backward, optimizer) on one batch that is already loaded, on the device that is there. A loader keeps
a device busy where its rate is above the device's. Processor seconds are those of the main process, and hardly depend
on what else the machine does.

Run: ``python -m benchmarks.loader --data COMPILED --work DIR --epochs 2``
"""

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.tables import save_table
from cspine.datasets.compiled import CompiledDataset
from cspine.reports.evaluation.sections import Table
from cspine.training.devices import device_name, open_fabric
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.task import LevelTask
from cspine.training.levels.training_data import LevelTrainingData

N_STEPS = 6


@dataclass(frozen=True)
class Rate:
    """Cases per second, and processor seconds of the main process per case; 0 where other processes work."""

    cases_per_s: float
    processor_s_per_case: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="compiled data set with labels and views of vertebrae")
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--epochs", type=int, default=2, help="epochs of each measurement; the fastest counts")
    options = parser.parse_args()
    dataset = CompiledDataset.open(options.data)
    rows = measure(dataset, options.epochs)
    header = ("what", "files", "cases per s", "images per s", "processor s per case", "network kept busy")
    save_table(options.work, "loader", Table(header, rows))


def measure(dataset: CompiledDataset, epochs: int) -> tuple[tuple[str, ...], ...]:
    """Return the rows of the table: the network first, then the loader in each arrangement."""
    data = LevelTrainingData.load(dataset, [], None)
    settings = LevelTrainSettings(workers=0)
    compiled = (data.views.sagittal, data.views.coronal, data.views.axial)
    n_images = 7 * sum(map(min, settings.train_views, compiled))
    task = make_task(data, settings)
    consumed = network_rate(task, settings, data)
    rows = [row(f"network, {settings.precision}, on {device_name()}", "", consumed, n_images, consumed)]
    for workers in (0, 1, 2):
        for is_cold in (True, False):
            own = make_task(data, settings.model_copy(update={"workers": workers}))
            rates = [loader_rate(own, epoch, dataset.folder if is_cold else None, workers) for epoch in range(epochs)]
            name = f"loader, {workers} processes" if workers else "loader, in the training process"
            rows.append(
                row(
                    name,
                    "cold" if is_cold else "warm",
                    max(rates, key=lambda rate: rate.cases_per_s),
                    n_images,
                    consumed,
                )
            )
    return tuple(rows)


def row(name: str, files: str, rate: Rate, n_images: int, consumed: Rate) -> tuple[str, ...]:
    busy = 100 * min(rate.cases_per_s / consumed.cases_per_s, 1.0)
    processor = f"{rate.processor_s_per_case:.3f}" if rate.processor_s_per_case else ""
    return name, files, f"{rate.cases_per_s:.1f}", f"{rate.cases_per_s * n_images:,.0f}", processor, f"{busy:.0f} %"


def make_task(data: LevelTrainingData, settings: LevelTrainSettings) -> LevelTask:
    return LevelTask(data.cases, data.cases[:1], data.auxiliary, data.views, data.fracture_types, settings)


def loader_rate(task: LevelTask, epoch: int, cold_folder: Path | None, workers: int) -> Rate:
    """Return the cases per second of an epoch, the start of the loading processes included."""
    if cold_folder is not None:
        drop_from_cache(cold_folder)
    started, processor, count = time.perf_counter(), time.process_time(), 0
    for batch in task.train_loader(epoch):
        count += len(next(iter(batch.values())))
    processor = time.process_time() - processor
    return Rate(count / (time.perf_counter() - started), 0.0 if workers else processor / count)


def drop_from_cache(folder: Path) -> None:
    """Ask the system to forget the files of a folder, so that they are read from the disk."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def network_rate(task: LevelTask, settings: LevelTrainSettings, data: LevelTrainingData) -> Rate:
    """Return the cases per second that the network is trained on, without loading."""
    import torch

    fabric: Any = open_fabric(settings)
    network = LevelNetwork(len(data.fracture_types), half_mm=data.views.half_mm)
    model, optimizer = fabric.setup(network, torch.optim.AdamW(network.parameters(), lr=1e-4))
    batches: Sequence[Any] = [fabric.to_device(batch) for batch in islice(task.train_loader(0), 1)]
    seconds, processor = [], time.process_time()
    for _ in range(N_STEPS):
        started = time.perf_counter()
        fabric.backward(task.loss(model(*task.inputs(batches[0])), batches[0]))
        optimizer.step()
        optimizer.zero_grad()
        if fabric.device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    processor = (time.process_time() - processor) / (N_STEPS * settings.batch_size)
    return Rate(settings.batch_size / min(seconds[1:]), processor)


if __name__ == "__main__":
    main()
