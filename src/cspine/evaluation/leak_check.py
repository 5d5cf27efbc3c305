"""Detection of train/test leakage: evaluated studies of patients that a model was trained on."""

from collections.abc import Collection
from pathlib import Path

import pandas as pd

from cspine.core.columns import STUDY
from cspine.core.run_files import SPLIT_FILE
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.models.metadata import BaselineMetadata, LevelsMetadata, patient_fingerprint


def read_training_studies(run: Path) -> frozenset[str]:
    """Return the studies that a training run used, for training or for validation; none without a record of them.

    Parameters
    ----------
    run : Path
        Folder of the training run.
    """
    path = run / SPLIT_FILE
    if not path.is_file():
        return frozenset()
    with path.open("rb") as stream:
        return frozenset(pd.read_csv(stream, dtype=str)[STUDY])


def count_training_leaks(
    reference: ReferenceStandard, metadata: BaselineMetadata | LevelsMetadata, training_studies: Collection[str] = ()
) -> int:
    """Return the number of evaluated studies of patients that a model was trained on.

    A study leaks if it was used in training, if another study of the same patient was, or if the fingerprint of its
    patient is in the weights' metadata. The fingerprints include the patients of weights that training was initialized
    from.

    Parameters
    ----------
    reference : ReferenceStandard
        Evaluated studies and their patients.
    metadata : BaselineMetadata or LevelsMetadata
        Metadata of the weights. Only those of level classifiers hold fingerprints.
    training_studies : collection of str
        StudyInstanceUIDs used in training, as returned by `read_training_studies`.
    """
    fingerprints = frozenset(metadata.training_patients) if isinstance(metadata, LevelsMetadata) else frozenset()
    patient_of = {str(study): str(patient) for study, patient in reference.patients.items()}
    trained_patients = {patient for study, patient in patient_of.items() if study in training_studies}
    return sum(
        study in training_studies or patient in trained_patients or patient_fingerprint(patient) in fingerprints
        for study, patient in patient_of.items()
    )
