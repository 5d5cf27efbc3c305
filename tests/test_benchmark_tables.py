"""The tables of docs/benchmarks.md and docs/real-ct.md come from run folders."""

import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.baseline import TABLES, read_section_table
from benchmarks.experiments import ABLATION_SECTION, ROBUSTNESS_SECTIONS
from benchmarks.tables import BLOCK, PAGE, PAGES, fill_pages, load_tables, save_table

from cspine.reports.evaluation.sections import Table

TABLE = Table(("measure", "result"), (("speed", "1.5"), ("a | b", "2")))


def _page_tables() -> list[str]:
    return [name for page in PAGES for name, *_ in BLOCK.findall(page.read_text(encoding="utf-8"))]


def test_every_table_of_the_page_is_made_by_a_benchmark_or_a_script() -> None:
    outside = BLOCK.sub("", PAGE.read_text(encoding="utf-8"))
    folders = [PAGE.parents[1] / name for name in ("benchmarks", "scripts")]
    sources = "".join(file.read_text(encoding="utf-8") for folder in folders for file in folder.rglob("*.py"))

    assert not [line for line in outside.splitlines() if line.startswith("|")]
    assert len(_page_tables()) == len(set(_page_tables())) > 10
    for name in _page_tables():
        stem = name.split("-", maxsplit=1)[0]
        assert f'"{name}"' in sources or f'f"{stem}-' in sources


def test_run_folder_replaces_the_tables_of_the_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A\n\n<!-- table one -->\n\nold\n\n<!-- end -->\n\n<!-- table two -->\n\nkept\n\n<!-- end -->\n")
    save_table(tmp_path / "runs" / "first", "one", TABLE)
    assert "| speed | 1.5 |" in capsys.readouterr().out
    command = [sys.executable, "-m", "benchmarks.tables", str(tmp_path / "runs"), "--page", str(page)]

    before = subprocess.run([*command, "--check"], check=False, capture_output=True, text=True)
    filled = subprocess.run(command, check=False, capture_output=True, text=True)
    after = subprocess.run([*command, "--check"], check=False, capture_output=True, text=True)

    assert before.returncode == 1
    assert "in one" in before.stderr
    assert (filled.returncode, after.returncode) == (0, 0)
    assert "not run: two" in filled.stdout
    text = page.read_text()
    assert "old" not in text
    assert "| a \\| b | 2 |" in text
    assert "kept" in text


def test_missing_markers_and_repeated_tables_are_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no tables"):
        load_tables(tmp_path)
    with pytest.raises(ValueError, match="no place for other"):
        fill_pages({tmp_path: "<!-- table one -->\n<!-- end -->\n"}, {"other": "| x |\n"})
    for run in ("a", "b"):
        save_table(tmp_path / run, "one", TABLE)
    with pytest.raises(ValueError, match="another run below"):
        load_tables(tmp_path)


def test_copied_sections_are_headings_of_the_reports() -> None:
    folder = PAGE.parents[1] / "src" / "cspine" / "reports" / "evaluation"
    sources = "".join(file.read_text(encoding="utf-8") for file in folder.glob("*.py"))

    for title in (*TABLES.values(), *ROBUSTNESS_SECTIONS.values(), ABLATION_SECTION):
        assert f'"{title}"' in sources


def test_section_table_is_read_from_a_report(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    report.write_text("# R\n\n## One\n\ntext\n\n| a |\n| --- |\n\n## Two\n\n| b |\n")

    assert read_section_table(report, "One") == "| a |\n| --- |\n"
    with pytest.raises(SystemExit, match="has no section 'Three'"):
        read_section_table(report, "Three")
