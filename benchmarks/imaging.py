"""Loading one CT series: cspine beside its peers, and beside the floor that disk and codec set.

The same 350 slices of 512 x 512 pixels (a phantom's, with full headers) are written uncompressed, as JPEG lossless and
as JPEG 2000 lossless. Every way runs in a fresh process that loads the series once unmeasured and once measured, so
that imports and caches count for nobody; the ways take turns. dcm2niix is a program and is measured whole; it also
writes what it reads (to memory, where there is a memory disk).

- ``floor``: the bytes of all files are read and, where compressed, each frame is decoded by a bare loop of the same
  codec in one thread per processor; headers are not looked at, nothing is rescaled or put together.
- ``cspine``: discovery, choice of the series, volume. ``cspine-load``: the volume of a series already discovered.
- ``cspine-compile``: discovery, volume and the nine sagittal images as JPEG.
- ``cspine-coarse``: discovery and every fourth slice, row and column.

Needs dcm2niix (Debian package) and ``pip install dicom2nifti`` beside the ``dev`` and ``train`` extras.

Run: ``python -m benchmarks.imaging --rounds 7 --work DIR``
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

WAYS = (
    "floor", "cspine", "cspine-load", "cspine-coarse", "cspine-compile", "SimpleITK", "dcm2niix", "pydicom", "MONAI",
    "dicom2nifti",
)  # fmt: skip
SYNTAXES = ("uncompressed", "jpeg-lossless", "jpeg-2000")
PEERS = ("SimpleITK", "dcm2niix", "pydicom", "MONAI", "dicom2nifti")
SLICES, MATRIX = 350, 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--syntaxes", nargs="*", default=list(SYNTAXES), choices=SYNTAXES)
    parser.add_argument("--ways", nargs="*", default=list(WAYS), choices=WAYS)
    parser.add_argument("--one", nargs=2, metavar=("WAY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, folder = options.one
        sys.stdout.write(json.dumps(_measure(way, Path(folder))) + "\n")
        return
    for syntax in options.syntaxes:
        folder = prepare(options.work, syntax)
        found: dict[str, list[dict[str, float]]] = {way: [] for way in options.ways}
        for _ in range(options.rounds):
            for way in options.ways:
                command = [sys.executable, "-m", "benchmarks.imaging", "--work", str(options.work)]
                done = subprocess.run(
                    [*command, "--one", way, str(folder)], check=False, capture_output=True, text=True
                )
                if done.returncode:
                    sys.exit(f"{way} failed on {syntax}:\n{done.stderr}")
                found[way].append(json.loads(done.stdout.splitlines()[-1]))
        _show(options.work, syntax, found)


def _show(work: Path, syntax: str, found: dict[str, list[dict[str, float]]]) -> None:
    from benchmarks.tables import keep  # not in the processes that are timed
    from cspine.reports.evaluation.sections import Table

    seconds = {way: statistics.median(run["seconds"] for run in runs) for way, runs in found.items()}
    memory = {way: statistics.median(run["peak_mb"] for run in runs) for way, runs in found.items()}
    volume_mb = SLICES * MATRIX * MATRIX * 2 / 1e6
    fastest = min((seconds[peer] for peer in PEERS if peer in seconds), default=float("nan"))
    floor = seconds.get("floor", float("nan"))
    header = ("way", "s", "lowest to highest", "times the floor", "fastest peer / this", "peak memory / volume")
    rows = []
    for way, measured in found.items():
        runs = [run["seconds"] for run in measured]
        rows.append(
            (
                way,
                f"{seconds[way]:.3f}",
                f"{min(runs):.3f} to {max(runs):.3f}",
                f"{seconds[way] / floor:.2f}",
                f"{fastest / seconds[way]:.2f}",
                f"{memory[way] / volume_mb:.2f}",
            )
        )
    keep(work, f"imaging-{syntax}", Table(header, tuple(rows)))


# --- the data --------------------------------------------------------------------------------------------------------


def prepare(work: Path, syntax: str) -> Path:
    """Write the series in one transfer syntax, once."""
    folder = work / syntax
    if (folder / "done").exists():
        return folder / "dicom"
    import imagecodecs
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEG2000Lossless, JPEGLosslessSV1

    (folder / "dicom").mkdir(parents=True, exist_ok=True)
    for dataset in _slices(work):
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
    return folder / "dicom"


def _slices(work: Path) -> Iterator[Any]:
    """Yield the phantom's slices as data sets, rendered once."""
    import pydicom

    from cspine.phantom import PhantomSettings, render_study
    from cspine.phantom.scanner.dicom import Identity, Writing, write_slices

    folder = work / "phantom"
    if not folder.exists():
        settings = PhantomSettings(matrix=MATRIX, slice_spacing_mm=(0.4, 0.4), noise_hu=(25.0, 25.0))
        study = render_study(7, 0, settings)
        if len(study.hu) < SLICES:
            sys.exit(f"the phantom has {len(study.hu)} slices, {SLICES} are needed")
        write_slices(study, Identity(7, 0), folder, Writing(upward=False, full_header=True, compressed=False))
    names = sorted(folder.glob("*.dcm"), key=lambda path: int(path.stem))[:SLICES]
    yield from map(pydicom.dcmread, names)


# --- the ways --------------------------------------------------------------------------------------------------------


def _measure(way: str, folder: Path) -> dict[str, float]:
    if way == "dcm2niix":
        return _dcm2niix(folder)
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
    }[way](folder)
    before = _resident_mb()
    load()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    started = time.perf_counter()
    load()
    return {"seconds": time.perf_counter() - started, "peak_mb": peak - before}


def _resident_mb() -> float:
    """Return the memory this process holds now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def _dcm2niix(folder: Path) -> dict[str, float]:
    memory_disk = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory_disk) as out:
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
    places = []
    for path in paths if codec else ():
        dataset = pydicom.dcmread(path)
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        places.append((path, path.read_bytes().rindex(frame), len(frame)))

    def read_and_decode(place: tuple[Path, int, int]) -> None:
        path, start, length = place
        assert codec is not None
        with path.open("rb") as file:
            file.seek(start)
            codec.decode(file.read(length))

    def run() -> None:
        if codec is None:
            for path in paths:
                path.read_bytes()
            return
        with ThreadPoolExecutor() as threads:
            list(threads.map(read_and_decode, places))

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
    from cspine.dicom import open_series
    from cspine.localization.compiler import STRAIGHT, compile_study

    quality = STRAIGHT.settings.sagittal.jpeg_quality
    return lambda: compile_study(open_series(folder), STRAIGHT).sagittal.jpegs(quality)


def _simpleitk(folder: Path) -> Callable[[], Any]:
    import SimpleITK

    def run() -> Any:
        reader = SimpleITK.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
        image = reader.Execute()
        return image, SimpleITK.GetArrayViewFromImage(image)  # a view: no copy to pay for

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

    memory_disk = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None

    def run() -> Any:
        with tempfile.TemporaryDirectory(dir=memory_disk) as out:
            return dicom2nifti.dicom_series_to_nifti(str(folder), f"{out}/x.nii", reorient_nifti=False)

    return run


if __name__ == "__main__":
    main()
