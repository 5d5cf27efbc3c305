"""Links to the current answers: a folder with one answer of each study, which `cspine evaluate` and `monitor` read."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress

from sqlalchemy import select

from cspine.server.database.engine import Database
from cspine.server.database.tables import Job, JobState, Study
from cspine.server.spool.folders import Spool


def link_current(spool: Spool, key: str, result_folder: str) -> None:
    """Let the link of a study lead to its current answer, at once instead of in two steps.

    File systems without links have none; the results lie in ``results``.

    Parameters
    ----------
    spool : Spool
        Where both lie.
    key : str
        Key of the study.
    result_folder : str
        Folder of the answer, relative to the spool.
    """
    link = spool.current_link(key)
    part = link.with_name(f".{link.name}-{secrets.token_hex(4)}")
    with suppress(OSError):
        part.symlink_to(os.path.relpath(spool.absolute(result_folder), link.parent), target_is_directory=True)
        part.replace(link)


def refresh_links(database: Database, spool: Spool) -> None:
    """Make the links that are missing after a crash, and remove those whose answers are gone."""
    query = (
        select(Study.key, Job.result_folder)
        .join(Job.study)
        .where(Job.is_current, Job.result_folder != "", Job.state.in_([JobState.DONE, JobState.NOT_ASSESSABLE]))
    )
    with database.reading() as session:
        wanted = {row.key: row.result_folder for row in session.execute(query)}
    found = {link.name: link for link in spool.current_links()}
    for key, folder in wanted.items():
        if key not in found or not found[key].exists() or found[key].resolve() != spool.absolute(folder).resolve():
            link_current(spool, key, folder)
    for name, link in found.items():
        if name not in wanted and not link.exists():
            with suppress(OSError):
                link.unlink()
