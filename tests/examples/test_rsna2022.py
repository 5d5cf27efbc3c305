"""The example notebook is its script, and runs on a challenge with the oddities of the real one."""

import ast
import json
from pathlib import Path
from typing import Any

import nbclient
import nbformat
import pandas as pd
import pytest
import torch
from scripts.make_notebooks import EXAMPLES, notebook_of
from tests.support.layouts import write_odd_challenge

from cspine.training.baseline.settings import BaselineTrainSettings
from cspine.training.devices import check_precision
from cspine.training.levels.settings import LevelTrainSettings


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_is_its_script_without_outputs(script: Path) -> None:
    notebook = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))

    assert notebook == notebook_of(script.read_text(encoding="utf-8")), "run python -m scripts.make_notebooks"
    nbformat.validate(nbformat.from_dict(notebook))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize(
    ("network", "gpu", "has_bfloat16", "precision"),
    [
        ("levels", "Tesla T4", False, "16-mixed"),  # Kaggle's
        ("levels", "NVIDIA A100", True, None),
        ("levels", None, False, None),
        ("baseline-cnn", "Tesla T4", False, None),  # trains in 32 bits anyway
    ],
)
def test_the_precision_is_one_that_the_gpu_has(
    monkeypatch: pytest.MonkeyPatch, network: str, gpu: str | None, has_bfloat16: bool, precision: str | None
) -> None:
    def is_bf16_supported(including_emulation: bool = True) -> bool:
        return has_bfloat16 or including_emulation  # PyTorch emulates it on a T4

    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu is not None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_bf16_supported)
    script = ast.parse((EXAMPLES / "rsna2022.py").read_text(encoding="utf-8"))
    functions: list[ast.stmt] = [
        each for each in script.body if isinstance(each, ast.FunctionDef) and each.name == "precision_options"
    ]
    names: dict[str, Any] = {"torch": torch}
    exec(compile(ast.Module(functions, []), "rsna2022.py", "exec"), names)

    options = names["precision_options"](network)

    assert options == ({} if precision is None else {"precision": precision})
    defaults = {"levels": LevelTrainSettings, "baseline-cnn": BaselineTrainSettings}[network]()
    check_precision(options.get("precision", defaults.precision), gpu or "CPU")  # does not refuse


def test_the_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write_odd_challenge(tmp_path / "rsna")
    settings = {"DATA": data, "OUT": tmp_path, "NETWORK": "baseline-cnn", "EPOCHS": 1, "WORKERS": 1}
    for name, value in settings.items():
        monkeypatch.setenv(f"RSNA_{name}", str(value))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    notebook = nbformat.read(EXAMPLES / "rsna2022.ipynb", as_version=4)  # type: ignore[no-untyped-call]

    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()

    outputs = "".join(
        output.get("text", "") for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs
    )
    assert "20 studies compiled now, 0 before, 0 failed" in outputs
    assert "16 rows of 2 studies; without images: 0" in outputs
    assert "Research use only" in outputs
    pictures = [
        output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs if "data" in output
    ]
    assert sum("image/png" in output["data"] for output in pictures) == 2  # a compiled study, and learning curves
    assert len(pd.read_csv(tmp_path / "submission.csv")) == 16
    assert (tmp_path / "evaluation" / "evaluation.html").is_file()
