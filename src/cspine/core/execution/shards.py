"""Shards: a job divided into parts that know nothing of each other, for job arrays."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cspine.core.errors import InputError

SHARD: Final = "CSPINE_SHARD"
"""Environment variable: the shard, written ``i/n`` or ``all``, where ``--shard`` is not given."""

SHARD_COUNT: Final = "CSPINE_SHARDS"
"""Environment variable: the number of shards of an indexed job of Kubernetes, which tells its pods only their index."""

ALL: Final = "all"
"""In place of ``i/n``: all studies, also within a job array."""

MAX_SHARDS: Final = 100_000

_PATTERN: Final = re.compile(r"([0-9]{1,6})/([0-9]{1,6})")


@dataclass(frozen=True, order=True)
class Shard:
    """One of several parts of a job's studies.

    A study belongs to the shard that a hash of its StudyInstanceUID names. So membership depends neither on the order
    in which studies are listed nor on how many there are: an index can be restarted at any time, also after studies
    were added. The price is that shards are not exactly alike: of 2,019 studies in 16 shards, the largest has about
    147 instead of 127.

    Attributes
    ----------
    index : int
        Which part, from 1 to `count`.
    count : int
        Number of parts.

    Raises
    ------
    InputError
        The index is not between 1 and the count.

    Examples
    --------
    >>> shards = [Shard(index, 3) for index in (1, 2, 3)]
    >>> [[uid for uid in ("1.2.9", "1.2.10", "1.2.11") if shard.has(uid)] for shard in shards]
    [['1.2.11'], ['1.2.10'], ['1.2.9']]
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count <= MAX_SHARDS:
            raise InputError(f"--shard {self}: shards are counted from 1; give one from 1/{self.count} to its number")

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @property
    def file_name(self) -> str:
        """Name of the shard's record."""
        return f"{self.index:04d}-of-{self.count:04d}.json"

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Return the shard that is written as ``i/n``; i counts from 1.

        Raises
        ------
        InputError
            It is something else.

        Examples
        --------
        >>> Shard.parse("2/7")
        Shard(index=2, count=7)
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise InputError(f"--shard {text}: is not i/n, such as 2/7 for the second of seven shards")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Shard | None":
        """Return the shard of this task of a job array; None where this process is none.

        ``CSPINE_SHARD`` comes first. Of a Slurm array that counts from 0 or from 1, the shard is the position of its
        task; of an indexed job of Kubernetes it is the index, which counts from 0, and ``CSPINE_SHARDS`` has to say
        how many there are.

        Parameters
        ----------
        environment : mapping of str to str
            The environment variables of this process.

        Raises
        ------
        InputError
            The variables do not say how many shards there are, or contradict each other.

        Examples
        --------
        >>> slurm = {f"SLURM_ARRAY_TASK_{name}": value for name, value in
        ...          {"ID": "0", "MIN": "0", "MAX": "6", "COUNT": "7"}.items()}
        >>> Shard.from_environment(slurm), Shard.from_environment({})
        (Shard(index=1, count=7), None)
        """
        text = environment.get(SHARD, "").strip()
        if text:
            return None if text == ALL else cls.parse(text)
        if "SLURM_ARRAY_TASK_ID" in environment:
            return cls._of_slurm(environment)
        if "JOB_COMPLETION_INDEX" in environment:
            return cls._of_kubernetes(environment)
        return None

    @classmethod
    def _of_slurm(cls, environment: Mapping[str, str]) -> "Shard":
        index, first, last, count = (
            _number(environment, f"SLURM_ARRAY_TASK_{name}") for name in ("ID", "MIN", "MAX", "COUNT")
        )
        if first not in {0, 1} or last - first + 1 != count or not first <= index <= last:
            raise InputError(
                f"SLURM_ARRAY_TASK_ID={index}: an array of the indexes {first} to {last} with {count} tasks does not "
                "say how many shards there are; submit --array=1-n, or give --shard i/n"
            )
        return cls(index - first + 1, count)

    @classmethod
    def _of_kubernetes(cls, environment: Mapping[str, str]) -> "Shard":
        index = _number(environment, "JOB_COMPLETION_INDEX")
        if SHARD_COUNT not in environment:
            raise InputError(
                f"JOB_COMPLETION_INDEX={index}: Kubernetes does not say how many completions there are; set "
                f"{SHARD_COUNT} to their number, or give --shard all"
            )
        count = _number(environment, SHARD_COUNT)
        if index >= count:
            raise InputError(f"JOB_COMPLETION_INDEX={index}: {SHARD_COUNT}={count} is too small; set the job's number")
        return cls(index + 1, count)

    def has(self, key: str) -> bool:
        """Return whether an item belongs to this shard.

        Parameters
        ----------
        key : str
            What identifies the item for good: a StudyInstanceUID.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index - 1


def _number(environment: Mapping[str, str], name: str) -> int:
    text = environment.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise InputError(f"{name}={text}: is no number; set it, or give --shard i/n")
    return int(text)
