"""Labels from reviews: what readers accept or reject, as `cspine evaluate` reads it."""

from pathlib import Path
from typing import Any

import pytest

from cspine.core.anatomy import OVERALL, VERTEBRAE
from cspine.datasets.rsna2022_labels import read_labels
from cspine.server.database.engine import Database, utc_now
from cspine.server.database.reviewed_labels import reviewed_labels_csv
from cspine.server.database.reviews import add_review
from cspine.server.database.tables import Job, JobState, Study


def answer(level: str, *, is_suspicious: bool = False, is_absent: bool = False) -> dict[str, Any]:
    probability = None if is_absent else 0.9 if is_suspicious else 0.1
    coverage = "absent" if is_absent else "complete"
    return {"level": level, "probability": probability, "is_suspicious": is_suspicious, "coverage": coverage}


@pytest.fixture
def database(tmp_path: Path) -> Database:
    made = Database(f"sqlite:///{tmp_path / 'test.sqlite'}")
    made.upgrade()
    return made


def review(database: Database, uid: str, levels: list[dict[str, Any]], verdicts: list[tuple[str, str]]) -> None:
    now = utc_now()
    with database.session() as session:
        study = Study(key=uid.replace(".", "") * 4, study_instance_uid=uid, received_at=now, last_received_at=now)
        job = Job(study=study, generation=1, state=JobState.DONE, not_before=now, created_at=now, levels=levels)
        session.add(job)
        for level, verdict in verdicts:
            add_review(session, job, level, verdict, user="reader", now=now)


def labels_of(database: Database, tmp_path: Path) -> dict[str, dict[str, int]]:
    path = tmp_path / "labels.csv"
    with database.reading() as session:
        path.write_text(reviewed_labels_csv(session))
    table = read_labels(path)
    return {str(uid): {str(name): int(value) for name, value in row.items()} for uid, row in table.iterrows()}


def test_verdicts_become_labels_that_evaluate_reads(database: Database, tmp_path: Path) -> None:
    levels = [answer(level, is_suspicious=level in {"C2", "C5"}, is_absent=level == "C7") for level in VERTEBRAE]
    accepted = ("C1", "C2", "C3", "C4", "C6")
    verdicts: list[tuple[str, str]] = [*((level, "accept") for level in accepted), ("C5", "reject")]
    review(database, "1.1", levels, verdicts)

    labels = labels_of(database, tmp_path)

    assert labels["1.1"] == {OVERALL: 1, "C2": 1} | {level: 0 for level in VERTEBRAE if level != "C2"}


def test_the_patient_accepted_without_suspicious_levels_is_intact(database: Database, tmp_path: Path) -> None:
    review(database, "1.2", [answer(level) for level in VERTEBRAE], [(OVERALL, "accept")])
    review(database, "1.3", [answer(level) for level in VERTEBRAE], [(OVERALL, "accept"), ("C3", "reject")])

    labels = labels_of(database, tmp_path)

    assert set(labels["1.2"].values()) == {0}
    assert labels["1.3"]["C3"] == labels["1.3"][OVERALL] == 1


def test_studies_that_are_not_reviewed_as_a_whole_are_left_out(database: Database) -> None:
    levels = [answer(level, is_suspicious=level == "C2") for level in VERTEBRAE]
    review(database, "1.4", levels, [("C2", "accept")])
    review(database, "1.5", levels, [*((level, "accept") for level in VERTEBRAE), ("C2", "unsure")])

    with database.reading() as session:
        assert reviewed_labels_csv(session).splitlines() == [f"StudyInstanceUID,{OVERALL},{','.join(VERTEBRAE)}"]
