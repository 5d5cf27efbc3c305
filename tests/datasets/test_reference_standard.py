"""Reference standards from every source, and hits of marks."""

import json
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pandas as pd
import pytest
from tests.support.views import make_level_dataset

from cspine.core.anatomy import TARGETS, VERTEBRAE
from cspine.core.errors import LabelError
from cspine.datasets.lesion_reference import Mark
from cspine.datasets.reference_standard import best_visibility, read_reference_standard
from cspine.dicom.files.manifest import write_manifest


def write_labels(folder: Path, rows: dict[str, list[int]]) -> Path:
    """Write a train.csv of studies and their levels."""
    table = pd.DataFrame.from_dict(rows, orient="index", columns=list(TARGETS[1:]))
    table.insert(0, TARGETS[0], table.max(axis=1))
    folder.mkdir(exist_ok=True, parents=True)
    table.rename_axis("StudyInstanceUID").to_csv(folder / "train.csv")
    return folder / "train.csv"


TWO = {"1.1": [0, 1, 0, 0, 0, 0, 0], "1.2": [0] * 7}


def mark(
    level: str = "C2",
    *,
    point_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
    pixel: tuple[float, float, float] = (np.nan, np.nan, np.nan),
    study: str = "1.1",
) -> Mark:
    """Return a mark at a point, and at a slice, row and column."""
    return Mark(study, level, *point_lps_mm, *pixel)


def test_labels_alone_form_a_reference_standard(tmp_path: Path) -> None:
    reference = read_reference_standard(write_labels(tmp_path, TWO))

    assert reference.labels.iloc[0].tolist() == [1, 0, 1, 0, 0, 0, 0, 0]
    assert reference.patients.tolist() == ["1.1", "1.2"]
    assert reference.lesions is None
    assert reference.fractures is None
    assert not reference.is_phantom
    assert best_visibility(reference).to_numpy().tolist() == [[""] * 7] * 2


def test_the_table_of_an_imported_data_set_has_the_patients_of_its_manifest(tmp_path: Path) -> None:
    table = write_labels(tmp_path, TWO)
    (tmp_path / "imported.json").write_text('{"images_root": "."}', encoding="utf-8")
    rows = [{"StudyInstanceUID": study, "path": study, "patient": "p"} for study in TWO]
    write_manifest(tmp_path, rows, list(rows[0]))

    assert read_reference_standard(table).patients.tolist() == ["p", "p"]


def test_boxes_locate_fractures(tmp_path: Path) -> None:
    write_labels(tmp_path, TWO)
    box = {"StudyInstanceUID": "1.1", "x": 10, "y": 20, "width": 5, "height": 4, "slice_number": 7}
    pd.DataFrame([box]).to_csv(tmp_path / "train_bounding_boxes.csv", index=False)

    lesions = read_reference_standard(tmp_path).lesions

    assert lesions is not None
    assert (lesions.targets("1.1"), lesions.targets("1.2")) == (("C2",), ())
    assert lesions.hit(mark(pixel=(7, 20, 10))) == "C2"
    assert lesions.hit(mark(pixel=(9, 23.4, 14.4))) == "C2"
    for pixel in ((10, 20, 10), (7, 24, 10), (7, 20, 15), (np.nan, 20, 10)):
        assert lesions.hit(mark(pixel=pixel)) is None
    assert lesions.hit(mark("C3", pixel=(7, 20, 10))) is None  # not fractured
    assert lesions.hit(mark(pixel=(7, 20, 10), study="1.2")) is None


def test_boxes_of_studies_without_fracture_raise(tmp_path: Path) -> None:
    write_labels(tmp_path, TWO)
    box = {"StudyInstanceUID": "1.2", "x": 10, "y": 20, "width": 5, "height": 4, "slice_number": 7}
    pd.DataFrame([box]).to_csv(tmp_path / "boxes.csv", index=False)

    with pytest.raises(LabelError, match=r"1 studies have boxes and no fracture \(first: 1\.2\)"):
        read_reference_standard(tmp_path / "train.csv", boxes=tmp_path / "boxes.csv")


