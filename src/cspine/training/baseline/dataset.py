"""Compiled images in memory, as training wants them."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError
from cspine.core.settings import digest
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import TRAIN, VALIDATION, LockedSplit
from cspine.datasets.stratified_split import split_patients
from cspine.metrics.rsna2022 import best_constants
from cspine.training.baseline.settings import TrainSettings


@dataclass(frozen=True)
class ImageSet:
    """The images of some studies.

    Attributes
    ----------
    images : (n, 1, size, size) uint8
    truth : (n, 8) float32
        Each image carries its study's labels.
    study : (n,) int64
        Number of each image's study, from 0.
    """

    images: torch.Tensor
    truth: torch.Tensor
    study: torch.Tensor

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)


@dataclass(frozen=True)
class TrainingData:
    """What a run trains and tunes on.

    Attributes
    ----------
    split : Series
        StudyInstanceUID to `TRAIN` or `VALIDATION`.
    prevalence, best_constants : tuple of float
        Per target, over the training studies: the fraction of positives, and the constant with the least loss.
    hash : str
        Of the studies, their labels and their images' settings.
    """

    train: ImageSet
    validation: ImageSet
    split: "pd.Series[str]"
    prevalence: tuple[float, ...]
    best_constants: tuple[float, ...]
    hash: str


def load_training_data(
    store: CompiledDataset, settings: TrainSettings, frozen: LockedSplit | None = None
) -> TrainingData:
    """Read a compiled data set into memory and split it by patient.

    Parameters
    ----------
    store : CompiledDataset
        With labels.
    settings : TrainSettings
        Image size, seed and share to hold out.
    frozen : LockedSplit, optional
        Says which studies are learnt from and which are held out; others of its parts are not touched.

    Returns
    -------
    TrainingData

    Raises
    ------
    LabelError
        No study has labels, too few to split, or `frozen` does not know them.
    """
    manifest = store.manifest()
    labelled = manifest.dropna(subset=list(TARGETS))
    studies = labelled.drop_duplicates("study_instance_uid").set_index("study_instance_uid").sort_index()
    if len(studies) < 2:
        raise LabelError(
            f"{store.folder}: {len(studies)} studies have labels, training needs two at least; compile a folder with "
            "train.csv"
        )
    labels = studies[list(TARGETS)].astype("int8")
    if frozen is None:
        fractions = {TRAIN: 1.0 - settings.validation_fraction, VALIDATION: settings.validation_fraction}
        split = split_patients(labels, studies["patient"], fractions, seed=settings.seed)
    else:
        split = frozen.train_val_assignment([str(study) for study in labels.index])
        labels = labels.loc[split.index]
    parts = {}
    for part in (TRAIN, VALIDATION):
        rows = labelled[labelled["study_instance_uid"].map(split) == part].sort_values(["study_instance_uid", "image"])
        if rows.empty:
            raise LabelError(f"{store.folder}: too few patients to hold any out for '{part}'; compile more studies")
        parts[part] = _image_set(store, rows, settings.image_size)
    identity = {"settings": store.settings.hash, "labels": labels.to_csv(), "images": len(labelled)}
    trained = labels[split == TRAIN].to_numpy()
    return TrainingData(
        train=parts[TRAIN],
        validation=parts[VALIDATION],
        split=split,
        prevalence=tuple(trained.mean(axis=0).tolist()),
        best_constants=tuple(best_constants(trained).tolist()),
        hash=digest(identity)[:16],
    )


def _image_set(store: CompiledDataset, rows: pd.DataFrame, size: int) -> ImageSet:
    images = store.read_images(rows["path"], size)
    return ImageSet(
        torch.from_numpy(images[:, None]),
        torch.from_numpy(rows[list(TARGETS)].to_numpy(np.float32)),
        torch.from_numpy(pd.factorize(rows["study_instance_uid"])[0].astype(np.int64)),
    )
