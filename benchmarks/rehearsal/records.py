"""Records of many studies without pixels: what lists, resumption, tables and worklists cost, and how that grows.

Each study has the record of a phantom under a key of its own; the folders of DICOM are empty. Every number of studies
is measured in a process of its own. The exponent is the logarithm of the ratio of two times over that of the numbers of
studies: 1 is linear.

Run: by ``python -m benchmarks.rehearsal --parts records``.
"""

import argparse
import csv
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks.processes import run_module
from cspine.core.identifiers import study_key
from cspine.reports.evaluation.sections import Table

_MAX_LINKS: Final = 50_000
"""Names of one file; ext4 allows 65,000."""

STEPS: Final = (
    "list studies", "resume compile and write tables", "resume compile", "read tables", "split", "read findings",
    "write worklist",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--step", choices=STEPS, required=True)
    options = parser.parse_args()
    steps: dict[str, Callable[[Path], None]] = dict(
        zip(
            STEPS,
            (list_studies, resume_compile, resume_compile, read_tables, split, read_findings, write_worklist),
            strict=True,
        )
    )
    begin = time.perf_counter()
    steps[options.step](options.folder)
    seconds = time.perf_counter() - begin
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    peak_kb = int(next(line.split()[1] for line in status if line.startswith("VmHWM")))
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mb": peak_kb * 1024 / 1e6}) + "\n")


def measure_records(work: Path, counts: Sequence[int]) -> Table:
    """Write records of each number of studies, measure every step, and return seconds, exponents and memory."""
    measured: dict[str, list[dict[str, float]]] = {step: [] for step in STEPS}
    for count in counts:
        folder = work / str(count)
        write_records(work, folder, count)
        for step in STEPS:
            measured[step].append(run_module("benchmarks.rehearsal.records", "--folder", folder, "--step", step))
        shutil.rmtree(folder)
    header = ("step", *(f"s: {count:,} studies" for count in counts), "exponent", f"peak MB: {counts[-1]:,}")
    rows = []
    for step, runs in measured.items():
        growth = runs[-1]["seconds"] / runs[-2]["seconds"] if len(runs) > 1 else math.nan
        exponent = math.log(growth) / math.log(counts[-1] / counts[-2]) if len(runs) > 1 else math.nan
        seconds = (f"{run['seconds']:.2f}" for run in runs)
        rows.append((step, *seconds, f"{exponent:.2f}", f"{runs[-1]['peak_mb']:.0f}"))
    return Table(header, tuple(rows))


# --- the records -----------------------------------------------------------------------------------------------------


def write_records(work: Path, folder: Path, count: int) -> None:
    """Write the records of a number of studies: empty folders of DICOM, a compiled set, findings and labels."""
    from cspine.core.files import write_json
    from cspine.datasets.compiled import CompiledDataset

    template = make_template(work / "template")
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "studies" / "train_images").mkdir(parents=True)
    (folder / "predicted").mkdir()
    uids = [f"1.2.826.0.1.3680043.8.498.{10**30 + number}" for number in range(count)]
    labels = next(csv.DictReader((template / "studies" / "train.csv").open(encoding="utf-8")))
    with (folder / "studies" / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(labels))
        writer.writeheader()
        writer.writerows(
            {**labels, "StudyInstanceUID": uid, "C2": number % 5 == 0, "patient_overall": number % 5 == 0}
            | {name: int(number % 5 == 0) for name in ("C2", "patient_overall")}
            for number, uid in enumerate(uids)
        )
    compiled = CompiledDataset.open(template / "compiled")
    old_uid = str(compiled.studies()["study_instance_uid"].iloc[0])
    record = (compiled.folder / "records" / f"{study_key(old_uid)}.json").read_text(encoding="utf-8")
    findings = next((template / "predicted").rglob("findings.json")).read_text(encoding="utf-8")
    without_maps = json.dumps(_without_maps(json.loads(findings)))
    (folder / "compiled" / "records").mkdir(parents=True)
    for number, uid in enumerate(uids):
        (folder / "studies" / "train_images" / uid).mkdir()
        renamed = record.replace(old_uid, uid).replace(study_key(old_uid), study_key(uid))
        (folder / "compiled" / "records" / f"{study_key(uid)}.json").write_text(renamed, encoding="utf-8")
        case = folder / "predicted" / study_key(uid)
        case.mkdir()
        if number % _MAX_LINKS == 0:  # a file of 100 kB for each would fill the disk; resuming asks for its size alone
            shared = folder / f"findings-{number}.json"
            shared.write_text(findings.replace(old_uid, uid), encoding="utf-8")
        (case / "findings.json").hardlink_to(shared)
        lean = {"findings": json.loads(without_maps.replace(old_uid, uid)), "findings_bytes": shared.stat().st_size}
        write_json(case / "source.json", {"job": case_of(folder, uid).key, "arrived": 1e9 + number, **lean})


