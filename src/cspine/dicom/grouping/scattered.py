"""Images with a series UID each, as some anonymizers and writers make them, put together by position."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final

from cspine.dicom.codec.codecs import NIFTI
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.geometry import places
from cspine.dicom.grouping.parts import Part, apart_warning, divide_series
from cspine.dicom.grouping.patients import PatientKey
from cspine.dicom.grouping.positions import is_stack, positions_along_mm
from cspine.dicom.grouping.stacks import is_interleaved

MIN_JOINED: Final = 10
"""Fewest images with a series UID each that are put together."""


@dataclass(frozen=True)
class Bundle:
    """Images of one patient that share study UID and series UID.

    Attributes
    ----------
    study_instance_uid, series_instance_uid : str
        Their UIDs; empty where the files lack them.
    patient : PatientKey
        The patient; of images without PatientID, what is known.
    headers : list of SliceHeader
        The images, in the files' order.
    """

    study_instance_uid: str
    series_instance_uid: str
    patient: PatientKey
    headers: list[SliceHeader]


def join_scattered(bundles: Sequence[Bundle]) -> tuple[list[tuple[Bundle, Part]], list[Bundle]]:
    """Put images with a series UID each together, where patient, size, spacing, orientation and position say so.

    Parameters
    ----------
    bundles : sequence of Bundle
        All images.

    Returns
    -------
    joined : list of (Bundle, Part)
        Series that were put together, with the UIDs of their first image.
    rest : list of Bundle
        The other bundles, unchanged.
    """
    in_study = Counter((bundle.study_instance_uid, bundle.patient) for bundle in bundles)
    pools: dict[object, list[Bundle]] = defaultdict(list)
    for bundle in bundles:
        if _is_single(bundle):
            is_alone = in_study[bundle.study_instance_uid, bundle.patient] == 1
            study_uid = None if is_alone else bundle.study_instance_uid
            first = bundle.headers[0]
            pools[bundle.patient, study_uid, first.rows, first.columns, first.modality].append(bundle)
    joined: list[tuple[Bundle, Part]] = []
    used: set[int] = set()
    for pool in pools.values():
        if len(pool) < MIN_JOINED:
            continue
        bundle_of = {id(header): bundle for bundle in pool for header in bundle.headers}
        parts, _ = divide_series([header for bundle in pool for header in bundle.headers])
        for part in chain.from_iterable(map(_by_folder, parts)):
            if _is_even_stack(part.headers):
                members = list({id(each): each for each in (bundle_of[id(h)] for h in part.headers)}.values())
                used |= set(map(id, members))
                joined.append((members[0], Part(part.headers, (_warning(part.headers), *_about_part(part)))))
    return joined, [bundle for bundle in bundles if id(bundle) not in used]


def _is_single(bundle: Bundle) -> bool:
    """Return whether a bundle is one image of a series, or copies of one."""
    first = bundle.headers[0]
    return (
        first.frames == 1
        and first.transfer_syntax_uid != NIFTI
        and "LOCALIZER" not in first.image_type
        and None not in {first.position_mm, first.orientation, first.pixel_spacing_mm}
        and all(header.position_mm == first.position_mm for header in bundle.headers)
    )


def _by_folder(part: Part) -> list[Part]:
    """Divide images of two folders that lie between each other's, since only folders tell their scans apart."""
    folders: dict[str, list[int]] = defaultdict(list)
    for number, header in enumerate(part.headers):
        folders[header.file.name.rpartition("/")[0]].append(number)
    along_mm = positions_along_mm(part.headers)
    has_copies = len(places(along_mm)) < len(along_mm)
    if has_copies or not is_interleaved(list(folders.values()), along_mm):
        return [part]
    stacks = [[part.headers[number] for number in each] for each in folders.values()]
    return [Part(each, (*part.warnings, *apart_warning(each, len(stacks), ["folder"]))) for each in stacks]


def _is_even_stack(headers: Sequence[SliceHeader]) -> bool:
    along_mm = positions_along_mm(headers)
    firsts = [int(indices[0]) for indices in places(along_mm)]
    return len(firsts) >= MIN_JOINED and is_stack(along_mm[firsts])


def _warning(headers: Sequence[SliceHeader]) -> str:
    values: dict[str, list[str | None]] = {
        "study UID": [header.study_instance_uid for header in headers],
        "series UID": [header.series_instance_uid for header in headers],
        "frame of reference": [header.frame_of_reference_uid for header in headers],
    }
    n_places = len(places(positions_along_mm(headers)))  # copies of an image share its UIDs
    own = [f"a {name}" for name, each in values.items() if len(set(each)) > n_places // 2]
    listed = " and ".join(filter(None, (", ".join(own[:-1]), own[-1])))
    patient = " of one patient" if headers[0].patient_id else ""
    return f"each file carries {listed} of its own; {len(headers)} files{patient} were put together by position"


def _about_part(part: Part) -> tuple[str, ...]:
    return tuple(warning for warning in part.warnings if not warning.startswith("each file carries"))
