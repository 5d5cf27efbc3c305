"""Resumable jobs: an output folder that belongs to one job."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cspine.core.errors import OutputTakenError
from cspine.core.files import read_json, write_json

REMEDY: Final = "choose another --out, or delete it"
"""What to do where a folder belongs to another job."""


@dataclass(frozen=True)
class ResumableJob:
    """A job that writes into one folder and can be interrupted at any time.

    Running the same job again completes it: a marker file in the folder records the job's identity, and
    `cspine.core.parallel.parallel_map` leaves items as they are that an earlier run finished.

    Attributes
    ----------
    folder : Path
        The output folder.
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
        if path.is_file():
            self._check_identity(read_json(path))
            return True
        if self.folder.exists() and not self.folder.is_dir():
            raise OutputTakenError(f"{self.folder}: is a file, not a folder; choose another --out")
        if self.folder.is_dir() and any(not entry.name.startswith(".") for entry in self.folder.iterdir()):
            raise OutputTakenError(f"{self.folder}: holds files of something else; choose another --out")
        write_json(path, self.identity)
        return False

    def _check_identity(self, recorded: Any) -> None:  # noqa: ANN401 - whatever the file holds
        if recorded == self.identity:
            return
        known = recorded if isinstance(recorded, dict) else {}
        different = sorted(key for key in {*known, *self.identity} if known.get(key) != self.identity.get(key))
        raise OutputTakenError(f"{self.folder}: was begun with another {', '.join(different)}; {self.remedy}")
