"""Padding that a header declares and the pixels refute: it would cut holes of air into the patient.

Writers copy PixelPaddingValue from images that store their values in another way; 0, which lies outside of the field of
view there, is then the value of water. Padding fills areas, with one value or a few. Tissue fills them with many.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from cspine.core.typing import Bools, HounsfieldUnits
from cspine.dicom.codec.frames import FrameCache
from cspine.dicom.codec.header import SliceHeader, suppress_pydicom_warnings
from cspine.dicom.codec.pixel_format import PixelFormat
from cspine.dicom.codec.pixels import padding_range_hu
from cspine.dicom.hounsfield import AIR_HU, MAX_AIR_HU
from cspine.dicom.read_planes import try_decode_slice

_N_SAMPLES: Final = 8

_MAX_PADDING_VALUES: Final = 8
"""Most different values of padding; outside of the field of view there is one, or one on either side of a border."""

_MIN_SURROUNDED_FRACTION: Final = 0.5
"""Least fraction of padding pixels whose four neighbors are padding; of single voxels of water it is nearly 0."""


def drop_false_padding(headers: Sequence[SliceHeader], cache: FrameCache) -> tuple[list[SliceHeader], tuple[str, ...]]:
    """Return headers without padding that hides tissue.

    Parameters
    ----------
    headers : sequence of SliceHeader
        The slices of a series.
    cache : FrameCache
        Cache of the current load.

    Returns
    -------
    headers : list of SliceHeader
        The given ones, or copies without padding, in the given order.
    sentences : tuple of str
        A sentence if padding was dropped.
    """
    checked, sentences = list(headers), dict[str, None]()
    for padding in {header.pixel_format.padding for header in headers}:
        members = [index for index, header in enumerate(headers) if header.pixel_format.padding == padding]
        if padding is None or not any(_reaches_tissue(headers[index].pixel_format) for index in members):
            continue
        hidden_hu = _hidden_tissue_hu([headers[index] for index in members], cache)
        if hidden_hu is None:
            continue
        for index in members:
            checked[index] = _without_padding(headers[index])
        sentences[
            f"{headers[members[0]].file.name}: PixelPaddingValue would hide tissue, such as {hidden_hu} HU; ignored"
        ] = None
    return checked, tuple(sentences)


def _reaches_tissue(pixels: PixelFormat) -> bool:
    range_hu = padding_range_hu(pixels)
    return range_hu is not None and range_hu[1] > MAX_AIR_HU


def _without_padding(header: SliceHeader) -> SliceHeader:
    """Return a header whose padding is the single declared value if that is air, and none otherwise."""
    pixels = header.pixel_format
    first = pixels.padding[0] if pixels.padding else 0
    single = replace(pixels, padding=(first, first))
    return replace(header, pixel_format=replace(pixels, padding=None) if _reaches_tissue(single) else single)


def _hidden_tissue_hu(headers: Sequence[SliceHeader], cache: FrameCache) -> int | None:
    """Return a value in Hounsfield units that padding hides and that is none; None if all that it hides is padding."""
    hidden: list[HounsfieldUnits] = []
    n_surrounded = 0
    with suppress_pydicom_warnings():
        for index in np.unique(np.linspace(0, len(headers) - 1, _N_SAMPLES).astype(int)).tolist():
            header = headers[index]
            plain = try_decode_slice(replace(header, pixel_format=replace(header.pixel_format, padding=None)), cache)
            padded = try_decode_slice(header, cache)
            if plain is None or padded is None:  # the load that follows names the file
                continue
            is_hidden = (padded == AIR_HU) & (plain > MAX_AIR_HU)
            hidden.append(plain[is_hidden])
            n_surrounded += int(np.count_nonzero(_surrounded(is_hidden)))
    values, counts = np.unique(np.concatenate([*hidden, np.empty(0, np.int16)]), return_counts=True)
    if not len(values):
        return None
    if len(values) > _MAX_PADDING_VALUES or n_surrounded < _MIN_SURROUNDED_FRACTION * counts.sum():
        return int(values[np.argmax(counts)])
    return None


def _surrounded(mask: Bools) -> Bools:
    """Return the pixels of a mask whose four neighbors are in it; beyond the image everything is."""
    around = np.pad(mask, 1, constant_values=True)
    surrounded: Bools = mask & around[:-2, 1:-1] & around[2:, 1:-1] & around[1:-1, :-2] & around[1:-1, 2:]
    return surrounded
