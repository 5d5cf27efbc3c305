"""Fractures of a mask get the level of the vertebra that they lie in, voxel by voxel."""

from pathlib import Path

import highdicom
import numpy as np
import pytest

from cspine.core.errors import LabelError
from cspine.core.typing import Labels
from cspine.dicom.nifti.write import write_label_map
from cspine.importing.case import Case
from cspine.importing.fractures import FractureLabels, read_fractures, targets_of
from cspine.importing.import_case import _targets

SCAN = highdicom.Volume(np.zeros((40, 20, 20), np.int16), np.eye(4), "PATIENT")


def column() -> Labels:
    """C6, C7 and T1 of 10 mm with discs of 2 mm, from above to below."""
    labels = np.zeros(SCAN.spatial_shape, np.uint8)
    for number, top in ((6, 38), (7, 26), (8, 14)):
        labels[top - 10 : top, 4:16, 4:16] = number
    return labels


def read(path: Path, low: int, high: int) -> FractureLabels:
    mask = np.zeros(SCAN.spatial_shape, np.uint8)
    mask[low:high, 8:12, 8:12] = 1
    write_label_map(path, mask, np.asarray(SCAN.affine))
    return read_fractures(path, SCAN, column())


def levels(found: FractureLabels) -> list[str]:
    return [level for level, value in targets_of(found.labels).items() if value and level[0] == "C"]


def test_a_fracture_of_t1_is_none_of_c7(tmp_path: Path) -> None:
    found = read(tmp_path / "f.nii.gz", 8, 15)

    assert levels(found) == []
    assert "are of vertebrae below C7" in found.warnings[0]


def test_one_part_through_two_vertebrae_is_a_fracture_of_both(tmp_path: Path) -> None:
    assert levels(read(tmp_path / "f.nii.gz", 20, 34)) == ["C6", "C7"]
    assert levels(read(tmp_path / "f.nii.gz", 16, 28)) == ["C7"]  # reaches C6 by a voxel


def test_an_empty_mask_is_that_of_an_intact_scan(tmp_path: Path) -> None:
    found = read(tmp_path / "f.nii.gz", 0, 0)

    assert not any(targets_of(found.labels).values())
    assert "marks no voxel" in found.warnings[0]


def test_a_mask_must_not_contradict_the_table(tmp_path: Path) -> None:
    c7 = read(tmp_path / "f.nii.gz", 16, 26)

    def case(*fractured: str) -> Case:
        targets = {"patient_overall": int(bool(fractured))} | {f"C{n}": int(f"C{n}" in fractured) for n in range(1, 8)}
        return Case("s", "s", tmp_path, fractures=tmp_path / "f.nii.gz", targets=targets)

    assert _targets(case("C7"), c7) == (case("C7").targets, [])
    assert "marks C7, the labels C2, C7; the labels count" in _targets(case("C2", "C7"), c7)[1][0]
    with pytest.raises(LabelError, match="marks C7, the labels C2; correct one"):
        _targets(case("C2"), c7)
    with pytest.raises(LabelError, match="say that there is none"):
        _targets(case(), c7)
