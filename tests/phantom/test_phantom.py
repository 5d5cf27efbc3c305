"""Phantom data sets have the layout and the frequencies of the challenge, and one truth in all their files."""

import errno
import json
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk  # noqa: N813 - its own custom
from pydicom import dcmread, dcmwrite

from cspine.core.anatomy import CHALLENGE_POSITIVES, CHALLENGE_STUDIES, SEGMENT_NUMBERS, TARGETS, VERTEBRAE
from cspine.core.errors import DiskFullError, OutputTakenError
from cspine.datasets.rsna2022_labels import read_boxes, read_labels
from cspine.dicom import load_segmentation, load_volume
from cspine.phantom import PhantomSettings, PhantomStudy, render_study, synthesize
from cspine.phantom.fractures.prevalence import LEVELS_PER_STUDY, draw_levels
from cspine.phantom.scanner import dicom
from cspine.phantom.scanner.dicom import Identity, WriteOptions, write_slices

SMALL = PhantomSettings(matrix=64, slice_spacing_mm=(2.0, 2.0), prevalence=1.0)
MIXED = SMALL.model_copy(
    update={"upward_fraction": 0.5, "full_header_fraction": 0.5, "jpeg_lossless_fraction": 0.5, "prevalence": 0.6}
)


def test_levels_have_the_frequencies_of_the_challenge() -> None:
    rng = np.random.default_rng(0)
    prevalence = CHALLENGE_POSITIVES["patient_overall"] / CHALLENGE_STUDIES

    drawn = [draw_levels(rng, prevalence) for _ in range(20_000)]

    for level in VERTEBRAE:
        expected = CHALLENGE_POSITIVES[level] / CHALLENGE_STUDIES
        assert np.mean([level in levels for levels in drawn]) == pytest.approx(expected, rel=0.1)
    sizes = np.bincount([len(levels) for levels in drawn], minlength=7) / len(drawn)
    assert sizes[0] == pytest.approx(1 - prevalence, abs=0.01)
    for size, count in LEVELS_PER_STUDY.items():
        assert sizes[size] == pytest.approx(count / CHALLENGE_STUDIES, abs=0.01)
    pairs = {pair: np.mean([set(pair) <= set(levels) for levels in drawn]) for pair in (("C6", "C7"), ("C3", "C7"))}
    assert pairs["C6", "C7"] > 3 * pairs["C3", "C7"]


def test_studies_are_reproducible_and_differ_by_index() -> None:
    first, repeated, other = (render_study(3, index, SMALL) for index in (1, 1, 2))

    np.testing.assert_array_equal(first.hu, repeated.hu)
    assert first.truth == repeated.truth
    assert first.truth["vertebrae"] != other.truth["vertebrae"]


@pytest.fixture(scope="module")
def study() -> PhantomStudy:
    return render_study(5, 0, SMALL.model_copy(update={"truncated_fraction": 0.0}))


def test_vertebrae_are_in_order_at_the_positions_of_the_truth(study: PhantomStudy) -> None:
    centers = {}
    for level in VERTEBRAE:
        indices = np.argwhere(study.labels == SEGMENT_NUMBERS[level])
        assert len(indices) * abs(np.linalg.det(study.affine_lps[:3, :3])) > 2000.0  # mm3
        centers[level] = (study.affine_lps @ [*indices.mean(axis=0), 1.0])[:3]
        # The arch moves the centroid of the voxels back.
        assert np.linalg.norm(centers[level] - study.truth["vertebrae"][level]) < 22.0
    heights = [centers[level][2] for level in VERTEBRAE]
    assert np.all(np.diff(heights) < -8.0)


def test_bone_is_denser_than_its_surroundings(study: PhantomStudy) -> None:
    bone = (study.labels >= 1) & (study.labels <= 7)

    assert study.hu[bone].mean() > 300
    assert np.median(study.hu[~bone]) < 100
    assert study.hu.min() >= -1024


def test_fracture_masks_are_on_the_fractured_levels_only() -> None:
    for index in range(4):
        drawn = render_study(8, index, SMALL)
        numbers = {SEGMENT_NUMBERS[level] for level in drawn.truth["levels"]}
        assert set(np.unique(drawn.fracture_level_mask)) == {0, *numbers}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantom") / "data"
    synthesize(out, studies=6, seed=2, settings=MIXED, workers=2)
    return out


def test_layout_is_that_of_the_challenge(data: Path) -> None:
    labels = read_labels(data / "train.csv")

    assert list(labels.columns) == list(TARGETS)
    assert {path.name for path in (data / "train_images").iterdir()} == set(labels.index)
    assert {path.stem for path in (data / "segmentations").iterdir()} == set(labels.index)
    boxed = set(read_boxes(data / "train_bounding_boxes.csv")["StudyInstanceUID"])
    assert boxed == set(labels.index[labels["patient_overall"] == 1])


