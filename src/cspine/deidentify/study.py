"""De-identify the CT images of a file, folder or zip, and write them to folders named by new UIDs."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, CTImageStorage, DeflatedExplicitVRLittleEndian

from cspine.core.errors import CspineError, DicomError, InputError, OutputError
from cspine.core.execution.parallel import parallel_map
from cspine.core.files import atomic_path
from cspine.core.jobs import ResumableJob
from cspine.core.progress import Progress, silent
from cspine.core.storage.locations import as_path
from cspine.deidentify.pixels import ImageContent, read_content, set_pixels
from cspine.deidentify.profile import UIDS, ConfidentialityProfile
from cspine.dicom.codec.dataset import looks_like_dicom, parse, parse_deflated
from cspine.dicom.codec.header import MULTI_FRAME_CT, read_header, suppress_pydicom_warnings
from cspine.dicom.files.listing import list_files
from cspine.dicom.sources import SourceFile

MARKER: Final = "deidentify.json"
"""File in the output folder that identifies the run."""

_IMPLEMENTATION: Final = UID("2.25.254062231207470172110637043437113062353")
_CT: Final = frozenset({CTImageStorage, *MULTI_FRAME_CT})
_OVERLAY_BIT_POSITION: Final = 0x0102
"""Element of an overlay group: 0 if the overlay has data of its own, otherwise its bit in the pixels."""

_OVERLAY_IN_PIXELS: Final = "an overlay lies in unused bits of the pixels"
_NOT_CT: Final = "not CT images, which may hold personal text in pixels or content"
_NOT_DICOM: Final = "not DICOM"
_DUPLICATE: Final = "the same SOPInstanceUID as another file"
_CONFLICT: Final = "the same SOPInstanceUID as another image"
_CHANGED: Final = "images whose copy would not be the same image"
_UNREADABLE: Final = "DICOM that cannot be read"


@dataclass(frozen=True)
class DeidentificationSummary:
    """The result of a run.

    Attributes
    ----------
    written : int
        Number of images written.
    patients, studies : int
        Number of pseudonyms, and of new StudyInstanceUIDs.
    exclusions : dict of str to int
        Reasons why files were not written, with their numbers.
    warnings : tuple of str
        What to check before the images are passed on.
    """

    written: int
    patients: int
    studies: int
    exclusions: dict[str, int]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class _FileTask:
    file: SourceFile
    out: Path
    profile: ConfidentialityProfile


@dataclass(frozen=True)
class _FileResult:
    """The result of one file: its new IDs, or the reason why it is excluded."""

    pseudonym: str = ""
    study_uid: str = ""
    image_uid: str = ""
    fingerprint: str = ""
    exclusion: str = ""
    reason: str = ""
    has_burned_in_text: bool = False
    may_show_face: bool = False


def deidentify(
    path: str | Path, out: str | Path, profile: ConfidentialityProfile, *, workers: int = 1, progress: Progress = silent
) -> DeidentificationSummary:
    """De-identify every CT image at a path.

    Images are written to ``OUT/<study>/<series>/<instance>.dcm`` by their new UIDs, since the original names of files
    and folders may identify patients. Files that are not CT images are excluded. Pixels are not changed: every written
    file is read back, and is removed and reported unless it is the same image. With the same key, an interrupted run
    is resumed.

    Parameters
    ----------
    path : str or Path
        A file, a folder or a zip.
    out : str or Path
        Folder to write the images to.
    profile : ConfidentialityProfile
        Secret key and options of de-identification.
    workers : int
        Number of processes that work in parallel.
    progress : Progress
        Called with the number of files processed.

    Returns
    -------
    DeidentificationSummary

    Raises
    ------
    SourceError, ArchiveError
        The path holds no files, or they cannot be read.
    InputError
        `out` lies within `path`, so that its images would be read as input.
    OutputTakenError
        `out` belongs to another run or holds other files.
    DiskFullError, OutputError
        `out` cannot be written.
    """
    path, out = as_path(path), as_path(out)
    files = list_files(path)
    if path.is_dir() and out.resolve().is_relative_to(path.resolve()):
        raise InputError(f"{out}: lies within {path}, so its images would be read again; choose another --out")
    identity = {
        "kind": "deidentify",
        "key": profile.key.fingerprint,
        "dates": profile.dates,
        "days": None if profile.shift_days is None else profile.key.hash_number(profile.shift_days),
    }
    ResumableJob(out, MARKER, identity).open()
    tasks = [_FileTask(file, out, profile) for file in files]
    results, exclusions, first_error = [], Counter[str](), ""
    for outcome in parallel_map(_process_file, tasks, workers=workers, stage="files", progress=progress):
        if isinstance(outcome.error, OutputError):
            raise outcome.error
        if outcome.error is not None:
            exclusions[_UNREADABLE] += 1
            first_error = first_error or str(outcome.error)
            continue
        result = outcome.get()
        if result.exclusion:
            exclusions[result.exclusion] += 1
            first_error = first_error or result.reason
        else:
            results.append(result)
    images = {result.image_uid for result in results}
    if len(images) < len(results):
        n_contents = len({(result.image_uid, result.fingerprint) for result in results})
        exclusions += Counter({_DUPLICATE: len(results) - n_contents, _CONFLICT: n_contents - len(images)})
    return DeidentificationSummary(
        written=len(images),
        patients=len({result.pseudonym for result in results}),
        studies=len({result.study_uid for result in results}),
        exclusions=dict(exclusions),
        warnings=_warnings(results, first_error),
    )


def _warnings(results: list[_FileResult], first_error: str) -> tuple[str, ...]:
    warnings = []
    if not results:
        warnings.append("no CT image was written; give a folder, a zip or a file with slices of a CT")
    if first_error:
        warnings.append(f"studies may be incomplete, since files could not be read, first: {first_error}")
    n_burned_in = sum(result.has_burned_in_text for result in results)
    if n_burned_in:
        warnings.append(
            f"{n_burned_in} images declare burned-in text, or are screen captures and not scans: pixels are not "
            "cleaned, check them before they are passed on"
        )
    if any(result.may_show_face for result in results):
        warnings.append("images may show the head, from which a face can be rebuilt: check before they are passed on")
    return tuple(warnings)


def _process_file(task: _FileTask) -> _FileResult:
    """De-identify one file, in a worker process."""
    data = task.file.read()
    if not looks_like_dicom(data):
        return _FileResult(exclusion=_NOT_DICOM)
    with suppress_pydicom_warnings():
        dataset = _parse_header(task.file, data)
        sop_class = str(
            dataset.get("SOPClassUID") or getattr(dataset, "file_meta", {}).get("MediaStorageSOPClassUID") or ""
        )
        if not (sop_class in _CT if sop_class else _looks_like_ct(dataset)):
            return _FileResult(exclusion=_NOT_CT)
        if _has_overlay_in_pixels(dataset):
            return _FileResult(exclusion=_OVERLAY_IN_PIXELS)
        header = read_header(task.file)
        content = read_content(header)
        has_burned_in_text, may_show_face = _has_burned_in_text(dataset), _may_show_face(dataset)
        try:
            task.profile.apply(dataset, uid_fallback=task.file.name)
        except Exception as error:  # pydicom raises errors of any type on invalid values
            raise DicomError(
                f"{task.file.name}: a value cannot be read ({type(error).__name__}); export it again"
            ) from error
        study, series, instance = (str(dataset[keyword].value) for keyword in UIDS)
        syntax = set_pixels(dataset, header)
        dataset.file_meta = _file_meta(syntax, sop_class or str(CTImageStorage), instance)
        dataset.preamble = b"\0" * 128  # the original may hold anything
        path = task.out / study / series / f"{instance}.dcm"
        if not path.exists():
            try:
                _write_copy(dataset, path, task.file.name, content)
            except _CopyError as error:
                return _FileResult(exclusion=_CHANGED, reason=str(error))
        elif _read_copy(path, task.file.name).differences(content):
            return _FileResult(exclusion=_CONFLICT)
    pseudonym = str(dataset.PatientID)
    return _FileResult(pseudonym, study, instance, content.fingerprint, "", "", has_burned_in_text, may_show_face)


def _parse_header(file: SourceFile, data: bytes) -> Dataset:
    """Parse a file without its pixels, also a deflated one."""
    try:
        return parse(file, data)
    except DicomError:
        if DeflatedExplicitVRLittleEndian.encode() not in data[: 2**20]:
            raise
        return parse_deflated(file)


class _CopyError(DicomError):
    """A copy that would not be the same image as its file."""


def _write_copy(dataset: Dataset, path: Path, name: str, content: ImageContent) -> None:
    """Write a de-identified image, and read it back before it takes its place."""
    with atomic_path(path) as part:
        try:
            dataset.save_as(part, enforce_file_format=True)
        except OSError:
            raise
        except Exception as error:  # pydicom raises errors of any type on invalid values, and quotes them
            raise _CopyError(f"{name}: a value cannot be written ({type(error).__name__}); export it again") from error
        try:
            differences = _read_copy(part, name).differences(content)
        except CspineError as error:
            raise _CopyError(f"{name}: its copy could not be read back, so it is left out; export it again") from error
        if differences:
            raise _CopyError(
                f"{name}: its copy would differ in {', '.join(differences)}, so it is left out; export it again"
            )


def _read_copy(path: Path, name: str) -> ImageContent:
    return read_content(read_header(SourceFile(path, None, name, path.stat().st_size)))


def _looks_like_ct(dataset: Dataset) -> bool:
    """Return whether an image without a SOP class has the attributes of a CT slice, as the challenge's images do."""
    required = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleIntercept")
    return str(dataset.get("Modality") or "CT") == "CT" and all(keyword in dataset for keyword in required)


