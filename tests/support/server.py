"""A server's parts in a folder, and CT objects for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from cspine.server.database.engine import Database
from cspine.server.settings import ServerSettings
from cspine.server.spool.folders import Spool
from cspine.server.spool.receive import ReceivedObject, Receiver
from tests.support.dicom import STUDY_UID, write_series


@dataclass(frozen=True)
class ServerParts:
    """Settings, database and spool of a server that does not run."""

    settings: ServerSettings
    database: Database
    spool: Spool

    @property
    def receiver(self) -> Receiver:
        return Receiver(self.settings, self.database, self.spool)

    def receive(self, path: Path, **options: Any) -> ReceivedObject:
        """Receive a copy of a file."""
        incoming = self.spool.incoming()
        shutil.copyfile(path, incoming)
        return self.receiver.receive(incoming, source="MODALITY", **options)


def make_parts(folder: Path, *, database: str | None = None, **settings: Any) -> ServerParts:
    """Return the parts of a new server; its spool keeps no free space."""
    storage = {"min_free_gb": 0.0, **settings.pop("storage", {}), "spool": folder / "spool", "database": database}
    chosen = ServerSettings.model_validate({"storage": storage, **settings})
    spool = Spool(folder / "spool")
    spool.create()
    opened = Database.open(chosen)
    opened.upgrade()
    return ServerParts(chosen, opened, spool)


def write_objects(
    folder: Path,
    n_objects: int = 3,
    *,
    study: str = STUDY_UID,
    change: Callable[[Dataset], None] = lambda _: None,
) -> list[Path]:
    """Write a few small CT slices and return their paths."""

    def changed(dataset: Dataset, _: int) -> Dataset:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID
        change(dataset)
        return dataset

    hu = np.zeros((n_objects, 8, 8), dtype=np.int16)
    return write_series(folder, hu, study=study, series=f"{study}.1", change=changed)
