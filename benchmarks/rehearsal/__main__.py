"""Rehearsal at size: what the challenge's 2,019 studies will cost, measured on 100 studies of their size.

- *Stages*: compile, an epoch of training, predict and evaluate, on one and two processes: time, processor time, memory,
  bytes read and written; hours and disk of 2,019 studies in proportion. One process on one processor is what two
  processes are compared with: alone, a process uses all processors for decoding and for its networks.
- *Epoch*: the level network's data from compiled images and from DICOM, side by side.
- *Peers*: MONAI's persistent cache and TorchIO on the same 20 studies.
- *Records*: lists, resumption, tables and worklists of 2,019 and more studies, without pixels.

The studies are phantoms: what a stage costs does not depend on what it finds, and no figure here is accuracy.

Run: ``python -m benchmarks.rehearsal --work DIR``; 18 GB of disk, an hour, ``pip install torchio itk`` for the peers.
"""

import argparse
import os
import shutil
from pathlib import Path

from benchmarks.processes import run_module
from benchmarks.rehearsal.stages import CHALLENGE_STUDIES, StageCost, measure_stage
from benchmarks.rehearsal.studies import N_SLICES, SLICE_MB, make_studies, subset
from benchmarks.tables import save_table
from cspine.reports.evaluation.sections import Table

PARTS = ("stages", "epoch", "peers", "records")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--studies", type=int, default=100, help="studies of 300 slices")
    parser.add_argument("--few", type=int, default=20, help="studies that are predicted, and that peers compile")
    parser.add_argument("--records", type=int, nargs="+", default=[CHALLENGE_STUDIES, 20_000, 100_000])
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=PARTS)
    options = parser.parse_args()
    work: Path = options.work
    work.mkdir(parents=True, exist_ok=True)
    if set(options.parts) & {"stages", "epoch", "peers"}:
        studies = make_studies(work, options.studies)
        few = subset(studies, options.few, work / "few")
    if "stages" in options.parts:
        stages = rehearse(work, studies, options.studies, few, options.few)
        save_table(work, "rehearsal-stages", stage_table(stages))
        save_table(work, "rehearsal-challenge", challenge_table(stages))
    compiled = work / "compiled-2"
    if "epoch" in options.parts:
        epoch = run_module("benchmarks.rehearsal.epoch", "--data", studies, "--compiled", compiled)
        save_table(work, "rehearsal-epoch", epoch_table(epoch))
    if "peers" in options.parts:
        save_table(work, "rehearsal-peers", compare_peers(work, few, options.few))
    if "records" in options.parts:
        from benchmarks.rehearsal.records import measure_records

        save_table(work, "rehearsal-records", measure_records(work / "records", options.records))


def rehearse(work: Path, studies: Path, n_studies: int, few: Path, n_few: int) -> list[StageCost]:
    """Run every stage, and return what each cost."""
    found = []
    for workers, processor, name in ((1, 0, "compiled-1"), (1, None, "compiled-1-all"), (2, None, "compiled-2")):
        out = new_folder(work / name)
        command = ["compile", str(studies), "--out", str(out), "--workers", str(workers)]
        found.append(measure_stage("compile", command, out, n_studies=n_studies, workers=workers, processor=processor))
    out = new_folder(work / "trained")
    command = ["train", "--data", str(work / "compiled-2"), "--out", str(out), "--epochs", "1"]
    found.append(measure_stage("train levels, 1 epoch", command, out, n_studies=n_studies, workers=1))
    for workers, processor in ((1, 0), (2, None)):
        out = new_folder(work / "predicted")
        command = ["predict", str(few), "--out", str(out), "--workers", str(workers)]
        found.append(measure_stage("predict", command, out, n_studies=n_few, workers=workers, processor=processor))
    out = new_folder(work / "evaluated")
    command = ["evaluate", "--truth", str(few), "--predictions", str(work / "predicted"), "--out", str(out)]
    found.append(measure_stage("evaluate", command, out, n_studies=n_few, workers=1))
    return found