def _has_overlay_in_pixels(dataset: Dataset) -> bool:
    """Return whether unused bits of the pixels hold an overlay, as in old files."""
    return any(
        element.tag.group in range(0x6000, 0x6100)
        and element.tag.element == _OVERLAY_BIT_POSITION
        and bool(element.value)
        for element in dataset
    )


def _file_meta(syntax: str, sop_class: str, instance: str) -> FileMetaDataset:
    """Return new file meta information, since the original may name the sender of the file."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = UID(sop_class), UID(instance)
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = _IMPLEMENTATION
    return meta


def _has_burned_in_text(dataset: Dataset) -> bool:
    """Return whether an image declares burned-in text, or is a screen capture and not a scan."""
    image_type = dataset.get("ImageType") or ()
    values = {str(value).upper() for value in ([image_type] if isinstance(image_type, str) else image_type)}
    return str(dataset.get("BurnedInAnnotation", "")).upper() == "YES" or bool(values & {"SCREEN SAVE", "SECONDARY"})


def _may_show_face(dataset: Dataset) -> bool:
    """Return whether the head may be scanned: by the body part, or because the image does not declare one."""
    part = str(dataset.get("BodyPartExamined", "")).upper()
    head = ("HEAD", "NECK", "SKULL", "FACE", "BRAIN", "CSPINE", "CERVICAL")
    is_near_head = not part or any(word in part for word in head)
    return is_near_head or str(dataset.get("RecognizableVisualFeatures", "")).upper() == "YES"
