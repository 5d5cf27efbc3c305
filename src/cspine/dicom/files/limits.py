"""Limits of archives: beyond them an archive is rejected as an attack, such as a zip bomb."""

import stat
from pathlib import PurePosixPath
from typing import Final

from pydantic import Field

from cspine.core.errors import ArchiveError
from cspine.core.settings import Settings

MAX_ARCHIVE_DEPTH: Final = 2
"""Archives inside each other that are read: an archive, and an archive in it."""


class LimitExceededError(ArchiveError):
    """An archive exceeds a limit; whatever holds it is rejected, too."""


class ArchiveLimits(Settings):
    """Limits beyond which an archive is rejected as an attack, such as a zip bomb."""

    max_bytes: int = Field(16 * 2**30, description="Expanded size of all members together, in bytes.")
    max_file_bytes: int = Field(2 * 2**30, description="Expanded size of one member, in bytes.")
    max_files: int = Field(200_000, description="Number of members, folders included.")
    max_depth: int = Field(32, description="Depth of folders in a member's name.")
    max_ratio: int = Field(400, description="Expanded over stored size of all members; CT has a ratio of 2 to 20.")
    ratio_from_bytes: int = Field(
        64 * 2**20, description="Expanded size in bytes below which the ratio is not checked."
    )


DEFAULT_LIMITS: Final = ArchiveLimits()
"""Limits for archives of CT."""


class Budget:
    """What one archive on disk may still expand to; the archives inside it draw on the same budget.

    Parameters
    ----------
    limits : ArchiveLimits
        The limits.
    label : str
        Name of the archive on disk in messages.
    stored : int
        Its size on disk, in bytes.
    """

    def __init__(self, limits: ArchiveLimits, label: str, stored: int) -> None:
        self.limits, self.label, self.stored = limits, label, max(stored, 1)
        self._n_files = self._n_bytes = 0

    def add(self, n_files: int, n_bytes: int) -> None:
        """Count members and their expanded size.

        Raises
        ------
        LimitExceededError
            There are too many members, or they expand too much.
        """
        self._n_files += n_files
        self._n_bytes += n_bytes
        if self._n_files > self.limits.max_files:
            raise LimitExceededError(
                f"{self.label}: holds {self._n_files:,} files, at most {self.limits.max_files:,} are read; split it"
            )
        self.check_expansion(self._n_bytes)

    def check_expansion(self, n_bytes: int) -> None:
        """Reject an expanded size in bytes that the archive on disk cannot have, without counting it.

        Raises
        ------
        LimitExceededError
            As in `add`.
        """
        if n_bytes > self.limits.max_bytes:
            raise LimitExceededError(
                f"{self.label}: would expand to {n_bytes / 2**30:,.1f} GiB, at most "
                f"{self.limits.max_bytes / 2**30:,.0f} GiB are read; unpack it yourself if you trust it"
            )
        if n_bytes > self.limits.ratio_from_bytes and n_bytes > self.limits.max_ratio * self.stored:
            raise LimitExceededError(
                f"{self.label}: expands {n_bytes / self.stored:,.0f} times, which CT never does; do not trust this "
                "archive"
            )


def check_member(label: str, name: str, size: int, mode: int, limits: ArchiveLimits) -> None:
    """Reject an archive for one of its members.

    Parameters
    ----------
    label : str
        The archive's name in messages.
    name : str
        The member's name.
    size : int
        Its expanded size, in bytes.
    mode : int
        Its file type, as in `stat.S_IFMT`; 0 where the archive does not say.
    limits : ArchiveLimits
        The limits.

    Raises
    ------
    ArchiveError
        The name leads out of the archive, the member is a link or a device, or it is too large or too deep.
    """
    name = name.replace("\\", "/")
    if not name:
        raise ArchiveError(f"{label}: a member has no name; pack the files again")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or (len(name) > 1 and name[1] == ":"):
        raise ArchiveError(f"{label}: a member's name leads out of the archive ({name[:80]!r}); do not trust it")
    if name.count("/") > limits.max_depth:
        raise ArchiveError(
            f"{label}: {name[:80]!r} lies more than {limits.max_depth} folders deep; do not trust this archive"
        )
    if stat.S_ISLNK(mode):
        raise ArchiveError(f"{label}: {name[:80]!r} is a link; pack the files themselves")
    if stat.S_IFMT(mode) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        raise ArchiveError(f"{label}: {name[:80]!r} is a device and no file; do not trust this archive")
    if size > limits.max_file_bytes:
        raise LimitExceededError(
            f"{label}: {name[:80]!r} would expand to {size / 2**30:,.1f} GiB, at most "
            f"{limits.max_file_bytes / 2**30:,.0f} GiB are read; unpack it yourself if you trust it"
        )
