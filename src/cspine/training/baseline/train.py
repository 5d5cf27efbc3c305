"""Training of the baseline: from a compiled data set to ONNX weights."""

from pathlib import Path

import torch
from torch import nn

from cspine import __version__
from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.core.columns import STUDY
from cspine.core.files import write_text
from cspine.core.progress import Progress, silent
from cspine.core.run_files import SPLIT_FILE, WEIGHTS_FILE
from cspine.core.settings import digest
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import TRAIN, LockedSplit
from cspine.models.metadata import BaselineMetadata
from cspine.training.baseline.dataset import BaselineTrainingData, load_training_data
from cspine.training.baseline.network import BaselineCNN
from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.baseline.task import BaselineTask
from cspine.training.curves import draw_curves
from cspine.training.devices import open_fabric
from cspine.training.export import Graph, export_onnx
from cspine.training.summary import TrainingSummary
from cspine.training.trainer import fit, open_run


def train_baseline(
    dataset: CompiledDataset,
    out: Path,
    settings: BaselineTrainSettings,
    *,
    split: LockedSplit | None = None,
    progress: Progress = silent,
) -> TrainingSummary | None:
    """Train the notebook's CNN on a compiled data set; an interrupted run is resumed after its last epoch.

    Parameters
    ----------
    dataset : CompiledDataset
        Compiled studies with labels.
    out : Path
        The run's folder: checkpoint, learning curves, split and finally ``weights.onnx``.
    settings : BaselineTrainSettings
        Hyperparameters of optimization, batches and data.
    split : LockedSplit, optional
        Its part 'train' is the training set and its part 'validation' the validation set; drawn at random where None.
    progress
        As of `cspine.training.trainer.fit`.

    Returns
    -------
    TrainingSummary or None
        None in all of torchrun's processes but the first, which alone writes.

    Raises
    ------
    LabelError
        There are too few labeled studies, or `split` does not know them.
    OutputTakenError
        `out` holds something else, or a run with other settings or data.
    InputError, DiskFullError, OutputError
        As by `cspine.training.trainer.fit`.
    """
    data = load_training_data(dataset, settings, split)
    identity = {"format": 2, "kind": "run", "settings": settings.model_dump(mode="json"), "data": data.hash}
    if split is not None:
        identity["split"] = split.sha256
    fabric = open_fabric(settings)
    open_run(fabric, out, identity)
    task = BaselineTask(data.train, data.validation, settings)
    result = fit(fabric, lambda: BaselineCNN(settings.dropout), task, out, settings, progress=progress)
    if result is None:
        return None
    write_text(out / SPLIT_FILE, data.split.rename("part").rename_axis(STUDY).to_csv(lineterminator="\n"))
    draw_curves(out, result.curve, title=f"{settings.model}, seed {settings.seed}", is_phantom=dataset.is_phantom)
    metadata = _metadata(dataset, data, settings, result.best_epoch)
    export_onnx(_graph(result.network, settings.image_size), metadata, out / WEIGHTS_FILE)
    return TrainingSummary(
        len(result.curve), result.best_epoch, result.best_loss, result.resumed_from, (out / WEIGHTS_FILE,)
    )


def _graph(network: nn.Module, size: int) -> Graph:
    example = torch.rand(2, 1, size, size, generator=torch.Generator().manual_seed(0))
    n_images = {0: torch.export.Dim("images_count")}
    return Graph(nn.Sequential(network, nn.Sigmoid()), (example,), ("images",), ("probabilities",), (n_images,))


def _metadata(
    dataset: CompiledDataset, data: BaselineTrainingData, settings: BaselineTrainSettings, best_epoch: int
) -> BaselineMetadata:
    studies = int((data.split == TRAIN).sum())
    population = "phantom studies (no patient)" if dataset.is_phantom else "studies"
    return BaselineMetadata(
        trained_on=f"{studies} {population}, seed {settings.seed}, epoch {best_epoch}",
        phantom_only=dataset.is_phantom,
        software=__version__,
        image_size=settings.image_size,
        sagittal=dataset.settings.sagittal,
        spine_aligned=dataset.settings.spine_aligned,
        positive_weight=2.0,
        prevalence=data.prevalence,
        best_constants=data.best_constants,
        training=settings.model_dump(mode="json"),
        settings_hash=digest([settings.hash, dataset.settings.hash])[:16],
        data_hash=data.hash,
        statement=RESEARCH_USE_ONLY,
    )
