"""Data sets of virtual fractures: written once, resumed, read by all that reads the challenge."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.support import segmentations

from cspine.core.columns import STUDY
from cspine.core.errors import InputError, NotAssessableError, OutputTakenError, SourceError
from cspine.core.files import read_json
from cspine.datasets.phantom_records import read_phantom_records
from cspine.datasets.rsna2022_labels import read_boxes, read_labels
from cspine.dicom import load_segmentation, load_volume
from cspine.insertion.settings import InsertionSettings
from cspine.pipelines.insert import InsertionSummary, insert_fractures

SETTINGS = InsertionSettings(
    level_mix={"C5": 1.0}, type_mix={"lamina": 1.0}, vertebrae_per_study={1: 1.0}, fracture_width_mm=(1.5, 2.0)
)


def insert(folder: Path, out: Path, **options: int) -> InsertionSummary:
    return insert_fractures(folder / "ct", out, SETTINGS, vertebrae=folder / "labels.nii", **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    segmentations.write_ct(folder / "ct")
    segmentations.write_nifti(folder / "labels.nii", segmentations.labels())
    return folder


def test_a_data_set_has_the_layout_of_the_challenge_and_is_resumed(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "virtual"

    summary = insert(source, out)
    written = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    again = insert(source, out)

    assert summary == again == InsertionSummary(3, 1, 1, 1, ())
    tables = {out / "train.csv", out / "train_bounding_boxes.csv"}
    assert {path for path, time in written.items() if path.stat().st_mtime_ns != time} <= tables
    labels, boxes, records = read_labels(out / "train.csv"), read_boxes(out / "train_bounding_boxes.csv"), {}
    for uid in labels.index:
        records[read_json(out / "truth" / f"{uid}.json")["kind"]] = uid
    assert labels.loc[records["fracture"], "C5"] == labels.loc[records["fracture"], "patient_overall"] == 1
    assert labels.drop(records["fracture"]).to_numpy().sum() == 0
    assert set(boxes[STUDY]) == {records["fracture"]}
    assert isinstance(labels, pd.DataFrame)
    (fracture,) = read_phantom_records(out)[records["fracture"]].fractures
    assert (fracture.level, fracture.fracture_type) == ("C5", "lamina")
    before = load_volume(source / "ct").array
    volumes = {kind: load_volume(out / "train_images" / uid) for kind, uid in records.items()}
    np.testing.assert_array_equal(volumes["intact"].array, before)
    mask = load_segmentation(out / "fractures" / f"{records['fracture']}.nii.gz", volumes["fracture"])
    assert set(np.unique(mask).tolist()) == {0, 5}
    for kind in ("fracture", "sham"):
        changed = np.argwhere(volumes[kind].array != before)
        assert 0 < len(changed) < 0.1 * before.size
        assert np.ptp(changed, axis=0).max() * segmentations.SPACING_MM < 70.0
    with pytest.raises(OutputTakenError, match="was begun with another seed"):
        insert(source, out, seed=5)


def test_unsuitable_input_is_one_sentence(source: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies within"):
        insert(source, source / "ct" / "out")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("no scan")
    with pytest.raises(SourceError):
        insert_fractures(tmp_path / "notes", tmp_path / "out", SETTINGS, vertebrae=source / "labels.nii")
    top = segmentations.labels()
    top[10:] = 0  # the upper part of the neck is not segmented
    segmentations.write_nifti(tmp_path / "top.nii", top)
    with pytest.raises(NotAssessableError):
        insert_fractures(source / "ct", tmp_path / "out", SETTINGS, vertebrae=tmp_path / "top.nii")
    assert not list((tmp_path / "out").glob("train*"))
