"""A study is read through its vertebrae's views: what findings say, and that the stored way says the same."""

from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest

from cspine import Detector
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.loading import load_classifier
from cspine.classification.predict_dataset import classify_dataset
from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import NotAssessableError, WeightsError
from cspine.core.findings import ViewEvidence
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom.study_collection import open_collection
from cspine.localization.compiler import Compiler
from cspine.localization.loading import load_localizer
from cspine.localization.localizer import Localizer
from cspine.models.weights import Weights
from cspine.phantom import PhantomSettings, render_study, synthesize
from cspine.pipelines.compile import compile_studies
from cspine.reports.html import render_report
from cspine.spine.spine_map import SpineMap, Vertebra

SEED = 31
SETTINGS = PhantomSettings(
    matrix=128, slice_spacing_mm=(2.0, 2.0), prevalence=1.0, shortened=0.0, tilted=0.0, odd_matrix=0.0
)


class Known(Localizer):
    """Finds vertebrae where the phantom put them, and takes C7 for cut and C1 for doubtful."""

    def __init__(self) -> None:
        super().__init__(Localizer.load().weights, None)

    def __call__(self, volume: highdicom.Volume) -> SpineMap:  # noqa: ARG002 - it is the phantom's
        truth, found = render_study(SEED, 0, SETTINGS).truth, []
        for level in VERTEBRAE:
            frame = np.eye(4)
            frame[:3, :3], frame[:3, 3] = truth["axes"][level], truth["vertebrae"][level]
            box, share = np.array([[-25.0, -9.0, -9.0], [25.0, 35.0, 9.0]]), 0.6 if level == "C7" else 1.0
            sure = 0.55 if level == "C1" else 1.0
            found.append(Vertebra(level, frame, frame[:3, 3], box, share, sure, 9000.0))
        return SpineMap(tuple(found))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("reader") / "data"
    synthesize(out, studies=1, seed=SEED, settings=SETTINGS)
    return out


@pytest.fixture(scope="module")
def classifier() -> LevelClassifier:
    return LevelClassifier.load(localizer=Known())


def test_findings_tell_each_level_with_its_evidence_and_its_doubts(data: Path, classifier: LevelClassifier) -> None:
    case_result = Detector(classifier).predict_case(open_collection(data).studies[0])
    findings = case_result.findings

    assert findings.not_assessable is None
    assert findings.patient_overall is not None
    levels = {vertebra.level: vertebra for vertebra in findings.vertebrae}
    assert all(vertebra.probability is not None for vertebra in findings.vertebrae)
    assert findings.patient_overall.probability >= max(vertebra.probability or 0.0 for vertebra in findings.vertebrae)
    assert levels["C7"].coverage == "partial"
    assert "partly outside the field of view: 60 % was scanned" in levels["C7"].reasons
    assert "its level is uncertain (55 %)" in levels["C1"].reasons
    assert "only partly in the scan: C7" in findings.patient_overall.reasons
    assert any(reason.startswith("spoilt or uncertain: C1") for reason in findings.patient_overall.reasons)
    for vertebra in findings.vertebrae:
        planes = [evidence.plane for evidence in vertebra.evidence if isinstance(evidence, ViewEvidence)]
        assert sorted(planes) == ["axial", "coronal", "sagittal"]
        strengths = [evidence.strength for evidence in vertebra.evidence if isinstance(evidence, ViewEvidence)]
        assert strengths == sorted(strengths, reverse=True)
    assert findings.weights.phantom_only
    assert any("phantoms only" in warning for warning in findings.warnings)


def test_the_report_shows_the_spine_and_the_most_suspicious_vertebra(data: Path, classifier: LevelClassifier) -> None:
    html = render_report(Detector(classifier).predict_case(open_collection(data).studies[0]))

    assert html.count("<polygon ") >= 7
    assert html.count("data:image/png;base64,") >= 3  # its views, with the evidence over them
    assert "LPS" in html
    assert "phantoms only" in html


