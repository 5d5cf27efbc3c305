"""The map of the spine from a segmentation: every layout gives the phantom's vertebrae, impossible ones are refused."""

import pickle
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path

import highdicom
import numpy as np
import pytest
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from tests.support.segmentations import (
    LEVELS,
    SPACING_MM,
    labels,
    phantom,
    renumbered,
    volume,
    write_ct,
    write_nifti,
    write_seg,
)

from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import NotAssessableError
from cspine.core.typing import Labels
from cspine.dicom.loading import load_volume
from cspine.localization.segmented.segmented_vertebrae import SegmentedVertebrae
from cspine.spine.spine_map import SpineMap

RSNA = {level: number for number, level in enumerate(LEVELS, start=1)}
TOTAL_SEGMENTATOR = {level: 51 - number for number, level in enumerate(LEVELS, start=1)}
NAMED = {
    level: (CodedConcept.from_code(getattr(codes.SCT, f"{level}Vertebra")), f"Segment {number}")
    for number, level in enumerate(LEVELS, start=1)
}
BONE = CodedConcept("272673000", "SCT", "Bone")


def check(spine: SpineMap, levels: tuple[str, ...] = LEVELS) -> None:
    """Check levels, frames, centroids and coverage against the phantom."""
    assert tuple(vertebra.level for vertebra in spine.vertebrae) == levels
    for vertebra in spine.vertebrae:
        truth = phantom().frames[vertebra.level]
        assert np.linalg.norm(vertebra.frame_lps[:3, 3] - truth[:3, 3]) < 3.0
        index = np.argwhere(labels() == RSNA[vertebra.level])
        centroid = phantom().affine_lps[:3, :3] @ index.mean(axis=0) + phantom().affine_lps[:3, 3]
        np.testing.assert_allclose(vertebra.centroid_lps_mm, centroid, atol=1.0)
        assert vertebra.volume_mm3 == pytest.approx(len(index) * SPACING_MM**3, rel=0.02)
    for level in VERTEBRAE:
        if level in levels:
            assert spine.coverage(level) == "complete"
            assert spine[level].confidence == 1.0


def test_a_segmentation_of_the_challenge_gives_the_vertebrae(tmp_path: Path) -> None:
    spine = SegmentedVertebrae(write_nifti(tmp_path / "x.nii", labels()))(volume())

    check(spine)
    assert spine["T2"].scanned_fraction < 1.0
    assert spine["T2"].confidence < 1.0
    assert not spine.not_found
    assert not spine.doubts
    assert spine.label_map is not None
    assert set(np.unique(spine.label_map.labels)) == set(range(10))
    number = np.count_nonzero(spine.label_map.labels == 4) * 27.0
    assert number == pytest.approx(spine["C4"].volume_mm3, rel=0.3)


@pytest.mark.parametrize("order", list(permutations((0, 1, 2)))[1::2])
def test_any_orientation(tmp_path: Path, order: tuple[int, int, int]) -> None:
    path = write_nifti(tmp_path / "x.nii.gz", labels(), order=order, signs=(-1, 1, -1))

    check(SegmentedVertebrae(path)(volume()))


def test_a_coarser_segmentation(tmp_path: Path) -> None:
    affine = phantom().affine_lps.copy()
    affine[:3, :3] *= 2

    spine = SegmentedVertebrae(write_nifti(tmp_path / "x.nii", labels()[::2, ::2, ::2], affine))(volume())

    assert np.linalg.norm(spine["C5"].frame_lps[:3, 3] - phantom().frames["C5"][:3, 3]) < 2.0


def test_totalsegmentator(tmp_path: Path) -> None:
    numbers = renumbered(TOTAL_SEGMENTATOR)
    numbers[:3, :3, :3] = 17  # another organ

    spine = SegmentedVertebrae(write_nifti(tmp_path / "x.nii", numbers))(volume())

    check(spine)
    assert spine.warnings == ("x.nii: the values 17 are no vertebrae and were left out",)


def test_totalsegmentator_1(tmp_path: Path) -> None:
    numbers = renumbered({level: 42 - number for number, level in enumerate(LEVELS, start=1)})

    for numbering in ("auto", "totalsegmentator-1"):
        check(SegmentedVertebrae(write_nifti(tmp_path / "x.nii", numbers), numbering)(volume()))


def test_one_file_for_each_vertebra(tmp_path: Path) -> None:
    for level in LEVELS:
        write_nifti(tmp_path / f"vertebrae_{level}.nii.gz", (labels() == RSNA[level]).astype(np.uint8))
    write_nifti(tmp_path / "vertebrae_L1.nii.gz", np.zeros_like(labels()))

    check(SegmentedVertebrae(tmp_path)(volume()))


def test_partly_visible_vertebrae_may_be_unlabeled(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "verse.nii.gz", renumbered({level: RSNA[level] for level in LEVELS[:-1]}))

    check(SegmentedVertebrae(path, "verse")(volume()), LEVELS[:-1])


