"""Copies of images: files at one place whose pixels are equal. Pixels are read only where positions repeat."""

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Sequence
from typing import Final

from cspine.core.errors import InputError
from cspine.dicom.codec.codecs import CODECS, NIFTI, RLE
from cspine.dicom.codec.frames import FrameCache, frame_size_bytes, read_frame, read_pixel_data
from cspine.dicom.codec.header import SliceHeader
from cspine.dicom.read_planes import try_decode_slice

_N_DECODED_PLACES: Final = 4
"""Places whose images are decoded to learn whether files with different bytes may hold equal pixels."""


def find_copies(groups: Sequence[Sequence[SliceHeader]]) -> list[list[int]]:
    """Find the images at one place that have equal pixels.

    Parameters
    ----------
    groups : sequence of sequences of SliceHeader
        The images at each place, two or more.

    Returns
    -------
    list of list of int
        Of each group: for each image the index of the first one with equal pixels, which is its own where none is.

    Notes
    -----
    Stored bytes are compared first. Copies that were encoded anew have other bytes: a few places are decoded, and all
    of them only if one of those holds equal pixels. An image that cannot be decoded equals no other one.
    """
    cache = FrameCache()
    firsts = [_first_equal([_stored_key(header, cache) for header in group]) for group in groups]
    open_groups = [number for number, first in enumerate(firsts) if len(set(first)) > 1]
    step = max(len(open_groups) // _N_DECODED_PLACES, 1)
    sample = open_groups[::step][:_N_DECODED_PLACES]
    decoded = {number: _decoded_firsts(groups[number], firsts[number], cache) for number in sample}
    if any(decoded[number] != firsts[number] for number in sample):
        rest = [number for number in open_groups if number not in decoded]
        decoded |= {number: _decoded_firsts(groups[number], firsts[number], cache) for number in rest}
    return [decoded.get(number, first) for number, first in enumerate(firsts)]


def find_conflict(groups: Sequence[Sequence[SliceHeader]]) -> tuple[SliceHeader, SliceHeader] | None:
    """Return two images of one group with different pixels, or None where those of each group are copies.

    Parameters
    ----------
    groups : sequence of sequences of SliceHeader
        The images at each place, two or more.
    """
    for group, firsts in zip(groups, find_copies(groups), strict=True):
        other = next((number for number, first in enumerate(firsts) if first != 0), None)
        if other is not None:
            return group[0], group[other]
    return None


def _first_equal(keys: Sequence[Hashable]) -> list[int]:
    """Return for each key the index of the first equal one."""
    first: dict[Hashable, int] = {}
    return [first.setdefault(key, number) for number, key in enumerate(keys)]


def _decoded_firsts(group: Sequence[SliceHeader], firsts: Sequence[int], cache: FrameCache) -> list[int]:
    """Return `firsts` by Hounsfield units, decoding one image of each set of equal stored bytes."""
    keys: dict[int, Hashable] = {}
    for number in sorted(set(firsts)):
        hu = try_decode_slice(group[number], cache)
        keys[number] = number if hu is None else hashlib.sha256(hu.tobytes()).digest()
    return _first_equal([keys[first] for first in firsts])


def _stored_key(header: SliceHeader, cache: FrameCache) -> Hashable:
    """Return a key that is equal for images whose stored bytes and their meaning are equal."""
    try:
        stored = _stored_frame(header, cache)
    except InputError:
        return (header.file, header.frame)
    meaning = (header.transfer_syntax_uid, header.rows, header.columns, header.photometric_interpretation)
    return (hashlib.blake2b(stored, digest_size=16).digest(), header.pixel_format, *meaning)


def _stored_frame(header: SliceHeader, cache: FrameCache) -> bytes:
    if header.transfer_syntax_uid == NIFTI:
        hu = try_decode_slice(header, cache)
        return b"" if hu is None else hu.tobytes()
    if header.transfer_syntax_uid in CODECS or header.transfer_syntax_uid == RLE:
        return read_frame(header, cache)
    data = cache.get(header, read_pixel_data)
    size = frame_size_bytes(header)
    return data if header.frames == 1 else data[header.frame * size : (header.frame + 1) * size]


def group_repeats(headers: Sequence[SliceHeader], repeats: Sequence[tuple[int, int]]) -> list[list[SliceHeader]]:
    """Return the images at each place from pairs (removed, kept), as `geometry.Stack.duplicates` has them."""
    at: dict[int, list[int]] = defaultdict(list)
    for removed, kept in repeats:
        at[kept].append(removed)
    return [[headers[kept], *(headers[number] for number in removed)] for kept, removed in at.items()]
