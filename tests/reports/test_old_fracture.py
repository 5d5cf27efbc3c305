"""An old fracture or non-union is a remark of its own, not one of the fracture types."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from tests.support.phantom import detector, predict_case, write_phantom
from tests.support.structured_reports import comments

from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.level_findings import Probabilities, vertebra_finding
from cspine.cli.predict import show_findings
from cspine.core.findings import Findings, VertebraFinding
from cspine.models.metadata import OLD_FRACTURE_TYPE
from cspine.reports.dicom.objects import write_dicom
from cspine.reports.fhir import fhir_bundle
from cspine.reports.html import render_report
from cspine.reports.remarks import remarks_of
from cspine.spine.spine_map import SpineMap, Vertebra
from cspine.views.compiled import CompiledVolume


def finding(probability: float, *, is_predicted: bool = True) -> VertebraFinding:
    """Return the finding of a C6 by a network that gives this probability to an old fracture, and 0.3 to teardrops."""
    classifier = detector().classifier
    assert isinstance(classifier, LevelClassifier)
    types = (OLD_FRACTURE_TYPE, "teardrop") if is_predicted else ("lamina", "teardrop")
    by_level = {"C6": types}
    metadata = classifier.metadata.model_copy(update={"fracture_types": types, "fracture_types_by_level": by_level})
    vertebra = Vertebra("C6", np.eye(4), np.zeros(3), np.zeros((2, 3)), 1.0, 1.0, 9000.0)
    return vertebra_finding(
        metadata,
        "C6",
        CompiledVolume(SpineMap((vertebra,)), None, pytest.fail, ()),
        points=classifier.calibration.points,
        probabilities=Probabilities(0.9, 0.9, 0.9),
        fracture_types=np.array([probability, 0.3]),
        pictures=[],
    )


def test_it_is_no_fracture_type_and_does_not_change_the_label() -> None:
    old = finding(0.8)

    assert old.old_fracture_probability == 0.8
    assert [each.name for each in old.fracture_types] == ["teardrop"]
    assert (old.is_suspicious, old.reasons) == (True, ())
    assert remarks_of(old) == ("old fracture or non-union possible (80 %, not calibrated)",)
    assert remarks_of(finding(0.2)) == ()


def test_weights_that_do_not_predict_it_give_none() -> None:
    assert finding(0.8, is_predicted=False).old_fracture_probability is None


def test_every_report_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result = predict_case(write_phantom(tmp_path / "study"))
    vertebrae = result.findings.vertebrae

    def reports(probability: float) -> list[str]:
        levels = (*vertebrae[:5], finding(probability), vertebrae[6])
        findings = Findings.model_validate({**dict(result.findings), "vertebrae": levels})
        changed = replace(result, findings=findings)
        (report,) = (path for path in write_dicom(changed, tmp_path / str(probability)) if path.name == "report.dcm")
        show_findings(findings)
        bundle: Any = fhir_bundle(changed)
        return [
            render_report(changed),
            " ".join(comments(dcmread(report))),
            bundle.model_dump_json(),
            " ".join(capsys.readouterr().out.replace("\N{FULL BLOCK}", "").split()),  # cells are wrapped, bars too
        ]

    *pages, terminal = reports(0.8)
    assert all("old fracture or non-union possible" in text for text in (*pages, terminal)), terminal
    assert not any("non-union" in text for text in reports(0.2))
