"""The notebook's claims: bytes of DICOM over bytes compiled; time per epoch and peak memory, compiled against DICOM.

The same network is trained on the same studies for one epoch, in a fresh process each time, from four sources in turn:

- ``compiled``: the JPEGs of `cspine compile` are read and trained on.
- ``dicom-cspine``: every study's DICOM is loaded with `cspine.dicom` and reformatted in each epoch.
- ``dicom-pydicom``: the same with the slices stacked by pydicom alone, as in the notebook's loader.
- ``dicom-in-memory``: all volumes are loaded first and kept, then reformatted: what exhausted the notebook's memory.

Run: ``python -m benchmarks.compiled_vs_dicom --studies 24 --repeats 3 --work DIR``
"""

import argparse
import json
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.processes import run_module

SOURCES = ("compiled", "dicom-cspine", "dicom-pydicom", "dicom-in-memory")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=24, help="number of training studies")
    parser.add_argument("--repeats", type=int, default=3, help="measurements, of which the median is reported")
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--source", choices=SOURCES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.source:
        sys.stdout.write(json.dumps(_train_epoch(options.work, options.source)) + "\n")
        return
    _prepare(options.work, options.studies)
    measured: dict[str, list[dict[str, float]]] = {source: [] for source in SOURCES}
    for _ in range(options.repeats):
        for source in SOURCES:
            measured[source].append(
                run_module("benchmarks.compiled_vs_dicom", "--work", options.work, "--source", source)
            )
    _show(options.work, measured, options.studies, options.repeats)


def _prepare(work: Path, studies: int) -> None:
    from cspine.core.processors import default_workers
    from cspine.dicom.study_collection import open_collection
    from cspine.localization.compiler import PARALLEL_PLANES
    from cspine.phantom import PhantomSettings, synthesize
    from cspine.pipelines.compile import compile_collection

    settings = PhantomSettings(matrix=256)
    synthesize(work / "dicom", studies=studies, seed=11, settings=settings, workers=default_workers())
    compile_collection(open_collection(work / "dicom"), work / "compiled", PARALLEL_PLANES, workers=default_workers())


def _train_epoch(work: Path, source: str) -> dict[str, float]:
    """Train for one epoch in this process; return seconds and peak memory."""
    import torch

    from cspine.datasets.compiled import CompiledDataset
    from cspine.training.baseline.network import BaselineCNN
    from cspine.training.losses import challenge_log_loss

    store = CompiledDataset.open(work / "compiled")
    manifest = store.manifest()
    torch.manual_seed(0)
    network = BaselineCNN(dropout=0.3)
    optimizer = torch.optim.Adam(network.parameters())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    network.train()
    for images, labels in _batches(work, source, store, manifest):
        loss = challenge_log_loss(network(torch.from_numpy(images)[:, None].float() / 255.0), labels).mean()
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "peak_mb": peak / 1024, "epoch_mb": (peak - before) / 1024}


def _batches(work: Path, source: str, store: Any, manifest: Any) -> Iterator[tuple[npt.NDArray[np.uint8], Any]]:
    """Yield nine images and eight labels of one study at a time, the same from every source."""
    import torch

    from cspine.core.anatomy import TARGETS

    volumes = _load_all(work, manifest) if source == "dicom-in-memory" else None
    for uid, rows in manifest.groupby("study_instance_uid"):
        if source == "compiled":
            images = store.read_images(rows["path"], 64)
        else:
            volume = (
                volumes[uid] if volumes is not None else _load_volume(work / "dicom" / "train_images" / uid, source)
            )
            images = _reformat(volume, store.settings.sagittal)
        yield images, torch.from_numpy(rows[list(TARGETS)].to_numpy(np.float32))


def _load_all(work: Path, manifest: Any) -> dict[str, Any]:
    uids = sorted(set(manifest["study_instance_uid"]))
    return {uid: _load_volume(work / "dicom" / "train_images" / uid, "dicom-cspine") for uid in uids}


def _load_volume(folder: Path, source: str) -> Any:
    import highdicom
    import pydicom

    from cspine.dicom import load_volume

    if source != "dicom-pydicom":
        return load_volume(folder)
    slices = sorted(map(pydicom.dcmread, folder.glob("*.dcm")), key=lambda ds: float(ds.ImagePositionPatient[2]))
    array = np.stack([ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept) for ds in slices])
    first, last = slices[0], slices[-1]
    spacing_mm = (last.ImagePositionPatient[2] - first.ImagePositionPatient[2]) / (len(slices) - 1)
    return highdicom.Volume.from_components(
        array,
        spacing=(spacing_mm, *map(float, first.PixelSpacing)),
        position=tuple(map(float, first.ImagePositionPatient)),
        direction=(0, 0, 1, 0, 1, 0, 1, 0, 0),
        coordinate_system="PATIENT",
    )


def _reformat(volume: Any, settings: Any) -> npt.NDArray[np.uint8]:
    from cspine.spine.bone_trace import trace_spine
    from cspine.views.resize import downscale
    from cspine.views.sagittal import compile_sagittal

    images = compile_sagittal(volume, trace_spine(volume), settings).images
    return np.stack([downscale(image, 64) for image in images])


def _show(work: Path, measured: dict[str, list[dict[str, float]]], studies: int, repeats: int) -> None:
    from benchmarks.tables import save_table
    from cspine.datasets.compiled import CompiledDataset
    from cspine.reports.evaluation.sections import Table

    table = CompiledDataset.open(work / "compiled").studies()
    before, after = int(table["bytes_in"].sum()), int(table["bytes_out"].sum())
    print(f"{studies} phantom studies (256 x 256 pixels), {repeats} repeats, medians; ratios within this run\n")
    print(f"bytes: {before:,} of DICOM, {after:,} compiled, {before / after:,.0f} times smaller\n")
    medians = {
        source: {key: statistics.median(run[key] for run in runs) for key in runs[0]}
        for source, runs in measured.items()
    }
    header = ("source", "s per epoch", "times slower", "peak MB", "of which the epoch")
    rows = tuple(
        (
            source,
            f"{median['seconds']:.2f}",
            f"{median['seconds'] / medians['compiled']['seconds']:.1f}",
            f"{median['peak_mb']:.0f}",
            f"{median['epoch_mb']:.0f}",
        )
        for source, median in medians.items()
    )
    save_table(work, "claims", Table(header, rows))


if __name__ == "__main__":
    main()
