"""The level classifier: findings of a study, equality of stored and direct input, ensembles, errors of weights."""

from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest

from cspine import Detector
from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.level_findings import absent_finding, likely_fracture_types, patient_finding
from cspine.classification.loading import load_classifier
from cspine.classification.predict_dataset import classify_dataset
from cspine.core.anatomy import VERTEBRAE
from cspine.core.errors import WeightsError
from cspine.core.findings import ViewEvidence
from cspine.datasets.compiled import CompiledDataset
from cspine.dicom.study_collection import open_collection
from cspine.localization.compiler import Compiler
from cspine.localization.loading import load_localizer
from cspine.localization.localizer import Localizer
from cspine.models.weights import Weights
from cspine.phantom import PhantomSettings, render_study, synthesize
from cspine.pipelines.compile import compile_collection
from cspine.reports.html import render_report
from cspine.spine.spine_map import SpineMap, Vertebra
from cspine.views.compiled import CompiledVolume

SEED = 31
SETTINGS = PhantomSettings(
    matrix=128,
    slice_spacing_mm=(2.0, 2.0),
    prevalence=1.0,
    truncated_fraction=0.0,
    tilt_fraction=0.0,
    odd_matrix_fraction=0.0,
)


class ReferenceLocalizer(Localizer):
    """Returns the phantom's own vertebrae, C7 as partially scanned and C1 with an uncertain level."""

    def __init__(self) -> None:
        super().__init__(Localizer.load().weights, None)

    def __call__(self, volume: highdicom.Volume) -> SpineMap:  # noqa: ARG002 - the vertebrae are known
        truth, vertebrae = render_study(SEED, 0, SETTINGS).truth, []
        box_mm = np.array([[-25.0, -9.0, -9.0], [25.0, 35.0, 9.0]])
        for level in VERTEBRAE:
            frame = np.eye(4)
            frame[:3, :3], frame[:3, 3] = truth["axes"][level], truth["vertebrae"][level]
            scanned_fraction, confidence = 0.6 if level == "C7" else 1.0, 0.55 if level == "C1" else 1.0
            vertebrae.append(Vertebra(level, frame, frame[:3, 3], box_mm, scanned_fraction, confidence, 9000.0))
        return SpineMap(tuple(vertebrae))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("phantoms") / "data"
    synthesize(out, studies=1, seed=SEED, settings=SETTINGS)
    return out


@pytest.fixture(scope="module")
def classifier() -> LevelClassifier:
    return LevelClassifier.load(localizer=ReferenceLocalizer())


def test_findings_have_probability_evidence_and_reasons_of_each_level(data: Path, classifier: LevelClassifier) -> None:
    findings = Detector(classifier).predict_case(open_collection(data).studies[0]).findings

    assert findings.not_assessable is None
    assert findings.patient_overall is not None
    levels = {vertebra.level: vertebra for vertebra in findings.vertebrae}
    assert all(vertebra.probability is not None for vertebra in findings.vertebrae)
    assert findings.patient_overall.probability >= max(vertebra.probability or 0.0 for vertebra in findings.vertebrae)
    assert levels["C7"].coverage == "partial"
    assert levels["C7"].scanned_fraction == pytest.approx(0.6)
    assert "partly outside the field of view: 60 % was scanned" in levels["C7"].reasons
    assert "its level is uncertain (55 %)" in levels["C1"].reasons
    patient_reasons = findings.patient_overall.reasons
    assert "only partly in the scan: C7" in patient_reasons
    assert any(reason.startswith("uncertain level: C1") for reason in patient_reasons)
    for vertebra in findings.vertebrae:
        evidence = [each for each in vertebra.evidence if isinstance(each, ViewEvidence)]
        assert sorted(each.plane for each in evidence) == ["axial", "coronal", "sagittal"]
        strengths = [each.strength for each in evidence]
        assert strengths == sorted(strengths, reverse=True)
    assert findings.weights.synthetic_only
    assert any("from no patient" in warning for warning in findings.warnings)


def test_report_shows_the_spine_and_the_most_suspicious_vertebra(data: Path, classifier: LevelClassifier) -> None:
    html = render_report(Detector(classifier).predict_case(open_collection(data).studies[0]))

    assert html.count("<polygon ") >= 7
    assert html.count("data:image/png;base64,") >= 3  # its views, with the saliency over them
    assert "LPS" in html
    assert "from no patient" in html


