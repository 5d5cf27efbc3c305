"""The input of a job: the study's objects as they are when it begins."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from cspine.core.files import output_errors
from cspine.server.spool.folders import OBJECT_SUFFIX


def link_objects(study_folder: Path, folder: Path) -> int:
    """Link the objects of a study into a new folder, and return their number.

    Links are no copies, and keep what they show when an object is replaced. Where the file system knows none, the
    objects are copied.

    Raises
    ------
    DiskFullError, OutputError
    """
    with output_errors(folder):
        folder.mkdir(parents=True)
        paths = sorted(study_folder.glob(f"*{OBJECT_SUFFIX}"))
        for path in paths:
            try:
                os.link(path, folder / path.name)
            except OSError:
                shutil.copyfile(path, folder / path.name)
        return len(paths)
