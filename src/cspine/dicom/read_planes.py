"""Decode the planes of a volume in several threads, into one array that is allocated once."""

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import numpy as np

from cspine.core.errors import InputError
from cspine.core.processors import default_workers
from cspine.core.progress import Progress
from cspine.core.storage.read_ahead import READ_AHEAD
from cspine.core.typing import HounsfieldUnits
from cspine.dicom.codec.decode import decode_into
from cspine.dicom.codec.frames import FrameCache
from cspine.dicom.codec.header import SliceHeader, suppress_pydicom_warnings
from cspine.dicom.codec.pixels import PixelRegion
from cspine.dicom.grid import Grid
from cspine.dicom.resample import PlaneResampler

_SLICES_PER_BATCH: Final = 4
"""Slices that a thread decodes in sequence; small, so that all threads finish at about the same time."""

_RESAMPLED_PLANES_PER_BATCH: Final = 32
"""Planes that a thread resamples in sequence; larger, because the slice between two batches is decoded twice."""


@dataclass(frozen=True)
class DecodedPlanes:
    """Planes of a grid, and what was decoded for them.

    Attributes
    ----------
    hu : (planes, rows, columns) int16
        HU; may be empty.
    digest : str
        Hash of the slices that were decoded, in order, before they are resampled.
    """

    hu: HounsfieldUnits
    digest: str


def read_planes(
    headers: Sequence[SliceHeader],
    grid: Grid,
    keep: tuple[slice, slice, slice],
    progress: Progress,
    cache: FrameCache,
) -> DecodedPlanes:
    """Decode the requested planes of a grid.

    Parameters
    ----------
    headers : sequence of SliceHeader
        The slices, sorted along their normal.
    grid : Grid
        The grid that they are resampled to.
    keep : (slice, slice, slice)
        Planes, rows and columns to keep; rows and columns have the same step.
    progress : Progress
        Called with the number of planes decoded.
    cache : FrameCache
        Cache of the current load.

    Returns
    -------
    DecodedPlanes

    Raises
    ------
    DecodeError
        A slice cannot be decoded.
    """
    planes = range(grid.shape[0])[keep[0]]
    start, stop, step = keep[1].indices(grid.shape[1])
    region = PixelRegion(start, max(start, stop), grid.shape[2], step)
    array = np.empty((len(planes), *region.shape), np.int16)
    checksums: dict[int, int] = {}
    if not array.size:
        return DecodedPlanes(array, _digest(checksums))

    def read_stored(batch: range) -> None:
        for position in batch:
            decode_into(headers[planes[position]], region, array[position], cache)
            checksums[planes[position]] = zlib.crc32(array[position].data)

    def read_whole(index: int) -> HounsfieldUnits:
        image = decode_slice(headers[index], cache)
        checksums[index] = zlib.crc32(image.data)
        return image

    def read_resampled(batch: range) -> None:
        resampler = PlaneResampler(grid, read_whole)
        for position in batch:
            array[position] = region.crop(resampler.plane(planes[position]))

    work, size = (read_stored, _SLICES_PER_BATCH) if grid.is_stack else (read_resampled, _RESAMPLED_PLANES_PER_BATCH)
    progress("decode", 0, len(planes))
    files = [headers[index].file for index in _required_slices(grid, planes) if headers[index].frames == 1]
    ahead = READ_AHEAD.reading(file.container for file in files if not file.is_packed)
    with ahead, suppress_pydicom_warnings(), ThreadPoolExecutor(default_workers()) as threads:
        batches = list(_batches(len(planes), size))
        jobs = [threads.submit(work, batch) for batch in batches]
        try:
            for batch, job in zip(batches, jobs, strict=True):
                job.result()
                progress("decode", batch.stop, len(planes))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return DecodedPlanes(array, _digest(checksums))


def _required_slices(grid: Grid, planes: range) -> list[int]:
    """Return the slices that planes are made of, in the order in which they are decoded."""
    if grid.is_stack:
        return list(planes)
    lower, weight = grid.lower_slice[planes], grid.upper_weight[planes]
    both = zip(lower, lower + (weight > 0.0), strict=True)
    return list(dict.fromkeys(int(index) for pair in both for index in pair))


def read_slice(header: SliceHeader) -> HounsfieldUnits:
    """Decode one slice as stored, without resampling.

    Parameters
    ----------
    header : SliceHeader
        Header of the slice that is decoded.

    Returns
    -------
    (rows, columns) int16
        HU.

    Raises
    ------
    DecodeError
        The slice cannot be decoded.
    """
    with suppress_pydicom_warnings():
        return decode_slice(header, FrameCache())


def decode_slice(header: SliceHeader, cache: FrameCache) -> HounsfieldUnits:
    """Decode all rows and columns of one slice; as `read_slice`, within a load.

    Parameters
    ----------
    header : SliceHeader
        Header of the slice.
    cache : FrameCache
        Cache of the load.

    Returns
    -------
    (rows, columns) int16
        HU.

    Raises
    ------
    DecodeError
        The slice cannot be decoded.
    """
    image = np.empty((header.rows or 0, header.columns or 0), np.int16)
    decode_into(header, PixelRegion(0, image.shape[0], image.shape[1], 1), image, cache)
    return image


def try_decode_slice(header: SliceHeader, cache: FrameCache) -> HounsfieldUnits | None:
    """Decode one slice as `decode_slice` does; None where it cannot be decoded, which loading it reports."""
    try:
        return decode_slice(header, cache)
    except InputError:
        return None


def _digest(checksums: Mapping[int, int]) -> str:
    """Return the hash of the slices' checksums, in the order of the slices.

    CRC-32 takes a fifth of the time of a cryptographic hash of the pixels, and runs in the threads that decode them. It
    misses a change of a slice with a probability of 2^-32; nobody is kept from forging one.
    """
    return hashlib.sha256(b"".join(checksums[index].to_bytes(4, "big") for index in sorted(checksums))).hexdigest()


def _batches(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
