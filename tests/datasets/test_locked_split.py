"""A split that stays as it is, its looks, and operating points that are chosen once."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from cspine.core.anatomy import OVERALL
from cspine.core.errors import LabelError, OutputTakenError
from cspine.datasets.locked_split import FRACTIONS, make_split, read_split, take_part, write_split
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.cases import LEVELS, match
from cspine.evaluation.holdout_access_log import holdout_access_path, read_holdout_accesses, record_holdout_access
from cspine.evaluation.operating_point_metrics import freeze_points, read_points
from cspine.evaluation.predictions import Predictions

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture
def truth(tables: Tables) -> ReferenceStandard:
    labels, _ = tables(200)
    patients = pd.Series([f"p{n // 2}" for n in range(200)], index=labels.index)
    return ReferenceStandard("made up", labels, patients)


def test_a_split_keeps_patients_together_and_labels_balanced(truth: ReferenceStandard, tmp_path: Path) -> None:
    split = make_split(truth, FRACTIONS, seed=3)
    write_split(split, tmp_path / "split.json")
    again = read_split(tmp_path / "split.json")

    assert again == split == make_split(truth, FRACTIONS, seed=3)
    assert sum(len(studies) for studies in split.parts.values()) == 200
    where = {study: part for part, studies in split.parts.items() for study in studies}
    for study, other in zip(truth.labels.index[::2], truth.labels.index[1::2], strict=True):
        assert where[study] == where[other]
    for part, fraction in FRACTIONS.items():
        taken = take_part(truth, split, part)
        assert len(taken.labels) == pytest.approx(200 * fraction, abs=4)
        assert taken.labels[OVERALL].mean() == pytest.approx(truth.labels[OVERALL].mean(), abs=0.1)
    assert "p1" not in (tmp_path / "split.json").read_text()


def test_a_split_is_never_changed(truth: ReferenceStandard, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    write_split(make_split(truth, FRACTIONS, seed=3), path)
    before = path.read_bytes()

    write_split(make_split(truth, FRACTIONS, seed=3), path)
    with pytest.raises(OutputTakenError, match="another split, which is frozen"):
        write_split(make_split(truth, FRACTIONS, seed=4), path)

    assert path.read_bytes() == before
    moved = json.loads(before)
    moved["parts"]["train"].append(moved["parts"]["holdout"].pop())
    path.write_text(json.dumps(moved))
    with pytest.raises(LabelError, match="was changed since it was frozen"):
        read_split(path)
    path.write_text("{}")
    with pytest.raises(LabelError, match="is no split"):
        read_split(path)
    with pytest.raises(LabelError, match="cannot be read"):
        read_split(tmp_path / "none.json")


def test_a_split_is_of_its_own_labels(truth: ReferenceStandard) -> None:
    split = make_split(truth, FRACTIONS, seed=0)
    other = truth.only(truth.labels.index[:100])

    with pytest.raises(LabelError, match="not the labels that were split"):
        take_part(other, split, "test")
    with pytest.raises(LabelError, match="no studies in a part 'val'; it has train, validation, test, holdoun"):
        take_part(truth, split, "val")


def test_looks_at_what_is_hidden_are_recorded(truth: ReferenceStandard, tables: Tables, tmp_path: Path) -> None:
    split, path = make_split(truth, FRACTIONS, seed=0), tmp_path / "split.json"
    write_split(split, path)
    said = tables(200)[1]
    about = pd.DataFrame({"weights": "f" * 64}, index=said.index)
    system = Predictions("a", said, about=about)

    counts = [record_holdout_access(path, split, [system], now=datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2)]

    assert counts == [0, 1]
    first, second = read_holdout_accesses(path)
    assert first["when"] == "2026-01-01T00:00:00+00:00"
    assert first["split"] == split.sha256
    assert first["weights"] == ["f" * 64]
    assert first["systems"] == second["systems"]
    record_holdout_access(path, split, [Predictions("a", said * 0.5)])
    assert read_holdout_accesses(path)[2]["systems"] != first["systems"]
    holdout_access_path(path).write_text("{")
    with pytest.raises(LabelError, match="record of looks is damaged"):
        record_holdout_access(path, split, [system])


def test_operating_points_are_chosen_once_and_read_again(
    truth: ReferenceStandard, tables: Tables, tmp_path: Path
) -> None:
    cases = match(truth, [Predictions("a", tables(200)[1])]).cases("a")

    frozen = freeze_points(cases[OVERALL], cases[LEVELS], chosen_on="these")
    frozen.write(tmp_path / "points.json")

    assert read_points(tmp_path / "points.json") == frozen
    assert [point.name for point in frozen.points] == ["rule-out", "triage"]
    assert frozen.points[0].patient < frozen.points[1].patient
    whole = cases[OVERALL].only(cases[OVERALL].truth == 0)
    with pytest.raises(LabelError, match="both needed"):
        freeze_points(whole, cases[LEVELS], chosen_on="these")
    for text, message in (("{", "holds no operating points"), ('{"points": []}', "holds no operating points")):
        (tmp_path / "points.json").write_text(text)
        with pytest.raises(LabelError, match=message):
            read_points(tmp_path / "points.json")
    with pytest.raises(LabelError, match="cannot be read"):
        read_points(tmp_path / "none.json")
    twice = {"chosen_on": "x", "points": [{"name": "a", "patient": 0.1, "level": 0.1}] * 2}
    (tmp_path / "points.json").write_text(json.dumps(twice))
    with pytest.raises(LabelError, match="holds no operating points"):
        read_points(tmp_path / "points.json")


def test_only_two_parts_are_learnt_from(truth: ReferenceStandard) -> None:
    split = make_split(truth, FRACTIONS, seed=3)
    studies = [str(study) for study in truth.labels.index]

    parts = split.train_val_assignment(studies)

    assert set(parts.index[parts == "train"]) == set(split.studies("train"))
    assert set(parts.index[parts == "validation"]) == set(split.studies("validation"))
    assert not set(parts.index) & set(split.studies("holdout"))
    with pytest.raises(LabelError, match=r"does not know 1 of 201 studies \(first: new\)"):
        split.train_val_assignment([*studies, "new"])
    with pytest.raises(LabelError, match="none of 1 studies is in the split's part 'tune'"):
        split.train_val_assignment([split.studies("train")[0]])
