"""Which slices the challenge's bounding boxes lie on."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Final

from cspine.core.errors import LabelError
from cspine.dicom.codec.header import SliceHeader

_REMEDY: Final = "check that slice_number is the InstanceNumber"

_Slices = Mapping[int, SliceHeader]


def match_slices(headers: Sequence[SliceHeader], numbers: Sequence[int]) -> tuple[_Slices, tuple[str, ...]]:
    """Return the slices that boxes name by ``slice_number``, which is InstanceNumber and the name of the file.

    Where the two differ, the boxes are taken to mean the one that they fit.

    Parameters
    ----------
    headers : sequence of SliceHeader
        All slices of the series.
    numbers : sequence of int
        The slice number of each box.

    Returns
    -------
    slices : mapping of int to SliceHeader
        Slice number to slice. A number between those of the series whose slice is not there is absent.
    warnings : tuple of str
        Which numbers are absent, and whether they are names of files.

    Raises
    ------
    LabelError
        The boxes fit neither, or both and differently.
    """
    wanted = set(numbers)
    by_instance = _unique((header.instance_number, header) for header in headers)
    by_name = _unique((_file_number(header), header) for header in headers)
    if wanted <= by_instance.keys() and wanted <= by_name.keys():
        differing = [number for number in sorted(wanted) if by_instance[number] is not by_name[number]]
        if differing:
            raise LabelError(
                f"slice {differing[0]} is another by InstanceNumber than by the name of its file, so that it is not "
                "known which is meant; name the files by their InstanceNumber"
            )
    for slices, warning in (
        (by_instance, ()),
        (by_name, ("slice_number is the name of the file, not InstanceNumber",)),
    ):
        if wanted <= slices.keys():
            return slices, warning
    for slices in (by_instance, by_name):
        missing = sorted(wanted - slices.keys())
        if len(missing) < len(wanted) and all(min(slices) < number < max(slices) for number in missing):
            count = sum(number in missing for number in numbers)
            lost = f"{count} of {len(numbers)} lie on slices that are not there or not read (first: {missing[0]})"
            return slices, (lost,)
    missing = sorted(wanted - by_instance.keys())
    if not by_instance:
        raise LabelError(f"the study's slices have no InstanceNumber to match slice {missing[0]} with; {_REMEDY}")
    count = sum(number in missing for number in numbers)
    raise LabelError(
        f"{count} of {len(numbers)} boxes name slices that it does not have (first: {missing[0]}, where it has "
        f"{min(by_instance)} to {max(by_instance)}); {_REMEDY}"
    )


def _unique(numbered: Iterable[tuple[int | None, SliceHeader]]) -> _Slices:
    """Return the slices whose number no other has."""
    slices: dict[int, list[SliceHeader]] = defaultdict(list)
    for number, header in numbered:
        if number is not None:
            slices[number].append(header)
    return {number: each[0] for number, each in slices.items() if len(each) == 1}


def _file_number(header: SliceHeader) -> int | None:
    """Return the number that a file's name consists of, such as 17 of ``17.dcm``."""
    stem = PurePosixPath(header.file.name).name.partition(".")[0]
    return int(stem) if stem.isascii() and stem.isdecimal() and len(stem) <= 9 else None
