"""Run the benchmark of the localizer: real CT, phantoms, speed and memory, pictures.

Run: ``python -m benchmarks.localization --out DIR``; an interrupted run resumes. Real scans are those below ``--real``,
or the folder that ``CSPINE_REAL_DATA`` names. Tables go to standard output and ``DIR/tables``, all numbers to
``DIR/localization.json``; ``python -m benchmarks.tables DIR`` puts the tables into the documentation.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.localization.must_hold import check_phantoms, check_real
from benchmarks.localization.phantoms import DEVELOPMENT_SEED, PhantomRun, read_phantom_scores, run_phantoms
from benchmarks.localization.pictures import write_pictures
from benchmarks.localization.rates import summarize
from benchmarks.localization.real import RealRun, read_scores, run_real
from benchmarks.localization.reliability import save_reliability
from benchmarks.localization.report import (
    EARLIER,
    fraction_table,
    gallery,
    planning_table,
    rate_table,
    requirement_table,
    scan_table,
    summary_table,
    to_json,
    variant_table,
)
from benchmarks.localization.scans import REAL_DATA, REAL_SCANS
from benchmarks.localization.scoring import CaseScore
from benchmarks.localization.truth import REFERENCE
from benchmarks.progress import log_progress
from benchmarks.tables import save_table
from cspine.core.files import read_json, write_json
from cspine.localization.loading import load_localizer
from cspine.phantom.body.settings import OTHER_KINDS
from cspine.reports.evaluation.sections import Table
from cspine.spine.spine_map import MIN_COMPLETE_FRACTION, MIN_PARTIAL_FRACTION

LARGER_FRACTIONS = (0.2, 0.5, MIN_COMPLETE_FRACTION)
"""Scanned fractions from which on vertebrae have to be named, for a table beside the requirements, which are of
`MIN_PARTIAL_FRACTION`."""

HELD_OUT_TABLES, TRAINED_ON_TABLES = "real", "shipped"
"""Part of the names of tables of real scans: with ``--held-out``, and of a localizer that was trained on them."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", "--work", type=Path, required=True, help="run folder")
    parser.add_argument("--localizer", help="name or ONNX file of a localizer; the embedded one if omitted")
    parser.add_argument(
        "--held-out", type=Path, help="JSON of the names of scans that took part in training to localizers without them"
    )
    parser.add_argument("--real", type=Path, default=os.environ.get(REAL_DATA) or None, help="folder of real CT")
    parser.add_argument("--variants", nargs="+", help="variants of real scans to run; all if omitted")
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="vertebrae that a reader saw in real CT")
    parser.add_argument("--earlier", type=Path, default=EARLIER, help="results beside which the tables are set")
    parser.add_argument("--phantoms", type=int, default=0, metavar="N", help="number of body phantoms; none if omitted")
    parser.add_argument("--seed", type=int, default=DEVELOPMENT_SEED, help="seed of the phantoms (see `phantoms.py`)")
    parser.add_argument(
        "--kinds", nargs="+", choices=OTHER_KINDS, default=[], help="kinds of phantoms; those of the domain if omitted"
    )
    parser.add_argument("--pictures", type=Path, metavar="DIR", help="also draw every real scan, into this folder")
    parser.add_argument("--workers", type=int, default=1, help="number of processes")
    options = parser.parse_args()
    if options.real is None and not options.phantoms:
        sys.exit(f"nothing to do; name a folder of real CT by --real or {REAL_DATA}, or give --phantoms")
    earlier = read_json(options.earlier) if options.earlier.is_file() else {}
    results: dict[str, Any] = {"localizer": load_localizer(options.localizer).sha256}
    if options.real is not None:
        results["real"] = evaluate_real(options, earlier.get("real", {}))
    if options.phantoms:
        results["phantoms"] = evaluate_phantoms(options, earlier.get("phantoms", {}))
    write_json(options.out / "localization.json", results)


