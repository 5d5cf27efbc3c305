"""The page of an evaluation."""

import io
import re
from collections.abc import Callable

import pandas as pd
from PIL import Image

from cspine.datasets.reference_standard import FRACTURE_COLUMNS, ReferenceStandard
from cspine.evaluation.evaluate import EvaluationSettings, judge
from cspine.evaluation.failures import worst_failures
from cspine.evaluation.predictions import Predictions
from cspine.reports.evaluation.page import ShownFailure, evaluation_page

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
HOSTILE = "<script>alert(1)</script>"


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def test_the_page_is_whole_inert_and_says_what_it_is_not(tables: Tables) -> None:
    labels, said = tables(60)
    broken = labels.index[labels["C7"] > 0][0]
    fractures = pd.DataFrame([(broken, "C7", HOSTILE, "clear")], columns=list(FRACTURE_COLUMNS))
    truth = ReferenceStandard(HOSTILE, labels, pd.Series(labels.index, index=labels.index), fractures, is_phantom=True)
    result = judge(truth, [Predictions(HOSTILE, said)], EvaluationSettings(draws=100))
    failures = worst_failures(truth, result.cases[HOSTILE], 60)

    page = evaluation_page(
        result,
        title=HOSTILE,
        figures={"roc.png": _png()},
        failures=[ShownFailure(failure, None) for failure in failures],
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


def test_failures_are_the_most_wrong_ones(tables: Tables) -> None:
    labels, said = tables(60)
    truth = ReferenceStandard("made up", labels, pd.Series(labels.index, index=labels.index))
    cases = judge(truth, [Predictions("a", said)], EvaluationSettings(draws=100)).cases["a"]

    found = worst_failures(truth, cases, 3)

    alarms, misses = found[:3], found[3:]
    assert not any(failure.fractured for failure in alarms)
    assert all(failure.fractured for failure in misses)
    whole, broken = (
        [
            said.loc[study, level]
            for study in labels.index
            for level in labels.columns[1:]
            if labels.loc[study, level] == y
        ]
        for y in (0, 1)
    )
    assert [failure.probability for failure in alarms] == sorted(whole)[::-1][:3]
    assert [failure.probability for failure in misses] == sorted(broken)[:3]
    assert found[0].caption.startswith(f"{found[0].level}, whole, called ")
