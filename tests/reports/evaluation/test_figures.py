"""The pictures of a judgement."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cspine.core.columns import MARK_COLUMNS
from cspine.datasets.lesion_reference import Mark
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.evaluate import EvaluationResult, EvaluationSettings, judge
from cspine.evaluation.predictions import Predictions
from cspine.plots import figure_style as canvas
from cspine.reports.evaluation.figures import judged_figures

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
NAMES = {"roc.png", "reliability.png", "decision.png", "froc.png", "subgroups.png"}


class _AtZero:
    told = "where x is 0"

    def targets(self, study: str) -> tuple[str, ...] | None:
        return ("C2",) if study == "1.1" else ()

    def hit(self, mark: Mark) -> str | None:
        return "C2" if (mark.study, mark.level) == ("1.1", "C2") else None


def judged(tables: Tables, systems: int, *, phantom: bool = True) -> EvaluationResult:
    labels, said = tables(60)
    row = ("1.1", "C2", 0.9, 0.0, 0.0, 0.0, np.nan, np.nan, np.nan)
    marks = pd.DataFrame([row], columns=list(MARK_COLUMNS))
    groups = pd.DataFrame({"site": ["a", "b"] * 30}, index=labels.index)
    patients = pd.Series(labels.index, index=labels.index)
    truth = ReferenceStandard("made up", labels, patients, places=_AtZero(), groups=groups, is_phantom=phantom)
    answers = [Predictions(f"system {number}", said ** (1 + number), marks=marks) for number in range(systems)]
    return judge(truth, answers, EvaluationSettings(draws=100))


@pytest.mark.parametrize("systems", [1, 3])
def test_every_figure_is_drawn_and_says_what_it_is_not(tables: Tables, tmp_path: Path, systems: int) -> None:
    figures = judged_figures(judged(tables, systems))

    assert set(figures) == NAMES
    for name, figure in figures.items():
        canvas.save_figure(figure, tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 300
            assert len(np.unique(np.asarray(image.convert("L")))) > 20
        assert "Research use only" in figure.get_supxlabel()
        assert "Phantom data: not clinical accuracy" in figure.get_supxlabel()
    assert {path.name for path in tmp_path.iterdir()} == NAMES


def test_figures_of_patients_do_not_speak_of_phantoms(tables: Tables) -> None:
    for figure in judged_figures(judged(tables, 1, phantom=False)).values():
        assert "hantom" not in figure.get_supxlabel()


def test_the_legend_tells_areas_and_leaves_out_what_has_none(tables: Tables) -> None:
    labels, said = tables(60)
    truth = ReferenceStandard("made up", labels.assign(C3=0), pd.Series(labels.index, index=labels.index))
    result = judge(truth, [Predictions("a", said)], EvaluationSettings(draws=100))

    legend = judged_figures(result)["roc.png"].axes[0].get_legend()

    assert legend is not None
    shown = [text.get_text() for text in legend.get_texts()]
    assert shown[0] == f"patient  {result.systems[0].row('patient_overall').auc.value:.2f}"
    assert not [name for name in shown if name.startswith("C3")]
    assert "froc.png" not in judged_figures(result)
