"""Locked splits, the access log of the holdout part, and fixed operating points."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
import pytest

from cspine.core.anatomy import OVERALL
from cspine.core.errors import LabelError, OutputTakenError
from cspine.datasets.locked_split import FRACTIONS, make_split, read_split, select_part, write_split
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.cases import LEVELS, match_predictions
from cspine.evaluation.holdout_access_log import holdout_access_path, read_holdout_accesses, record_holdout_access
from cspine.evaluation.operating_point_metrics import choose_fixed_operating_points
from cspine.evaluation.predictions import Predictions
from cspine.models.operating_points import read_operating_points

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]


@pytest.fixture
def reference(tables: Tables) -> ReferenceStandard:
    labels, _ = tables(200)
    patients = pd.Series([f"p{n // 2}" for n in range(200)], index=labels.index)
    return ReferenceStandard("made up", labels, patients)


def test_split_keeps_patients_together_and_balances_labels(reference: ReferenceStandard, tmp_path: Path) -> None:
    split = make_split(reference, FRACTIONS, seed=3)
    write_split(split, tmp_path / "split.json")
    again = read_split(tmp_path / "split.json")

    assert again == split == make_split(reference, FRACTIONS, seed=3)
    assert sum(len(studies) for studies in split.parts.values()) == 200
    part_of = {study: part for part, studies in split.parts.items() for study in studies}
    for study, other in zip(reference.labels.index[::2], reference.labels.index[1::2], strict=True):
        assert part_of[study] == part_of[other]
    for part, fraction in FRACTIONS.items():
        selected = select_part(reference, split, part)
        assert len(selected.labels) == pytest.approx(200 * fraction, abs=4)
        assert selected.labels[OVERALL].mean() == pytest.approx(reference.labels[OVERALL].mean(), abs=0.1)
    assert "p1" not in (tmp_path / "split.json").read_text()


def test_written_split_is_never_changed(reference: ReferenceStandard, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    write_split(make_split(reference, FRACTIONS, seed=3), path)
    before = path.read_bytes()

    write_split(make_split(reference, FRACTIONS, seed=3), path)
    with pytest.raises(OutputTakenError, match="another split, which is locked"):
        write_split(make_split(reference, FRACTIONS, seed=4), path)

    assert path.read_bytes() == before
    edited = json.loads(before)
    edited["parts"]["train"].append(edited["parts"]["holdout"].pop())
    path.write_text(json.dumps(edited))
    with pytest.raises(LabelError, match="was changed after it was locked"):
        read_split(path)
    path.write_text("{}")
    with pytest.raises(LabelError, match="is no split"):
        read_split(path)
    with pytest.raises(LabelError, match="cannot be read"):
        read_split(tmp_path / "none.json")


def test_other_labels_or_parts_raise(reference: ReferenceStandard) -> None:
    split = make_split(reference, FRACTIONS, seed=0)
    other = reference.select(reference.labels.index[:100])

    with pytest.raises(LabelError, match="not the labels that were split"):
        select_part(other, split, "test")
    with pytest.raises(LabelError, match="no studies in a part 'val'; it has train, validation, test, holdout"):
        select_part(reference, split, "val")


def test_holdout_accesses_are_recorded(reference: ReferenceStandard, tables: Tables, tmp_path: Path) -> None:
    split, path = make_split(reference, FRACTIONS, seed=0), tmp_path / "split.json"
    write_split(split, path)
    probability = tables(200)[1]
    metadata = pd.DataFrame({"weights": "f" * 64}, index=probability.index)
    model = Predictions("a", probability, study_metadata=metadata)

    counts = [record_holdout_access(path, split, [model], now=datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2)]

    assert counts == [0, 1]
    first, second = read_holdout_accesses(path)
    assert first["when"] == "2026-01-01T00:00:00+00:00"
    assert first["split"] == split.sha256
    assert first["weights"] == ["f" * 64]
    assert first["models"] == second["models"]
    record_holdout_access(path, split, [Predictions("a", probability * 0.5)])
    assert read_holdout_accesses(path)[2]["models"] != first["models"]
    holdout_access_path(path).write_text("{")
    with pytest.raises(LabelError, match="access log is damaged"):
        record_holdout_access(path, split, [model])


def test_fixed_operating_points_survive_a_round_trip(
    reference: ReferenceStandard, tables: Tables, tmp_path: Path
) -> None:
    cases = match_predictions(reference, [Predictions("a", tables(200)[1])]).cases("a")

    points = choose_fixed_operating_points(cases[OVERALL], cases[LEVELS], chosen_on="these")
    points.write(tmp_path / "points.json")

    assert read_operating_points(tmp_path / "points.json") == points
    assert [point.name for point in points.points] == ["rule-out", "triage"]
    assert points.points[0].patient < points.points[1].patient
    intact = cases[OVERALL].select(cases[OVERALL].truth == 0)
    with pytest.raises(LabelError, match="with and without fractures"):
        choose_fixed_operating_points(intact, cases[LEVELS], chosen_on="these")
    for text, message in (("{", "holds no operating points"), ('{"points": []}', "holds no operating points")):
        (tmp_path / "points.json").write_text(text)
        with pytest.raises(LabelError, match=message):
            read_operating_points(tmp_path / "points.json")
    with pytest.raises(LabelError, match="cannot be read"):
        read_operating_points(tmp_path / "none.json")
    twice = {"chosen_on": "x", "points": [{"name": "a", "patient": 0.1, "level": 0.1}] * 2}
    (tmp_path / "points.json").write_text(json.dumps(twice))
    with pytest.raises(LabelError, match="holds no operating points"):
        read_operating_points(tmp_path / "points.json")


def test_train_val_assignment_covers_two_parts(reference: ReferenceStandard) -> None:
    split = make_split(reference, FRACTIONS, seed=3)
    studies = [str(study) for study in reference.labels.index]

    parts = split.train_val_assignment(studies)

    assert set(parts.index[parts == "train"]) == set(split.studies("train"))
    assert set(parts.index[parts == "validation"]) == set(split.studies("validation"))
    assert not set(parts.index) & set(split.studies("holdout"))
    with pytest.raises(LabelError, match=r"does not know 1 of 201 studies \(first: new\)"):
        split.train_val_assignment([*studies, "new"])
    with pytest.raises(LabelError, match="none of 1 studies is in the split's part 'validation'"):
        split.train_val_assignment([split.studies("train")[0]])


def test_a_split_of_version_0_1_is_refused(reference: ReferenceStandard, tmp_path: Path) -> None:
    split = make_split(reference, FRACTIONS, seed=1).model_dump(mode="json")
    old_names = {"validation": "tune", "holdout": "hidden"}
    split |= {"format": 1, "parts": {old_names.get(part, part): uids for part, uids in split["parts"].items()}}
    (tmp_path / "split.json").write_text(json.dumps(split))

    with pytest.raises(LabelError, match=r"those of cspine 0\.1 have other parts.*make one with `cspine split`"):
        read_split(tmp_path / "split.json")
