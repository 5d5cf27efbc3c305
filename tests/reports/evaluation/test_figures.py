"""The figures of an evaluation."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cspine.core.columns import MARK_COLUMNS
from cspine.datasets.lesion_reference import Mark
from cspine.datasets.reference_standard import ReferenceStandard
from cspine.evaluation.evaluate import EvaluationResult, EvaluationSettings, evaluate
from cspine.evaluation.predictions import Predictions
from cspine.plots import figure_style
from cspine.reports.evaluation.figures import evaluation_figures

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
NAMES = {"roc.png", "reliability.png", "decision.png", "froc.png", "subgroups.png"}


class OneLesion:
    """A lesion reference with one located fracture: C2 of study 1.1."""

    hit_criterion = "in C2 of study 1.1"

    def targets(self, study: str) -> tuple[str, ...] | None:
        return ("C2",) if study == "1.1" else ()

    def hit(self, mark: Mark) -> str | None:
        return "C2" if (mark.study, mark.level) == ("1.1", "C2") else None


def evaluate_models(tables: Tables, n_models: int, *, is_phantom: bool = True) -> EvaluationResult:
    labels, probability = tables(60)
    mark = ("1.1", "C2", 0.9, 0.0, 0.0, 0.0, np.nan, np.nan, np.nan)
    marks = pd.DataFrame([mark], columns=list(MARK_COLUMNS))
    reference = ReferenceStandard(
        "synthetic",
        labels,
        pd.Series(labels.index, index=labels.index),
        lesions=OneLesion(),
        subgroups=pd.DataFrame({"site": ["a", "b"] * 30}, index=labels.index),
        is_phantom=is_phantom,
    )
    models = [Predictions(f"model {number}", probability ** (1 + number), marks=marks) for number in range(n_models)]
    return evaluate(reference, models, EvaluationSettings(n_resamples=100))


@pytest.mark.parametrize("n_models", [1, 3])
def test_every_figure_is_drawn_with_its_disclaimer(tables: Tables, tmp_path: Path, n_models: int) -> None:
    figures = evaluation_figures(evaluate_models(tables, n_models))

    assert set(figures) == NAMES
    for name, figure in figures.items():
        figure_style.save_figure(figure, tmp_path / name)
        with Image.open(tmp_path / name) as image:
            assert min(image.size) > 300
            assert len(np.unique(np.asarray(image.convert("L")))) > 20
        assert "Research use only" in figure.get_supxlabel()
        assert "Phantom data: not clinical accuracy" in figure.get_supxlabel()
    assert {path.name for path in tmp_path.iterdir()} == NAMES


def test_figures_of_patients_do_not_mention_phantoms(tables: Tables) -> None:
    for figure in evaluation_figures(evaluate_models(tables, 1, is_phantom=False)).values():
        assert "hantom" not in figure.get_supxlabel()


def test_the_legend_of_the_roc_curves_omits_targets_without_auc(tables: Tables) -> None:
    labels, probability = tables(60)
    reference = ReferenceStandard("synthetic", labels.assign(C3=0), pd.Series(labels.index, index=labels.index))
    result = evaluate(reference, [Predictions("a", probability)], EvaluationSettings(n_resamples=100))

    figures = evaluation_figures(result)

    legend = figures["roc.png"].axes[0].get_legend()
    assert legend is not None
    names = [text.get_text() for text in legend.get_texts()]
    assert names[0] == f"patient  {result.models[0].target('patient_overall').auc.value:.2f}"
    assert not [name for name in names if name.startswith("C3")]
    assert "froc.png" not in figures
