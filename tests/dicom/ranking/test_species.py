"""Images of animals are refused: their vertebrae are not those of a person."""

from pathlib import Path

import pytest
from tests.support.dicom import make_hu, write_series
from tests.support.dicom_mix import tags

from cspine.core.errors import DicomError
from cspine.dicom import load_volume

SMALL = make_hu((12, 16, 16))


@pytest.mark.parametrize(
    "values",
    [
        {"AnatomicalOrientationType": "QUADRUPED"},
        {"PatientSpeciesDescription": "Canine"},
        {"PatientSpeciesDescription": "Felis catus"},
        {"PatientSpeciesDescription": "Sus scrofa domesticus"},
    ],
)
def test_images_of_an_animal_are_refused_also_on_request(tmp_path: Path, values: dict[str, str]) -> None:
    write_series(tmp_path, SMALL, series="1.2.3", change=tags(**values))

    for series_uid in (None, "1.2.3"):
        with pytest.raises(DicomError, match=r"no series to read \(images of an animal"):
            load_volume(tmp_path, series_uid=series_uid)


@pytest.mark.parametrize("species", ["Homo sapiens", "Human", "musculoskeletal patient", ""])
def test_images_of_a_person_are_read(tmp_path: Path, species: str) -> None:
    write_series(tmp_path, SMALL, change=tags(AnatomicalOrientationType="BIPED", PatientSpeciesDescription=species))

    assert load_volume(tmp_path).shape == SMALL.shape


def test_colors_of_a_palette_are_no_attenuation(tmp_path: Path) -> None:
    write_series(tmp_path, SMALL, change=tags(PhotometricInterpretation="PALETTE COLOR"))

    with pytest.raises(DicomError, match=r"no series to read \(color images\)"):
        load_volume(tmp_path)
