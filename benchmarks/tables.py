"""Fill the tables of docs/benchmarks.md, docs/real-ct.md and docs/reliability.md from the run folders of benchmarks.

Every benchmark saves its tables below its ``--work`` folder as ``tables/NAME.md``. In a page, each table stands
between ``<!-- table NAME -->`` and ``<!-- end -->``. Tables found anywhere below the run folder are replaced; the
others stay as they are.

Run: ``python -m benchmarks.tables RUNS``; with ``--check`` it only fails if the pages and the runs differ.
"""

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cspine.core.files import write_text
from cspine.reports.evaluation.markdown import table_lines
from cspine.reports.evaluation.sections import Table

_DOCS: Final = Path(__file__).parents[1] / "docs"
PAGE: Final = _DOCS / "benchmarks.md"
PAGES: Final = (PAGE, _DOCS / "real-ct.md", _DOCS / "reliability.md")
"""Pages with tables; every table has a place in one of them."""

TABLES_FOLDER: Final = "tables"

BLOCK: Final = re.compile(r"(?<=<!-- table )([\w-]+)( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)
"""A table of the page: its name, the end of its marker, and its present text."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="run folder of one benchmark, or a folder that holds several")
    parser.add_argument("--page", type=Path, nargs="+", default=list(PAGES), help="pages that hold the tables")
    parser.add_argument("--check", action="store_true", help="change nothing; fail if a page differs from the runs")
    options = parser.parse_args()
    try:
        tables = load_tables(options.runs)
        before = {page: page.read_text(encoding="utf-8") for page in options.page}
        after = fill_pages(before, tables)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    text = "".join(before.values())
    changed = sorted(name for name, table in tables.items() if f"<!-- table {name} -->\n\n{table}\n" not in text)
    if options.check and changed:
        pages = ", ".join(map(str, options.page))
        sys.exit(f"{pages}: differ from {options.runs} in {', '.join(changed)}")
    for page, filled in after.items():
        if not options.check and filled != before[page]:
            write_text(page, filled)
    missing = sorted({name for name, *_ in BLOCK.findall(text)} - set(tables))
    print(f"{len(tables)} tables of {options.runs}, {len(changed)} changed; not run: {', '.join(missing) or 'none'}")


def save_table(work: Path, name: str, table: Table | str) -> None:
    """Save a table in a run folder and print it.

    Parameters
    ----------
    work : Path
        Run folder of the benchmark.
    name : str
        Name of the table in the page.
    table : Table or str
        The table, or Markdown that holds one.
    """
    text = table if isinstance(table, str) else "\n".join(table_lines(table)) + "\n"
    (work / TABLES_FOLDER).mkdir(parents=True, exist_ok=True)
    write_text(work / TABLES_FOLDER / f"{name}.md", text)
    sys.stdout.write(f"\n{name}\n\n{text}")


def load_tables(runs: Path) -> dict[str, str]:
    """Load all tables below a folder.

    Parameters
    ----------
    runs : Path
        Run folder of one benchmark, or a folder that holds several.

    Returns
    -------
    dict of str to str
        Name of each table to its Markdown.

    Raises
    ------
    ValueError
        The folder holds no table, or two runs hold the same one.
    """
    tables: dict[str, str] = {}
    for path in sorted(runs.rglob(f"{TABLES_FOLDER}/*.md")):
        if path.stem in tables:
            raise ValueError(f"{path}: another run below {runs} holds this table too; name the folder of one")
        tables[path.stem] = path.read_text(encoding="utf-8")
    if not tables:
        raise ValueError(f"{runs}: holds no tables; run a benchmark with --work {runs} first")
    return tables


def fill_pages(pages: Mapping[Path, str], tables: Mapping[str, str]) -> dict[Path, str]:
    """Return pages with their tables replaced.

    Parameters
    ----------
    pages : dict of Path to str
        Markdown with table markers.
    tables : dict of str to str
        Name of each new table to its Markdown; tables of the pages that are not among them stay.

    Raises
    ------
    ValueError
        No page has a marker for one of the tables.
    """
    names = {name for page in pages.values() for name, *_ in BLOCK.findall(page)}
    missing = sorted(set(tables) - names)
    if missing:
        raise ValueError(
            f"the pages have no place for {', '.join(missing)}; put '<!-- table NAME -->' and '<!-- end -->' into one"
        )

    def replacement(block: re.Match[str]) -> str:
        name, marker_end, before = block.groups()
        return f"{name}{marker_end}" + (f"\n{tables[name]}\n" if name in tables else before)

    return {path: BLOCK.sub(replacement, page) for path, page in pages.items()}


def join_columns(left: Sequence[tuple[str, ...]], right: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Join two lists of rows side by side, with an empty column between them.

    >>> join_columns([("a", "1"), ("b", "2")], [("c", "3")])
    (('a', '1', '', 'c', '3'), ('b', '2', '', '', ''))
    """
    height = max(len(left), len(right))
    widths = [len(rows[0]) if rows else 0 for rows in (left, right)]
    padded = [
        [*rows, *[("",) * width] * (height - len(rows))] for rows, width in zip((left, right), widths, strict=True)
    ]
    return tuple((*one, "", *other) for one, other in zip(*padded, strict=True))


if __name__ == "__main__":
    main()
