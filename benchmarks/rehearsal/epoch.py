"""An epoch of the level network: its data from compiled images and from DICOM, and its steps, side by side.

From DICOM every study is loaded and its vertebrae are reformatted in every epoch. Where the vertebrae lie is known from
before, since nobody would localize them anew each time; the localization is reported apart.

Run: ``python -m benchmarks.rehearsal.epoch --data STUDIES --compiled COMPILED``
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import default_collate

from benchmarks.imaging import memory_disk
from cspine.core.identifiers import study_key
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.compiled_files import image_files
from cspine.dicom.loading import open_series
from cspine.localization.compiler import Compiler, compile_study
from cspine.localization.loading import load_localizer
from cspine.training.levels.dataset import CaseFiles, LevelDataset, fracture_types_of, list_cases
from cspine.training.levels.network import LevelNetwork
from cspine.training.levels.settings import LevelTrainSettings
from cspine.training.levels.task import LevelTask

_SEED = 22


class KnownVertebrae:
    """A localizer that localizes a study once, and then returns what it found."""

    def __init__(self, localizer: Any) -> None:
        self._localizer, self._spine = localizer, None
        self.sha256, self.identity = localizer.sha256, localizer.identity

    def __call__(self, volume: Any) -> Any:
        """Return the vertebrae of the study, whichever volume of it is given."""
        if self._spine is None:
            self._spine = self._localizer(volume)
        return self._spine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of studies")
    parser.add_argument("--compiled", type=Path, required=True, help="the same studies, compiled")
    parser.add_argument("--studies", type=int, default=10, help="number of studies")
    options = parser.parse_args()
    dataset = CompiledDataset.open(options.compiled)
    cases = list_cases(dataset)[: options.studies]
    settings = LevelTrainSettings()
    assert dataset.settings.levels is not None
    task = LevelTask(cases, cases, (), dataset.settings.levels, fracture_types_of(cases), settings)
    _load(task, cases[:1], settings)  # imports
    read_s = [_load(task, [case], settings, seed=None)[1] for case in cases]
    loaded_s = [_load(task, [case], settings)[1] for case in cases]
    network = LevelNetwork(len(fracture_types_of(cases)), half_mm=dataset.settings.levels.half_mm)
    step_s = [
        _step(task, network, _load(task, cases[k : k + settings.batch_size], settings)[0])
        for k in range(0, len(cases) - settings.batch_size + 1, settings.batch_size)
    ]
    localized_s, dicom_s = zip(
        *(_from_dicom(options.data, dataset, task, case, settings) for case in cases), strict=True
    )
    result = {
        "compiled_s": statistics.median(read_s),
        "augmentation_s": statistics.median(loaded_s) - statistics.median(read_s),
        "dicom_s": statistics.median(dicom_s),
        "localization_s": statistics.median(localized_s),
        "step_s": statistics.median(step_s) / settings.batch_size,
    }
    sys.stdout.write(json.dumps(result) + "\n")


def _load(
    task: LevelTask, cases: Sequence[CaseFiles], settings: LevelTrainSettings, seed: int | None = _SEED
) -> tuple[list[Any], float]:
    """Return cases as a training step takes them, without augmentation where there is no seed, and the seconds."""
    begin = time.perf_counter()
    data = LevelDataset(cases, task.views, fracture_types_of(task.train), settings.train_views, seed)
    items = [data[k] for k in range(len(cases))]
    return items, time.perf_counter() - begin


def _step(task: LevelTask, network: LevelNetwork, items: list[Any]) -> float:
    """Return the seconds of a step: forward, loss, backward."""
    batch = default_collate(items)
    network.train()
    begin = time.perf_counter()
    torch.autograd.backward(task.loss(network(*task.inputs(batch)), batch))
    network.zero_grad()
    return time.perf_counter() - begin


def _from_dicom(
    data: Path, dataset: CompiledDataset, task: LevelTask, case: CaseFiles, settings: LevelTrainSettings
) -> tuple[float, float]:
    """Return the seconds that localization takes, and those of a study's data from DICOM without it."""
    localizer = KnownVertebrae(load_localizer())
    compiler, folder = Compiler(dataset.settings, localizer), data / "train_images" / case.study
    seconds = []
    with tempfile.TemporaryDirectory(dir=memory_disk()) as out:
        for _ in range(2):  # the first one localizes
            begin = time.perf_counter()
            compiled = compile_study(open_series(folder), compiler)
            key = study_key(case.study)
            files, rows = image_files(compiled.images, key, dataset.settings)
            for name, content in files.items():
                (Path(out) / name).write_bytes(content)
            mosaics = {row["level"]: Path(out) / Path(row["path"]).name for row in rows["levels"]}
            _load(task, [replace(case, mosaics=mosaics)], settings, seed=None)
            seconds.append(time.perf_counter() - begin)
    return seconds[0] - seconds[1], seconds[1]


if __name__ == "__main__":
    main()
