"""The tables of docs/benchmarks.md come out of run folders."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.tables import BLOCK, PAGE, fill, keep, kept_tables

from cspine.reports.evaluation.sections import Table

TABLE = Table(("what", "found"), (("speed", "1.5"), ("a | b", "2")))


def names() -> list[str]:
    return [name for name, *_ in BLOCK.findall(PAGE.read_text(encoding="utf-8"))]


def test_every_table_of_the_page_is_made_by_a_benchmark() -> None:
    page = PAGE.read_text(encoding="utf-8")
    outside = BLOCK.sub("", page)
    sources = "".join(file.read_text(encoding="utf-8") for file in PAGE.parents[1].glob("benchmarks/*.py"))

    assert not [line for line in outside.splitlines() if line.startswith("|")]
    assert len(names()) == len(set(names())) > 10
    for name in names():
        stem = name.split("-", maxsplit=1)[0]
        assert f'"{name}"' in sources or f'f"{stem}-' in sources


def test_a_run_folder_sets_the_page_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- table one -->\n\nold\n\n<!-- end -->\n\n<!-- table two -->\n\nkept\n\n<!-- end -->\n")
    keep(tmp_path / "runs" / "first", "one", TABLE)
    assert "| speed | 1.5 |" in capsys.readouterr().out
    command = [sys.executable, "-m", "benchmarks.tables", str(tmp_path / "runs"), "--page", str(page)]

    stale = subprocess.run([*command, "--check"], check=False, capture_output=True, text=True)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    again = subprocess.run([*command, "--check"], check=False, capture_output=True, text=True)

    assert stale.returncode == 1
    assert "in one" in stale.stderr
    assert (done.returncode, again.returncode) == (0, 0)
    assert "not run: two" in done.stdout
    told = page.read_text()
    assert "old" not in told
    assert "| a \\| b | 2 |" in told
    assert "kept" in told


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no tables"):
        kept_tables(tmp_path)
    with pytest.raises(ValueError, match="no place for other"):
        fill("<!-- table one -->\n<!-- end -->\n", {"other": "| x |\n"})
    for run in ("a", "b"):
        keep(tmp_path / run, "one", TABLE)
    with pytest.raises(ValueError, match="another run below"):
        kept_tables(tmp_path)
