"""The segmentation of a study in a folder of many."""

from pathlib import Path

import numpy as np
import pytest
from tests.support.dicom import STUDY_UID
from tests.support.segmentations import NAMED_C3, volume, write_ct, write_seg

from cspine.core.errors import InputError, NotAssessableError, SourceError
from cspine.core.identifiers import study_key
from cspine.localization.segmented.study_files import SegmentationFiles


def make(folder: Path, *names: str) -> SegmentationFiles:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    return SegmentationFiles.open(folder, n_studies=2)


@pytest.mark.parametrize(
    ("names", "uid", "file"),
    [
        (["1.2.3.nii", "1.2.34.nii", "1.2.3.4.nii"], "1.2.3", "1.2.3.nii"),
        (["1.2.3_seg.nii.gz", "11.2.3_seg.nii.gz"], "1.2.3", "1.2.3_seg.nii.gz"),
        ([f"{study_key('a b')}.nii"], "a b", f"{study_key('a b')}.nii"),
        (
            ["sub-1/sub-1_seg-vert_msk.nii.gz", "sub-12/sub-12_seg-vert_msk.nii.gz"],
            "sub-1_ct",
            "sub-1/sub-1_seg-vert_msk.nii.gz",
        ),
        (["case_1.nii.gz", "case_2.nii.gz"], "case_1_0000", "case_1.nii.gz"),
        (["s1/segmentations/vertebrae_C1.nii.gz", "s2/segmentations/vertebrae_C1.nii.gz"], "s2/ct", "s2/segmentations"),
        (["1.2/vertebrae_C1.nii", "1.2/vertebrae_C2.nii", "1.3/vertebrae_C1.nii"], "1.2", "1.2"),
        (["a/1.2.3.nii", ".hidden/1.2.3.nii"], "1.2.3", "a/1.2.3.nii"),
    ],
)
def test_names_tell_the_study(tmp_path: Path, names: list[str], uid: str, file: str) -> None:
    files = make(tmp_path / "masks", *names)

    assert files.of_study(uid).path == tmp_path / "masks" / file


def test_a_study_without_a_file_is_not_assessable(tmp_path: Path) -> None:
    files = make(tmp_path / "masks", "1.2.4.nii")

    with pytest.raises(NotAssessableError, match=r"masks: holds no segmentation of study 1\.2\.3") as caught:
        files.of_study("1.2.3")(volume())
    assert caught.value.code == "no-segmentation"


def test_several_files_of_a_study_are_refused(tmp_path: Path) -> None:
    files = make(tmp_path / "masks", "1.2.3_a.nii", "1.2.3_b.nii")

    with pytest.raises(NotAssessableError, match=r"several segmentations of study 1.2.3 \(1.2.3_a.nii, 1.2.3_b.nii\)"):
        files.of_study("1.2.3")(volume())


def test_dicom_tells_its_study_itself(tmp_path: Path) -> None:
    ct, masks = write_ct(tmp_path / "ct"), tmp_path / "masks"
    masks.mkdir()
    path = write_seg(masks / "any-name.dcm", ct, "BINARY", NAMED_C3)
    (masks / "notes.txt").write_text("no DICOM")

    files = SegmentationFiles.open(masks)

    assert files.of_study(STUDY_UID).path == path
    assert files.of_study("1.2.3.4.5").path is None


def test_wrong_calls_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.nii").write_bytes(b"x")

    with pytest.raises(SourceError, match="does not exist; check --vertebrae"):
        SegmentationFiles.open(tmp_path / "none.nii")
    with pytest.raises(SourceError, match="is one segmentation for 2 studies"):
        SegmentationFiles.open(tmp_path / "x.nii", n_studies=2)
    with pytest.raises(InputError, match="fifty: is no numbering of vertebrae"):
        SegmentationFiles.open(tmp_path / "x.nii", "fifty")


def test_a_changed_file_is_another_job(tmp_path: Path) -> None:
    files = make(tmp_path / "masks", "1.2.3.nii")
    before, sha256 = files.fingerprint("1.2.3"), files.sha256
    (tmp_path / "masks" / "1.2.3.nii").write_bytes(np.arange(9, dtype=np.uint8).tobytes())

    assert files.fingerprint("1.2.3") != before
    assert files.fingerprint("1.2.4") != before
    assert files.sha256 != sha256
    assert files.job == {"vertebrae": str((tmp_path / "masks").resolve()), "vertebrae_labels": "auto"}
