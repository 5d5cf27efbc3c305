"""Scans that are in two data sets, and the split of both."""

from pathlib import Path

import pytest

from cspine.core.anatomy import TARGETS
from cspine.core.errors import LabelError
from cspine.datasets.duplicates import find_duplicates, group_patients
from cspine.datasets.imported import ImportedSet
from cspine.datasets.locked_split import FRACTIONS, hash_labels, make_joint_split, read_split, write_split
from cspine.datasets.scan_records import ScanRecord

INTACT = dict.fromkeys(TARGETS, 0)
FRACTURED = INTACT | {"patient_overall": 1, "C2": 1}


def make_record(
    data_set: str,
    study: str,
    planes: range = range(0),
    *,
    patient: str | None = None,
    targets: dict[str, int] | None = None,
) -> ScanRecord:
    content = f"{planes}" if planes else f"{data_set}{study}"
    patient = patient or f"{data_set}:{study}"
    return ScanRecord(data_set, study, patient, "hu-1", content, tuple(map(str, planes)), targets)


def test_scans_are_recognized_by_voxels_planes_and_uid() -> None:
    records = [
        make_record("a", "1", range(10)),
        make_record("b", "whole", range(10)),
        make_record("b", "cropped", range(4, 9)),
        make_record("b", "other", range(100, 110)),
        make_record("b", "two planes", range(8, 20)),
        make_record("b", "1", range(200, 210), targets=FRACTURED),
    ]

    duplicates = [each for each in find_duplicates(records) if each.first is records[0]]

    found = {(each.second.study, each.evidence, each.n_planes) for each in duplicates}
    assert found == {("whole", "same voxels", 10), ("cropped", "same planes", 5), ("1", "same study", 0)}


def test_hashes_of_another_kind_are_not_compared() -> None:
    first, second = make_record("a", "1", range(10)), make_record("b", "2", range(10))
    other = ScanRecord("b", "2", "p", "hu-2", second.content_sha256, second.planes)

    assert not find_duplicates([first, other])


def test_patients_with_a_scan_in_common_are_one_through_any_number_of_sets() -> None:
    records = [
        make_record("a", "1", patient="p"),
        make_record("a", "2", range(10), patient="p"),
        make_record("b", "3", range(10)),
        make_record("b", "4", range(20, 30)),
        make_record("c", "5", range(20, 27)),
    ]

    patients = group_patients(records, find_duplicates(records))

    assert patients["a", "1"] == patients["a", "2"] == patients["b", "3"] == "p"
    assert patients["b", "4"] == patients["c", "5"] == "b:4"


def make_sets(n: int = 60) -> list[ImportedSet]:
    """Two data sets; every third scan of the second is in the first, too."""
    planes = [range(10 * i, 10 * i + 10) for i in range(2 * n)]
    first = [make_record("a", f"a{i}", planes[i], targets=FRACTURED if i % 2 else INTACT) for i in range(n)]
    second = [make_record("b", f"b{i}", planes[i if i % 3 == 0 else n + i]) for i in range(n)]
    return [ImportedSet(Path("a"), tuple(first)), ImportedSet(Path("b"), tuple(second))]


def test_no_scan_is_in_two_parts_of_a_joint_split(tmp_path: Path) -> None:
    sets = make_sets()

    split = make_joint_split(sets, FRACTIONS, seed=1)

    part_of = {study: part for part, studies in split.parts.items() for study in studies}
    assert len(part_of) == 120
    assert all(part_of[f"a{i}"] == part_of[f"b{i}"] for i in range(0, 60, 3))
    for part, fraction in FRACTIONS.items():
        for name in "ab":
            assert sum(study[0] == name for study in split.parts[part]) == pytest.approx(60 * fraction, abs=4)
    assert split.sets == {each.name: hash_labels(each.labels) for each in sets}
    write_split(split, tmp_path / "split.json")
    assert read_split(tmp_path / "split.json") == split == make_joint_split(sets[::-1], FRACTIONS, seed=1)


def test_other_labels_of_one_study_are_refused() -> None:
    sets = [
        ImportedSet(Path(name), (make_record(name, "1.2", targets=targets),))
        for name, targets in (("a", INTACT), ("b", FRACTURED))
    ]

    with pytest.raises(LabelError, match=r"study 1\.2: has other labels in another data set"):
        make_joint_split(sets, FRACTIONS, seed=0)


def test_other_labels_of_one_study_with_the_same_voxels_are_refused() -> None:
    sets = [
        ImportedSet(Path(name), (make_record(name, "1.2", range(9), targets=targets),))
        for name, targets in (("a", INTACT), ("b", FRACTURED))
    ]

    with pytest.raises(LabelError, match=r"study 1\.2: has other labels in another data set"):
        make_joint_split(sets, FRACTIONS, seed=0)


def test_two_scans_of_one_name_are_refused() -> None:
    sets = [ImportedSet(Path(name), (make_record(name, "ours-001", targets=INTACT),)) for name in ("a", "b")]

    with pytest.raises(LabelError, match=r"ours-001: is another scan in another data set; .* --name"):
        make_joint_split(sets, FRACTIONS, seed=0)


def test_many_records_of_one_scan_are_each_paired_with_the_first() -> None:
    records = [make_record("a", str(number), range(10)) for number in range(60)]

    duplicates = find_duplicates(records)

    assert {(each.first.study, each.second.study) for each in duplicates} == {("0", str(n)) for n in range(1, 60)}
    assert set(group_patients(records, duplicates).values()) == {"a:0"}
