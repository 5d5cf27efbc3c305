"""The notebook's claims: bytes of DICOM over bytes compiled; time per epoch and peak memory, compiled against DICOM.

The same network is trained on the same studies for one epoch, in a fresh process each time, the ways in turn:

- ``compiled``: the JPEGs of `cspine compile` are read and trained on.
- ``dicom-cspine``: every study's DICOM is loaded with `cspine.dicom` and reformatted in each epoch.
- ``dicom-pydicom``: the same with the slices stacked by pydicom alone, as the notebook's kind of loader does.
- ``dicom-in-memory``: all volumes are loaded first and kept, then reformatted: what exhausted the notebook's memory.

Run: ``python -m benchmarks.compiled_vs_dicom --studies 24 --rounds 3 --work DIR``
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

WAYS = ("compiled", "dicom-cspine", "dicom-pydicom", "dicom-in-memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        sys.stdout.write(json.dumps(_epoch(options.work, options.way)) + "\n")
        return
    _prepare(options.work, options.studies)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.compiled_vs_dicom", "--work", str(options.work), "--way", way]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[way].append(json.loads(done.stdout.splitlines()[-1]))
    _show(options.work, found, options.studies, options.rounds)


def _prepare(work: Path, studies: int) -> None:
    from cspine.core.parallel import default_workers
    from cspine.dicom.study_collection import open_collection
    from cspine.localization.compiler import STRAIGHT
    from cspine.phantom import PhantomSettings, synthesize
    from cspine.pipelines.compile import compile_studies

    settings = PhantomSettings(matrix=256)
    synthesize(work / "dicom", studies=studies, seed=11, settings=settings, workers=default_workers())
    compile_studies(open_collection(work / "dicom"), work / "compiled", STRAIGHT, workers=default_workers())


def _epoch(work: Path, way: str) -> dict[str, float]:
    """Train for one epoch in this process; returns seconds and peak memory."""
    import torch

    from cspine.datasets.compiled import CompiledDataset
    from cspine.training.baseline.network import build_network
    from cspine.training.losses import challenge_log_loss

    store = CompiledDataset.open(work / "compiled")
    manifest = store.manifest()
    torch.manual_seed(0)
    network = build_network("baseline-cnn", dropout=0.3)
    optimizer = torch.optim.Adam(network.parameters())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    network.train()
    for images, truth in _batches(work, way, store, manifest):
        loss = challenge_log_loss(network(torch.from_numpy(images)[:, None].float() / 255.0), truth).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mb": peak / 1024, "epoch_mb": (peak - before) / 1024}


def _batches(work: Path, way: str, store: Any, manifest: Any) -> Iterator[tuple[npt.NDArray[np.uint8], Any]]:
    """Yield one study's nine images and labels at a time, in every way the same."""
    import torch

    from cspine.core.anatomy import TARGETS

    volumes = _hold_all(work, manifest) if way == "dicom-in-memory" else None
    for uid, rows in manifest.groupby("study_instance_uid"):
        if way == "compiled":
            images = store.read_images(rows["path"], 64)
        else:
            volume = volumes[uid] if volumes is not None else _volume(work / "dicom" / "train_images" / uid, way)
            images = _reformat(volume, store.settings.sagittal)
        yield images, torch.from_numpy(rows[list(TARGETS)].to_numpy(np.float32))


def _hold_all(work: Path, manifest: Any) -> dict[str, Any]:
    uids = sorted(set(manifest["study_instance_uid"]))
    return {uid: _volume(work / "dicom" / "train_images" / uid, "dicom-cspine") for uid in uids}


def _volume(folder: Path, way: str) -> Any:
    import highdicom
    import pydicom

    from cspine.dicom import load_volume

    if way != "dicom-pydicom":
        return load_volume(folder)
    slices = sorted(map(pydicom.dcmread, folder.glob("*.dcm")), key=lambda ds: float(ds.ImagePositionPatient[2]))
    array = np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices])
    first, last = slices[0], slices[-1]
    gap = (last.ImagePositionPatient[2] - first.ImagePositionPatient[2]) / (len(slices) - 1)
    return highdicom.Volume.from_components(
        array,
        spacing=(gap, *map(float, first.PixelSpacing)),
        position=tuple(map(float, first.ImagePositionPatient)),
        direction=(0, 0, 1, 0, 1, 0, 1, 0, 0),
        coordinate_system="PATIENT",
    )


def _reformat(volume: Any, settings: Any) -> npt.NDArray[np.uint8]:
    from cspine.datasets.compiled import shrink
    from cspine.spine.bone_trace import trace_spine
    from cspine.views.sagittal import compile_sagittal

    images = compile_sagittal(volume, trace_spine(volume), settings).images
    return np.stack([shrink(image, 64) for image in images])


def _show(work: Path, found: dict[str, list[dict[str, float]]], studies: int, rounds: int) -> None:
    from benchmarks.tables import keep
    from cspine.datasets.compiled import CompiledDataset
    from cspine.reports.evaluation.sections import Table

    table = CompiledDataset.open(work / "compiled").studies()
    before, after = int(table["bytes_in"].sum()), int(table["bytes_out"].sum())
    print(f"{studies} phantom studies (256 x 256 pixels), {rounds} rounds, medians; ratios within this run\n")
    print(f"bytes: {before:,} of DICOM, {after:,} compiled, {before / after:,.0f} times smaller\n")
    medians = {
        way: {key: statistics.median(run[key] for run in runs) for key in runs[0]} for way, runs in found.items()
    }
    header = ("way", "s per epoch", "times slower", "peak MB", "of it for the epoch")
    rows = tuple(
        (
            way,
            f"{median['seconds']:.2f}",
            f"{median['seconds'] / medians['compiled']['seconds']:.1f}",
            f"{median['peak_mb']:.0f}",
            f"{median['epoch_mb']:.0f}",
        )
        for way, median in medians.items()
    )
    keep(work, "claims", Table(header, rows))


if __name__ == "__main__":
    main()
