"""The HTML page of an evaluation."""

import io
import re
from collections.abc import Callable

import pandas as pd
from PIL import Image

from cspine.datasets.phantom_records import FRACTURE_COLUMNS
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.evaluate import EvaluationResult, EvaluationSettings, evaluate
from cspine.evaluation.failures import worst_failures
from cspine.evaluation.predictions import Predictions
from cspine.reports.evaluation.guidelines import guideline_items
from cspine.reports.evaluation.page import FailureImage, evaluation_page

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
HOSTILE = "<script>alert(1)</script>"


def png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def evaluate_hostile(tables: Tables) -> EvaluationResult:
    """Evaluate a model on a reference standard whose names contain markup."""
    labels, probability = tables(60)
    study = labels.index[labels["C7"] > 0][0]
    fractures = pd.DataFrame([(study, "C7", HOSTILE, "clear", 0.0)], columns=list(FRACTURE_COLUMNS))
    patients = pd.Series(labels.index, index=labels.index)
    reference = ReferenceStandard(HOSTILE, labels, patients, fractures, is_phantom=True)
    return evaluate(reference, [Predictions(HOSTILE, probability)], EvaluationSettings(n_resamples=100))


def test_the_page_is_complete_self_contained_and_escaped(tables: Tables) -> None:
    result = evaluate_hostile(tables)
    failures = worst_failures(result.reference, result.cases[HOSTILE], 60)

    page = evaluation_page(
        result,
        title=HOSTILE,
        figures={"roc.png": png()},
        failures=[FailureImage(failure, None) for failure in failures],
    )

    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert page.count("Research use only. Not a medical device. Not for diagnosis.") == 2
    assert "not clinical accuracy" in page
    assert page.count('src="data:image/png;base64,') == 1
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    anchors = set(re.findall(r'href="#([^"]+)"', page))
    assert anchors == set(re.findall(r'id="([^"]+)"', page))
    assert "CLAIM 29" in page
    assert "TRIPOD+AI 23a" in page
    assert page.count("<table") == page.count("</table>")


def test_the_headings_are_the_standard_terms(tables: Tables) -> None:
    page = evaluation_page(evaluate_hostile(tables), title="phantoms", figures={})

    assert re.findall(r"<h2[^>]*>([^<]+)</h2>", page) == [
        "Studies",
        "Discrimination",
        "Calibration",
        "Operating points",
        "Predictive values at stated prevalences",
        "RSNA 2022 challenge loss",
        "Level confusion matrix",
        "Decision curve analysis",
        "Subgroup analysis",
        "Reporting guidelines (CLAIM, TRIPOD+AI)",
    ]


def test_guideline_items_depend_on_what_the_report_shows(tables: Tables) -> None:
    result = evaluate_hostile(tables)

    with_failures, without = (guideline_items(result, has_failures=flag) for flag in (True, False))

    assert {item.reported for item in with_failures} == {"yes", "in part", "no"}
    changed = [one.number for one, other in zip(with_failures, without, strict=True) if one != other]
    assert changed == ["37"]
