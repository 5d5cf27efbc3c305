"""Wrong levels and types of virtual fractures are one sentence, before anything is read."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from cspine.cli import app


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("--levels", "T1", "--levels: levels are C1 to C7"),
        ("--levels", "C2:often", "--levels C2:often: is no frequency"),
        ("--types", "chip", "--types: there is no fracture type chip; types are posterior arch"),
    ],
)
def test_unknown_levels_and_types_are_errors(tmp_path: Path, option: str, value: str, sentence: str) -> None:
    arguments = ["insert", str(tmp_path), "--out", str(tmp_path / "out"), option, value]

    result = CliRunner().invoke(app, arguments)

    assert result.exit_code == 2
    assert sentence in " ".join(result.output.split())
    assert not (tmp_path / "out").exists()
