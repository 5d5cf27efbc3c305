"""Training leaks are counted by study, by patient, and by the fingerprints in the weights' metadata."""

from pathlib import Path

import pandas as pd
from tests.support.predictions import make_reference

from cspine.classification.level_classifier import LevelClassifier
from cspine.core.anatomy import TARGETS
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.leak_check import count_training_leaks, read_training_studies
from cspine.models.metadata import LevelsMetadata, patient_fingerprint


def make_two_studies_of_each_of_three_patients() -> ReferenceStandard:
    labels = pd.DataFrame(0, index=[f"1.{n}" for n in range(6)], columns=list(TARGETS))
    return make_reference(labels, patients=pd.Series([f"p{n // 2}" for n in range(6)], index=labels.index))


def test_other_studies_of_a_trained_patient_are_leaks() -> None:
    reference, metadata = make_two_studies_of_each_of_three_patients(), LevelClassifier.load().metadata

    assert count_training_leaks(reference, metadata) == 0
    assert count_training_leaks(reference, metadata, {"1.0"}) == 2
    assert count_training_leaks(reference, metadata, {"1.0", "1.5", "9.9"}) == 4


def test_fingerprints_of_pretraining_patients_are_leaks() -> None:
    reference, metadata = make_two_studies_of_each_of_three_patients(), LevelClassifier.load().metadata
    assert isinstance(metadata, LevelsMetadata)

    trained = metadata.model_copy(update={"training_patients": (patient_fingerprint("p1"),)})

    assert count_training_leaks(reference, trained) == 2
    assert count_training_leaks(reference, trained, {"1.0"}) == 4


def test_training_studies_are_read_from_the_run(tmp_path: Path) -> None:
    assert read_training_studies(tmp_path) == frozenset()

    (tmp_path / "split.csv").write_text("StudyInstanceUID,part\n1.10,train\n1.2,validation\n")

    assert read_training_studies(tmp_path) == {"1.10", "1.2"}
