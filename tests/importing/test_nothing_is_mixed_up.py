"""No scan, label or patient is lost or mixed up: names, missing masks, and files that change between imports."""

import csv
from pathlib import Path
from typing import Any

import pydicom
import pytest
from tests.support.layouts import truth, write_hdn, write_labels
from tests.support.segmentations import phantom as intact
from tests.support.segmentations import write_nifti

from cspine.core.anatomy import TARGETS
from cspine.core.errors import InputError, SourceError
from cspine.dicom.segmentation import read_label_map
from cspine.importing.cases import AddedLabels
from cspine.importing.data_source import KNOWN_SOURCES, DataSource, Layout
from cspine.importing.layouts import hdn, nifti
from cspine.localization.segmented.study_files import SegmentationFiles
from cspine.pipelines.import_dataset import ImportSummary, import_dataset

OURS = DataSource(name="ours", license="CC0")


def run(layout: Layout, source: Path, out: Path, **options: Any) -> ImportSummary:
    return import_dataset(layout, source, out, KNOWN_SOURCES.get(layout, OURS), **options)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_a_uid_that_leads_elsewhere_is_refused(tmp_path: Path) -> None:
    nexus = write_hdn(tmp_path / "hdn")
    for path in (nexus.mask, nexus.folder / "files" / "1.dcm"):
        dataset = pydicom.dcmread(path)
        dataset.StudyInstanceUID = "../../../evil"
        dataset.save_as(path)

    summary = run("hdn", nexus.folder, tmp_path / "a" / "b" / "out", images="copy")

    assert summary.imported == 1
    assert "has a UID that is no name of a file" in summary.failed[0][1]
    assert not list(tmp_path.rglob("*evil*"))


def test_names_that_are_one_on_the_disk_stay_apart(tmp_path: Path) -> None:
    for number, name in enumerate(("scan 1", "scan-1", "SCAN+1"), start=1):
        (tmp_path / "ours").mkdir(exist_ok=True)
        write_nifti(tmp_path / "ours" / f"{name}.nii.gz", intact().hu[:, :, number:])

    summary = run("nifti", tmp_path / "ours", tmp_path / "out")

    assert (summary.imported, summary.failed) == (3, ())
    studies = [row["StudyInstanceUID"] for row in rows(tmp_path / "out" / "manifest.csv")]
    assert len({study.casefold() for study in studies}) == 3


def test_changed_labels_masks_and_scans_are_imported_again(tmp_path: Path) -> None:
    scan, masks, out = tmp_path / "ours" / "a.nii.gz", tmp_path / "masks", tmp_path / "out"
    for path in (scan.parent, masks):
        path.mkdir()
    write_nifti(scan, intact().hu)
    write_nifti(masks / "a.nii.gz", truth(intact()))
    labels = tmp_path / "labels.csv"
    write_labels(labels, {"a": ["C2"]})
    options: Any = {"added": AddedLabels(vertebrae=masks, labels=labels), "images": "copy"}
    run("nifti", scan.parent, out, **options)
    assert run("nifti", scan.parent, out, **options).resumed == 1

    write_labels(labels, {"a": ["C5"]})
    assert run("nifti", scan.parent, out, **options).resumed == 0
    assert rows(out / "train.csv")[0]["C5"] == "1"
    write_nifti(scan, intact().hu[:, :, 2:])
    assert run("nifti", scan.parent, out, **options).resumed == 0
    (copy,) = (out / "train_images").rglob("*.nii.gz")
    assert copy.read_bytes() == scan.read_bytes()
    write_nifti(masks / "a.nii.gz", truth(intact(), without=("C1",)))
    assert run("nifti", scan.parent, out, **options).resumed == 0
    (mask,) = (out / "segmentations").iterdir()
    assert 1 not in read_label_map(mask)[1]


def test_a_killed_copy_leaves_no_half_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = tmp_path / "ours" / "a.nii.gz"
    scan.parent.mkdir()
    write_nifti(scan, intact().hu)

    def killed(source: Path, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:100])
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr("cspine.importing.import_case.shutil.copyfile", killed)
        with pytest.raises(KeyboardInterrupt):
            run("nifti", scan.parent, tmp_path / "out", images="copy")

    assert not list((tmp_path / "out" / "train_images").rglob("*.nii.gz"))
    run("nifti", scan.parent, tmp_path / "out", images="copy")
    (copy,) = (tmp_path / "out" / "train_images").rglob("*.nii.gz")
    assert copy.read_bytes() == scan.read_bytes()


