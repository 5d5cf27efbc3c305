"""Scans that occur in several data sets, or several times in one, and the patients that they make one."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from cspine.datasets.scan_records import ScanRecord

MIN_SHARED_PLANES: Final = 3
"""Scans that share as many planes, voxel by voxel, are of one acquisition: noise does not repeat."""

_MAX_SCANS_OF_A_PLANE: Final = 50
"""A plane in more scans is no scan's own, such as a test pattern; of more records of one scan, each is paired with the
first only."""

Evidence = Literal["same study", "same voxels", "same planes"]

Key = tuple[str, str]
"""Data set and study."""


@dataclass(frozen=True)
class Duplicate:
    """Two records of one scan.

    Attributes
    ----------
    first, second : ScanRecord
        The records.
    evidence : str
        What is the same: the StudyInstanceUID, all voxels, or at least `MIN_SHARED_PLANES` planes.
    n_planes : int
        Planes that both have.
    """

    first: ScanRecord
    second: ScanRecord
    evidence: Evidence
    n_planes: int

    @property
    def labels_differ(self) -> bool:
        """Whether both have labels of some target, and not the same."""
        first, second = self.first.targets or {}, self.second.targets or {}
        return any(first[target] != second[target] for target in set(first) & set(second))


def find_duplicates(records: Sequence[ScanRecord]) -> tuple[Duplicate, ...]:
    """Return the pairs of records that are of one scan, across data sets and within.

    Parameters
    ----------
    records : sequence of ScanRecord
        Records of any number of data sets.
    """
    evidence = dict[tuple[int, int], Evidence]()
    for pair in _pairs(records, lambda record: record.study):
        evidence[pair] = "same study"
    for pair in _pairs(records, lambda record: f"{record.hash_name} {record.content_sha256}"):
        evidence[pair] = "same voxels"
    shared = _shared_planes(records)
    for pair, count in shared.items():
        if count >= MIN_SHARED_PLANES:
            evidence.setdefault(pair, "same planes")
    return tuple(
        Duplicate(records[first], records[second], evidence[first, second], shared[first, second])
        for first, second in sorted(evidence)
    )


def _pairs(records: Sequence[ScanRecord], key: Callable[[ScanRecord], str]) -> Iterable[tuple[int, int]]:
    """Yield the positions of records with one key: of few every pair, of many each with the first."""
    groups = defaultdict[str, list[int]](list)
    for position, record in enumerate(records):
        groups[key(record)].append(position)
    for group in groups.values():
        yield from (
            combinations(group, 2) if len(group) <= _MAX_SCANS_OF_A_PLANE else ((group[0], one) for one in group[1:])
        )


def _shared_planes(records: Sequence[ScanRecord]) -> Counter[tuple[int, int]]:
    """Return how many planes each pair of records has in common, of pairs that have any."""
    kinds = sorted({record.hash_name for record in records})
    shared = Counter[tuple[int, int]]()
    for kind in kinds:
        scans = [position for position, record in enumerate(records) if record.hash_name == kind]
        planes = [np.unique(_numbers(records[position].planes)) for position in scans]
        keys = np.concatenate(planes)
        owners = np.repeat(np.array(scans, np.int32), [len(each) for each in planes])
        order = np.argsort(keys, kind="stable")  # a stable order keeps each plane's scans ascending
        keys, owners = keys[order], owners[order]
        starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]]) if len(keys) else np.array([], np.intp)
        ends = np.r_[starts[1:], len(keys)]
        is_shared = (ends - starts > 1) & (ends - starts <= _MAX_SCANS_OF_A_PLANE)
        for start, end in zip(starts[is_shared].tolist(), ends[is_shared].tolist(), strict=True):
            shared.update(combinations(owners[start:end].tolist(), 2))
    return shared


def _numbers(planes: Iterable[str]) -> npt.NDArray[np.uint64]:
    """Return the hashes of planes as numbers of 64 bits: a plane of 100,000 scans takes 12 bytes, as text 200."""
    return np.array([int(plane, 16) for plane in planes], np.uint64)


def group_patients(records: Sequence[ScanRecord], duplicates: Iterable[Duplicate]) -> dict[Key, str]:
    """Return the patient of each study: patients with a scan in common are one.

    Parameters
    ----------
    records : sequence of ScanRecord
        Records of any number of data sets.
    duplicates : iterable of Duplicate
        As of `find_duplicates`.

    Returns
    -------
    dict
        Data set and study to the pseudonym of the first patient, in order of the records, of all that are one.
    """
    patient_of = {record.patient: record.patient for record in records}

    def find(patient: str) -> str:
        while patient_of[patient] != patient:
            patient = patient_of[patient]
        return patient

    order = {patient: rank for rank, patient in enumerate(patient_of)}
    for duplicate in duplicates:
        one, other = find(duplicate.first.patient), find(duplicate.second.patient)
        kept, merged = (one, other) if order[one] <= order[other] else (other, one)
        patient_of[merged] = kept
    return {(record.data_set, record.study): find(record.patient) for record in records}