@pytest.fixture(scope="module")
def ct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ct(tmp_path_factory.mktemp("ct") / "study")


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("BINARY", NAMED),
        ("FRACTIONAL", {level: NAMED[level] for level in LEVELS[2:6]}),
        ("LABELMAP", NAMED),
        ("BINARY", {level: (BONE, f"vertebrae_{level}") for level in LEVELS}),
        ("LABELMAP", {level: (BONE, f"Segment {number}") for number, level in enumerate(LEVELS, start=1)}),
    ],
)
def test_dicom_segmentations(
    ct: Path, tmp_path: Path, kind: str, names: Mapping[str, tuple[CodedConcept, str]]
) -> None:
    path = write_seg(tmp_path / "seg.dcm", ct, kind, names)

    check(SegmentedVertebrae(path)(load_volume(ct)), tuple(names))


def test_a_level_missing_in_the_middle_was_not_found(tmp_path: Path) -> None:
    numbers = {level: RSNA[level] for level in LEVELS if level != "C4"}

    spine = SegmentedVertebrae(write_nifti(tmp_path / "x.nii", renumbered(numbers)))(volume())

    assert spine.not_found == ("C4",)


def test_stray_voxels_and_duplicates_are_left_out(tmp_path: Path) -> None:
    numbers = labels()
    numbers[5:8, 2, 2] = 4  # a few voxels
    spine = SegmentedVertebrae(write_nifti(tmp_path / "x.nii", numbers))(volume())
    assert not spine.warnings
    check(spine)

    numbers[1:8, 2:12, 2:12] = 3
    spine = SegmentedVertebrae(write_nifti(tmp_path / "y.nii", numbers))(volume())
    assert spine.warnings[0].startswith("y.nii: C3 has parts far from each other; the largest was taken")
    check(spine)


def test_a_segmentation_larger_than_the_scan_counts_what_was_scanned(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "x.nii", labels())
    heights = np.flatnonzero((labels() == 4).any(axis=(1, 2)))

    spine = SegmentedVertebrae(path)(volume()[int(heights.mean()) :])

    assert spine.coverage("C3") == "complete"
    assert spine.coverage("C4") == "partial"
    assert spine["C4"].scanned_fraction == pytest.approx(0.5, abs=0.2)
    assert spine.coverage("C6") == "absent"
    assert not spine.not_found


def shifted(millimeters: tuple[float, float, float]) -> np.ndarray:
    affine = phantom().affine_lps.copy()
    affine[:3, 3] += millimeters
    return affine


@pytest.mark.parametrize(
    ("array", "affine", "reason"),
    [
        (np.zeros_like(labels()), None, "x.nii: is empty"),
        (labels(), shifted((400.0, 0.0, 0.0)), "its vertebrae lie outside the scan"),
        (labels(), shifted((0.0, -60.0, 0.0)), "its vertebrae lie on no bone of this scan"),
        (labels()[::-1], None, "C2 lies above C1"),
        (labels()[:, ::-1], shifted((0.0, 0.0, 0.0)), "on no bone|differ in shape"),
        (
            (labels() > 0).astype(np.uint8),
            None,
            "what it numbers as C1 has .* ml; number each vertebra",
        ),
        (phantom().hu, None, "holds other values than labels"),
    ],
)
def test_what_cannot_be_a_segmentation_of_the_scan_is_refused(
    tmp_path: Path, array: Labels, affine: np.ndarray | None, reason: str
) -> None:
    path = write_nifti(tmp_path / "x.nii", array, affine)

    with pytest.raises(NotAssessableError, match=reason) as caught:
        SegmentedVertebrae(path)(volume())
    assert caught.value.code == "unusable-segmentation"


def test_another_frame_of_reference_is_refused(ct: Path, tmp_path: Path) -> None:
    path = write_seg(tmp_path / "seg.dcm", ct, "BINARY", {"C3": NAMED["C3"]})
    other = highdicom.Volume(phantom().hu, phantom().affine_lps, "PATIENT", frame_of_reference_uid="1.2.9")

    with pytest.raises(NotAssessableError, match="another FrameOfReferenceUID"):
        SegmentedVertebrae(path)(other)
    SegmentedVertebrae(path)(volume())  # which has none


@pytest.mark.parametrize("content", [b"", b"no DICOM", b"\0" * 128 + b"DICM"])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.dcm").write_bytes(content)

    with pytest.raises(NotAssessableError, match=r"x\.dcm: is no .*DICOM segmentation"):
        SegmentedVertebrae(tmp_path / "x.dcm")(volume())


def test_findings_name_the_file(tmp_path: Path) -> None:
    vertebrae = SegmentedVertebrae(write_nifti(tmp_path / "x.nii", labels()))
    folder = tmp_path / "folder"
    folder.mkdir()
    write_nifti(folder / "vertebrae_C1.nii", (labels() == 1).astype(np.uint8))

    assert vertebrae.identity.name == "segmentation"
    assert len(vertebrae.sha256) == 64
    assert SegmentedVertebrae(folder).sha256 != vertebrae.sha256
    assert SegmentedVertebrae(tmp_path / "none.nii").sha256.startswith("e3b0c442")  # of nothing
    assert pickle.loads(pickle.dumps(vertebrae)) == vertebrae
