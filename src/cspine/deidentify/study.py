"""Files without their patients, into new folders named by new UIDs."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from cspine.core.errors import DicomError, InputError
from cspine.core.files import atomic_path, open_run_directory
from cspine.core.parallel import parallel_map
from cspine.core.progress import Progress, silent
from cspine.deidentify.profile import UIDS, Profile
from cspine.dicom.codec.dataset import looks_like_dicom, parse
from cspine.dicom.codec.header import MULTI_FRAME_CT, suppress_pydicom_warnings
from cspine.dicom.sources import SourceFile, list_files

MARKER: Final = "deidentify.json"

_IMPLEMENTATION: Final = UID("2.25.254062231207470172110637043437113062353")
_CT: Final = frozenset({CTImageStorage, *MULTI_FRAME_CT})
_BIT_POSITION: Final = 0x0102
"""Of overlays: 0 where they have data of their own."""

_OVERLAID: Final = "an overlay lies in unused bits of the pixels"
_ANOTHER_KIND: Final = "not CT images: text may be burned in, or told in them"
_NO_DICOM: Final = "not DICOM"
_SAME: Final = "the same SOPInstanceUID as another file"
_UNREADABLE: Final = "DICOM that cannot be read"


@dataclass(frozen=True)
class Deidentified:
    """What became of files.

    Attributes
    ----------
    written : int
        Files.
    patients, studies : int
        Pseudonyms, and new StudyInstanceUIDs.
    left_out : dict of str to int
        Why files were left out, and how many.
    warnings : tuple of str
        What to look at before the files leave.
    """

    written: int
    patients: int
    studies: int
    left_out: dict[str, int]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _Task:
    file: SourceFile
    out: Path
    profile: Profile


@dataclass(frozen=True)
class _Done:
    patient: str = ""
    study: str = ""
    image: str = ""
    left_out: str = ""
    burned_in: bool = False
    head: bool = False


def deidentify(
    path: Path, out: Path, profile: Profile, *, workers: int = 1, progress: Progress = silent
) -> Deidentified:
    """Write every CT image at `path` without its patient; with the same key, an interrupted run goes on.

    Images lie in ``OUT/<study>/<series>/<instance>.dcm`` by their new UIDs: names of files and folders tell patients,
    too. Only CT images are carried over. Pixels are not changed.

    Parameters
    ----------
    path : Path
        A file, a folder or a zip.
    out : Path
        Gets the images.
    profile : Profile
        How.
    workers : int
        Processes to use.
    progress : Progress
        Told how many files are done.

    Raises
    ------
    SourceError, ArchiveError
        Nothing is there.
    InputError
        `out` lies within `path`, whose images would be taken for the source's.
    OutputTakenError
        `out` holds something else.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    files = list_files(path)
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise InputError(f"{out}: lies within {path}, so its images would be read again; choose another --out")
    identity = {
        "kind": "deidentify",
        "key": profile.key.fingerprint,
        "dates": profile.dates,
        "days": None if profile.shift_days is None else profile.key.hidden(profile.shift_days),
    }
    open_run_directory(out, MARKER, identity, remedy="choose another --out, or delete it")
    tasks = [_Task(file, out, profile) for file in files]
    done, left_out, broken = [], Counter[str](), ""
    for outcome in parallel_map(_write, tasks, workers=workers, stage="files", progress=progress):
        if outcome.error is not None:
            left_out[_UNREADABLE] += 1
            broken = broken or str(outcome.error)
            continue
        result = outcome.get()
        if result.left_out:
            left_out[result.left_out] += 1
        else:
            done.append(result)
    images = {each.image for each in done}
    if len(images) < len(done):
        left_out[_SAME] = len(done) - len(images)
    return Deidentified(
        written=len(images),
        patients=len({each.patient for each in done}),
        studies=len({each.study for each in done}),
        left_out=dict(left_out),
        warnings=_warnings(done, broken),
    )


def _warnings(done: list[_Done], broken: str) -> tuple[str, ...]:
    found = []
    if not done:
        found.append("no CT image was carried over; give a folder, a zip or a file with slices of a CT")
    if broken:
        found.append(f"studies may be incomplete, for files could not be read, first: {broken}")
    burned_in, heads = sum(each.burned_in for each in done), sum(each.head for each in done)
    if burned_in:
        found.append(
            f"{burned_in} images say that text is burned in, or are screens and not scans: pixels are not cleaned, "
            "look at them before they leave"
        )
    if heads:
        found.append("a face can be rebuilt from a CT that shows one, and these may: look before they leave")
    return tuple(found)


