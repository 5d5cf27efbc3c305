"""The compiled data set on disk.

::

    DATASET/
      dataset.json        identity of the data set: settings, their hash, source
      images/KEY/00.jpg   sagittal images of one study
      images/KEY/C1.jpg   mosaic of the planes through one vertebra
      images/KEY/C1.png   fractured cells of those planes, where they are known
      records/KEY.json    outcome of one study; written last, so that a record implies complete images
      manifest.parquet    one row per sagittal image
      levels.parquet      one row per study and localized vertebra
      studies.parquet     one row per study; studies that could not be compiled have a reason
      shards/             what each shard did, where the job had shards

Files depend on studies and settings only: neither times nor the number of processes change them.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from cspine.core.anatomy import TARGETS
from cspine.core.errors import InputError, SourceError
from cspine.core.execution.shard_records import SHARDS_FOLDER
from cspine.core.files import atomic_folder, read_json, remove_unfinished, write_text
from cspine.core.jobs import ResumableJob
from cspine.core.typing import Grays
from cspine.datasets.compiled_tables import (
    LEVELS_FILE,
    MANIFEST_FILE,
    RECORDS_FOLDER,
    STUDIES_FILE,
    RecordHeads,
    are_tables_of,
    read_heads,
    record_paths,
    write_tables,
)
from cspine.views.resize import downscale
from cspine.views.settings import CompileSettings

MARKER: Final = "dataset.json"
FORMAT: Final = 4
"""Format of the data set: raised where earlier ones can no longer be read."""


@dataclass(frozen=True)
class CompiledDataset:
    """A compiled data set: written study by study, and read as tables and images.

    Attributes
    ----------
    folder : Path
        Root folder of the data set.
    settings : CompileSettings
        Settings that its images were compiled with.
    is_phantom : bool
        Whether all studies are phantoms.
    localizer_sha256 : str or None
        SHA-256 of the localizer's weights; None where vertebrae were not localized.
    """

    folder: Path
    settings: CompileSettings
    is_phantom: bool
    localizer_sha256: str | None = None
    only_studies: frozenset[str] | None = None

    @classmethod
    def create(
        cls,
        folder: Path,
        settings: CompileSettings,
        *,
        localizer_sha256: str | None,
        source: str,
        is_phantom: bool,
        provider: Mapping[str, str] | None = None,
    ) -> "CompiledDataset":
        """Create a data set, or resume the one that the same job began.

        Parameters
        ----------
        folder : Path
            Root folder of the data set.
        settings : CompileSettings
            Settings of the compilation.
        localizer_sha256 : str or None
            SHA-256 of the localizer's weights.
        source : str
            Where the studies come from, to recognize the same job.
        is_phantom : bool
            Whether all studies are phantoms.
        provider : mapping, optional
            What `cspine.models.providers.provider_of` says of the localizer.

        Raises
        ------
        OutputTakenError
            The folder holds something else, or a data set with other settings or from another source.
        """
        identity = {
            "format": FORMAT,
            "kind": "compiled",
            "settings": settings.model_dump(mode="json"),
            "settings_hash": settings.hash,
            "localizer_sha256": localizer_sha256,
            "source": source,
            "phantom": is_phantom,
            **(provider or {}),
        }
        ResumableJob(folder, MARKER, identity).open()
        return cls(folder, settings, is_phantom, localizer_sha256)

    @classmethod
    def open(cls, folder: Path, *, is_finished: bool = True) -> "CompiledDataset":
        """Open a data set.

        Parameters
        ----------
        folder : Path
            Root folder of the data set.
        is_finished : bool
            Whether it must have its tables; without, its records can be merged.

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
            raise SourceError(f"{folder}: was compiled by cspine 0.1 or another version; compile it again")
        if is_finished and not (folder / MANIFEST_FILE).is_file():
            remedy = (
                f"`cspine merge {folder}`" if (folder / SHARDS_FOLDER).is_dir() else "the same `cspine compile` again"
            )
            raise SourceError(f"{folder}: is not finished; run {remedy}")
        settings = CompileSettings.model_validate(identity["settings"])
        return cls(folder, settings, bool(identity["phantom"]), identity["localizer_sha256"])

    def record_path(self, key: str) -> Path:
        """Return the path of a study's record."""
        return self.folder / RECORDS_FOLDER / f"{key}.json"

    def restrict(self, studies: Collection[str]) -> "CompiledDataset":
        """Return the same data set, of whose tables only the rows of some studies are read.

        Parameters
        ----------
        studies : collection of str
            StudyInstanceUIDs.
        """
        return replace(self, only_studies=frozenset(studies))

    def record(self, key: str) -> dict[str, Any] | None:
        """Return the record of a study that an earlier run finished, or None.

        Parameters
        ----------
        key : str
            Key of the study, as returned by `cspine.core.identifiers.study_key`.
        """
        path = self.record_path(key)
        if not path.is_file():
            return None
        record: dict[str, Any] = read_json(path)
        return record

    def recorded_keys(self) -> set[str]:
        """Return the keys of all studies that have a record, by one listing of the folder."""
        return set(record_paths(self.folder))

    def read_heads(self, labels: pd.DataFrame | None, keys: Collection[str] | None = None) -> RecordHeads:
        """Return the records of studies without their rows; as of `cspine.datasets.compiled_tables.read_heads`."""
        return read_heads(self.folder, labels, keys)

    def is_finished(self, heads: RecordHeads) -> bool:
        """Return whether the tables are those of all records and labels that `read_heads` has read."""
        return are_tables_of(self.folder, heads.digest)

    def write_study(self, key: str, files: Mapping[str, bytes], record: dict[str, Any]) -> None:
        """Write the images of a study, and then its record.

        Parameters
        ----------
        key : str
            Key of the study, as returned by `cspine.core.identifiers.study_key`.
        files : mapping of str to bytes
            File name to content.
        record : dict
            Outcome of the study; its ``images`` and ``levels`` are rows of the tables.

        Raises
        ------
        DiskFullError, OutputError
            The study cannot be written.
        """
        with atomic_folder(self.folder / "images" / key) as part:
            for name, data in files.items():
                (part / name).write_bytes(data)
        self.write_record(key, record)

    def write_record(self, key: str, record: dict[str, Any]) -> None:
        """Write the record of a study; raises as `write_study`."""
        write_text(self.record_path(key), json.dumps(record, allow_nan=False) + "\n")

    def finish(self, labels: pd.DataFrame | None, *, is_partial: bool = False) -> None:
        """Write the three tables from the records.

        Parameters
        ----------
        labels : DataFrame or None
            Labels, indexed by StudyInstanceUID, columns `TARGETS`.
        is_partial : bool
            Whether other processes may still be writing studies; what killed ones left is then kept.
        """
        if not is_partial:
            remove_unfinished(self.folder, self.folder / "images", self.folder / RECORDS_FOLDER)
        settings = {"settings": self.settings.model_dump(mode="json"), "hash": self.settings.hash}
        write_tables(self.folder, labels, {"cspine": json.dumps(settings)})

    @property
    def sha256(self) -> str:
        """SHA-256 of the manifest's file, which holds a hash of all records and labels: other tables have another."""
        return hashlib.sha256((self.folder / MANIFEST_FILE).read_bytes()).hexdigest()

    def manifest(self) -> pd.DataFrame:
        """Return one row per sagittal image; labels are nullable integers."""
        return self._read_table(MANIFEST_FILE)

    def levels(self) -> pd.DataFrame:
        """Return one row per study and localized vertebra."""
        return self._read_table(LEVELS_FILE)

    def studies(self) -> pd.DataFrame:
        """Return one row per study."""
        return self._read_table(STUDIES_FILE)

    def _read_table(self, name: str) -> pd.DataFrame:
        path, studies = self.folder / name, self.only_studies
        chosen = None if studies is None else [("study_instance_uid", "in", sorted(studies))]
        try:
            with path.open("rb") as file:
                table: pd.DataFrame = pq.read_table(file, filters=chosen).to_pandas()
        except (OSError, pa.ArrowInvalid) as error:
            raise InputError(f"{path}: cannot be read ({type(error).__name__}); compile the data set again") from error
        return table.astype(dict.fromkeys(TARGETS, "Int8"))

    def read_images(self, paths: Iterable[str], size: int) -> Grays:
        """Read compiled images, downscaled to one size.

        Parameters
        ----------
        paths : iterable of str
            Paths within the data set: the manifest's ``path`` column.
        size : int
            Rows and columns of each returned image.

        Returns
        -------
        (n, size, size) uint8

        Raises
        ------
        InputError
            An image is missing or damaged.
        """
        return np.stack([self._read_image(self.folder / path, size) for path in paths])

    def _read_image(self, path: Path, size: int) -> Grays:
        try:
            with path.open("rb") as file, Image.open(file) as image:
                return downscale(np.asarray(image.convert("L")), size)
        except (OSError, SyntaxError) as error:
            raise InputError(f"{path}: cannot be read as JPEG; delete its record and compile again") from error
