"""Resumable jobs: an output folder that belongs to one job."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cspine.core.errors import OutputTakenError
from cspine.core.execution.shard_records import SHARDS_FOLDER
from cspine.core.files import read_json, write_new_json

_MAX_DIFFERENCES: Final = 3
"""Differences that a message names."""

REMEDY: Final = "choose another --out, or delete it"
"""What to do where a folder belongs to another job."""


@dataclass(frozen=True)
class ResumableJob:
    """A job that writes into one folder and can be interrupted at any time.

    Running the same job again completes it: a marker file in the folder records the job's identity, and
    `cspine.core.execution.parallel.parallel_map` leaves items as they are that an earlier run finished.

    Attributes
    ----------
    folder : Path
        The output folder of the job, with its marker file.
    marker : str
        Name of the JSON file in it that records the identity.
    identity : dict
        What makes it the same job, as JSON can hold it: inputs, settings, hashes of weights.
    remedy : str
        What to do where the folder belongs to another job; ends the error's sentence.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "out"
    >>> job = ResumableJob(folder, "job.json", {"kind": "example", "seed": 1})
    >>> job.open(), job.open()  # new, then resumed
    (False, True)
    """

    folder: Path
    marker: str
    identity: dict[str, Any]
    remedy: str = REMEDY

    def open(self) -> bool:
        """Take the folder for this job: a new one, or one where the same job began.

        Any number of processes, on any number of machines, may open the same folder at the same time: one of them
        writes the marker, and the others find it.

        Returns
        -------
        bool
            True where an earlier run of the same job is resumed.

        Raises
        ------
        OutputTakenError
            The folder holds something else.
        DiskFullError, OutputError
            The folder cannot be written.
        """
        path = self.folder / self.marker
        if not path.is_file():
            if self.folder.exists() and not self.folder.is_dir():
                raise OutputTakenError(f"{self.folder}: is a file, not a folder; choose another --out")
            if self._is_free() and write_new_json(path, self.identity):
                return False
            if not path.is_file():  # looked at again: another process may have begun the job in between
                raise OutputTakenError(f"{self.folder}: holds files of something else; choose another --out")
        self._check_identity(read_json(path))
        return True

    def _is_free(self) -> bool:
        """Return whether nothing is in the folder but hidden files, and what shards of the job have recorded."""
        return not self.folder.is_dir() or all(
            entry.name.startswith(".") or entry.name == SHARDS_FOLDER for entry in self.folder.iterdir()
        )

    def _check_identity(self, recorded: Any) -> None:  # noqa: ANN401 - whatever the file holds
        if recorded == self.identity:
            return
        known = recorded if isinstance(recorded, dict) else {}
        before, now = _leaves(known), _leaves(self.identity)
        different = sorted(key for key in {*before, *now} if before.get(key) != now.get(key) and "hash" not in key)
        names = ", ".join(_difference(key, before.get(key), now.get(key)) for key in different[:_MAX_DIFFERENCES])
        more = f" and {len(different) - _MAX_DIFFERENCES} more" if len(different) > _MAX_DIFFERENCES else ""
        raise OutputTakenError(f"{self.folder}: was begun with another {names}{more}; {self.remedy}")


def _leaves(value: dict[str, Any]) -> dict[str, Any]:
    """Return the values of nested dictionaries by their own names.

    >>> _leaves({"kind": "run", "settings": {"epochs": 2}})
    {'kind': 'run', 'epochs': 2}
    """
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        leaves |= _leaves(item) if isinstance(item, dict) and item else {key: item}
    return leaves


def _difference(name: str, before: Any, now: Any) -> str:  # noqa: ANN401 - any JSON value
    """Return a setting's name, with both values where they are short numbers.

    >>> _difference("epochs", 1, 2), _difference("path", "/a", "/b")
    ('epochs (1, now 2)', 'path')
    """
    is_short = all(isinstance(value, (bool, int, float)) for value in (before, now))
    return f"{name} ({before}, now {now})" if is_short else name
