"""Studies of real size in the challenge's layout, made from a few phantoms."""

from __future__ import annotations

import csv
import shutil
import sys
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

N_SLICES: Final = 300
MATRIX: Final = 512
SLICE_MB: Final = MATRIX * MATRIX * 2 / 1e6

_N_PHANTOMS: Final = 9
_SPACING_MM: Final = 0.4
_SEED: Final = 22
_NOISE_HU: Final = 8.0


def make_studies(work: Path, n_studies: int) -> Path:
    """Write studies of 300 slices of 512 x 512 pixels, unless that is done, and return the challenge's folder.

    A few phantoms are rendered; each study is a copy of one, with UIDs and noise of its own, so that no two files are
    the same to the disk, and no two volumes to a network.

    Parameters
    ----------
    work : Path
        Run folder; phantoms and studies lie below it.
    n_studies : int
        Number of studies; 157 MB each.
    """
    folder = work / "studies"
    done = folder / "done.txt"
    if done.is_file() and done.read_text(encoding="ascii") == str(n_studies):
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    bases, labels = _render_bases(work / "phantoms")
    rows = []
    for number in range(n_studies):
        base = bases[number % len(bases)]
        uid = _write_copy(base, folder / "train_images", number)
        rows.append({**labels[base.name], "StudyInstanceUID": uid})
        if sys.stderr.isatty():
            sys.stderr.write(f"\rstudies: {number + 1} of {n_studies}")
    _write_labels(folder, rows)
    done.write_text(str(n_studies), encoding="ascii")
    return folder


def subset(folder: Path, n_studies: int, out: Path) -> Path:
    """Return a folder with the first studies of another, as links."""
    shutil.rmtree(out, ignore_errors=True)
    (out / "train_images").mkdir(parents=True)
    for study in sorted((folder / "train_images").iterdir())[:n_studies]:
        (out / "train_images" / study.name).symlink_to(study.resolve())
    names = {study.name for study in (out / "train_images").iterdir()}
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        _write_labels(out, [row for row in csv.DictReader(file) if row["StudyInstanceUID"] in names])
    return out


def _write_labels(folder: Path, rows: list[dict[str, str]]) -> None:
    with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _render_bases(folder: Path) -> tuple[list[Path], dict[str, dict[str, str]]]:
    """Render the phantoms; return the folders of those that are long enough, and their rows of train.csv by UID."""
    from cspine.phantom import PhantomSettings, synthesize

    settings = PhantomSettings(
        matrix=MATRIX,
        odd_matrix_fraction=0.0,
        slice_spacing_mm=(_SPACING_MM, _SPACING_MM),
        soft_fraction=0.0,
        prevalence=0.5,
        jpeg_lossless_fraction=0.0,
    )
    synthesize(folder, studies=_N_PHANTOMS, seed=_SEED, settings=settings)
    with (folder / "train.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["StudyInstanceUID"]: row for row in csv.DictReader(file)}
    studies = sorted(path for path in (folder / "train_images").iterdir() if path.is_dir())
    return [path for path in studies if len(list(path.glob("*.dcm"))) >= N_SLICES], labels


def _write_copy(base: Path, folder: Path, number: int) -> str:
    """Write a copy of a phantom with noise of its own, and return its StudyInstanceUID."""
    from pydicom import dcmread
    from pydicom.uid import generate_uid

    study, series = (generate_uid(entropy_srcs=["rehearsal", str(number), part]) for part in ("study", "series"))
    out = folder / study
    out.mkdir(parents=True)
    noise = _noise(number)
    for k, path in enumerate(_middle(base)):
        dataset = dcmread(path)
        pixels = np.frombuffer(dataset.PixelData, "<u2" if dataset.PixelRepresentation == 0 else "<i2")
        shift = (k * 7919 + number * 104_729) % len(noise)
        dataset.PixelData = (pixels + np.roll(noise, shift)).clip(0).astype(pixels.dtype).tobytes()
        dataset.StudyInstanceUID, dataset.SeriesInstanceUID = study, series
        dataset.SOPInstanceUID = generate_uid(entropy_srcs=[series, str(k)])
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.PatientID = study
        dataset.save_as(out / path.name)
    return study


def _middle(base: Path) -> list[Path]:
    """Return as many slices of a phantom as a study has, from its middle."""
    paths = sorted(base.glob("*.dcm"), key=lambda path: int(path.stem))
    first = (len(paths) - N_SLICES) // 2
    return paths[first : first + N_SLICES]


def _noise(number: int) -> npt.NDArray[np.int16]:
    rng = np.random.default_rng([_SEED, number])
    return rng.normal(0.0, _NOISE_HU, MATRIX * MATRIX).astype(np.int16)
