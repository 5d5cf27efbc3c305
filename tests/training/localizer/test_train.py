"""Training of a localizer by the command."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cspine.cli import app
from cspine.localization.cascade.networks import OUTPUTS
from cspine.models.metadata import LocalizerMetadata
from cspine.models.weights import load_weights
from cspine.phantom import PhantomSettings, synthesize

SMALL = PhantomSettings(matrix=96, slice_spacing_mm=(2.0, 2.0), tilt_fraction=0.0, truncated_fraction=0.0)


def test_command_trains_a_localizer_and_resumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "data"
    synthesize(data, studies=1, seed=4, settings=SMALL)
    command = [
        "train", "--model", "localizer", "--data", str(data), "--out", str(tmp_path / "run"), "--phantoms", "2",
        "--epochs", "1", "--batch-size", "2", "--precision", "32-true",
    ]  # fmt: skip

    done = CliRunner().invoke(app, command)

    assert done.exit_code == 0, done.output
    weights = load_weights(LocalizerMetadata, tmp_path / "run" / "run" / "weights.onnx")
    assert weights.metadata.phantom_only
    assert {"C1", "C7"} <= set(weights.metadata.occupancy_templates)
    assert set(weights.outputs) == set(OUTPUTS)
    monkeypatch.setattr("cspine.training.localizer.train.export_onnx", lambda *_: None)  # it is exported already
    again = CliRunner().invoke(app, command)
    assert again.exit_code == 0, again.output
    assert "resumed from epoch 1" in again.output
