"""What shards leave for the merge."""

from pathlib import Path

import pytest

from cspine.core.errors import InputError, OutputTakenError
from cspine.core.execution.shard_records import ShardRecord, ShardRecords, remove_records
from cspine.core.execution.shards import Shard

UIDS = [f"1.2.{number}" for number in range(10)]


def _run(folder: Path, index: int, count: int = 3, uids: list[str] = UIDS, *, ends: bool = True) -> None:
    record = ShardRecord.begin(folder, Shard(index, count), uids)
    assert record is not None
    if ends:
        record.finish(folder, {"index": index})


def test_all_shards_together_have_all_studies_in_their_order(tmp_path: Path) -> None:
    for index in (3, 1, 2):
        _run(tmp_path, index)

    records = ShardRecords.open(tmp_path)
    records.check_complete()

    assert records.studies == UIDS
    assert [record.results for record in records.finished] == [{"index": 1}, {"index": 2}, {"index": 3}]


def test_shards_that_never_began_or_did_not_end_are_missing(tmp_path: Path) -> None:
    _run(tmp_path, 1)
    _run(tmp_path, 2, ends=False)
    records = ShardRecords.open(tmp_path)
    n_missing = len(UIDS) - len(records.finished[0].studies)

    assert records.missing == (2, 3)
    with pytest.raises(InputError, match=rf"shards 2, 3 of 3 not finished \({n_missing} studies\); run them again"):
        records.check_complete()


def test_a_shard_that_is_restarted_is_not_finished_and_keeps_what_it_found(tmp_path: Path) -> None:
    _run(tmp_path, 1, 1)

    ShardRecord.begin(tmp_path, Shard(1, 1), UIDS, {"labels": "train.csv"})

    records = ShardRecords.open(tmp_path)
    assert records.missing == (1,), "a merge would remove what it is writing"
    assert records.records[0].results == {"index": 1, "labels": "train.csv"}


def test_records_are_removed_and_nothing_else(tmp_path: Path) -> None:
    _run(tmp_path, 1, 2)
    (tmp_path / "shards" / "evaluate.json").touch()
    remove_records(tmp_path)
    assert [path.name for path in tmp_path.rglob("*.json")] == ["evaluate.json"]

    (tmp_path / "shards" / "evaluate.json").unlink()
    _run(tmp_path, 1, 2)
    remove_records(tmp_path)
    remove_records(tmp_path)
    assert not list(tmp_path.iterdir())


def test_shards_that_saw_other_studies_are_named(tmp_path: Path) -> None:
    _run(tmp_path, 1, 2, UIDS[:-1])
    _run(tmp_path, 2, 2, UIDS)

    with pytest.raises(InputError, match="shard 1 of 2 saw other studies than the rest"):
        ShardRecords.open(tmp_path).check_complete()


def test_another_number_of_shards_is_refused(tmp_path: Path) -> None:
    _run(tmp_path, 2, 7)

    with pytest.raises(OutputTakenError, match="was begun with 7 shards, now 1; give --shard i/7, or delete shards/"):
        ShardRecord.begin(tmp_path, Shard(1, 1), UIDS)


def test_a_folder_without_shards_and_a_damaged_record_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no shards; run its command with --shard first"):
        ShardRecords.open(tmp_path)
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "0001-of-0002.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="is no record of a shard; delete it"):
        ShardRecords.open(tmp_path)


def test_a_run_without_shards_leaves_no_record(tmp_path: Path) -> None:
    assert ShardRecord.begin(tmp_path, None, UIDS) is None
    assert not list(tmp_path.iterdir())