def test_dicom_nifti_and_boxes_mark_the_same_voxels(data: Path) -> None:
    truth = pd.read_csv(data / "train.csv", dtype={"StudyInstanceUID": str})
    boxes = read_boxes(data / "train_bounding_boxes.csv")
    index = int(truth["patient_overall"].argmax())
    uid = truth["StudyInstanceUID"][index]
    drawn = render_study(2, index, MIXED)

    volume = load_volume(data / "train_images" / uid)

    np.testing.assert_array_equal(volume.array, drawn.hu)
    np.testing.assert_allclose(volume.affine, drawn.affine_lps, atol=1e-3)
    image = nibabel.load(data / "segmentations" / f"{uid}.nii")
    to_stored = np.linalg.inv(image.affine) @ np.diag([-1.0, -1.0, 1.0, 1.0]) @ drawn.affine_lps
    at = np.argwhere(drawn.labels > 0)[::50]
    stored = np.rint(np.c_[at, np.ones(len(at))] @ to_stored.T)[:, :3].astype(int)
    np.testing.assert_array_equal(np.asarray(image.dataobj)[tuple(stored.T)], drawn.labels[tuple(at.T)])
    boxed = np.zeros(drawn.hu.shape, bool)
    for box in boxes[boxes["StudyInstanceUID"] == uid].itertuples():
        (path,) = (data / "train_images" / uid).glob(f"{box.slice_number}.dcm")
        k = _slice_index(path, drawn)
        rows = slice(int(box.y), int(box.y + box.height))
        columns = slice(int(box.x), int(box.x + box.width))
        assert (drawn.fracture_level_mask[k, rows, columns] > 0).any()
        boxed[k, rows, columns] = True
    assert boxed[drawn.fracture_level_mask > 0].all()  # every voxel of every fracture
    recorded = json.loads((data / "truth" / f"{uid}.json").read_text())["boxes"]
    assert {box["level"] for box in recorded} == set(drawn.truth["levels"])
    assert len(recorded) == (boxes["StudyInstanceUID"] == uid).sum()


def test_masks_align_with_slices_in_simpleitk(data: Path) -> None:
    uid = next(path.stem for path in sorted((data / "segmentations").iterdir()))

    mask = sitk.ReadImage(str(data / "segmentations" / f"{uid}.nii"))
    volume = load_volume(data / "train_images" / uid)

    assert sorted(mask.GetSpacing()) == pytest.approx(sorted(volume.spacing), rel=1e-4)
    at = np.argwhere(load_segmentation(data / "segmentations" / f"{uid}.nii", volume) == 4)[::37]
    for index in at.tolist():
        point = (volume.affine @ [*index, 1.0])[:3].tolist()
        assert mask.GetPixel(mask.TransformPhysicalPointToIndex(point)) == 4


def test_full_disk_raises_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("cspine.phantom.rsna_files.write_slices", full)
    with pytest.raises(DiskFullError, match="the disk is full"):
        synthesize(tmp_path / "out", studies=1, seed=1, settings=SMALL)
    assert not list((tmp_path / "out").glob("truth/*"))


def test_padding_of_a_round_field_is_read_as_air(tmp_path: Path) -> None:
    settings = SMALL.model_copy(
        update={
            "round_field_fraction": 1.0,
            "full_header_fraction": 1.0,
            "jpeg_lossless_fraction": 0.0,
            "tilt_fraction": 0.0,
        }
    )
    synthesize(tmp_path / "out", studies=1, seed=4, settings=settings)
    (folder,) = (tmp_path / "out" / "train_images").iterdir()
    first = dcmread(folder / "1.dcm")

    assert (first.PixelPaddingValue, first.PixelRepresentation) == (-2000, 1)
    assert (first.pixel_array[0, 0], first.PatientSex in {"F", "M"}) == (-2000, True)
    np.testing.assert_array_equal(load_volume(folder).array, render_study(4, 0, settings).hu)


def _slice_index(path: Path, drawn: PhantomStudy) -> int:
    z = float(dcmread(path, stop_before_pixels=True).ImagePositionPatient[2])
    k: int = round((z - drawn.affine_lps[2, 3]) / drawn.affine_lps[2, 0])
    return k


