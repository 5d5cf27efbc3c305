"""The planes of a volume, decoded by several threads into one array that is allocated once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np

from cspine.core.parallel import default_workers
from cspine.core.progress import Progress
from cspine.dicom.codec.frames import FrameCache
from cspine.dicom.codec.header import SliceHeader, suppress_pydicom_warnings
from cspine.dicom.codec.pixels import Pixels, Window
from cspine.dicom.decode import decode_into
from cspine.dicom.grid import Grid
from cspine.dicom.resample import Blender

_BATCH: Final = 4
"""Slices a thread decodes in a row; small, so that all threads end together."""

_BLENDED_BATCH: Final = 32
"""Planes it blends in a row; larger, because neighbouring batches decode the slice between them twice."""


def read_planes(
    headers: Sequence[SliceHeader], grid: Grid, keep: tuple[slice, slice, slice], progress: Progress
) -> Pixels:
    """Decode the planes of a grid that are to be kept.

    Parameters
    ----------
    headers : sequence of SliceHeader
        The slices, sorted along their normal.
    grid : Grid
        What they become.
    keep : (slice, slice, slice)
        The planes, rows and columns to keep; rows and columns have the same step.
    progress : Progress
        Told how many planes are done.

    Returns
    -------
    (planes, rows, columns) int16
        HU; may be empty.

    Raises
    ------
    DecodeError
        A slice cannot be decoded.
    """
    planes = range(grid.shape[0])[keep[0]]
    start, stop, step = keep[1].indices(grid.shape[1])
    window = Window(start, max(start, stop), grid.shape[2], step)
    array = np.empty((len(planes), *window.shape), np.int16)
    if not array.size:
        return array
    cache = FrameCache()

    def read_stack(places: range) -> None:
        for place in places:
            decode_into(headers[planes[place]], window, array[place], cache)

    def read_whole(place: int) -> Pixels:
        header = headers[place]
        image = np.empty((header.rows or 0, header.columns or 0), np.int16)
        decode_into(header, Window(0, image.shape[0], image.shape[1], 1), image, cache)
        return image

    def read_blended(places: range) -> None:
        blender = Blender(grid, read_whole)
        for place in places:
            array[place] = window.cut(blender.plane(planes[place]))

    work, size = (read_stack, _BATCH) if grid.is_stack else (read_blended, _BLENDED_BATCH)
    progress("decode", 0, len(planes))
    with suppress_pydicom_warnings(), ThreadPoolExecutor(default_workers()) as threads:
        batches = list(_batches(len(planes), size))
        jobs = [threads.submit(work, batch) for batch in batches]
        try:
            for batch, job in zip(batches, jobs, strict=True):
                job.result()
                progress("decode", batch.stop, len(planes))
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    return array


def read_slice(header: SliceHeader) -> Pixels:
    """Decode one slice as it is stored.

    Returns
    -------
    (rows, columns) int16
        HU.

    Raises
    ------
    DecodeError
        It cannot be decoded.
    """
    image = np.empty((header.rows or 0, header.columns or 0), np.int16)
    with suppress_pydicom_warnings():
        decode_into(header, Window(0, image.shape[0], image.shape[1], 1), image, FrameCache())
    return image


def _batches(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