def _without_maps(findings: dict[str, Any]) -> dict[str, Any]:
    for vertebra in findings["vertebrae"]:
        for part in vertebra["evidence"]:
            part["saliency_map"] = []
    return findings


def make_template(folder: Path) -> Path:
    """Compile and predict a small phantom, unless that is done."""
    from cspine.phantom import PhantomSettings, synthesize
    from cspine.pipelines.compile import compile_dataset
    from cspine.pipelines.predict_batch import predict_batch

    if not (folder / "done").exists():
        shutil.rmtree(folder, ignore_errors=True)
        settings = PhantomSettings(matrix=192, slice_spacing_mm=(1.25, 1.25))
        synthesize(folder / "studies", studies=1, seed=22, settings=settings)
        summary = compile_dataset(folder / "studies", folder / "compiled")
        if summary.failed:
            sys.exit(f"the template cannot be compiled: {summary.failed}")
        predict_batch(folder / "studies", folder / "predicted")
        (folder / "done").touch()
    return folder


def case_of(folder: Path, uid: str) -> Any:
    """Return the output folder of a study's prediction."""
    from cspine.dicom.study_collection import SourceFingerprint, StudySource
    from cspine.pipelines.case_folder import CaseFolder, PredictSettings

    source = StudySource(uid, folder / "studies" / "train_images" / uid)
    return CaseFolder(source, folder / "predicted" / study_key(uid), PredictSettings(), SourceFingerprint("", 0.0))


# --- the steps -------------------------------------------------------------------------------------------------------


def list_studies(folder: Path) -> None:
    from cspine.dicom.study_collection import open_collection

    open_collection(folder / "studies")


def resume_compile(folder: Path) -> None:
    """List the studies, find that all are compiled, and write the tables where an earlier run has not."""
    from cspine.dicom.study_collection import open_collection
    from cspine.localization.compiler import Compiler
    from cspine.localization.loading import load_localizer
    from cspine.pipelines.compile import compile_collection
    from cspine.views.settings import CompileSettings

    compiler = Compiler(CompileSettings(), load_localizer())
    collection = open_collection(folder / "studies")
    marker = folder / "compiled" / "dataset.json"
    if not marker.exists():  # the data set begins with its records
        records = folder / "compiled" / "records"
        records.rename(folder / "records")
        records.parent.rmdir()
        compiler.create_dataset(
            folder / "compiled", source=str(collection.path.resolve()), is_phantom=collection.is_phantom
        )
        (folder / "records").rename(records)
    summary = compile_collection(collection, folder / "compiled", compiler)
    if summary.compiled or summary.failed:
        sys.exit(f"{summary.compiled} studies were compiled anew, {len(summary.failed)} failed; all should be resumed")


def read_tables(folder: Path) -> None:
    from cspine.datasets.compiled import CompiledDataset

    dataset = CompiledDataset.open(folder / "compiled")
    dataset.manifest(), dataset.levels(), dataset.studies()


def split(folder: Path) -> None:
    from cspine.pipelines.split import split_studies

    split_studies(folder / "compiled", folder / "split.json")


def read_findings(folder: Path) -> None:
    """Read what an earlier run predicted, as a resumed batch does."""
    uids = sorted(path.name for path in (folder / "studies" / "train_images").iterdir())
    missing = sum(case_of(folder, uid).read() is None for uid in uids)
    if missing:
        sys.exit(f"{missing} findings cannot be read")


def write_worklist(folder: Path) -> None:
    """Write the worklist as a table and a page; includes reading the findings."""
    from cspine.core.files import write_text
    from cspine.reports.worklist import MAX_WAIT_MIN, prioritize, worklist_csv, worklist_page

    uids = sorted(path.name for path in (folder / "studies" / "train_images").iterdir())
    results = [case_of(folder, uid).read() for uid in uids]
    rows = prioritize(results, max_wait_min=MAX_WAIT_MIN)
    write_text(folder / "worklist.csv", worklist_csv(rows))
    write_text(folder / "worklist.html", worklist_page(rows))


if __name__ == "__main__":
    main()