@pytest.mark.parametrize("is_orphan", [False, True])
def test_no_scan_is_intact_while_a_mask_is_damaged_or_of_no_scan(tmp_path: Path, *, is_orphan: bool) -> None:
    nexus = write_hdn(tmp_path / "hdn")
    second = nexus.folder / "files" / "2_mask.dcm"
    second.write_bytes(nexus.mask.read_bytes() if is_orphan else nexus.mask.read_bytes()[:700])
    if is_orphan:
        dataset = pydicom.dcmread(second)
        dataset.StudyInstanceUID = "1.2.840.1.77"
        dataset.save_as(second)

    found = hdn.find_cases(nexus.folder, None)

    assert {case.study: case.targets for case in found.cases} == {nexus.fractured: None, nexus.intact: None}
    assert "the others have no labels" in found.warnings[0]
    assert "2_mask.dcm" in found.warnings[1]
    second.unlink()
    (nexus.folder / "README").write_text("text", encoding="utf-8")
    assert hdn.find_cases(nexus.folder, None).cases[1].targets == dict.fromkeys(TARGETS, 0)


def write_small(*paths: Path) -> None:
    """Write scans of few voxels."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(path, intact().hu[:6, :6, :6])


def test_sessions_of_bids_and_a_column_tell_the_patient(tmp_path: Path) -> None:
    for name in ("sub-01/ses-1/ct/sub-01_ses-1_ct", "sub-01/ses-2/ct/sub-01_ses-2_ct", "sub-02/ct/sub-02_ct", "a", "b"):
        write_small(tmp_path / "ours" / f"{name}.nii.gz")
    write_labels(tmp_path / "labels.csv", {"a": [], "b": []})
    lines = (tmp_path / "labels.csv").read_text(encoding="utf-8").splitlines()
    table = [f"{line},{end}" for line, end in zip(lines, ("patient", "p", "p"), strict=True)]
    (tmp_path / "labels.csv").write_text("\n".join(table), encoding="utf-8")

    found = nifti.find_cases("ours", tmp_path / "ours", None, None, tmp_path / "labels.csv")

    subjects = {case.name: case.subject for case in found.cases}
    assert subjects == {
        "a": "ours p",
        "b": "ours p",
        "sub-01_ses-1_ct": "ours sub-01",
        "sub-01_ses-2_ct": "ours sub-01",
        "sub-02_ct": "ours sub-02",
    }


def test_files_of_two_owners_have_names_and_patients_of_their_own(tmp_path: Path) -> None:
    write_small(tmp_path / "ours" / "001.nii.gz")

    one, other = (nifti.find_cases(name, tmp_path / "ours", None, None, None).cases[0] for name in ("North", "South"))

    assert (one.study, other.study) == ("North-001", "South-001")
    assert one.subject != other.subject


def test_one_mask_is_not_that_of_two_scans(tmp_path: Path) -> None:
    write_small(tmp_path / "ours" / "p1.nii.gz", tmp_path / "ours" / "p2.nii.gz")
    write_nifti(tmp_path / "mask.nii.gz", truth(intact()))

    with pytest.raises(SourceError, match="is one segmentation for 2 studies"):
        run("nifti", tmp_path / "ours", tmp_path / "out", added=AddedLabels(vertebrae=tmp_path / "mask.nii.gz"))


def test_of_two_masks_of_a_scan_none_is_taken(tmp_path: Path) -> None:
    write_small(tmp_path / "ours" / "p1.nii.gz", tmp_path / "ours" / "p2.nii.gz")
    for name in ("p1_seg", "p1_mask"):
        (tmp_path / "masks").mkdir(exist_ok=True)
        write_nifti(tmp_path / "masks" / f"{name}.nii.gz", truth(intact()))

    found = nifti.find_cases("ours", tmp_path / "ours", SegmentationFiles.open(tmp_path / "masks"), None, None)

    assert "holds several segmentations of study p1" in found.cases[0].problem
    assert not found.cases[1].problem


@pytest.mark.parametrize("place", ["source", "--out"])
def test_stores_are_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "ours").mkdir()
    source, out = (
        ("s3://bucket/ours", tmp_path / "out") if place == "source" else (tmp_path / "ours", "s3://bucket/out")
    )

    with pytest.raises(InputError, match=f"{place} s3://bucket.*has to be a folder on this machine"):
        import_dataset("nifti", source, out, OURS)
