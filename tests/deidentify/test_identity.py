"""Texts about the scanner stay unless they hold a word of the patient."""

from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from tests.support.dicom import make_hu, write_series

from cspine.deidentify.identity import find_personal_words, holds_word
from cspine.deidentify.key import PseudonymKey
from cspine.deidentify.profile import ConfidentialityProfile
from cspine.deidentify.study import deidentify


def test_texts_about_the_scanner_stay_unless_they_hold_a_word_of_the_patient(tmp_path: Path) -> None:
    def change(dataset: Dataset, _: int) -> Dataset:
        dataset.PatientName, dataset.PatientID, dataset.OperatorsName = "Axial^Geheim", "AB-4711", "Op Erator"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL", "XGEHEIM1"]
        dataset.Manufacturer, dataset.ManufacturerModelName = "SIEMENS", "Sensation of erator"
        dataset.ConvolutionKernel, dataset.SoftwareVersions = "B60f", ["VA44", "4711"]
        dataset.BodyPartExamined, dataset.Modality = "GEHEIM", "CT"
        return dataset

    write_series(tmp_path / "in", make_hu((1, 8, 8)), change=change)

    deidentify(tmp_path / "in", tmp_path / "out", ConfidentialityProfile(PseudonymKey(b"k" * 32)))

    (path,) = (tmp_path / "out").rglob("*.dcm")
    dataset = dcmread(path)
    assert dataset.ImageType == ["ORIGINAL", "PRIMARY", "AXIAL"]
    assert (dataset.Manufacturer, dataset.ConvolutionKernel, dataset.SoftwareVersions) == ("SIEMENS", "B60f", "VA44")
    assert "ManufacturerModelName" not in dataset
    assert "BodyPartExamined" not in dataset
    assert dataset.Modality == "CT"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("neck of geheim", True), ("NGEHEIMN", True), ("Hu", False), ("ann", True), ("annual", False), ("axial", False)],
)
def test_words_are_compared_as_a_whole_and_long_ones_within_others(text: str, expected: bool) -> None:
    dataset = Dataset()
    dataset.PatientName = "Geheim^Ann^^Hu"

    assert holds_word(text, find_personal_words(dataset)) == expected
