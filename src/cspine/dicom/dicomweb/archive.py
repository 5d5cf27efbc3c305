"""Find studies of a DICOMweb archive, and describe their CT series.

The URL of a study is that of the standard (PS3.18): ``dicomweb+https://host/dicom-web/studies/UID``, with
``/series/UID`` for one series. A search is that of QIDO-RS:
``dicomweb+https://host/dicom-web/studies?StudyDate=20250101-20250107&ModalitiesInStudy=CT``.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import parse_qsl

from cspine.core.errors import InputError, SourceError
from cspine.core.storage.dicomweb import DicomwebStore
from cspine.core.storage.locations import as_path
from cspine.core.storage.remote_path import RemotePath
from cspine.dicom.dicomweb.described_file import describe, text_of
from cspine.dicom.sources import SourceFile

_STUDY_UID: Final = "0020000D"
_SERIES_UID: Final = "0020000E"
_INSTANCE_UID: Final = "00080018"
_MODALITY: Final = "00080060"
_N_INSTANCES: Final = "00201209"
_UID: Final = re.compile(r"[0-9](?:[0-9.]{0,62}[0-9])?")
_KEY: Final = re.compile(r"[A-Za-z0-9.]{1,64}")
_PAGE: Final = 1000
"""Studies that one answer to a search holds at most."""

_MAX_STUDIES: Final = 100_000
_MAX_INSTANCES: Final = 20_000
"""Most instances of a study that are described."""

_N_REQUESTS: Final = 4
"""Requests for metadata that are under way at the same time: an archive reads files to answer them."""


@dataclass(frozen=True)
class _Address:
    """What the URL of an archive names.

    Attributes
    ----------
    service : RemotePath
        The DICOMweb service.
    study_uid, series_uid : str or None
        The study, and the series, that it names.
    query : dict of str to str
        Matching keys of a search.
    """

    service: RemotePath
    study_uid: str | None
    series_uid: str | None
    query: dict[str, str]

    @property
    def store(self) -> DicomwebStore:
        """The archive."""
        return cast("DicomwebStore", self.service.store)  # by its protocol

    def resource(self, *names: str) -> str:
        """Return the path of a resource on the host."""
        return "/".join((*self.service.parts[2:], *names))


def find_studies(path: RemotePath) -> list[RemotePath]:
    """Find the studies that a URL names: one by its UID, or those that match its query.

    Parameters
    ----------
    path : RemotePath
        URL of an archive, with a study or a query.

    Returns
    -------
    list of RemotePath
        At least one, each with the study's UID as its last name.

    Raises
    ------
    InputError
        The URL names neither a study nor a query.
    SourceError
        Nothing matches, or the archive does not answer.
    """
    address = _parse(path)
    if address.study_uid is not None:
        return [path]
    if not address.query:
        raise InputError(
            f"{path}: names no study, and an archive is not read as a whole; add /studies/UID, or a search such as "
            "/studies?StudyDate=20250101-20250107&ModalitiesInStudy=CT"
        )
    uids: dict[str, None] = {}
    while len(uids) < _MAX_STUDIES:
        page = {**address.query, "limit": str(_PAGE), "offset": str(len(uids))}
        found = address.store.get_json(address.resource("studies"), page)
        new = [uid for each in found if _UID.fullmatch(uid := text_of(each, _STUDY_UID)) and uid not in uids]
        if not new:  # an archive may send fewer at a time than it is asked for
            break
        uids |= dict.fromkeys(new)
    else:
        raise SourceError(
            f"{address.service}: more than {_MAX_STUDIES:,} studies match the search; give narrower dates, part by part"
        )
    if not uids:
        raise SourceError(f"{address.service}: no study of the archive matches the search; check its keys and values")
    return [address.service / "studies" / uid for uid in sorted(uids)]


def study_uid_of(path: RemotePath) -> str:
    """Return the StudyInstanceUID that the URL of a study, or of a series of it, names."""
    return _parse(path).study_uid or ""


def list_series(path: RemotePath) -> list[tuple[str, str]]:
    """List the CT series of a study.

    Parameters
    ----------
    path : RemotePath
        URL of a study, or of one series of it.

    Returns
    -------
    list of (str, str)
        SeriesInstanceUID, and number of instances as the archive says it; sorted.

    Raises
    ------
    SourceError
        There is no CT series, or the archive does not answer.
    """
    address = _parse(path)
    found = address.store.get_json(
        address.resource("studies", address.study_uid or "", "series"), {"includefield": _N_INSTANCES}
    )
    series = {
        uid: text_of(each, _N_INSTANCES)
        for each in found
        if _UID.fullmatch(uid := text_of(each, _SERIES_UID))
        and text_of(each, _MODALITY) in {"CT", ""}
        and address.series_uid in {None, uid}
    }
    if not series:
        raise SourceError(f"{path}: the archive holds no CT series of it; check the UID")
    return sorted(series.items())


def list_instances(path: RemotePath) -> list[SourceFile]:
    """Describe the instances of the CT series of a study; their files are fetched when their pixels are read.

    Parameters
    ----------
    path : RemotePath
        As of `list_series`, whose errors are raised, too.

    Raises
    ------
    SourceError
        The archive describes no instance, more than any CT has, or those of another study.
    """
    address = _parse(path)
    study = address.service / "studies" / (address.study_uid or "")
    series = [uid for uid, _ in list_series(path)]

    def metadata(uid: str) -> list[dict[str, Any]]:
        return address.store.get_json(address.resource("studies", study.name, "series", uid, "metadata"))

    files: dict[str, SourceFile] = {}
    with ThreadPoolExecutor(_N_REQUESTS) as threads:
        for uid, described in zip(series, threads.map(metadata, series), strict=True):
            for each in described:
                instance_uid = text_of(each, _INSTANCE_UID)
                belongs = text_of(each, _STUDY_UID) == study.name and text_of(each, _SERIES_UID) == uid
                if not belongs or not _UID.fullmatch(instance_uid):
                    raise SourceError(
                        f"{study}: the archive describes an image of another study or series than was requested; "
                        "have its index rebuilt"
                    )
                files.setdefault(instance_uid, describe(study, each))
            if len(files) > _MAX_INSTANCES:
                raise SourceError(f"{study}: has more than {_MAX_INSTANCES:,} CT images; give one series of it")
    if not files:
        raise SourceError(f"{study}: the archive describes no image of it; check that the study is complete")
    return sorted(files.values(), key=lambda file: file.name)


def _parse(path: RemotePath) -> _Address:
    """Split the URL of an archive into service, study, series and search."""
    text, _, query = str(path).partition("?")
    names = as_path(text).parts
    pairs = parse_qsl(query, keep_blank_values=True)
    keys = dict(pairs)
    if len(keys) < len(pairs):
        raise InputError(f"{text}: the search has a key twice; give it once, and search once for each value")
    if not all(_KEY.fullmatch(key) for key in keys) or {"limit", "offset"} & keys.keys():
        raise InputError(f"{text}: the search has a key that is no attribute; use keywords such as StudyDate")
    end = names.index("studies") if "studies" in names[2:] else len(names)
    kinds, uids = names[end::2], names[end + 1 :: 2]
    if kinds not in {(), ("studies",), ("studies", "series")} or len(kinds) - len(uids) > (len(kinds) == 1):
        raise InputError(f"{text}: is no study of an archive; end the URL with /studies/UID or /series/UID")
    for uid in uids:
        if not _UID.fullmatch(uid):
            raise InputError(f"{text}: {uid[:64]!r} is no UID; it has digits and points")
    service = as_path(f"{names[0]}//{'/'.join(names[1:end])}")
    study_uid, series_uid = (*uids, None, None)[:2]
    return _Address(cast("RemotePath", service), study_uid, series_uid, keys)
