"""What the shards of a job leave for the merge: one small file each, in the job's folder.

::

    OUT/shards/0002-of-0007.json    written when the shard begins, and again when it ends
"""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from cspine.core.errors import InputError, OutputTakenError
from cspine.core.execution.shards import Shard
from cspine.core.files import complete_files, read_json, write_json
from cspine.core.settings import digest
from cspine.core.storage.locations import is_remote

SHARDS_FOLDER: Final = "shards"

_MAX_NAMED: Final = 10
"""Shards that a message names."""


@dataclass(frozen=True)
class ShardRecord:
    """What one shard did.

    Attributes
    ----------
    shard : Shard
        Which shard.
    studies : dict of str to int
        Key of each of its studies, and the study's position among all studies of the job.
    n_studies : int
        Number of studies of the job, of all shards.
    studies_sha256 : str
        Hash of the keys of all studies of the job: shards that saw other studies are not merged.
    results : dict
        What the merge needs, as JSON can hold it. What is known when the shard begins is there from then on, and what
        an earlier run of the shard found until this one has ended.
    is_finished : bool
        Whether the shard has ended.
    """

    shard: Shard
    studies: Mapping[str, int]
    n_studies: int
    studies_sha256: str
    results: Mapping[str, Any] = field(default_factory=dict)
    is_finished: bool = False

    @classmethod
    def begin(
        cls, folder: Path, shard: Shard | None, keys: Iterable[str], results: Mapping[str, Any] | None = None
    ) -> "ShardRecord | None":
        """Record that a shard begins; None where the job has no shards.

        A shard that had ended is then no longer finished: a merge that took it for finished would remove what it is
        writing.

        Parameters
        ----------
        folder : Path
            The job's folder, which is opened.
        shard : Shard or None
            The shard that begins.
        keys : iterable of str
            What identifies the studies of the job, of all shards, in their order.
        results : mapping, optional
            What the merge needs and is known at the beginning.

        Raises
        ------
        OutputTakenError
            The job was begun with another number of shards.
        DiskFullError, OutputError
            The folder cannot be written.
        """
        if shard is None:
            return None
        keys = list(keys)
        studies = {key: position for position, key in enumerate(keys) if shard.has(key)}
        for path in complete_files(folder / SHARDS_FOLDER, "*-of-*.json"):
            count = path.stem.rpartition("-of-")[2]
            if int(count) != shard.count:
                raise OutputTakenError(
                    f"{folder}: was begun with {int(count)} shards, now {shard.count}; give --shard i/{int(count)}, or "
                    f"delete {SHARDS_FOLDER}/ in it to divide the rest anew"
                )
        path = folder / SHARDS_FOLDER / shard.file_name
        earlier: Mapping[str, Any] = {}
        with suppress(InputError):  # there is none, or it is damaged and written anew
            earlier = cls.read(path).results
        record = cls(shard, studies, len(keys), digest(sorted(keys)), {**earlier, **(results or {})})
        record._write(folder)
        return record

    def path(self, folder: Path) -> Path:
        """Return the path of the record in a job's folder."""
        return folder / SHARDS_FOLDER / self.shard.file_name

    def finish(self, folder: Path, results: Mapping[str, Any] | None = None) -> None:
        """Record that the shard has ended; raises as `cspine.core.files.write_json`."""
        finished = replace(self, results={**self.results, **(results or {})}, is_finished=True)
        finished._write(folder)  # noqa: SLF001 - of this class

    def _write(self, folder: Path) -> None:
        content = {
            "index": self.shard.index,
            "count": self.shard.count,
            "finished": self.is_finished,
            "n_studies": self.n_studies,
            "studies_sha256": self.studies_sha256,
            "studies": dict(self.studies),
            "results": dict(self.results),
        }
        write_json(self.path(folder), content)

    @classmethod
    def read(cls, path: Path) -> "ShardRecord":
        """Read a record.

        Raises
        ------
        InputError
            The file is damaged.
        """
        content = read_json(path)
        try:
            return cls(
                Shard(content["index"], content["count"]),
                content["studies"],
                content["n_studies"],
                content["studies_sha256"],
                content["results"],
                is_finished=content["finished"],
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: is no record of a shard; delete it, and run the shard again") from error


def remove_records(folder: Path) -> None:
    """Remove what shards recorded of a job that a run without shards has finished.

    A merge of what they recorded would leave out the studies that only that run saw.
    """
    paths = complete_files(folder / SHARDS_FOLDER, "*-of-*.json")
    for path in paths:
        path.unlink(missing_ok=True)
    if paths and not is_remote(folder):
        with suppress(OSError):  # something else is in it
            (folder / SHARDS_FOLDER).rmdir()


@dataclass(frozen=True)
class ShardRecords:
    """The records of all shards of a job that have begun.

    Attributes
    ----------
    folder : Path
        The job's folder.
    records : tuple of ShardRecord
        By index.
    """

    folder: Path
    records: tuple[ShardRecord, ...]

    @classmethod
    def open(cls, folder: Path) -> "ShardRecords":
        """Read the records of a job.

        Raises
        ------
        InputError
            There are none, or one is damaged.
        """
        paths = complete_files(folder / SHARDS_FOLDER, "*-of-*.json")
        if not paths:
            raise InputError(f"{folder}: holds no shards; run its command with --shard first")
        records = sorted((ShardRecord.read(path) for path in paths), key=lambda record: record.shard)
        return cls(folder, tuple(records))

    @property
    def count(self) -> int:
        """Number of shards of the job."""
        return self.records[0].shard.count

    @property
    def finished(self) -> tuple[ShardRecord, ...]:
        """The records of the shards that have ended."""
        return tuple(record for record in self.records if record.is_finished)

    @property
    def missing(self) -> tuple[int, ...]:
        """Indexes of the shards that have not ended."""
        return tuple(sorted({*range(1, self.count + 1)} - {record.shard.index for record in self.finished}))

    @property
    def studies(self) -> list[str]:
        """Keys of all studies of the shards that have begun, in the order of the job."""
        positions = {key: position for record in self.records for key, position in record.studies.items()}
        return sorted(positions, key=lambda key: (positions[key], key))

    def check_complete(self) -> None:
        """Check that all shards have ended, and saw the same studies.

        Raises
        ------
        InputError
            They have not; the message names the shards that are missing and how many studies they have.
        """
        if self.missing:
            n_done = sum(len(record.studies) for record in self.finished)
            n_missing = max(record.n_studies for record in self.records) - n_done
            raise InputError(
                f"{self.folder}: {_named(self.missing)} of {self.count} not finished ({n_missing} studies); run "
                f"{'it' if len(self.missing) == 1 else 'them'} again, or merge what there is by --partial"
            )
        newest = max(self.records, key=lambda record: record.n_studies)
        others = tuple(r.shard.index for r in self.records if r.studies_sha256 != newest.studies_sha256)
        if others:
            raise InputError(
                f"{self.folder}: {_named(others)} of {self.count} saw other studies than the rest, since studies were "
                "added or removed in between; run these again"
            )


def _named(indexes: tuple[int, ...]) -> str:
    """Return shards in words.

    >>> _named((3,)), _named((2, 5))
    ('shard 3', 'shards 2, 5')
    """
    more = f" and {len(indexes) - _MAX_NAMED} more" if len(indexes) > _MAX_NAMED else ""
    return f"shard{'s' if len(indexes) > 1 else ''} {', '.join(map(str, indexes[:_MAX_NAMED]))}{more}"
