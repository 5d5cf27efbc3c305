"""The compiled data set on disk.

::

    DATASET/
      dataset.json        what the data set is: settings, their hash, source
      images/KEY/00.jpg   the sagittal images of one study
      images/KEY/C1.jpg   a mosaic of the planes through one vertebra
      images/KEY/C1.png   the cells of those planes in which it is broken, where that is known
      records/KEY.json    what became of one study; written last, so that a record means the images are whole
      manifest.parquet    one row per sagittal image
      levels.parquet      one row per study and vertebra that was found
      studies.parquet     one row per study, broken ones with their reason
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cspine.core.anatomy import TARGETS
from cspine.core.errors import InputError, SourceError
from cspine.core.files import atomic_path, complete_files, open_run_directory, read_json, write_bytes, write_json
from cspine.views.settings import CompileSettings

MARKER: Final = "dataset.json"
FORMAT: Final = 3


@dataclass(frozen=True)
class CompiledDataset:
    """A compiled data set, to be written study by study or read as a whole.

    Attributes
    ----------
    settings : CompileSettings
        How its images were made.
    is_phantom : bool
        Whether all in it is phantom.
    localizer_sha256 : str or None
        Of the network that found its vertebrae; None where none were sought.
    """

    folder: Path
    settings: CompileSettings
    is_phantom: bool
    localizer_sha256: str | None = None

    @classmethod
    def create(
        cls, folder: Path, settings: CompileSettings, *, localizer_sha256: str | None, source: str, is_phantom: bool
    ) -> "CompiledDataset":
        """Begin a data set, or go on with it where the same job began it.

        Raises
        ------
        OutputTakenError
            The folder holds something else, or the same with other settings or from another source.
        """
        identity = {
            "format": FORMAT,
            "kind": "compiled",
            "settings": settings.model_dump(mode="json"),
            "settings_hash": settings.hash,
            "localizer_sha256": localizer_sha256,
            "source": source,
            "phantom": is_phantom,
        }
        open_run_directory(folder, MARKER, identity, remedy="choose another --out, or delete it")
        for leftover in (folder / "images").glob(".*.part"):
            shutil.rmtree(leftover)
        return cls(folder, settings, is_phantom, localizer_sha256)

    @classmethod
    def open(cls, folder: Path) -> "CompiledDataset":
        """Open a finished data set.

        Raises
        ------
        SourceError
            The folder is no compiled data set, or is not finished.
        """
        if not folder.exists():
            raise SourceError(f"{folder}: does not exist; check the path")
        if not (folder / MARKER).is_file():
            raise SourceError(f"{folder}: is not a compiled data set; make one with `cspine compile`")
        identity = read_json(folder / MARKER)
        if not isinstance(identity, dict) or identity.get("format") != FORMAT:
            raise SourceError(f"{folder}: was compiled by another version; compile it again")
        if not (folder / "manifest.parquet").is_file():
            raise SourceError(f"{folder}: is not finished; run the same `cspine compile` again")
        settings = CompileSettings.model_validate(identity["settings"])
        return cls(folder, settings, bool(identity["phantom"]), identity["localizer_sha256"])

    def record(self, key: str) -> dict[str, Any] | None:
        """Return what became of a study in an earlier run, or None."""
        path = self.folder / "records" / f"{key}.json"
        if not path.is_file():
            return None
        record: dict[str, Any] = read_json(path)
        return record

    def write_study(self, key: str, files: Mapping[str, bytes], record: dict[str, Any]) -> None:
        """Write a study's images and then its record; neither is there without the other when this is done.

        Parameters
        ----------
        key : str
            Of `study_key`.
        files : dict
            Name to content.
        record : dict
            What became of the study; ``images`` and ``levels`` are the rows of the tables.

        Raises
        ------
        DiskFullError, OutputError
        """
        final = self.folder / "images" / key
        part = final.with_name(f".{key}.part")
        for folder in (final, part):
            if folder.exists():
                shutil.rmtree(folder)
        for name, data in files.items():
            write_bytes(part / name, data)
        part.replace(final)
        self.write_record(key, record)

    def write_record(self, key: str, record: dict[str, Any]) -> None:
        """Write what became of a study; raises as `write_study` does."""
        write_json(self.folder / "records" / f"{key}.json", record)

    def finish(self, labels: pd.DataFrame | None) -> None:
        """Gather the records into the two tables.

        Parameters
        ----------
        labels : DataFrame or None
            Indexed by StudyInstanceUID, columns `TARGETS`.
        """
        records = [read_json(path) for path in complete_files(self.folder / "records", "*.json")]
        images, levels = (
            [{**_common(record), **row} for record in records for row in record.get(part, [])] for part in _PARTS
        )
        studies = [{name: value for name, value in record.items() if name not in _PARTS} for record in records]
        self._write_table("studies.parquet", _with_labels(pd.DataFrame(studies), labels))
        self._write_table("levels.parquet", _with_labels(pd.DataFrame(levels, columns=_LEVEL_COLUMNS), labels))
        self._write_table("manifest.parquet", _with_labels(pd.DataFrame(images, columns=_IMAGE_COLUMNS), labels))

    def _write_table(self, name: str, table: pd.DataFrame) -> None:
        arrow = pa.Table.from_pandas(table, preserve_index=False)
        about = {"cspine": json.dumps({"settings": self.settings.model_dump(mode="json"), "hash": self.settings.hash})}
        arrow = arrow.replace_schema_metadata({**(arrow.schema.metadata or {}), **about})
        with atomic_path(self.folder / name) as part:
            pq.write_table(arrow, part)

    def manifest(self) -> pd.DataFrame:
        """Return one row per sagittal image; labels are nullable integers."""
        return self._read_table("manifest.parquet")

    def levels(self) -> pd.DataFrame:
        """Return one row per study and vertebra that was found."""
        return self._read_table("levels.parquet")

    def studies(self) -> pd.DataFrame:
        """Return one row per study."""
        return self._read_table("studies.parquet")

    def _read_table(self, name: str) -> pd.DataFrame:
        path = self.folder / name
        try:
            table: pd.DataFrame = pq.read_table(path).to_pandas()
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path}: cannot be read ({type(error).__name__}); compile the data set again") from error
        return table.astype(dict.fromkeys(TARGETS, "Int8"))

    def read_images(self, paths: Iterable[str], size: int) -> npt.NDArray[np.uint8]:
        """Read compiled images and bring them to one size.

        Parameters
        ----------
        paths : iterable of str
            The manifest's ``path`` column.
        size : int
            Rows and columns wanted; images are shrunk by averaging.

        Returns
        -------
        (n, size, size) uint8

        Raises
        ------
        InputError
            An image is missing or damaged.
        """
        return np.stack([self._read_image(self.folder / path, size) for path in paths])

    def _read_image(self, path: Path, size: int) -> npt.NDArray[np.uint8]:
        try:
            with Image.open(path) as image:
                return shrink(np.asarray(image.convert("L")), size)
        except (OSError, SyntaxError) as error:
            raise InputError(f"{path}: cannot be read as JPEG; delete its record and compile again") from error


def shrink(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Bring a grey image to ``size`` rows and columns by averaging over the area of each new pixel."""
    if image.shape == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))


_IMAGE_COLUMNS: Final = [
    "study_instance_uid", "series_instance_uid", "patient", "image", "path", "x_lps_mm", "offset_mm", "top_z_mm",
    "front_y_mm", "pixel_mm", "bytes",
]  # fmt: skip


_LEVEL_COLUMNS: Final = [
    "study_instance_uid", "series_instance_uid", "patient", "level", "path", "evidence_path", "scanned_fraction", "confidence",
    "faults", "centroid_lps_mm", "fracture_types", "box_lps", "bytes",
]  # fmt: skip

_PARTS: Final = ("images", "levels")


def _common(record: dict[str, Any]) -> dict[str, Any]:
    return {name: record[name] for name in ("study_instance_uid", "series_instance_uid", "patient")}


def _with_labels(table: pd.DataFrame, labels: pd.DataFrame | None) -> pd.DataFrame:
    for target in TARGETS:
        known = labels[target] if labels is not None else pd.Series(dtype="Int8")
        table[target] = table["study_instance_uid"].map(known).astype("Int8")
    return table
