"""Group the headers of images into studies and series: one patient, one acquisition, one reconstruction.

1. The images of one study UID are divided by **patient** (`patients`); images of two patients never share a study.
2. Images that carry a series UID each are put together by position (`scattered`).
3. The images of one series UID are divided by size, spacing, orientation and by **traits** such as the kernel
   (`parts`, `traits`).
4. Where the positions of a part show more than one stack, copies are told from other images by their pixels
   (`copies`), and the stacks are **separated** by the attributes in which they differ (`stacks`, `attributes`).

Steps 1 to 3 use the headers that are already read. Step 4 reads files again, of such parts only.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace

from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.grouping.parts import Part, divide_series
from cspine.dicom.grouping.patients import PatientKey, patient_keys
from cspine.dicom.grouping.scattered import Bundle, join_scattered
from cspine.dicom.series import Series, SkippedFile, Study


def group_headers(headers: Iterable[SliceHeader]) -> tuple[tuple[Study, ...], list[SkippedFile]]:
    """Group headers by patient, study, series, and by the stacks that one series UID holds.

    Parameters
    ----------
    headers : iterable of SliceHeader
        The headers of all images, in the files' order.

    Returns
    -------
    studies : tuple of Study
        In the order of their first images. Two of them share a UID where the images of two patients do.
    excess : list of SkippedFile
        Files that belong to no series, with the reason.
    """
    headers = list(headers)
    order = {id(header): number for number, header in enumerate(headers)}
    excess: list[SkippedFile] = []
    series: list[tuple[Bundle, list[Part]]] = []
    joined, bundles = join_scattered(_bundle(headers))
    for bundle in bundles:
        parts, of_bundle = divide_series(bundle.headers)
        excess += of_bundle
        series.append((bundle, parts))
    series += [(bundle, [part]) for bundle, part in joined]
    series.sort(key=lambda each: order[id(each[1][0].headers[0])])
    studies: dict[tuple[str, PatientKey], list[Series]] = defaultdict(list)
    for bundle, parts in series:
        studies[bundle.study_instance_uid, bundle.patient] += _series(bundle, parts)
    shared = _find_shared_uids(studies)
    return tuple(
        Study(study_uid, tuple(replace(each, shared_uids=shared.get(id(each), frozenset())) for each in of_study))
        for (study_uid, _), of_study in studies.items()
    ), excess


def _find_shared_uids(studies: Mapping[tuple[str, PatientKey], Iterable[Series]]) -> dict[int, frozenset[str]]:
    """Return, by the identity of a series, the SOPInstanceUIDs that other series of its study have, too."""
    users: dict[tuple[str, str, int], set[int]] = defaultdict(set)
    for (study_uid, _), of_study in studies.items():
        for each in of_study:
            for header in each.headers:
                users[study_uid, header.sop_instance_uid, header.frame].add(id(each))
    shared: dict[int, set[str]] = defaultdict(set)
    for (_, uid, _), series in users.items():
        for each_id in series if uid and len(series) > 1 else ():
            shared[each_id].add(uid)
    return {each_id: frozenset(uids) for each_id, uids in shared.items()}


def _series(bundle: Bundle, parts: Iterable[Part]) -> list[Series]:
    uids = bundle.study_instance_uid, bundle.series_instance_uid
    return [
        Series(*uids, tuple(part.headers), number, (*part.warnings, *_warnings(part.headers)))
        for number, part in enumerate(parts)
    ]


def _warnings(headers: Iterable[SliceHeader]) -> tuple[str, ...]:
    """Return the sentences about the files of a series, each once."""
    return tuple(dict.fromkeys(sentence for header in headers for sentence in header.warnings))


def _bundle(headers: Iterable[SliceHeader]) -> list[Bundle]:
    """Bundle images by study UID, patient and series UID."""
    by_study: dict[str, list[SliceHeader]] = defaultdict(list)
    for header in headers:
        by_study[header.study_instance_uid].append(header)
    bundles: dict[tuple[str, PatientKey, str], Bundle] = {}
    for study_uid, of_study in by_study.items():
        for header, patient in zip(of_study, patient_keys(of_study), strict=True):
            key = study_uid, patient, header.series_instance_uid
            if key not in bundles:
                bundles[key] = Bundle(study_uid, header.series_instance_uid, patient, [])
            bundles[key].headers.append(header)
    return list(bundles.values())
