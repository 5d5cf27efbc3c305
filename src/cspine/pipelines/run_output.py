"""The output folder of `cspine run`: all files of a run appear together, and those of an earlier one do not stay."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydicom.uid import KeyObjectSelectionDocumentStorage

from cspine.core.errors import InputError, OutputTakenError
from cspine.core.files import complete_files, output_errors, read_json, write_json
from cspine.dicom.codec.header import SliceHeader, read_header
from cspine.dicom.sources import SourceFile
from cspine.pipelines.case_folder import FHIR_FILE, REPORT_FILE

RESULT_FILE: Final = "result.json"

EARLIER_FOLDER: Final = ".cspine-earlier"
"""Where what earlier runs wrote lies until a run has come to its end, in one folder for each run. Orchestrators pass
over it, since its name is hidden; rejection notes list what is in it."""

STAGE_FOLDER: Final = ".cspine-new"
"""Where files are copied to before they are moved into place."""


@dataclass(frozen=True)
class OutputFolder:
    """The folder that a run's files go to.

    Attributes
    ----------
    path : Path
        The folder; it is created on demand.
    """

    path: Path

    @property
    def earlier(self) -> tuple[Path, ...]:
        """The folder of what earlier runs wrote, where there is one."""
        folder = self.path / EARLIER_FOLDER
        return (folder,) if folder.is_dir() else ()

    def check(self, input_folder: Path) -> None:
        """Check that results may go there.

        Parameters
        ----------
        input_folder : Path
            The folder of the studies.

        Raises
        ------
        InputError
            Both are the same folder.
        OutputTakenError
            It is a file, or holds DICOM that no run wrote.
        """
        if self.path.exists() and input_folder.exists() and self.path.samefile(input_folder):
            raise InputError(f"{self.path}: is the folder of the input, too; give another one for the output")
        if self.path.exists() and not self.path.is_dir():
            raise OutputTakenError(f"{self.path}: is a file, not a folder; give a folder for the output")
        foreign = [path.name for path in complete_files(self.path, "*.dcm") if _own_header(path) is None]
        if foreign:
            raise OutputTakenError(
                f"{self.path}: holds DICOM of something else, such as {foreign[0]}, which would be sent as a result; "
                "give an empty folder"
            )

    def set_aside(self) -> None:
        """Hide what earlier runs wrote, also one that was killed; ``result.json`` first, since it marks the end.

        Raises
        ------
        DiskFullError, OutputError
            The folder cannot be written.
        """
        with output_errors(self.path / RESULT_FILE):
            shutil.rmtree(self.path / STAGE_FOLDER, ignore_errors=True)
            pages = self._listed_pages()
            result = self.path / RESULT_FILE
            files = [*([result] if result.is_file() else []), *pages, *complete_files(self.path, "*.dcm")]
            if not files:
                return
            folder = self.path / EARLIER_FOLDER / str(len(list((self.path / EARLIER_FOLDER).glob("*"))))
            folder.mkdir(parents=True)
            for path in files:
                path.replace(folder / path.name)

    def notes_of(self, study_instance_uid: str) -> dict[str, Path]:
        """Return the rejection notes of a study that earlier runs wrote, by name: they stay valid."""
        paths = [path for folder in self.earlier for path in complete_files(folder, "*/*.dcm")]
        headers = [(path, _own_header(path)) for path in paths]
        return {
            path.name: path
            for path, header in headers
            if header is not None
            and header.sop_class_uid == KeyObjectSelectionDocumentStorage
            and header.study_instance_uid == study_instance_uid
            and _REJECTED in path.name
        }

    def fill(self, files: Mapping[str, Path], result: Mapping[str, Any], *, keep_earlier: bool = False) -> None:
        """Copy files into the folder, which shows all of them or none, and remove what earlier runs wrote.

        Parameters
        ----------
        files : mapping of str to Path
            What is copied, by name.
        result : mapping
            The content of ``result.json``, which is moved into place last.
        keep_earlier : bool
            Whether what earlier runs wrote is kept out of sight for the next run, since a study has no answer yet.

        Raises
        ------
        DiskFullError, OutputError
            The folder cannot be written; then it shows nothing.
        """
        stage = self.path / STAGE_FOLDER
        with _removed_at_the_end(stage):
            for name, path in files.items():
                with output_errors(self.path / name):
                    stage.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(path, stage / name)
            write_json(stage / RESULT_FILE, result)
            self._move([*files, RESULT_FILE])
        if not keep_earlier:
            shutil.rmtree(self.path / EARLIER_FOLDER, ignore_errors=True)

    def _move(self, names: list[str]) -> None:
        """Move staged files into place; where one cannot be moved, none stays."""
        try:
            for name in names:
                with output_errors(self.path / name):
                    (self.path / STAGE_FOLDER / name).replace(self.path / name)
        except BaseException:
            for name in names:
                (self.path / name).unlink(missing_ok=True)
            raise

    def _listed_pages(self) -> list[Path]:
        """Return the files of other kinds than DICOM, such as ``fhir.json``, that an earlier ``result.json`` lists."""
        names = set[str]()
        for path in (self.path / RESULT_FILE, *(self.path / EARLIER_FOLDER).glob(f"*/{RESULT_FILE}")):
            try:
                names |= {str(name) for study in read_json(path)["studies"] for name in study["files"]}
            except (InputError, LookupError, TypeError):  # none, or that of something else
                continue
        pages = [path for path in self.path.glob("*") if path.name.endswith((FHIR_FILE, REPORT_FILE))]
        return [path for path in pages if path.name in names]


_REJECTED: Final = "rejected-"
"""Part of the names of rejection notes, `cspine.reports.dicom.objects.REJECTION_PREFIX`, without its libraries."""


def _own_header(path: Path) -> SliceHeader | None:
    """Return the header of a DICOM file that says that cspine made it; None of all other files."""
    from cspine.reports.dicom.report_context import MANUFACTURER  # noqa: PLC0415 - of used folders only

    try:
        header = read_header(SourceFile(path, None, path.name, path.stat().st_size))
    except (InputError, OSError):
        return None
    return header if header.manufacturer == MANUFACTURER else None


@contextmanager
def _removed_at_the_end(folder: Path) -> Iterator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)
