"""A segmentation in the localizer's place: in predict, localize and compile, of one study and of many."""

import shutil
from pathlib import Path

import pytest
from tests.support.dicom import STUDY_UID
from tests.support.phantom import detector
from tests.support.segmentations import labels, phantom, write_ct, write_nifti

from cspine.core.errors import InputError, SourceError
from cspine.datasets.compiled import CompiledDataset
from cspine.pipelines.compile import compile_dataset
from cspine.pipelines.localize_batch import LocalizeSettings, localize_batch
from cspine.pipelines.predict_batch import PredictSettings, predict_batch
from cspine.views.level_views import LevelViewSettings
from cspine.views.settings import CompileSettings

SMALL = CompileSettings(levels=LevelViewSettings(sagittal=1, coronal=1, axial=1, pixels=32))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    write_ct(root / "studies" / "1")
    (root / "masks").mkdir()
    write_nifti(root / "masks" / f"{STUDY_UID}.nii.gz", labels())
    return root


def test_findings_name_the_segmentation(data: Path) -> None:
    findings = detector().predict(data / "studies", vertebrae=data / "masks")

    assert findings.not_assessable is None
    assert findings.localizer is not None
    assert findings.localizer.name == "segmentation"
    assert any("come from a segmentation" in warning for warning in findings.warnings)
    assert {vertebra.coverage for vertebra in findings.vertebrae} == {"complete"}
    assert {vertebra.confidence for vertebra in findings.vertebrae} == {1.0}


def test_localize_writes_the_frames_of_the_masks(data: Path, tmp_path: Path) -> None:
    (spine,) = localize_batch(
        data / "studies", tmp_path, LocalizeSettings(vertebrae=str(data / "masks" / f"{STUDY_UID}.nii.gz"))
    )

    assert spine.weights.name == "segmentation"
    assert (tmp_path / "spine.png").is_file()
    c4 = next(vertebra for vertebra in spine.vertebrae if vertebra.level == "C4")
    assert [row[3] for row in c4.frame_lps[:3]] == pytest.approx(phantom().frames["C4"][:3, 3].tolist(), abs=1.5)


def test_a_study_without_a_segmentation_does_not_stop_the_others(data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "studies", tmp_path / "studies")
    write_ct(tmp_path / "studies" / "2", study="1.2.3.9")

    results = predict_batch(
        tmp_path / "studies", tmp_path / "out", PredictSettings(vertebrae=str(data / "masks"), vertebrae_labels="rsna")
    )

    codes = {
        result.findings.study_instance_uid: result.findings.not_assessable and result.findings.not_assessable.code
        for result in results
    }
    assert codes == {STUDY_UID: None, "1.2.3.9": "no-segmentation"}
    settings = PredictSettings(vertebrae=str(data / "masks" / f"{STUDY_UID}.nii.gz"))
    with pytest.raises(SourceError, match="is one segmentation for 2 studies"):
        predict_batch(tmp_path / "studies", tmp_path / "other", settings)


def test_compiled_data_sets_record_the_segmentation(data: Path, tmp_path: Path) -> None:
    summary = compile_dataset(data / "studies", tmp_path / "out", SMALL, vertebrae=data / "masks")

    assert not summary.failed
    dataset = CompiledDataset.open(tmp_path / "out")
    (sha256,) = dataset.studies()["vertebrae_sha256"]
    assert len(sha256) == 64
    assert dataset.localizer_sha256 not in {None, sha256}
    assert list(dataset.levels()["level"]) == ["C1", "C2", "C3", "C4", "C5", "C6", "C7"]


def test_images_that_need_no_vertebrae_take_none(data: Path, tmp_path: Path) -> None:
    straight = CompileSettings(spine_aligned=False, levels=None)

    with pytest.raises(InputError, match="is not used by images along parallel planes"):
        compile_dataset(data / "studies", tmp_path / "out", straight, vertebrae=data / "masks")
    settings = PredictSettings(weights=("baseline-cnn",), vertebrae=str(data / "masks"))
    with pytest.raises(InputError, match="the weights do not localize vertebrae; leave out --vertebrae"):
        predict_batch(data / "studies", tmp_path / "out2", settings)