def test_label_maps_locate_fractures_in_mm(tmp_path: Path) -> None:
    write_labels(tmp_path, TWO)
    (tmp_path / "fractures").mkdir()
    values = np.zeros((20, 20, 20), np.uint8)
    values[5, 6, 7] = 2  # C2, in RAS mm at (5, 6, 7) - 10
    to_ras = np.array([[1.0, 0, 0, -10], [0, 1, 0, -10], [0, 0, 1, -10], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(values, to_ras), tmp_path / "fractures" / "1.1.nii.gz")

    lesions = read_reference_standard(tmp_path).lesions

    assert lesions is not None
    assert (lesions.targets("1.1"), lesions.targets("1.2")) == (("C2",), ())
    assert lesions.hit(mark(point_lps_mm=(5.0, 4.0, -3.0))) == "C2"
    assert lesions.hit(mark(point_lps_mm=(5.0, 4.0, 1.9))) == "C2"
    assert lesions.hit(mark(point_lps_mm=(5.0, 4.0, 2.1))) is None
    assert lesions.hit(mark("C3", point_lps_mm=(5.0, 4.0, -3.0))) is None
    assert "within 5 mm" in lesions.hit_criterion


def write_records(folder: Path, records: dict[str, dict[str, Any]]) -> None:
    """Write the records of phantoms, with a scanner and without fractures unless they have them."""
    (folder / "phantom.json").write_text("{}")
    (folder / "truth").mkdir()
    scanner = {"thickness_mm": 0.8, "blur_mm": 0.7, "noise_hu": 30.0}
    for study, record in records.items():
        full = {"study_instance_uid": study, "fractures": [], "scanner": scanner, **record}
        (folder / "truth" / f"{study}.json").write_text(json.dumps(full))


def test_phantom_record_gives_fracture_types_visibility_and_scan(tmp_path: Path) -> None:
    write_labels(tmp_path, TWO)
    fractures = [
        {"level": "C2", "fracture_type": "hangman", "visibility_grade": "subtle"},
        {"level": "C2", "fracture_type": "lamina", "visibility_grade": "clear", "bone_lost_mm": 3.5},
    ]
    write_records(tmp_path, {"1.1": {"fractures": fractures}, "1.2": {}})

    reference = read_reference_standard(tmp_path)

    assert reference.is_phantom
    assert reference.fractures is not None
    assert reference.fractures["fracture_type"].tolist() == ["hangman", "lamina"]
    assert reference.fractures["bone_lost_mm"].fillna(-1.0).tolist() == [
        -1.0,
        3.5,
    ]  # not in records of earlier phantoms
    assert best_visibility(reference).iloc[0].tolist() == ["", "clear", "", "", "", "", ""]
    assert reference.subgroups.loc["1.2"].to_dict() == {"slice_thickness_mm": 0.8, "kernel": "sharp", "noise_hu": 30.0}
    part = reference.select(pd.Index(["1.2"]))
    assert part.fractures is not None
    assert part.fractures.empty
    assert part.labels.index.tolist() == part.subgroups.index.tolist() == ["1.2"]


MIMICS = [
    {"name": "dens cyst", "level": "C2", "points_lps_mm": [[1.0, 2.0, 3.0], [1.0, 2.0, 9.0]]},
    {"name": "osteophytes", "level": "C5", "points_lps_mm": []},
    {"name": "bone island", "level": "T1", "points_lps_mm": [[0.0, 0.0, 0.0]]},
    {"name": "kyphosis", "level": None, "points_lps_mm": []},
]


def test_phantom_record_gives_mimics_with_their_places(tmp_path: Path) -> None:
    write_labels(tmp_path, TWO)
    write_records(tmp_path, {"1.1": {"mimics": MIMICS}, "1.2": {"mimics": []}})

    mimics = read_reference_standard(tmp_path).mimics

    assert mimics is not None
    assert set(mimics["StudyInstanceUID"]) == {"1.1"}
    by_name = dict(iter(mimics.groupby("mimic")))
    assert set(by_name) == {"dens cyst", "osteophytes", "kyphosis"}  # the table is of C1 to C7
    assert by_name["dens cyst"]["level"].tolist() == ["C2", "C2"]
    assert by_name["dens cyst"]["z_lps_mm"].tolist() == [3.0, 9.0]
    assert by_name["osteophytes"]["z_lps_mm"].isna().all()
    assert by_name["kyphosis"]["level"].tolist() == list(VERTEBRAE)


def test_mimics_are_known_only_where_every_record_lists_them(tmp_path: Path) -> None:
    write_labels(tmp_path, TWO)
    write_records(tmp_path, {"1.1": {"mimics": MIMICS}, "1.2": {}})

    assert read_reference_standard(tmp_path).mimics is None


def test_compiled_data_set_gives_patients(tmp_path: Path) -> None:
    reference = read_reference_standard(make_level_dataset(tmp_path / "data", 6).folder)

    assert reference.is_phantom
    assert reference.labels["patient_overall"].sum() == 3
    assert reference.patients.nunique() == 6
    assert reference.name == "data"


def test_subgroups_are_added_and_malformed_ones_raise(tmp_path: Path) -> None:
    file = write_labels(tmp_path, TWO)
    (tmp_path / "groups.csv").write_text("StudyInstanceUID,sex,age\n1.2,F,80\n1.9,M,20\n")

    reference = read_reference_standard(file, subgroups=tmp_path / "groups.csv")

    assert reference.subgroups.index.tolist() == ["1.1", "1.2"]
    assert reference.subgroups.loc["1.2", "sex"] == "F"
    assert reference.subgroups["age"].isna().tolist() == [True, False]
    for text, message in (
        ("StudyInstanceUID\n1.1\n", "must have StudyInstanceUID and a column"),
        ("sex\nF\n", "must have StudyInstanceUID and a column"),
        ("StudyInstanceUID,sex\n1.1,F\n1.1,M\n", r"1 of 2 rows repeat an earlier study; .*\(first: 1\.1\)"),
        ("StudyInstanceUID,sex\n2.1,F\n", "none of its 1 studies is among the labeled ones"),
        ("", "is not a CSV table"),
    ):
        (tmp_path / "groups.csv").write_text(text)
        with pytest.raises(LabelError, match=message):
            read_reference_standard(file, subgroups=tmp_path / "groups.csv")


def test_missing_or_contradicting_labels_raise(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match=r"train\.csv: is not there"):
        read_reference_standard(tmp_path)
    file = write_labels(tmp_path, TWO)
    table = pd.read_csv(file)
    table.assign(patient_overall=[0, 1]).to_csv(file, index=False)
    with pytest.raises(
        LabelError, match=r"2 of 2 rows have a patient_overall that is not the OR.*\(first: 1\.1, 1\.2\)"
    ):
        read_reference_standard(file)


def test_column_of_names_raises(tmp_path: Path) -> None:
    file = write_labels(tmp_path, {f"1.{n}": [0] * 7 for n in range(60)})
    columns = {"StudyInstanceUID": [f"1.{n}" for n in range(60)], "PatientName": [f"Doe^{n}" for n in range(60)]}
    table = pd.DataFrame(columns)
    table.to_csv(tmp_path / "groups.csv", index=False)

    with pytest.raises(LabelError, match="PatientName has another word for nearly every study") as caught:
        read_reference_standard(file, subgroups=tmp_path / "groups.csv")

    assert "Doe" not in str(caught.value)


def test_malformed_phantom_record_raises(tmp_path: Path) -> None:
    write_labels(tmp_path, TWO)
    (tmp_path / "truth").mkdir()
    records: list[object] = [[], {"study_instance_uid": "1.1", "fractures": [{"level": "C2"}], "scanner": {}}]
    for record in records:
        (tmp_path / "truth" / "1.1.json").write_text(json.dumps(record))
        with pytest.raises(LabelError, match=r"truth/1\.1\.json: is no phantom's record"):
            read_reference_standard(tmp_path)


def test_label_map_without_levels_gives_no_locations(tmp_path: Path) -> None:
    write_labels(tmp_path, TWO)
    (tmp_path / "fractures").mkdir()
    values = np.zeros((8, 8, 8), np.uint8)
    values[4, 4, 4] = 255
    nibabel.save(nibabel.Nifti1Image(values, np.eye(4)), tmp_path / "fractures" / "1.1.nii.gz")

    lesions = read_reference_standard(tmp_path).lesions

    assert lesions is not None
    assert lesions.targets("1.1") is None
