"""Compiled sagittal images in memory, split by patient into training and validation set."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch.utils.data import Dataset

from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError
from cspine.core.settings import digest
from cspine.datasets.compiled import CompiledDataset
from cspine.datasets.locked_split import TRAIN, VALIDATION, LockedSplit
from cspine.datasets.stratified_split import split_patients
from cspine.metrics.rsna2022 import best_constants
from cspine.training.baseline.augmentation import Augmentation
from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.task import Batch


class BaselineDataset(Dataset[Batch]):
    """The images of some studies, each with the labels of its study.

    Parameters
    ----------
    images : (n, 1, size, size) uint8
        Gray values of the sagittal images.
    truth : (n, 8) float32
        0 or 1, columns `TARGETS`.
    augmentation_seed : int, optional
        Seed of one epoch's augmentation; images are returned unchanged where None.
    """

    def __init__(self, images: torch.Tensor, truth: torch.Tensor, augmentation_seed: int | None = None) -> None:
        self.images, self.truth, self.augmentation_seed = images, truth, augmentation_seed
        self._augment = Augmentation()

    def augment(self, seed: int) -> "BaselineDataset":
        """Return the same images with an epoch's augmentation."""
        return BaselineDataset(self.images, self.truth, seed)

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, number: int) -> Batch:
        """Return an image, (1, size, size) with gray values from 0 to 1, and its labels, (8,)."""
        image = self.images[number].float() / 255.0
        if self.augmentation_seed is not None:
            image = self._augment(image, (self.augmentation_seed * 1_000_003 + number) % 2**32)
        return {"images": image, "truth": self.truth[number]}


@dataclass(frozen=True)
class BaselineTrainingData:
    """Training and validation set.

    Attributes
    ----------
    train, validation : BaselineDataset
        Images of different patients.
    split : Series of str
        `TRAIN` or `VALIDATION`, indexed by StudyInstanceUID.
    prevalence, best_constants : tuple of float
        For each target, over the training studies: the fraction of positives, and the constant with the lowest loss.
    hash : str
        Hash of the studies, their labels and how their images were compiled.
    """

    train: BaselineDataset
    validation: BaselineDataset
    split: "pd.Series[str]"
    prevalence: tuple[float, ...]
    best_constants: tuple[float, ...]
    hash: str


def load_training_data(
    dataset: CompiledDataset, settings: BaselineTrainSettings, split: LockedSplit | None = None
) -> BaselineTrainingData:
    """Read a compiled data set into memory and split it by patient.

    Parameters
    ----------
    dataset : CompiledDataset
        Compiled studies with labels.
    settings : BaselineTrainSettings
        Image size, seed and fraction of the validation set.
    split : LockedSplit, optional
        Assigns studies to training and validation set; its other parts are not read. Drawn at random, stratified by
        label, where None.

    Raises
    ------
    LabelError
        No study has labels, they are too few to split, or `split` does not know them.
    """
    manifest = dataset.manifest()
    labeled = manifest.dropna(subset=list(TARGETS))
    studies = labeled.drop_duplicates("study_instance_uid").set_index("study_instance_uid").sort_index()
    if len(studies) < 2:
        raise LabelError(
            f"{dataset.folder}: {len(studies)} studies have labels, training needs two at least; compile a folder with "
            "train.csv"
        )
    labels = studies[list(TARGETS)].astype("int8")
    if split is None:
        fractions = {TRAIN: 1.0 - settings.validation_fraction, VALIDATION: settings.validation_fraction}
        parts = split_patients(labels, studies["patient"], fractions, seed=settings.seed)
    else:
        parts = split.train_val_assignment([str(study) for study in labels.index])
        labels = labels.loc[parts.index]
    datasets = {}
    for part in (TRAIN, VALIDATION):
        rows = labeled[labeled["study_instance_uid"].map(parts) == part].sort_values(["study_instance_uid", "image"])
        if rows.empty:
            raise LabelError(f"{dataset.folder}: too few patients to hold any out for '{part}'; compile more studies")
        datasets[part] = _read_images(dataset, rows, settings.image_size)
    identity = {"settings": dataset.settings.hash, "labels": labels.to_csv(lineterminator="\n"), "images": len(labeled)}
    train_labels = labels[parts == TRAIN].to_numpy()
    return BaselineTrainingData(
        train=datasets[TRAIN],
        validation=datasets[VALIDATION],
        split=parts,
        prevalence=tuple(train_labels.mean(axis=0).tolist()),
        best_constants=tuple(best_constants(train_labels).tolist()),
        hash=digest(identity)[:16],
    )


def _read_images(dataset: CompiledDataset, rows: pd.DataFrame, size: int) -> BaselineDataset:
    images = dataset.read_images(rows["path"], size)
    truth = rows[list(TARGETS)].to_numpy(np.float32)
    return BaselineDataset(torch.from_numpy(images[:, None]), torch.from_numpy(truth))
