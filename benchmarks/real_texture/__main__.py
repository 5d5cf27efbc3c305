"""Judge level networks on real bone: alarms on intact necks, and virtual fractures in them.

Run: ``python -m benchmarks.real_texture --out DIR [--weights FILE] [--held-out FILE]``; an interrupted run resumes.
Views are compiled once for a localizer and settings of views; further networks are evaluated on them in seconds. Real
scans are those below ``--real``, or the folder that ``CSPINE_REAL_DATA`` names. Tables go to standard output and
``DIR/tables``, all numbers to ``DIR/real-texture.json`` and, by the hash of the network, to ``DIR/results``;
``python -m benchmarks.tables DIR`` puts the tables into the documentation.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.localization.report import requirement_table
from benchmarks.localization.scans import REAL_DATA
from benchmarks.progress import log_progress
from benchmarks.real_texture.evaluate import evaluate_run
from benchmarks.real_texture.pictures import gallery, write_pictures
from benchmarks.real_texture.report import (
    EARLIER,
    Results,
    group_table,
    intact_table,
    level_table,
    overall_table,
    to_requirements,
    variant_table,
)
from benchmarks.real_texture.run import COPIES, TextureRun
from benchmarks.real_texture.views import prepare
from benchmarks.tables import save_table
from cspine.core.files import read_json, write_json

PICTURES = "img/real-texture"
"""Folder of the pictures that the documentation shows, relative to its pages."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", "--work", type=Path, required=True, help="run folder")
    parser.add_argument("--weights", type=Path, nargs="+", default=[], help="level network, or members of an ensemble")
    parser.add_argument("--held-out", type=Path, help="JSON of the names of scans to level networks without them")
    parser.add_argument("--localizer", help="name or ONNX file of a localizer; the embedded one if omitted")
    parser.add_argument("--held-out-localizers", type=Path, help="the same of localizers")
    parser.add_argument("--real", type=Path, default=os.environ.get(REAL_DATA) or None, help="folder of real CT")
    parser.add_argument("--copies", type=int, default=COPIES, help="virtual studies with fractures of each neck")
    parser.add_argument("--tta", action="store_true", help="test-time augmentation by the left-right flip")
    parser.add_argument("--earlier", type=Path, default=EARLIER, help="results beside which the tables are set")
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="also draw the worst cases, into this folder")
    parser.add_argument("--workers", type=int, default=1, help="number of processes that compile")
    options = parser.parse_args()
    if options.real is None:
        sys.exit(f"there are no scans; name a folder of real CT by --real or {REAL_DATA}")
    run = TextureRun(
        options.out,
        options.real,
        tuple(options.weights),
        _read(options.held_out),
        options.localizer,
        _read(options.held_out_localizers),
        options.copies,
        options.tta,
    )
    progress = log_progress(options.out / "progress.log")
    prepare(run, workers=options.workers, progress=progress)
    results = evaluate_run(run, progress=progress)
    write_json(options.out / "real-texture.json", results)
    networks = "-".join(sorted({sha256[:12] for sha256 in results["weights"].values()}))
    write_json(options.out / "results" / f"{networks}{'-tta' * run.tta}.json", results)
    save_tables(options.out, results, read_json(options.earlier) if options.earlier.is_file() else {})
    if options.pictures is not None:
        save_table(options.out, "real-texture-pictures", gallery(write_pictures(run, options.pictures), PICTURES))


def _read(path: Path | None) -> dict[str, Any]:
    return dict(read_json(path)) if path else {}


def save_tables(out: Path, results: Results, earlier: Results) -> None:
    """Save and print the tables of a run."""
    save_table(out, "real-texture-intact", intact_table(results, earlier))
    save_table(out, "real-texture-levels", level_table(results))
    save_table(out, "real-texture-variants", variant_table(results))
    if results["virtual"]:
        save_table(out, "real-texture-fractures", group_table(results, earlier))
        save_table(out, "real-texture-shams", overall_table(results, earlier))
    save_table(out, "real-texture-must-hold", requirement_table(to_requirements(results), earlier))


if __name__ == "__main__":
    main()
