"""The example notebook is its script, and runs on a challenge with the oddities of the real one."""

import json
from pathlib import Path

import nbclient
import nbformat
import pandas as pd
import pytest
from scripts.make_notebooks import EXAMPLES, notebook_of
from tests.support.layouts import write_odd_challenge


@pytest.mark.parametrize("script", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_a_notebook_is_its_script_without_outputs(script: Path) -> None:
    notebook = json.loads(script.with_suffix(".ipynb").read_text(encoding="utf-8"))

    assert notebook == notebook_of(script.read_text(encoding="utf-8")), "run python -m scripts.make_notebooks"
    nbformat.validate(nbformat.from_dict(notebook))  # type: ignore[no-untyped-call]


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
