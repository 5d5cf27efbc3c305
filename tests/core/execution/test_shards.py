"""Shards: how they are named, told from a job array, and which studies they have."""

import pytest

from cspine.core.errors import InputError
from cspine.core.execution.execution import Execution
from cspine.core.execution.shards import Shard

UIDS = [f"1.2.826.0.1.{number}" for number in range(2019)]


def _slurm(index: int, first: int, last: int, count: int | None = None) -> dict[str, str]:
    values = {"ID": index, "MIN": first, "MAX": last, "COUNT": last - first + 1 if count is None else count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


def test_every_study_is_in_one_shard_which_further_studies_do_not_change() -> None:
    shards = [Shard(index, 16) for index in range(1, 17)]
    owners = {uid: [shard.index for shard in shards if shard.has(uid)] for uid in UIDS}

    assert all(len(indexes) == 1 for indexes in owners.values())
    sizes = [len(Execution(shard=shard).select(UIDS, str)) for shard in shards]
    assert sum(sizes) == len(UIDS)
    assert max(sizes) <= 1.25 * len(UIDS) / 16
    assert Shard(3, 16).has(UIDS[7]) is (owners[UIDS[7]] == [3])
    assert Execution().select(UIDS, str) == UIDS


@pytest.mark.parametrize(("uid", "index"), [("1.2.11", 1), ("1.2.8", 2), ("1.2.9", 3)])
def test_membership_is_the_same_on_every_machine_and_in_every_version(uid: str, index: int) -> None:
    assert Shard(index, 3).has(uid)


@pytest.mark.parametrize("text", ["0/7", "8/7", "1/0", "1", "1/7/2", "-1/7", "a/b", "1.0/7", "", "1/9999999"])
def test_what_is_no_shard_is_refused_in_a_sentence(text: str) -> None:
    with pytest.raises(InputError, match=r"^--shard .*: .*(is not i/n|are counted from 1)"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({}, None),
        ({"CSPINE_SHARD": "all", **_slurm(3, 1, 7)}, None),
        ({"CSPINE_SHARD": "2/5", **_slurm(3, 1, 7)}, Shard(2, 5)),
        (_slurm(3, 1, 7), Shard(3, 7)),
        (_slurm(0, 0, 6), Shard(1, 7)),
        (_slurm(6, 0, 6), Shard(7, 7)),
        ({"JOB_COMPLETION_INDEX": "0", "CSPINE_SHARDS": "7"}, Shard(1, 7)),
        ({"JOB_COMPLETION_INDEX": "6", "CSPINE_SHARDS": "7"}, Shard(7, 7)),
    ],
)
def test_the_environment_of_a_job_array_tells_the_shard(environment: dict[str, str], shard: Shard | None) -> None:
    assert Shard.from_environment(environment) == shard


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        (_slurm(3, 3, 3), "does not say how many shards there are; submit --array=1-n, or give --shard i/n"),
        (_slurm(4, 0, 6, 4), "does not say how many shards"),  # --array=0-6:2
        ({"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_MIN=: is no number"),
        ({"JOB_COMPLETION_INDEX": "3"}, "set CSPINE_SHARDS to their number"),
        ({"JOB_COMPLETION_INDEX": "7", "CSPINE_SHARDS": "7"}, "CSPINE_SHARDS=7 is too small"),
        ({"JOB_COMPLETION_INDEX": "x", "CSPINE_SHARDS": "7"}, "JOB_COMPLETION_INDEX=x: is no number"),
    ],
)
def test_an_environment_that_does_not_tell_the_shard_is_refused(environment: dict[str, str], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Shard.from_environment(environment)


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="--dask somewhere: is no address of a scheduler"):
        Execution(scheduler="somewhere")
