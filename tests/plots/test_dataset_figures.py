"""Figures of data sets and training runs: content, disclaimer, and errors."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cspine.core.errors import InputError, OutputError
from cspine.datasets.summary import summarize_labels
from cspine.plots import dataset_figures as figures
from cspine.plots.figure_style import save_figure
from cspine.plots.training_figures import learning_curves_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Tables = Callable[..., tuple[pd.DataFrame, pd.DataFrame]]
GEOMETRY = pd.DataFrame(
    {"slices": [1, 2], "slice_spacing_mm": [1.0, 1.1], "pixel_spacing_mm": [0.3, None], "slice_thickness_mm": None}
)
NAMES = ["labels", "cooccurrence", "geometry", "curves"]


def draw(name: str, tables: Tables, *, is_phantom: bool) -> "Figure":
    truth, _ = tables()
    curve = pd.DataFrame({"epoch": [1, 2, 3], "train_loss": [0.7, 0.5, 0.4], "val_loss": [0.7, 0.6, 0.65]})
    builders: dict[str, Callable[[], Figure]] = {
        "labels": lambda: figures.labels_figure(truth, is_phantom=is_phantom),
        "cooccurrence": lambda: figures.cooccurrence_figure(
            summarize_labels(truth).cooccurrence, is_phantom=is_phantom
        ),
        "geometry": lambda: figures.geometry_figure(GEOMETRY, is_phantom=is_phantom),
        "curves": lambda: learning_curves_figure(curve, title="a run", is_phantom=is_phantom),
    }
    return builders[name]()


@pytest.mark.parametrize("name", NAMES)
def test_figure_is_written_as_png(name: str, tables: Tables, tmp_path: Path) -> None:
    save_figure(draw(name, tables, is_phantom=True), tmp_path / "a.png")

    with Image.open(tmp_path / "a.png") as image:
        assert min(image.size) > 300
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize("name", NAMES)
def test_figure_has_disclaimer(name: str, tables: Tables) -> None:
    real, phantom = (draw(name, tables, is_phantom=is_phantom).get_supxlabel() for is_phantom in (False, True))

    assert "Research use only" in real
    assert "Phantom" not in real
    assert "Phantom data: not clinical accuracy" in phantom


def test_bars_are_labeled_with_percent_and_count(challenge: pd.DataFrame) -> None:
    texts = [text.get_text() for text in figures.labels_figure(challenge, is_phantom=False).axes[0].texts]

    assert texts[0] == "47.6 %\n961"
    assert texts[3] == "3.6 %\n73"


def test_missing_geometry_is_stated_or_raises() -> None:
    shown = [
        text.get_text() for axes in figures.geometry_figure(GEOMETRY, is_phantom=False).axes for text in axes.texts
    ]

    assert shown == ["not stated"]
    with pytest.raises(InputError, match="none of the columns slices"):
        figures.geometry_figure(pd.DataFrame({"reason": ["x"]}), is_phantom=False)


def test_unwritable_path_raises(tables: Tables, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot be written"):
        save_figure(draw("labels", tables, is_phantom=False), tmp_path / "file" / "a.png")
