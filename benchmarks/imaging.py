"""Loading one CT series: cspine beside its peers, and beside the floor that disk and codec set.

The same 350 slices of 512 x 512 pixels (a phantom's, with full headers) are written uncompressed, as JPEG lossless and
as JPEG 2000 lossless. Every loader runs in a fresh process that loads the series once unmeasured and once measured, so
that imports and caches are excluded; the loaders run in turn. dcm2niix is a program and its whole run is measured; it
also writes what it reads (to memory, where there is a memory disk).

- ``floor``: the bytes of all files are read and, where compressed, each frame is decoded by a bare loop of the same
  codec in one thread per processor; headers are not parsed, nothing is rescaled or stacked.
- ``cspine``: discovery, series selection, volume. ``cspine-load``: the volume of a series already discovered.
- ``cspine-compile``: discovery, volume and the nine sagittal images as JPEG.
- ``cspine-coarse``: discovery and every fourth slice, row and column.

Needs dcm2niix (Debian package) and ``pip install dicom2nifti`` beside the ``dev`` and ``train`` extras.

Run: ``python -m benchmarks.imaging --repeats 7 --work DIR``
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.processes import run_module

LOADERS = (
    "floor", "cspine", "cspine-load", "cspine-coarse", "cspine-compile", "SimpleITK", "dcm2niix", "pydicom", "MONAI",
    "dicom2nifti",
)  # fmt: skip
SYNTAXES = ("uncompressed", "jpeg-lossless", "jpeg-2000")
PEERS = ("SimpleITK", "dcm2niix", "pydicom", "MONAI", "dicom2nifti")
N_SLICES, MATRIX = 350, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="measurements, of which the median is reported")
    parser.add_argument("--work", type=Path, required=True, help="run folder")
    parser.add_argument("--syntaxes", nargs="*", default=list(SYNTAXES), choices=SYNTAXES)
    parser.add_argument("--loaders", nargs="*", default=list(LOADERS), choices=LOADERS)
    parser.add_argument("--one", nargs=2, metavar=("LOADER", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--write", choices=SYNTAXES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.write:
        _write_series(options.work, options.write)
        sys.stdout.write("null\n")
        return
    if options.one:
        loader, folder = options.one
        sys.stdout.write(json.dumps(_measure(loader, Path(folder))) + "\n")
        return
    for syntax in options.syntaxes:
        series = prepare_series(options.work, syntax)
        measured: dict[str, list[dict[str, float]]] = {loader: [] for loader in options.loaders}
        for _ in range(options.repeats):
            for loader in options.loaders:
                measured[loader].append(
                    run_module("benchmarks.imaging", "--work", options.work, "--one", loader, series)
                )
        _show(options.work, syntax, measured)


def _show(work: Path, syntax: str, measured: dict[str, list[dict[str, float]]]) -> None:
    from benchmarks.tables import save_table  # not at the top: the timed processes must not import it
    from cspine.reports.evaluation.sections import Table

    seconds = {loader: statistics.median(run["seconds"] for run in runs) for loader, runs in measured.items()}
    memory = {loader: statistics.median(run["peak_mb"] for run in runs) for loader, runs in measured.items()}
    volume_mb = N_SLICES * MATRIX * MATRIX * 2 / 1e6
    fastest = min((seconds[peer] for peer in PEERS if peer in seconds), default=float("nan"))
    floor = seconds.get("floor", float("nan"))
    header = ("loader", "s", "lowest to highest", "times the floor", "fastest peer / this", "peak memory / volume")
    rows = []
    for loader, runs in measured.items():
        spread = [run["seconds"] for run in runs]
        rows.append(
            (
                loader,
                f"{seconds[loader]:.3f}",
                f"{min(spread):.3f} to {max(spread):.3f}",
                f"{seconds[loader] / floor:.2f}",
                f"{fastest / seconds[loader]:.2f}",
                f"{memory[loader] / volume_mb:.2f}",
            )
        )
    save_table(work, f"imaging-{syntax}", Table(header, tuple(rows)))


# --- the data --------------------------------------------------------------------------------------------------------


def prepare_series(work: Path, syntax: str) -> Path:
    """Write the series in one transfer syntax, unless that is done; return its folder.

    A separate process writes it, so that this one stays small, as `benchmarks.processes` demands.
    """
    if not (work / syntax / "done").exists():
        run_module("benchmarks.imaging", "--work", work, "--write", syntax)
    return work / syntax / "dicom"


def _write_series(work: Path, syntax: str) -> None:
    """Write the series in one transfer syntax."""
    import imagecodecs
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1

    folder = work / syntax
    (folder / "dicom").mkdir(parents=True, exist_ok=True)
    for dataset in _read_slices(work):
        name = folder / "dicom" / f"{int(dataset.InstanceNumber)}.dcm"
        pixels = np.frombuffer(dataset.PixelData, "<u2").reshape(MATRIX, MATRIX)
        if syntax == "jpeg-lossless":
            frame = imagecodecs.jpeg8_encode(pixels, lossless=True, predictor=1, bitspersample=16)
            dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
        elif syntax == "jpeg-2000":
            frame = imagecodecs.jpeg2k_encode(pixels, codecformat="J2K", reversible=True, level=0)
            dataset.file_meta.TransferSyntaxUID = JPEG2000Lossless
        if syntax != "uncompressed":
            dataset.PixelData = encapsulate([bytes(frame)])
            dataset["PixelData"].VR = "OB"
        pydicom.dcmwrite(name, dataset, enforce_file_format=True)
    (folder / "done").touch()


def _read_slices(work: Path) -> Iterator[Any]:
    """Yield the phantom's slices as pydicom data sets; the phantom is rendered once."""
    import pydicom

    from cspine.phantom import PhantomSettings, render_study
    from cspine.phantom.scanner.dicom import Identity, WriteOptions, write_slices

    folder = work / "phantom"
    if not folder.exists():
        settings = PhantomSettings(matrix=MATRIX, slice_spacing_mm=(0.4, 0.4), noise_hu=(25.0, 25.0))
        study = render_study(7, 0, settings)
        if len(study.hu) < N_SLICES:
            sys.exit(f"the phantom has {len(study.hu)} slices, {N_SLICES} are needed")
        write_slices(study, Identity(7, 0), folder, WriteOptions(upward=False, full_header=True, compressed=False))
    names = sorted(folder.glob("*.dcm"), key=lambda path: int(path.stem))[:N_SLICES]
    yield from map(pydicom.dcmread, names)


