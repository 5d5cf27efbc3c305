import json
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from tests.support.dicom import make_hu, write_series

from cspine import Detector, Findings
from cspine.classification.baseline import Baseline
from cspine.classification.predict_dataset import classify_dataset
from cspine.cli import app
from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import SourceError
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom.study_collection import open_collection
from cspine.localization.compiler import Compiler
from cspine.pipelines.compile import compile_collection
from cspine.views.settings import CompileSettings

HU = make_hu((16, 32, 40), (6.0, 3.0, 3.0))
BASELINE = Baseline.load()
SPACING = (2.5, 3.0, 3.0)


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector.load("baseline-cnn")


def test_findings_hold_eight_probabilities_and_where_they_come_from(tmp_path: Path, detector: Detector) -> None:
    write_series(tmp_path, HU, spacing=SPACING)

    findings = detector.predict(tmp_path)

    assert findings.patient_overall is not None
    assert tuple(vertebra.level for vertebra in findings.vertebrae) == VERTEBRAE
    assert findings.weights.sha256 == detector.classifier.identity.sha256
    assert findings.series_reasons[0] == "16 axial slices 2.50 mm apart"
    assert "not localized by these weights" in findings.vertebrae[0].reasons
    assert findings.vertebrae[0].coverage is None
    assert Findings.model_validate_json(findings.model_dump_json()) == findings


def test_a_study_gets_the_same_numbers_compiled_first_or_read_directly(tmp_path: Path, detector: Detector) -> None:
    write_series(tmp_path / "in", HU, spacing=SPACING, study="1.2.3")
    compile_collection(open_collection(tmp_path / "in"), tmp_path / "out", Compiler(BASELINE.metadata.images))

    direct = detector.predict(tmp_path / "in")
    stored = classify_dataset(CompiledDataset.open(tmp_path / "out"), BASELINE)

    assert direct.patient_overall is not None
    levels = [vertebra.probability for vertebra in direct.vertebrae]
    numbers = [direct.patient_overall.probability, *(value for value in levels if value is not None)]
    np.testing.assert_allclose(stored.loc["1.2.3"].to_numpy(), numbers, rtol=1e-12)


def test_the_next_series_is_read_where_one_cannot_be_decoded(tmp_path: Path, detector: Detector) -> None:
    def damage(dataset: Dataset, k: int) -> Dataset:
        dataset.ConvolutionKernel = "Br64"
        if k == 7:
            dataset.PixelData = dataset.PixelData[:-100]
        return dataset

    write_series(tmp_path / "in" / "bone", HU, spacing=SPACING, study="1.2.3", series="1.1", change=damage)
    write_series(tmp_path / "in" / "soft", HU, spacing=SPACING, study="1.2.3", series="1.2")

    findings = detector.predict(tmp_path / "in")
    compiled = compile_collection(
        open_collection(tmp_path / "in"), tmp_path / "out", Compiler(BASELINE.metadata.images)
    )

    assert findings.not_assessable is None
    assert findings.series_instance_uid == "1.2"
    assert "read instead of one that cannot be read" in findings.series_reasons
    assert any("bone/8.dcm" in warning for warning in findings.warnings)
    assert compiled.compiled == 1


def test_data_compiled_in_another_way_are_refused(tmp_path: Path) -> None:
    write_series(tmp_path / "in", HU, spacing=SPACING)
    sagittal = BASELINE.metadata.sagittal.model_copy(update={"count": 3})
    other = Compiler(CompileSettings(spine_aligned=False, sagittal=sagittal, levels=None))
    compile_collection(open_collection(tmp_path / "in"), tmp_path / "out", other)

    with pytest.raises(SourceError, match="was compiled with settings"):
        classify_dataset(CompiledDataset.open(tmp_path / "out"), BASELINE)


@pytest.mark.parametrize(
    ("spacing", "hu", "code"),
    [
        ((6.0, 3.0, 3.0), HU, "too-thick"),
        ((1.5, 3.0, 3.0), HU, "too-short"),
        (SPACING, np.minimum(HU, 100), "no-bone"),
    ],
)
def test_what_cannot_be_judged_is_refused(
    tmp_path: Path, detector: Detector, spacing: tuple[float, float, float], hu: np.ndarray, code: str
) -> None:
    write_series(tmp_path, hu, spacing=spacing)

    findings = detector.predict(tmp_path)

    assert findings.not_assessable is not None
    assert findings.not_assessable.code == code
    assert findings.patient_overall is None
    assert findings.vertebrae == ()


def test_many_studies_are_examined_one_by_one(tmp_path: Path, detector: Detector) -> None:
    def no_place(dataset: Dataset, _: int) -> Dataset:
        del dataset.ImagePositionPatient
        return dataset

    write_series(tmp_path / "a", HU, spacing=SPACING, study="1.1", series="1.1.1")
    write_series(tmp_path / "b", HU, spacing=SPACING, study="1.2", series="1.2.1", change=no_place)

    not_assessable = {e.findings.study_instance_uid: e.findings.not_assessable for e in detector.predict_all(tmp_path)}

    assert not_assessable["1.1"] is None
    assert not_assessable["1.2"] is not None
    assert not_assessable["1.2"].code == "no-series"
    with pytest.raises(SourceError, match="holds 2 studies"):
        detector.predict(tmp_path)


def test_json_on_standard_output_is_json_and_nothing_else(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    write_series(tmp_path / "in", HU, spacing=SPACING)
    calls = (
        ["inspect", str(tmp_path / "in"), "--json"],
        ["compile", str(tmp_path / "in"), "--straight", "--out", str(tmp_path / "compiled"), "--json"],
        ["predict", str(tmp_path / "in"), "--weights", "baseline-cnn", "--out", str(tmp_path / "result"), "--json"],
    )
    for call in calls:
        result = CliRunner().invoke(app, call, catch_exceptions=False)
        assert result.exit_code == 0
        assert json.loads(result.stdout)