def test_a_study_gets_the_same_numbers_compiled_first_or_read_directly(
    data: Path, classifier: LevelClassifier, tmp_path: Path
) -> None:
    compile_studies(open_collection(data), tmp_path / "out", Compiler(classifier.metadata.images, classifier.localizer))

    stored = classify_dataset(CompiledDataset.open(tmp_path / "out"), classifier)
    direct = Detector(classifier).predict_case(open_collection(data).studies[0]).findings

    assert direct.patient_overall is not None
    said = [direct.patient_overall.probability, *(vertebra.probability or 0.0 for vertebra in direct.vertebrae)]
    np.testing.assert_allclose(stored.loc[direct.study_instance_uid].to_numpy(), said, atol=1e-6)


def test_a_level_is_told_only_kinds_that_it_can_have(classifier: LevelClassifier) -> None:
    fracture_types = np.linspace(1.0, 0.1, len(classifier.metadata.fracture_types))
    metadata = classifier.metadata.model_copy(update={"kinds_at": {"C1": classifier.metadata.fracture_types[-1:]}})
    limited = replace(classifier, members=(replace(classifier.members[0], metadata=metadata),))

    assert [kind.name for kind in limited._likely("C1", fracture_types)] == [classifier.metadata.fracture_types[-1]]
    assert [kind.name for kind in limited._likely("C2", fracture_types)] == list(classifier.metadata.fracture_types[:3])


def test_the_strongest_plane_is_found_among_those_asked_for(classifier: LevelClassifier) -> None:
    evidence = np.zeros((15, 3, 14, 14), np.float32)
    evidence[2, 0, 5, 6], evidence[9, 2, 3, 4] = 0.9, 0.8
    coronal = np.arange(15) // 5 == 1

    assert classifier.strongest(evidence)[0] == 6
    plane, strength = classifier.strongest(evidence, coronal)
    assert (plane, strength[3, 4]) == (29, np.float32(0.8))


def test_weights_that_tell_evidence_in_another_way_are_refused(
    classifier: LevelClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weights, "outputs", {**classifier.members[0].outputs, "evidence": 5})

    with pytest.raises(WeightsError, match="levels: tells evidence in an earlier version's way; train it again"):
        LevelClassifier.load()


def test_another_localizer_than_the_weights_learnt_with_is_said(data: Path, classifier: LevelClassifier) -> None:
    class Other(Known):
        sha256 = "f" * 64

    class Same(Known):
        sha256 = classifier.metadata.localizer_sha256

    found = [Detector(LevelClassifier(classifier.members, localizer)).predict(data) for localizer in (Other(), Same())]

    said = [any("another localizer" in warning for warning in findings.warnings) for findings in found]
    assert said == [True, False]


def test_a_scan_of_something_else_is_refused() -> None:
    frame = np.eye(4)
    box = np.array([[-25.0, -9.0, -9.0], [25.0, 35.0, 9.0]])
    doubtful = SpineMap((Vertebra("C4", frame, np.zeros(3), box, 1.0, 0.3, 900.0),))
    thoracic = SpineMap((Vertebra("T1", frame, np.zeros(3), box, 1.0, 1.0, 9000.0),))

    for spine, words in (
        (doubtful, "likely to be cervical"),
        (thoracic, "no cervical vertebra"),
        (SpineMap(()), "no cer"),
    ):
        with pytest.raises(NotAssessableError, match=words) as caught:
            spine.require_cervical()
        assert caught.value.code == "no-cervical-spine"


def test_what_cannot_be_averaged_or_is_no_localizer_is_refused() -> None:
    with pytest.raises(WeightsError, match="this is baseline-cnn"):
        load_classifier("baseline-cnn", "levels")
    with pytest.raises(WeightsError, match="this is baseline-cnn"):
        load_classifier("baseline-cnn", tta=True)
    with pytest.raises(WeightsError, match="finds vertebrae but tells no fractures"):
        load_classifier("localizer")
    with pytest.raises(WeightsError, match="holds the network levels; name a localizer"):
        load_localizer("levels")
