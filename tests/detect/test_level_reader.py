"""A study is read through its vertebrae's views: what findings say, and that the stored way says the same."""

from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pytest

from cspine import Detector
from cspine.anatomy import VERTEBRAE
from cspine.detect.classify import classify_store
from cspine.detect.level_reader import LevelReader
from cspine.detect.localize import Localizer
from cspine.detect.localizers import load_localizer
from cspine.detect.readers import load_reader
from cspine.detect.weights import Weights
from cspine.errors import NotAssessableError, WeightsError
from cspine.findings import ViewEvidence
from cspine.imaging.layout import open_root
from cspine.phantom import PhantomSettings, render_study, synthesize
from cspine.reformat.compile import compile_studies
from cspine.reformat.spine_map import SpineMap, Vertebra
from cspine.reformat.store import CompiledStore
from cspine.reformat.study import Compiler
from cspine.report.html import render_report

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
def reader() -> LevelReader:
    return LevelReader.load(localizer=Known())


def test_findings_tell_each_level_with_its_evidence_and_its_doubts(data: Path, reader: LevelReader) -> None:
    examination = Detector(reader).examine(open_root(data).studies[0])
    findings = examination.findings

    assert findings.refused is None
    assert findings.patient_overall is not None
    levels = {vertebra.level: vertebra for vertebra in findings.vertebrae}
    assert all(vertebra.probability is not None for vertebra in findings.vertebrae)
    assert findings.patient_overall.probability >= max(vertebra.probability or 0.0 for vertebra in findings.vertebrae)
    assert levels["C7"].coverage == "cut"
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


def test_the_report_shows_the_spine_and_the_most_suspicious_vertebra(data: Path, reader: LevelReader) -> None:
    html = render_report(Detector(reader).examine(open_root(data).studies[0]))

    assert html.count("<polygon ") >= 7
    assert html.count("data:image/png;base64,") >= 3  # its views, with the evidence over them
    assert "LPS" in html
    assert "phantoms only" in html


def test_a_study_gets_the_same_numbers_compiled_first_or_read_directly(
    data: Path, reader: LevelReader, tmp_path: Path
) -> None:
    compile_studies(open_root(data), tmp_path / "out", Compiler(reader.card.images, reader.localizer))

    stored = classify_store(CompiledStore.open(tmp_path / "out"), reader)
    direct = Detector(reader).examine(open_root(data).studies[0]).findings

    assert direct.patient_overall is not None
    said = [direct.patient_overall.probability, *(vertebra.probability or 0.0 for vertebra in direct.vertebrae)]
    np.testing.assert_allclose(stored.loc[direct.study_instance_uid].to_numpy(), said, atol=1e-6)


def test_a_level_is_told_only_kinds_that_it_can_have(reader: LevelReader) -> None:
    kinds = np.linspace(1.0, 0.1, len(reader.card.kinds))
    card = reader.card.model_copy(update={"kinds_at": {"C1": reader.card.kinds[-1:]}})
    limited = replace(reader, members=(replace(reader.members[0], card=card),))

    assert [kind.name for kind in limited._likely("C1", kinds)] == [reader.card.kinds[-1]]
    assert [kind.name for kind in limited._likely("C2", kinds)] == list(reader.card.kinds[:3])


def test_the_strongest_plane_is_found_among_those_asked_for(reader: LevelReader) -> None:
    evidence = np.zeros((15, 3, 14, 14), np.float32)
    evidence[2, 0, 5, 6], evidence[9, 2, 3, 4] = 0.9, 0.8
    coronal = np.arange(15) // 5 == 1

    assert reader.strongest(evidence)[0] == 6
    plane, strength = reader.strongest(evidence, coronal)
    assert (plane, strength[3, 4]) == (29, np.float32(0.8))


def test_weights_that_tell_evidence_in_another_way_are_refused(
    reader: LevelReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Weights, "outputs", {**reader.members[0].outputs, "evidence": 5})

    with pytest.raises(WeightsError, match="levels: tells evidence in an earlier version's way; train it again"):
        LevelReader.load()


def test_another_localizer_than_the_weights_learnt_with_is_said(data: Path, reader: LevelReader) -> None:
    class Other(Known):
        sha256 = "f" * 64

    class Same(Known):
        sha256 = reader.card.localizer_sha256

    found = [Detector(LevelReader(reader.members, localizer)).read(data) for localizer in (Other(), Same())]

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
        load_reader("baseline-cnn", "levels")
    with pytest.raises(WeightsError, match="this is baseline-cnn"):
        load_reader("baseline-cnn", flips=True)
    with pytest.raises(WeightsError, match="finds vertebrae but tells no fractures"):
        load_reader("localizer")
    with pytest.raises(WeightsError, match="holds the network levels; name a localizer"):
        load_localizer("levels")
