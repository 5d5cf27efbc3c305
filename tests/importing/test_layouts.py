"""Other people's data sets, written from phantoms in their layouts: what is imported is the phantoms' truth."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.support.layouts import (
    CUT,
    fractured,
    fractured_levels,
    truth,
    write_ctspine1k,
    write_dicom,
    write_hdn,
    write_labels,
    write_oblique,
    write_rsna,
    write_totalsegmentator,
    write_verse,
    write_verse_challenge,
)
from tests.support.segmentations import LEVELS, write_nifti
from tests.support.segmentations import phantom as intact

from cspine.core.errors import InputError, LabelError, SourceError
from cspine.core.identifiers import study_key
from cspine.core.typing import Labels
from cspine.datasets.reference_standard import read_reference_standard
from cspine.dicom.segmentation import read_label_map
from cspine.importing.cases import AddedLabels
from cspine.importing.data_source import KNOWN_SOURCES, DataSource, Layout
from cspine.pipelines.import_dataset import ImportSummary, import_dataset

OURS = DataSource(name="ours", license="CC0")


def run(layout: Layout, source: Path, out: Path, **options: Any) -> ImportSummary:
    return import_dataset(layout, source, out, KNOWN_SOURCES.get(layout, OURS), **options)


def record(out: Path, study: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((out / "records" / f"{study_key(study)}.json").read_text(encoding="utf-8"))
    return content


def labels_of(out: Path, study: str, folder: str = "segmentations") -> Labels:
    return read_label_map(out / folder / f"{study}.nii.gz")[1]


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_rsna(tmp_path: Path) -> None:
    studies = {"1.2.3.1": fractured(), "1.2.3.2": intact()}
    source = write_rsna(tmp_path / "rsna", studies)

    summary = run("rsna", source, tmp_path / "out")

    assert (summary.imported, summary.with_labels, summary.with_vertebrae) == (2, 2, 2)
    for uid, crop in studies.items():
        assert np.array_equal(labels_of(tmp_path / "out", uid), truth(crop))
    fractures = labels_of(tmp_path / "out", "1.2.3.1", "fractures")
    assert np.array_equal(fractures, fractured().fracture_level_mask)
    reference = read_reference_standard(tmp_path / "out")
    assert reference.labels.loc["1.2.3.1"].drop("patient_overall").to_numpy().nonzero()[0].tolist() == [
        int(level[1]) - 1 for level in fractured_levels(fractured())
    ]
    assert not reference.labels.loc["1.2.3.2"].any()
    assert len(rows(tmp_path / "out" / "train_bounding_boxes.csv")) == 1
    assert not (tmp_path / "out" / "train_images").exists()
    assert (
        record(tmp_path / "out", "1.2.3.1")["content_sha256"] != record(tmp_path / "out", "1.2.3.2")["content_sha256"]
    )


def test_verse(tmp_path: Path) -> None:
    source = write_verse(tmp_path / "verse")

    run("verse", source, tmp_path / "out")

    study = "verse-sub-verse500_dir-sag"
    imported = record(tmp_path / "out", study)
    assert np.array_equal(labels_of(tmp_path / "out", study), truth(intact(), without=(CUT,)))
    assert CUT not in imported["vertebrae"]
    assert imported["official_part"] == "train"
    for level, center in imported["bodies_lps_mm"].items():  # the writer's are those of the masks
        assert center == pytest.approx(imported["vertebrae"][level]["centroid_lps_mm"], abs=0.02)
    marker = json.loads((tmp_path / "out" / "imported.json").read_text(encoding="utf-8"))
    assert marker["data_source"]["license"] == "CC BY-SA 4.0"
    assert marker["data_source"]["cut_vertebrae"] == "unlabeled"


def test_files_of_the_verse_challenges(tmp_path: Path) -> None:
    source = write_verse_challenge(tmp_path / "verse")

    summary = run("verse", source, tmp_path / "out")

    for part, name in (("train", "01_training"), ("test", "03_test")):
        study = f"verse-{name}-verse004"
        assert np.array_equal(labels_of(tmp_path / "out", study), truth(intact(), without=(CUT,)))
        assert record(tmp_path / "out", study)["official_part"] == part
    assert len({row["patient"] for row in rows(tmp_path / "out" / "manifest.csv")}) == 1
    assert len(summary.duplicates) == 1


def test_centroids_of_another_scan_are_refused(tmp_path: Path) -> None:
    source = write_verse(tmp_path / "verse")
    (path,) = source.rglob("*_ctd.json")
    path.write_text(path.read_text(encoding="utf-8").replace('["P", "I", "R"]', '["A", "S", "L"]'), encoding="utf-8")

    (failure,) = run("verse", source, tmp_path / "out").failed

    assert "sub-verse500_dir-sag_seg-subreg_ctd.json: its C1 lies" in failure[1]


def test_ctspine1k(tmp_path: Path) -> None:
    source = write_ctspine1k(tmp_path / "ctspine1k")

    summary = run("ctspine1k", source, tmp_path / "out")

    study = "ctspine1k-HN_P001_pre"
    assert np.array_equal(labels_of(tmp_path / "out", study), truth(intact()))
    (row,) = rows(tmp_path / "out" / "manifest.csv")
    assert row["levels"].split() == list(LEVELS)
    assert row["cut_levels"] == CUT
    assert summary.warnings == ("1 mask has no scan in volumes/ (first: HN_P002_pre_seg.nii.gz)",)


def test_totalsegmentator(tmp_path: Path) -> None:
    source = write_totalsegmentator(tmp_path / "total")

    summary = run("totalsegmentator", source, tmp_path / "out")

    for case, part in (("s0001", "train"), ("s0002", "test")):
        assert np.array_equal(labels_of(tmp_path / "out", f"totalsegmentator-{case}"), truth(intact()))
        assert record(tmp_path / "out", f"totalsegmentator-{case}")["official_part"] == part
    assert summary.left_out == (("s0003", "its masks hold no cervical vertebra"),)
    assert [(each.first.study, each.second.study) for each in summary.duplicates] == [
        ("totalsegmentator-s0001", "totalsegmentator-s0002")
    ]


@pytest.mark.parametrize("numbering", ["auto", "totalsegmentator-1"])
def test_label_maps_of_totalsegmentator_1(tmp_path: Path, numbering: str) -> None:
    source = write_totalsegmentator(tmp_path / "total", c1=41)

    run("totalsegmentator", source, tmp_path / "out", added=AddedLabels(vertebrae_labels=numbering))

    assert np.array_equal(labels_of(tmp_path / "out", "totalsegmentator-s0002"), truth(intact()))


def test_hdn_with_vertebrae_of_somebody(tmp_path: Path) -> None:
    nexus = write_hdn(tmp_path / "hdn")
    masks = tmp_path / "vertebrae"
    masks.mkdir()
    write_nifti(masks / f"{nexus.fractured}.nii.gz", truth(fractured()), fractured().affine_lps)

    summary = run("hdn", nexus.folder, tmp_path / "out", added=AddedLabels(vertebrae=masks))

    mask = fractured().fracture_level_mask
    assert np.array_equal(labels_of(tmp_path / "out", nexus.fractured, "fractures") > 0, mask > 0)
    labels = read_reference_standard(tmp_path / "out").labels
    assert [level for level in LEVELS[:7] if labels.loc[nexus.fractured, level]] == fractured_levels(fractured())
    assert not labels.loc[nexus.intact].any()
    assert summary.warnings[0] == "1 of 2 scans have a mask of fractures; the others are taken for intact"


def test_hdn_without_vertebrae_has_fractures_of_unknown_levels(tmp_path: Path) -> None:
    nexus = write_hdn(tmp_path / "hdn")

    summary = run("hdn", nexus.folder, tmp_path / "out")

    assert summary.with_unknown_levels == 1
    assert set(np.unique(labels_of(tmp_path / "out", nexus.fractured, "fractures"))) == {0, 255}
    assert {row["StudyInstanceUID"]: row["fractured"] for row in rows(tmp_path / "out" / "manifest.csv")} == {
        nexus.fractured: "1",
        nexus.intact: "0",
    }
    assert list(read_reference_standard(tmp_path / "out").labels.index) == [nexus.intact]


def test_hdn_without_any_mask_is_refused(tmp_path: Path) -> None:
    nexus = write_hdn(tmp_path / "hdn")
    nexus.mask.unlink()

    with pytest.raises(LabelError, match="holds no DICOM segmentation, so that no scan would be fractured"):
        run("hdn", nexus.folder, tmp_path / "out")


def test_nifti_with_masks_of_another_grid_and_labels(tmp_path: Path) -> None:
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / "ours" / name).mkdir(parents=True)
    crop = intact()
    write_nifti(tmp_path / "ours" / "imagesTr" / "neck_001_0000.nii.gz", crop.hu)
    coarse = crop.affine_lps @ np.diag([2.0, 1.0, 1.0, 1.0])
    write_nifti(tmp_path / "ours" / "labelsTr" / "neck_001.nii.gz", truth(crop)[::2], coarse)
    write_labels(tmp_path / "labels.csv", {"neck_001_0000": ["C2"]})

    run("nifti", tmp_path / "ours", tmp_path / "out", added=AddedLabels(labels=tmp_path / "labels.csv"))

    imported = record(tmp_path / "out", "ours-neck_001_0000")
    assert "has voxels of 4.00 x 2.00 x 2.00 mm, the scan of 2.00 x 2.00 x 2.00 mm" in imported["warnings"][-1]
    labels = labels_of(tmp_path / "out", "ours-neck_001_0000")
    assert np.array_equal(labels[::2], truth(crop)[::2])  # where both have a voxel
    assert imported["targets"]["C2"] == 1


def test_nifti_with_oblique_axes(tmp_path: Path) -> None:
    crop = intact()
    for name in ("images", "segmentations"):
        (tmp_path / "ours" / name).mkdir(parents=True)
    write_oblique(tmp_path / "ours" / "images" / "a.nii.gz", crop.hu, crop.affine_lps, 20.0)
    write_oblique(tmp_path / "ours" / "segmentations" / "a.nii.gz", truth(crop), crop.affine_lps, 20.0)

    run("nifti", tmp_path / "ours", tmp_path / "out")

    assert np.array_equal(labels_of(tmp_path / "out", "ours-a"), truth(crop))


def test_what_cannot_be_a_mask_is_one_sentence(tmp_path: Path) -> None:
    source = write_ctspine1k(tmp_path / "ctspine1k")
    mask = source / "rawdata/labels/HNSCC-3DCT-RT/HN_P001_pre_seg.nii.gz"
    write_nifti(mask, np.flip(truth(intact()), axis=0))  # upside down

    (failure,) = run("ctspine1k", source, tmp_path / "out").failed

    assert failure == ("HN_P001_pre", failure[1])
    assert "HN_P001_pre_seg.nii.gz: " in failure[1]
    assert "lies above" in failure[1]


def test_four_dimensions_are_refused(tmp_path: Path) -> None:
    import nibabel as nib

    source = write_ctspine1k(tmp_path / "ctspine1k")
    mask = source / "rawdata/labels/HNSCC-3DCT-RT/HN_P001_pre_seg.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 4, 4, 2), np.uint8), np.eye(4)), mask)

    (failure,) = run("ctspine1k", source, tmp_path / "out").failed

    assert "is 4 x 4 x 4 x 2 voxels; export one three-dimensional volume" in failure[1]


@pytest.mark.parametrize("layout", ["rsna", "verse", "ctspine1k", "totalsegmentator"])
def test_another_layout_is_refused(tmp_path: Path, layout: Layout) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(SourceError):
        run(layout, tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_masks_of_elsewhere_are_refused_where_the_layout_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(InputError, match="--vertebrae: is not for the layout verse"):
        run("verse", tmp_path / "empty", tmp_path / "out", added=AddedLabels(vertebrae=tmp_path))


@pytest.mark.parametrize("images", ["link", "copy"])
def test_images_are_linked_or_copied(tmp_path: Path, images: Any) -> None:
    source = write_dicom(tmp_path / "rsna" / "train_images" / "1.2.3", intact(), "1.2.3")
    write_labels(tmp_path / "rsna" / "train.csv", {"1.2.3": []})

    run("rsna", tmp_path / "rsna", tmp_path / "out", images=images)

    placed = tmp_path / "out" / "train_images" / "1.2.3"
    assert placed.is_symlink() == (images == "link")
    assert sorted(path.name for path in placed.iterdir()) == sorted(path.name for path in source.iterdir())


def test_dicom_is_no_nifti(tmp_path: Path) -> None:
    write_dicom(tmp_path / "rsna" / "train_images" / "1.2.3", intact(), "1.2.3")

    (failure,) = run("nifti", tmp_path / "rsna", tmp_path / "out").failed

    assert failure == ("1.2.3", "1.2.3: is no single NIfTI file; export it as one")


def test_nifti_needs_a_license(tmp_path: Path) -> None:
    (tmp_path / "ours").mkdir()

    with pytest.raises(InputError, match="of the layout nifti nobody else knows the license"):
        import_dataset("nifti", tmp_path / "ours", tmp_path / "out")


def test_an_interrupted_import_is_resumed(tmp_path: Path) -> None:
    source = write_rsna(tmp_path / "rsna", {"1.2.3.1": intact(), "1.2.3.2": fractured()})
    run("rsna", source, tmp_path / "out")
    manifest = (tmp_path / "out" / "manifest.csv").read_bytes()
    (tmp_path / "out" / "manifest.csv").unlink()
    (tmp_path / "out" / "records" / "1.2.3.2.json").unlink()

    summary = run("rsna", source, tmp_path / "out")

    assert (summary.imported, summary.resumed) == (2, 1)
    assert (tmp_path / "out" / "manifest.csv").read_bytes() == manifest
