"""NIfTI data sets: forms that disagree, files of one name in many folders, and labels beside scans."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest
from tests.support.dicom import make_hu

from cspine.core.errors import SourceError
from cspine.dicom import discover, load_volume
from cspine.dicom.loading import open_series

HU = make_hu((14, 20, 24))
AFFINE = np.diag([-1.5, -2.0, 3.0, 1.0])
AFFINE[:3, 3] = [20.0, 30.0, -400.0]


def save(
    path: Path, sform: npt.NDArray[np.float64] | None, qform: npt.NDArray[np.float64] | None, **codes: int
) -> Path:
    """Write `HU` with one or two forms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nib.Nifti1Image(HU.transpose(2, 1, 0), None)
    image.header.set_qform(np.eye(4) if qform is None else qform, codes.get("qcode", int(qform is not None)))
    image.header.set_sform(np.eye(4) if sform is None else sform, codes.get("scode", int(sform is not None)))
    nib.save(image, path)
    return path


def turned(*signs: float) -> npt.NDArray[np.float64]:
    return np.asarray(np.diag([*signs, 1.0]) @ AFFINE)


def moved(mm: float) -> npt.NDArray[np.float64]:
    affine = AFFINE.copy()
    affine[2, 3] += mm
    return affine


@pytest.mark.parametrize(
    ("sform", "qform", "codes", "spacing", "sentence"),
    [
        (AFFINE, AFFINE, {}, (3.0, 2.0, 1.5), None),
        (AFFINE, None, {}, (3.0, 2.0, 1.5), None),
        (None, AFFINE, {}, (3.0, 2.0, 1.5), None),
        (np.eye(4), AFFINE, {}, (3.0, 2.0, 1.5), "its sform is a default, so its qform was used"),
        (AFFINE, np.eye(4), {}, (3.0, 2.0, 1.5), "its qform is a default, so its sform was used"),
        (turned(-1, 1, 1), AFFINE, {}, (3.0, 2.0, 1.5), "sform and qform mirror it left to right"),
        (AFFINE, moved(40.0), {}, (3.0, 2.0, 1.5), "sform and qform place it 40 mm apart; its sform was used"),
        (AFFINE * 1.2, AFFINE, {"scode": 4}, (3.0, 2.0, 1.5), "its sform places it in a template"),
    ],
)
def test_the_form_that_is_right_is_used_with_a_warning(
    tmp_path: Path,
    sform: npt.NDArray[np.float64] | None,
    qform: npt.NDArray[np.float64] | None,
    codes: dict[str, int],
    spacing: tuple[float, ...],
    sentence: str | None,
) -> None:
    if sform is not None:
        sform = sform.copy()
        sform[3] = [0, 0, 0, 1]
    plan = open_series(save(tmp_path / "a.nii", sform, qform, **codes))

    assert plan.load().spacing == pytest.approx(spacing)
    assert len(plan.warnings) == (sentence is not None)
    assert (sentence or "") in "".join(plan.warnings)


@pytest.mark.parametrize(
    ("sform", "message"),
    [
        (turned(1, 1, -1), "disagree about its directions"),
        (turned(1, -1, 1), "disagree about its directions"),
        (AFFINE @ np.diag([2.0, 2.0, 1.0, 1.0]), "voxels of 3.00 x 4.00 x 3.00 mm by its sform and of 1.50 x 2.00"),
    ],
)
def test_forms_of_which_neither_is_certainly_wrong_are_refused(
    tmp_path: Path, sform: npt.NDArray[np.float64], message: str
) -> None:
    with pytest.raises(SourceError, match=rf"a\.nii: .*{message}.*export it again with one affine"):
        discover(save(tmp_path / "a.nii", sform, AFFINE))


def test_a_default_sform_beside_other_voxel_sizes_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", np.eye(4), AFFINE, qcode=0)

    with pytest.raises(SourceError, match="its sform is a default"):
        discover(path)


def test_a_form_that_places_nothing_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    path = save(tmp_path / "a.nii", AFFINE, AFFINE)
    data = bytearray(path.read_bytes())
    data[296:312] = np.full(4, np.nan, "<f4").tobytes()  # the second row of the sform
    path.write_bytes(data)

    plan = open_series(path)

    np.testing.assert_allclose(plan.load().spacing, (3.0, 2.0, 1.5), rtol=1e-5)
    assert "its sform places it nowhere; its qform was used" in plan.warnings[0]


# --- data sets -------------------------------------------------------------------------------------------------------


def uids(folder: Path) -> set[str]:
    return {study.study_instance_uid for study in discover(folder).studies}


def test_one_name_in_many_folders_is_many_studies(tmp_path: Path) -> None:
    for subject in ("s0001", "s0002"):
        save(tmp_path / subject / "ct.nii.gz", AFFINE, AFFINE)
    save(tmp_path / "s0003" / "other.nii.gz", AFFINE, AFFINE)

    assert uids(tmp_path) == {"s0001/ct", "s0002/ct", "other"}
    assert all(len(study.series[0].headers) == 14 for study in discover(tmp_path).studies)
    assert load_volume(tmp_path / "s0001").shape == HU.shape


def test_names_that_differ_in_case_or_ending_are_studies_of_their_own(tmp_path: Path) -> None:
    save(tmp_path / "a" / "CT.nii", AFFINE, AFFINE)
    save(tmp_path / "b" / "ct.nii", AFFINE, AFFINE)
    save(tmp_path / "b" / "ct.nii.gz", AFFINE, AFFINE)

    assert uids(tmp_path) == {"a/CT", "b/ct.nii", "b/ct.nii.gz"}


def test_channels_are_studies_of_their_own(tmp_path: Path) -> None:
    for channel in (0, 1):
        save(tmp_path / "imagesTr" / f"case_{channel:04}.nii.gz", AFFINE, AFFINE)

    assert uids(tmp_path) == {"case_0000", "case_0001"}


def save_labels(path: Path, dtype: Any = np.uint8) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(((HU > 100) * 3).astype(dtype).transpose(2, 1, 0), AFFINE), path)


@pytest.mark.parametrize(
    "name",
    ["s1/segmentations/vertebrae_C1.nii.gz", "labelsTr/case.nii.gz", "sub-1_dseg.nii.gz", "sub-1_seg-vert_msk.nii.gz"],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
def test_label_maps_beside_scans_are_skipped_with_the_reason(tmp_path: Path, name: str, dtype: Any) -> None:
    save(tmp_path / "ct.nii.gz", AFFINE, AFFINE)
    save_labels(tmp_path / name, dtype)

    discovery = discover(tmp_path)

    assert [study.study_instance_uid for study in discovery.studies] == ["ct"]
    assert [(each.name, each.reason) for each in discovery.skipped] == [
        (name, "is a label map by its name and values; give the CT")
    ]
    assert discovery.studies[0].warnings == ()


def test_a_scan_that_is_named_as_labels_is_read(tmp_path: Path) -> None:
    save(tmp_path / "labels" / "mask.nii.gz", AFFINE, AFFINE)

    assert uids(tmp_path) == {"mask"}


def test_a_label_map_by_its_intent_code_is_skipped(tmp_path: Path) -> None:
    image = nib.Nifti1Image(HU.transpose(2, 1, 0), AFFINE)
    image.header.set_intent("label")
    nib.save(image, tmp_path / "a.nii")

    with pytest.raises(SourceError, match="is a label map by its intent code"):
        discover(tmp_path / "a.nii")