# --- the loaders -----------------------------------------------------------------------------------------------------


def _measure(loader: str, folder: Path) -> dict[str, float]:
    """Return seconds of the second loading, and the memory that the first one added."""
    if loader == "dcm2niix":
        return _measure_dcm2niix(folder)
    load = {
        "floor": _floor,
        "cspine": _cspine,
        "cspine-load": _cspine_load,
        "cspine-coarse": _cspine_coarse,
        "cspine-compile": _cspine_compile,
        "SimpleITK": _simpleitk,
        "pydicom": _pydicom,
        "MONAI": _monai,
        "dicom2nifti": _dicom2nifti,
    }[loader](folder)
    before = _resident_mb()
    load()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    started = time.perf_counter()
    load()
    return {"seconds": time.perf_counter() - started, "peak_mb": peak - before}


def _resident_mb() -> float:
    """Return the resident memory of this process, in units of 10^6 bytes (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def memory_disk() -> str | None:
    """Return the folder of the memory disk, or None where there is none."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _measure_dcm2niix(folder: Path) -> dict[str, float]:
    with tempfile.TemporaryDirectory(dir=memory_disk()) as out:
        command = ["dcm2niix", "-b", "n", "-z", "n", "-o", out, "-f", "x", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return {"seconds": seconds, "peak_mb": peak * 1024 / 1e6}


def _floor(folder: Path) -> Callable[[], Any]:
    from concurrent.futures import ThreadPoolExecutor

    import pydicom
    from pydicom.encaps import get_frame

    from cspine.dicom.codec.codecs import CODECS

    paths = sorted(folder.glob("*.dcm"))
    first = pydicom.dcmread(paths[0])
    codec = CODECS.get(str(first.file_meta.TransferSyntaxUID))
    locations = []
    for path in paths if codec else ():
        dataset = pydicom.dcmread(path)
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        locations.append((path, path.read_bytes().rindex(frame), len(frame)))

    def read_and_decode(location: tuple[Path, int, int]) -> None:
        path, offset, length = location
        assert codec is not None
        with path.open("rb") as file:
            file.seek(offset)
            codec.decode(file.read(length))

    def run() -> None:
        if codec is None:
            for path in paths:
                path.read_bytes()
            return
        with ThreadPoolExecutor() as threads:
            list(threads.map(read_and_decode, locations))

    return run


def _cspine(folder: Path) -> Callable[[], Any]:
    from cspine.dicom import load_volume

    return lambda: load_volume(folder)


def _cspine_load(folder: Path) -> Callable[[], Any]:
    from cspine.dicom import discover, load_volume, select_series

    series = select_series(discover(folder).studies[0]).selected
    return lambda: load_volume(series)


def _cspine_coarse(folder: Path) -> Callable[[], Any]:
    from cspine.dicom import load_volume

    return lambda: load_volume(folder, step=4)


def _cspine_compile(folder: Path) -> Callable[[], Any]:
    from cspine.dicom.loading import open_series
    from cspine.localization.compiler import PARALLEL_PLANES, compile_study

    quality = PARALLEL_PLANES.settings.sagittal.jpeg_quality
    return lambda: compile_study(open_series(folder), PARALLEL_PLANES).sagittal.jpegs(quality)


def _simpleitk(folder: Path) -> Callable[[], Any]:
    import SimpleITK

    def run() -> Any:
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        return image, SimpleITK.GetArrayViewFromImage(image)  # a view: no copy

    return run


def _pydicom(folder: Path) -> Callable[[], Any]:
    import pydicom

    def run() -> Any:
        slices = sorted(map(pydicom.dcmread, folder.glob("*.dcm")), key=lambda ds: float(ds.ImagePositionPatient[2]))
        volume = np.empty((len(slices), slices[0].Rows, slices[0].Columns), np.int16)
        for k, dataset in enumerate(slices):
            volume[k] = dataset.pixel_array * float(dataset.RescaleSlope) + float(dataset.RescaleIntercept)
        return volume

    return run


def _monai(folder: Path) -> Callable[[], Any]:
    from monai.data import PydicomReader

    def run() -> Any:
        reader = PydicomReader()
        return reader.get_data(reader.read(str(folder)))

    return run


def _dicom2nifti(folder: Path) -> Callable[[], Any]:
    import dicom2nifti

    def run() -> Any:
        with tempfile.TemporaryDirectory(dir=memory_disk()) as out:
            return dicom2nifti.dicom_series_to_nifti(str(folder), f"{out}/x.nii", reorient_nifti=False)

    return run


if __name__ == "__main__":
    main()