def test_compiled_and_direct_input_have_equal_probabilities(
    data: Path, classifier: LevelClassifier, tmp_path: Path
) -> None:
    compiler = Compiler(classifier.metadata.images, classifier.localizer)
    compile_collection(open_collection(data), tmp_path / "out", compiler)

    stored = classify_dataset(CompiledDataset.open(tmp_path / "out"), classifier)
    direct = Detector(classifier).predict_case(open_collection(data).studies[0]).findings

    assert direct.patient_overall is not None
    expected = [direct.patient_overall.probability, *(vertebra.probability or 0.0 for vertebra in direct.vertebrae)]
    np.testing.assert_allclose(stored.loc[direct.study_instance_uid].to_numpy(), expected, atol=1e-6)


def test_fracture_types_are_limited_to_those_of_the_level(classifier: LevelClassifier) -> None:
    names = classifier.metadata.fracture_types
    probabilities = np.linspace(1.0, 0.1, len(names))
    metadata = classifier.metadata.model_copy(update={"fracture_types_by_level": {"C1": names[-1:]}})

    limited = likely_fracture_types(metadata, "C1", probabilities)
    unlimited = likely_fracture_types(metadata, "C2", probabilities)

    assert [each.name for each in limited] == [names[-1]]
    assert [each.name for each in unlimited] == list(names[:3])


@pytest.mark.parametrize(
    ("n_lost_files", "level_reason", "patient_reasons"),
    [
        (0, "outside the field of view", ("not in the scan: C6, C7",)),
        (
            90,
            "outside the part of the scan that could be read",
            ("not in the part of the scan that could be read: C6, C7", "90 files of the study could not be read"),
        ),
    ],
)
def test_where_files_were_lost_absent_levels_are_not_said_to_be_outside_the_scan(
    classifier: LevelClassifier, n_lost_files: int, level_reason: str, patient_reasons: tuple[str, ...]
) -> None:
    images = CompiledVolume(SpineMap(()), None, pytest.fail, (), n_lost_files=n_lost_files)

    absent = [absent_finding(images, level) for level in ("C6", "C7")]
    patient = patient_finding(
        classifier.calibration.points, probability=0.1, raw_probability=0.1, vertebrae=absent, n_lost_files=n_lost_files
    )

    assert [finding.reasons for finding in absent] == [(level_reason,)] * 2
    assert patient.reasons == patient_reasons


def test_strongest_plane_is_chosen_among_candidates(classifier: LevelClassifier) -> None:
    evidence = np.zeros((15, 3, 14, 14), np.float32)
    evidence[2, 0, 5, 6], evidence[9, 2, 3, 4] = 0.9, 0.8
    is_coronal = np.arange(15) // 5 == 1

    assert classifier.strongest_plane(evidence)[0] == 6
    plane, saliency = classifier.strongest_plane(evidence, is_coronal)
    assert (plane, saliency[3, 4]) == (29, np.float32(0.8))


def test_test_time_augmentation_averages_with_the_flip(data: Path, classifier: LevelClassifier) -> None:
    case_result = Detector(classifier).predict_case(open_collection(data).studies[0])
    assert case_result.compiled is not None
    levels = tuple(views.compress() for views in case_result.compiled.images.levels)

    plain = classifier.predict_scores(levels)
    augmented = replace(classifier, tta=True).predict_scores(levels)

    assert not np.array_equal(plain.levels, augmented.levels)
    np.testing.assert_allclose(plain.levels, augmented.levels, atol=0.5)
    assert plain.evidence.shape == augmented.evidence.shape


def test_weights_with_saliency_maps_of_an_earlier_version_are_rejected(
    classifier: LevelClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weights, "outputs", {**classifier.members[0].outputs, "evidence": 5})

    with pytest.raises(WeightsError, match="levels: has saliency maps of an earlier version; train again"):
        LevelClassifier.load()


@pytest.mark.parametrize("is_same", [True, False])
def test_another_localizer_than_in_training_gives_a_warning(
    data: Path, classifier: LevelClassifier, *, is_same: bool
) -> None:
    class HashedLocalizer(ReferenceLocalizer):
        sha256 = classifier.metadata.localizer_sha256 if is_same else "f" * 64

    findings = Detector(LevelClassifier(classifier.members, HashedLocalizer())).predict(data)

    assert any("another localizer" in warning for warning in findings.warnings) != is_same


def test_weights_that_cannot_be_combined_are_rejected() -> None:
    with pytest.raises(WeightsError, match="this is baseline-cnn"):
        load_classifier("baseline-cnn", "levels")
    with pytest.raises(WeightsError, match="this is baseline-cnn"):
        load_classifier("baseline-cnn", tta=True)


def test_weights_of_the_wrong_network_are_rejected() -> None:
    with pytest.raises(WeightsError, match="localizes vertebrae but does not classify fractures"):
        load_classifier("localizer")
    with pytest.raises(WeightsError, match="holds the network levels; name a localizer"):
        load_localizer("levels")