def compare_peers(work: Path, few: Path, n_few: int) -> Table:
    """Compile the same studies with cspine and with peers, each in one process that may use all processors."""
    out = new_folder(work / "few-compiled")
    ours = measure_stage(
        "compile", ["compile", str(few), "--out", str(out), "--workers", "1"], out, n_studies=n_few, workers=1
    )
    rows = [("cspine compile, localization included", ours)]
    from benchmarks.rehearsal.peers import PEERS

    for peer in PEERS:
        target = new_folder(work / "peer")
        command = ["--peer", peer, "--data", str(few), "--compiled", str(out), "--out", str(target)]
        module = ("-m", "benchmarks.rehearsal.peers", *command)
        rows.append(
            (f"{peer}, told where the vertebrae lie", measure_stage(peer, module, target, n_studies=n_few, workers=1))
        )
    header = ("system", "s per study", "times cspine", "processor s per study", "peak MB", "MB written per study")
    return Table(
        header,
        tuple(
            (
                name,
                f"{cost.seconds / n_few:.2f}",
                f"{cost.seconds / ours.seconds:.1f}",
                f"{cost.cpu_seconds / n_few:.2f}",
                f"{cost.peak_mb:.0f}",
                f"{cost.written_mb / n_few:.2f}",
            )
            for name, cost in rows
        ),
    )


def stage_table(stages: list[StageCost]) -> Table:
    """Return what each stage cost, per study."""
    header = (
        "stage", "processes", "studies", "s per study", "processor s per study", "peak MB of a process",
        "MB read per study", "MB written per study",
    )  # fmt: skip
    rows = (
        (
            stage.name,
            stage.processes,
            str(stage.n_studies),
            f"{stage.seconds / stage.n_studies:.2f}",
            f"{stage.cpu_seconds / stage.n_studies:.2f}",
            f"{stage.peak_mb:.0f}",
            f"{stage.read_mb / stage.n_studies:.0f}",
            f"{stage.written_mb / stage.n_studies:.2f}",
        )
        for stage in stages
    )
    return Table(header, tuple(rows))


def challenge_table(stages: list[StageCost]) -> Table:
    """Return the requirements on compiling, and hours and disk of the challenge's studies."""
    one, alone, two = stages[:3]
    hours, disk_gb = two.of_challenge()
    dicom_gb = N_SLICES * SLICE_MB * CHALLENGE_STUDIES / 1000
    rows: list[tuple[str, str]] = [
        (
            "compile: two processes beside one on one processor, times as fast (1.8 or more)",
            f"{one.seconds / two.seconds:.2f}",
        ),
        ("compile: two processes beside one on all processors", f"{alone.seconds / two.seconds:.2f}"),
        ("compile: peak memory of a process, MB (at most 700)", f"{max(one.peak_mb, two.peak_mb):.0f}"),
        (
            f"compile: hours for 2,019 studies of {N_SLICES} slices on {os.cpu_count()} processors (at most 1)",
            f"{hours:.2f}",
        ),
        (f"compile: GB on disk of 2,019 studies (at most 2.5), from {dicom_gb:.0f} GB", f"{disk_gb:.2f}"),
    ]
    rows += [
        (f"{stage.name}: hours for 2,019 studies, {stage.processes}", f"{stage.of_challenge()[0]:.2f}")
        for stage in stages[3:]
    ]
    return Table(("measure", "value"), tuple(rows))


def epoch_table(epoch: dict[str, float]) -> Table:
    """Return the data and the steps of an epoch, per study."""
    compiled, dicom = epoch["compiled_s"], epoch["dicom_s"]
    both = epoch["augmentation_s"] + epoch["step_s"]
    rows = (
        ("data from compiled images, s per study", f"{compiled:.4f}"),
        ("data from DICOM, vertebrae known, s per study", f"{dicom:.3f}"),
        ("localization, once per study, s", f"{epoch['localization_s']:.3f}"),
        ("augmentation, s per study", f"{epoch['augmentation_s']:.3f}"),
        ("network's step on these processors, s per study", f"{epoch['step_s']:.3f}"),
        ("data of an epoch: DICOM / compiled (50 or more)", f"{dicom / compiled:.0f}"),
        (
            "data and augmentation: DICOM / compiled",
            f"{(dicom + epoch['augmentation_s']) / (compiled + epoch['augmentation_s']):.0f}",
        ),
        ("epoch on these processors: DICOM / compiled (50 or more)", f"{(dicom + both) / (compiled + both):.1f}"),
    )
    return Table(("measure", "value"), rows)


def new_folder(folder: Path) -> Path:
    """Return a folder that does not exist."""
    shutil.rmtree(folder, ignore_errors=True)
    return folder


if __name__ == "__main__":
    main()