def test_headers_and_slice_directions_vary(data: Path) -> None:
    full, upward, syntaxes = set(), set(), set()
    for folder in (data / "train_images").iterdir():
        first, last = (dcmread(folder / f"{n}.dcm") for n in (1, len(list(folder.iterdir()))))
        full.add("Modality" in first)
        syntaxes.add(first.file_meta.TransferSyntaxUID.name)
        upward.add(first.ImagePositionPatient[2] < last.ImagePositionPatient[2])
    assert full == upward == {True, False}
    assert len(syntaxes) == 2


def test_studies_do_not_depend_on_workers_and_an_interrupted_job_is_resumed(data: Path, tmp_path: Path) -> None:
    synthesize(tmp_path / "again", studies=6, seed=2, settings=MIXED, workers=1)
    before = {path: path.read_bytes() for path in (tmp_path / "again").rglob("*.dcm")}
    assert {path.relative_to(tmp_path / "again"): data_ for path, data_ in before.items()} == {
        path.relative_to(data): path.read_bytes() for path in data.rglob("*.dcm")
    }
    for path in list((tmp_path / "again" / "truth").iterdir())[:2]:
        path.unlink()

    summary = synthesize(tmp_path / "again", studies=6, seed=2, settings=MIXED)

    assert summary.made_now == 2
    assert before == {path: path.read_bytes() for path in (tmp_path / "again").rglob("*.dcm")}
    with pytest.raises(OutputTakenError, match="begun with another seed"):
        synthesize(tmp_path / "again", studies=6, seed=3, settings=MIXED)


def test_fracture_masks_are_written_for_studies_with_fractures(data: Path) -> None:
    truth = pd.read_csv(data / "train.csv", dtype={"StudyInstanceUID": str})
    fractured = set(truth["StudyInstanceUID"][truth["patient_overall"] == 1])
    assert {path.name.removesuffix(".nii.gz") for path in (data / "fractures").iterdir()} == fractured
    index = int(truth["patient_overall"].argmax())
    uid = truth["StudyInstanceUID"][index]

    drawn = render_study(2, index, MIXED)
    volume = load_volume(data / "train_images" / uid)
    mask = load_segmentation(data / "fractures" / f"{uid}.nii.gz", volume)

    np.testing.assert_array_equal(mask, drawn.fracture_mask)


def test_centroids_are_those_of_the_masks(study: PhantomStudy) -> None:
    for level in VERTEBRAE:
        index = np.argwhere(study.labels == SEGMENT_NUMBERS[level]).mean(axis=0)
        np.testing.assert_allclose(study.truth["centroids"][level], (study.affine_lps @ [*index, 1.0])[:3], atol=1e-6)
    assert set(study.truth["axes"]) == set(study.truth["vertebrae"])


def test_domains_have_different_people_and_uids(tmp_path: Path) -> None:
    shifted = SMALL.model_copy(update={"domain": "shifted"})
    source, other = render_study(3, 1, SMALL), render_study(3, 1, shifted)

    assert source.truth["vertebrae"] != other.truth["vertebrae"]
    assert source.truth["person"] != other.truth["person"]
    for name, settings in (("source", SMALL), ("shifted", shifted)):
        synthesize(tmp_path / name, studies=1, seed=3, settings=settings)
    uids = {path.name for name in ("source", "shifted") for path in (tmp_path / name / "train_images").iterdir()}
    assert len(uids) == 2


@pytest.mark.parametrize(("full", "compressed"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("round_field", [False, True])
def test_files_equal_those_that_pydicom_writes(
    tmp_path: Path, study: PhantomStudy, full: bool, compressed: bool, round_field: bool
) -> None:
    study, identity = replace(study, round_field=round_field), Identity(5, 0)

    write_slices(study, identity, tmp_path / "data", WriteOptions(upward=True, full_header=full, compressed=compressed))

    for k in (0, 1, len(study.hu) - 1):
        expected = dicom._minimal_dataset(study, identity)
        if full:
            dicom._add_full_header(expected, study, identity)
        dicom._set_slice(expected, study, k, k + 1, identity.sop_uid(k + 1))
        if compressed:
            dicom._compress(expected)
        dcmwrite(tmp_path / "expected.dcm", expected, enforce_file_format=True)
        assert (tmp_path / "data" / f"{k + 1}.dcm").read_bytes() == (tmp_path / "expected.dcm").read_bytes()


def test_additional_fractures_have_the_requested_probability() -> None:
    rng = np.random.default_rng(0)

    drawn = [draw_levels(rng, 1.0, 0.5) for _ in range(2_000)]

    assert all(list(levels) == sorted(levels) for levels in drawn)
    assert np.mean([len(levels) for levels in drawn]) == pytest.approx(1.5 + 0.5 * 5.5, abs=0.15)
    assert all(draw_levels(rng, 0.0, 0.5) == () for _ in range(20))