def evaluate_real(options: argparse.Namespace, earlier: dict[str, Any]) -> dict[str, Any]:
    """Run real scans and save their tables; return their results."""
    held_out = read_json(options.held_out) if options.held_out else {}
    variants = frozenset(options.variants) if options.variants else None
    run = RealRun(options.out, options.real, options.localizer, options.reference, variants, held_out)
    run_real(run, workers=options.workers, progress=log_progress(options.out / "progress.log"))
    scores = read_scores(run)
    requirements = check_real(scores)
    pooled = {f"{kind}s": summarize(group) for kind, group in group_by_kind(scores).items()}
    by_variant = {
        f"{kind}s, {variant}": summarize(group)
        for kind, scans in group_by_kind(scores).items()
        for variant, group in group_by_variant(scans).items()
    }
    tables: dict[str, Table | str] = {
        "must-hold": requirement_table(requirements, earlier),
        "summary": summary_table(pooled, earlier),
        "rates": rate_table(by_variant, earlier),
        "scans": scan_table(scores, earlier),
        "variants": variant_table(scores, earlier),
        "planning": planning_table(scores, earlier),
    }
    if not held_out:  # pictures are of the shipped localizer
        tables["pictures"] = gallery(scores, earlier, "img/real-ct")
    kind = HELD_OUT_TABLES if held_out else TRAINED_ON_TABLES
    for name, table in tables.items():
        save_table(options.out, f"localization-{kind}-{name}", table)
    if options.pictures is not None:
        write_pictures(run, options.pictures)
    return to_json(scores, requirements, {**pooled, **by_variant})


def evaluate_phantoms(options: argparse.Namespace, earlier: dict[str, Any]) -> dict[str, Any]:
    """Run phantoms and save their tables and the reliability diagram; return their results."""
    run = PhantomRun(options.out, options.phantoms, options.seed, options.localizer, tuple(options.kinds))
    run_phantoms(run, workers=options.workers, progress=log_progress(options.out / "progress.log"))
    scores = read_phantom_scores(run)
    identity = {"seed": run.seed, "n_scans": run.n_scans, "kinds": list(run.kinds)}
    if any({"kinds": [], **earlier}.get(key) != value for key, value in identity.items()):
        earlier = {}  # of other phantoms
    summary, kinds = summarize(scores), group_by_variant(scores)
    by_kind = {kind: summarize(kinds[kind]) for kind in sorted(kinds)}
    requirements = [] if run.kinds else check_phantoms(summary)
    if run.kinds:
        save_table(options.out, "localization-phantoms-other-kinds", rate_table(by_kind, earlier))
    else:
        by_fraction = {MIN_PARTIAL_FRACTION: scores} | {
            each: read_phantom_scores(run, each) for each in LARGER_FRACTIONS
        }
        save_table(options.out, "localization-phantoms-must-hold", requirement_table(requirements, earlier))
        save_table(options.out, "localization-phantoms-summary", summary_table({"phantoms": summary}, earlier))
        save_table(options.out, "localization-phantoms-kinds", rate_table(by_kind, earlier))
        save_table(options.out, "localization-phantoms-scanned", fraction_table(by_fraction))
        save_reliability(scores, options.out / "localization-reliability.png")
    return {**identity, **to_json(scores, requirements, {"phantoms": summary, **by_kind})}


def group_by_kind(scores: Sequence[CaseScore]) -> dict[str, list[CaseScore]]:
    """Return the scores of each kind of scan."""
    kinds = {scan.name: str(scan.kind) for scan in REAL_SCANS}
    groups: dict[str, list[CaseScore]] = {}
    for score in scores:
        groups.setdefault(kinds[score.scan], []).append(score)
    return groups


def group_by_variant(scores: Sequence[CaseScore]) -> dict[str, list[CaseScore]]:
    """Return the scores of each variant."""
    groups: dict[str, list[CaseScore]] = {}
    for score in scores:
        groups.setdefault(score.kind, []).append(score)
    return groups


if __name__ == "__main__":
    main()