def _write(task: _Task) -> _Done:
    """Free one file of its patient, in a worker."""
    data = task.file.read()
    if not looks_like_dicom(data):
        return _Done(left_out=_NO_DICOM)
    with suppress_pydicom_warnings():
        dataset = parse(task.file, data, pixels=True)
        kind = str(dataset.get("SOPClassUID") or getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID") or "")
        if "PixelData" not in dataset or not (kind in _CT if kind else _looks_like_ct(dataset)):
            return _Done(left_out=_ANOTHER_KIND)
        if _has_overlay_in_pixels(dataset):
            return _Done(left_out=_OVERLAID)
        _check_whole(task.file, dataset)
        burned_in, head = _has_text(dataset), _may_show_a_face(dataset)
        try:
            task.profile.apply(dataset, place=task.file.name)
        except Exception as error:  # pydicom raises whatever the values it converts bring up
            raise DicomError(f"{task.file.name}: a value cannot be read ({type(error).__name__}); left out") from error
        study, series, instance = (str(dataset[keyword].value) for keyword in UIDS)
        dataset.file_meta = _meta(dataset, kind or str(CTImageStorage), instance)
        dataset.preamble = b"\0" * 128  # it can hold anything
        place = task.out / study / series / f"{instance}.dcm"
        if not place.exists():
            with atomic_path(place) as part:
                dataset.save_as(part, enforce_file_format=True)
    return _Done(str(dataset.PatientID), study, instance, burned_in=burned_in, head=head)


def _looks_like_ct(dataset: Dataset) -> bool:
    """Tell whether an image without a class is a slice of a CT, as the challenge's are."""
    needed = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleIntercept")
    return str(dataset.get("Modality") or "CT") == "CT" and all(keyword in dataset for keyword in needed)


def _has_overlay_in_pixels(dataset: Dataset) -> bool:
    """Tell whether unused bits of the pixels hold an overlay, as they might in old files."""
    return any(
        element.tag.group in range(0x6000, 0x6100) and element.tag.element == _BIT_POSITION and bool(element.value)
        for element in dataset
    )


def _check_whole(file: SourceFile, dataset: Dataset) -> None:
    """Refuse an image that is cut off within its pixels: nobody would know any more."""
    if UID(dataset.file_meta.get("TransferSyntaxUID", ExplicitVRLittleEndian)).is_encapsulated:
        return
    values = [dataset.get(keyword) or 1 for keyword in ("Rows", "Columns", "SamplesPerPixel", "NumberOfFrames")]
    expected = math.prod(int(value) for value in values) * (int(dataset.get("BitsAllocated") or 16) // 8)
    if len(dataset.PixelData) < expected:
        raise DicomError(f"{file.name}: its pixels are cut off; copy it again")


def _meta(dataset: Dataset, sop_class: str, instance: str) -> FileMetaDataset:
    """Return new file meta information: the old one may name who sent the file."""
    old = getattr(dataset, "file_meta", FileMetaDataset())
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(instance)
    meta.TransferSyntaxUID = old.get("TransferSyntaxUID", ExplicitVRLittleEndian)
    meta.ImplementationClassUID = _IMPLEMENTATION
    return meta


def _has_text(dataset: Dataset) -> bool:
    """Tell whether an image says that text is burned in, or that it is a screen and no scan."""
    told = dataset.get("ImageType") or ()
    words = {str(word).upper() for word in ([told] if isinstance(told, str) else told)}
    return str(dataset.get("BurnedInAnnotation", "")).upper() == "YES" or bool(words & {"SCREEN SAVE", "SECONDARY"})


def _may_show_a_face(dataset: Dataset) -> bool:
    part = str(dataset.get("BodyPartExamined", "")).upper()
    near = not part or any(word in part for word in ("HEAD", "NECK", "SKULL", "FACE", "BRAIN", "CSPINE", "CERVICAL"))
    return near or str(dataset.get("RecognizableVisualFeatures", "")).upper() == "YES"
