"""What a study holds: its received objects and the results of its last answer, as viewers ask for them."""

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any, Final

from cspine.server.spool.folders import OBJECT_SUFFIX, Spool
from cspine.server.web.dicomweb.metadata import encode, first_value, read_metadata

_MAX_CACHE_BYTES: Final = 96 * 2**20
"""Metadata of so many bytes are kept: those of about fifty studies."""

_RESULT_FOLDER: Final = "dicom"
"""Folder of the DICOM objects in a job's results, as `cspine predict --dicom` names it."""

_LOGGER: Final = logging.getLogger(__name__)

STUDY_UID, SERIES_UID, OBJECT_UID, OBJECT_CLASS = "0020000D", "0020000E", "00080018", "00080016"


@dataclass(frozen=True, slots=True)
class Instance:
    """One object of a study.

    Attributes
    ----------
    path : Path
        Its file.
    sop_class_uid, sop_instance_uid, series_instance_uid : str
        Its UIDs.
    transfer_syntax_uid : str
        How its pixels are encoded.
    n_frames : int
        Number of frames; 0 where it holds no pixels.
    metadata : bytes
        DICOM JSON, encoded.
    state : tuple of int
        Size and modification time of the file.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    transfer_syntax_uid: str
    n_frames: int
    metadata: bytes
    state: tuple[int, int]

    @property
    def attributes(self) -> dict[str, Any]:
        """The metadata, decoded."""
        decoded: dict[str, Any] = json.loads(self.metadata)
        return decoded


@dataclass(frozen=True)
class StudyContents:
    """All objects of a study.

    Attributes
    ----------
    study_instance_uid : str
        UID of the study.
    instances : tuple of Instance
        In order of the series and of the instance numbers.
    """

    study_instance_uid: str
    instances: tuple[Instance, ...]

    @cached_property
    def series(self) -> dict[str, list[Instance]]:
        """The objects of each series, by its UID."""
        series: dict[str, list[Instance]] = {}
        for instance in self.instances:
            series.setdefault(instance.series_instance_uid, []).append(instance)
        return series

    @cached_property
    def by_uid(self) -> dict[str, Instance]:
        """The objects by SOPInstanceUID."""
        return {instance.sop_instance_uid: instance for instance in self.instances}

    @cached_property
    def n_bytes(self) -> int:
        """Size of the metadata, bytes."""
        return sum(len(instance.metadata) for instance in self.instances)


@dataclass(frozen=True)
class StudyVersion:
    """Which state of a study is meant; another one has other contents.

    Attributes
    ----------
    key : str
        Key of the study.
    study_instance_uid : str
        Its UID.
    generation : int
        Generation of its received objects.
    result_folder : str
        Folder of the results relative to the spool; empty where there are none.
    """

    key: str
    study_instance_uid: str
    generation: int
    result_folder: str


class ContentsCache:
    """Reads what studies hold, and keeps what was read last.

    Parameters
    ----------
    spool : Spool
        Where the objects lie.
    max_bytes : int
        Size of the metadata that are kept.
    """

    def __init__(self, spool: Spool, *, max_bytes: int = _MAX_CACHE_BYTES) -> None:
        self._spool, self._max_bytes = spool, max_bytes
        self._lock, self._reading = Lock(), tuple(Lock() for _ in range(16))
        self._kept: OrderedDict[str, tuple[StudyVersion, StudyContents]] = OrderedDict()

    def get(self, version: StudyVersion) -> StudyContents:
        """Return what a study holds; files that cannot be read are left out."""
        with self._reading[int(version.key[:2], 16) % len(self._reading)]:  # one thread reads, others wait for it
            with self._lock:
                before = self._kept.get(version.key)
                if before is not None and before[0] == version:
                    self._kept.move_to_end(version.key)
                    return before[1]
            contents = self._read(version, before[1].instances if before else ())
            with self._lock:
                self._kept[version.key] = version, contents
                self._kept.move_to_end(version.key)
                while len(self._kept) > 1 and sum(each.n_bytes for _, each in self._kept.values()) > self._max_bytes:
                    self._kept.popitem(last=False)
            return contents

    def _read(self, version: StudyVersion, before: Sequence[Instance]) -> StudyContents:
        known = {instance.path: instance for instance in before}
        paths = list(self._spool.study_folder(version.key).glob(f"*{OBJECT_SUFFIX}"))
        if version.result_folder:
            paths += (self._spool.absolute(version.result_folder) / _RESULT_FOLDER).glob(f"*{OBJECT_SUFFIX}")
        instances = [each for path in paths if (each := _read_instance(path, known.get(path))) is not None]
        if len(instances) < len(paths):
            _LOGGER.warning("%d objects of study %s cannot be read", len(paths) - len(instances), version.key)
        return StudyContents(version.study_instance_uid, tuple(sorted(instances, key=_order)))


def _read_instance(path: Path, known: Instance | None) -> Instance | None:
    try:
        stat = path.stat()
        state = stat.st_size, stat.st_mtime_ns
        if known is not None and known.state == state:
            return known
        attributes, syntax = read_metadata(path)
    except (OSError, ValueError):
        return None
    has_pixels = first_value(attributes, "00280010") is not None and first_value(attributes, "00280011") is not None
    return Instance(
        path=path,
        sop_class_uid=str(first_value(attributes, OBJECT_CLASS) or ""),
        sop_instance_uid=str(first_value(attributes, OBJECT_UID) or ""),
        series_instance_uid=str(first_value(attributes, SERIES_UID) or ""),
        transfer_syntax_uid=syntax,
        n_frames=_whole(first_value(attributes, "00280008"), 1) if has_pixels else 0,
        metadata=encode(attributes),
        state=state,
    )


def _order(instance: Instance) -> tuple[int, str, int, str]:
    attributes = instance.attributes
    return (
        _whole(first_value(attributes, "00200011"), 0),
        instance.series_instance_uid,
        _whole(first_value(attributes, "00200013"), 0),
        instance.sop_instance_uid,
    )


def _whole(value: object, default: int) -> int:
    return int(value) if isinstance(value, (int, float)) else default
