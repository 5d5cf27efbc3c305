"""An old fracture or non-union is a remark of its own, not one of the fracture types."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.support.phantom import detector, predict_case, write_phantom

from cspine.classification.level_classifier import LevelClassifier
from cspine.classification.level_findings import Probabilities, vertebra_finding
from cspine.core.findings import Findings, VertebraFinding
from cspine.models.metadata import OLD_FRACTURE_TYPE
from cspine.reports.html import render_report
from cspine.spine.spine_map import SpineMap, Vertebra
from cspine.views.compiled import CompiledVolume


def finding(probability: float, *, is_told: bool = True) -> VertebraFinding:
    """Return the finding of a C6 by a network that gives this probability to an old fracture, and 0.3 to teardrops."""
    classifier = detector().classifier
    assert isinstance(classifier, LevelClassifier)
    types = (OLD_FRACTURE_TYPE, "teardrop") if is_told else ("lamina", "teardrop")
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
    assert (old.may_be_old, old.is_suspicious, old.reasons) == (True, True, ())
    assert not finding(0.2).may_be_old


def test_weights_that_were_not_trained_to_tell_give_none() -> None:
    assert finding(0.8, is_told=False).old_fracture_probability is None


def test_the_page_says_so(tmp_path: Path) -> None:
    result = predict_case(write_phantom(tmp_path / "study"))
    vertebrae = result.findings.vertebrae

    def page(c6: VertebraFinding) -> str:
        findings = {**dict(result.findings), "vertebrae": (*vertebrae[:5], c6, vertebrae[6])}
        return render_report(replace(result, findings=Findings.model_validate(findings)))

    assert "old fracture or non-union possible (80 %, uncalibrated)" in page(finding(0.8))
    assert "non-union" not in page(finding(0.2))
