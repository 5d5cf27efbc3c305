"""The tables of docs/benchmarks.md, from what the benchmarks left in a run folder.

Every benchmark keeps its tables under its ``--work`` as ``tables/NAME.md``. In the page, each table stands between
``<!-- table NAME -->`` and ``<!-- end -->``; those that the run folder holds, wherever below it, are set anew, and the
others stay as they are.

Run: ``python -m benchmarks.tables RUNS`` (or ``--check``, to learn whether the page says what the runs do).
"""

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cspine.core.files import write_text
from cspine.reports.evaluation.markdown import table_lines
from cspine.reports.evaluation.sections import Table

PAGE: Final = Path(__file__).parents[1] / "docs" / "benchmarks.md"
KEPT: Final = "tables"

BLOCK: Final = re.compile(r"(?<=<!-- table )([\w-]+)( -->\n)(.*?)(?=<!-- end -->)", re.DOTALL)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, help="a folder with the work of one benchmark or of many")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--check", action="store_true", help="change nothing; fail where the page differs")
    options = parser.parse_args()
    try:
        kept = kept_tables(options.runs)
        before = options.page.read_text(encoding="utf-8")
        after = fill(before, kept)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    changed = sorted(name for name, table in kept.items() if f"<!-- table {name} -->\n\n{table}\n" not in before)
    if options.check and changed:
        sys.exit(f"{options.page}: differs from {options.runs} in {', '.join(changed)}")
    if not options.check:
        write_text(options.page, after)
    left = sorted({name for name, *_ in BLOCK.findall(before)} - set(kept))
    print(f"{len(kept)} tables of {options.runs}, {len(changed)} of them new; not run: {', '.join(left) or 'none'}")


def keep(work: Path, name: str, table: Table | str) -> None:
    """Leave a table in a run folder, and show it.

    Parameters
    ----------
    work : Path
        The benchmark's own folder.
    name : str
        Of the table, as the page has it.
    table : Table or str
        Of a single benchmark, or Markdown that holds several.
    """
    text = table if isinstance(table, str) else "\n".join(table_lines(table)) + "\n"
    (work / KEPT).mkdir(parents=True, exist_ok=True)
    write_text(work / KEPT / f"{name}.md", text)
    sys.stdout.write(f"\n{name}\n\n{text}")


def kept_tables(runs: Path) -> dict[str, str]:
    """Return all tables below a folder.

    Raises
    ------
    ValueError
        There is none, or two runs hold the same one.
    """
    found: dict[str, str] = {}
    for path in sorted(runs.rglob(f"{KEPT}/*.md")):
        if path.stem in found:
            raise ValueError(f"{path}: another run below {runs} holds this table too; name the folder of one")
        found[path.stem] = path.read_text(encoding="utf-8")
    if not found:
        raise ValueError(f"{runs}: holds no tables; run a benchmark with --work {runs} first")
    return found


def fill(page: str, kept: dict[str, str]) -> str:
    """Return a page with its tables set anew.

    Raises
    ------
    ValueError
        A table has no place in the page.
    """
    places = [name for name, *_ in BLOCK.findall(page)]
    lost = sorted(set(kept) - set(places))
    if lost:
        raise ValueError(
            f"the page has no place for {', '.join(lost)}; put '<!-- table NAME -->' and '<!-- end -->' into it"
        )

    def put(found: re.Match[str]) -> str:
        name, rest, before = found.groups()
        return f"{name}{rest}" + (f"\n{kept[name]}\n" if name in kept else before)

    return BLOCK.sub(put, page)


def side_by_side(left: Sequence[tuple[str, ...]], right: Sequence[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """Return two lists of rows as one, an empty column between, to save height.

    >>> side_by_side([("a", "1"), ("b", "2")], [("c", "3")])
    (('a', '1', '', 'c', '3'), ('b', '2', '', '', ''))
    """
    height = max(len(left), len(right))
    wide = [len(rows[0]) if rows else 0 for rows in (left, right)]
    filled = [[*rows, *[("",) * width] * (height - len(rows))] for rows, width in zip((left, right), wide, strict=True)]
    return tuple((*one, "", *other) for one, other in zip(*filled, strict=True))


if __name__ == "__main__":
    main()
