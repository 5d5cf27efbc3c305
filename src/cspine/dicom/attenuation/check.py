"""Check a series' values on a sample of its slices, and correct the rescaling of headers that are certainly wrong."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian

from cspine.core.errors import InputError, NotHounsfieldError
from cspine.dicom.attenuation.cut_off import cut_off_fault
from cspine.dicom.attenuation.histogram import Scale, ValueHistogram, shows_air_fat_and_muscle, shows_tissue
from cspine.dicom.attenuation.padding import drop_false_padding
from cspine.dicom.attenuation.verdict import assess_values, is_near, sum_histograms
from cspine.dicom.codec.codecs import NIFTI
from cspine.dicom.codec.decode import decode_into
from cspine.dicom.codec.frames import FrameCache
from cspine.dicom.codec.header import SliceHeader, suppress_pydicom_warnings
from cspine.dicom.codec.pixel_format import PixelFormat
from cspine.dicom.codec.pixels import PixelRegion
from cspine.dicom.hounsfield import AIR_HU

N_SAMPLES: Final = 8
"""Slices that are decoded for the check, of each way in which values are stored; spread over the series."""

MAX_FORMATS: Final = 6
"""Series with more ways of storing values, such as a slope for each slice, are checked as one."""

_SAMPLE_COLUMNS: Final = 256
"""Every second pixel of slices of 512 columns is counted, which shows the same peaks."""

_MIN_FRACTION_AT_LIMITS: Final = 0.01

_DECLARED: Final = Scale()
_PEAKS: Final = "by the peaks of air, fat and muscle"


@dataclass(frozen=True)
class CheckedHeaders:
    """Headers by which a series' values are Hounsfield units.

    Attributes
    ----------
    headers : list of SliceHeader
        The given headers, or corrected copies of them, in the given order.
    repairs : tuple of str
        A sentence for each correction.
    """

    headers: list[SliceHeader]
    repairs: tuple[str, ...]


def check_attenuation(headers: Sequence[SliceHeader], cache: FrameCache) -> CheckedHeaders:
    """Check that values are Hounsfield units, whatever the headers declare.

    The verdict depends on the series alone, not on the part of it that is loaded afterwards.

    Parameters
    ----------
    headers : sequence of SliceHeader
        The slices, sorted along their normal; at least one.
    cache : FrameCache
        Cache of the current load.

    Returns
    -------
    CheckedHeaders

    Raises
    ------
    NotHounsfieldError
        The values are certainly not Hounsfield units, and what would make them so is not certain.
    """
    checked, sentences_of_padding = drop_false_padding(headers, cache)
    repairs = list(sentences_of_padding)
    for members in _by_format(checked):
        corrected, sentences = _check_group([checked[index] for index in members], cache)
        for index, header in zip(members, corrected, strict=True):
            checked[index] = header
        repairs += sentences
    cache.overflowing.clear()  # files that were sampled in other ways than they are loaded
    return CheckedHeaders(checked, tuple(dict.fromkeys(repairs)))


def _by_format(headers: Sequence[SliceHeader]) -> list[list[int]]:
    """Group slices by how their values are stored and rescaled."""
    groups: dict[PixelFormat, list[int]] = {}
    for index, header in enumerate(headers):
        groups.setdefault(header.pixel_format, []).append(index)
    return list(groups.values()) if len(groups) <= MAX_FORMATS else [list(range(len(headers)))]


def _check_group(headers: Sequence[SliceHeader], cache: FrameCache) -> tuple[Sequence[SliceHeader], list[str]]:
    histograms = _sample(headers, cache, N_SAMPLES)
    if not histograms:  # the load that follows names the file that cannot be decoded
        return headers, []
    intercept = headers[0].pixel_format.intercept
    scales = {index: _slice_scale(histogram, intercept) for index, histogram in histograms.items()}
    if len(_distinct(scales.values())) > 1:
        return _check_slices(headers, cache)
    pooled = sum_histograms(histograms.values())
    verdict = assess_values(pooled, intercept)
    if verdict.scale is not None:
        return [_rescaled(header, verdict.scale) for header in headers], [_describe(verdict.scale)]
    if _reaches_the_limits(pooled) or not shows_tissue(pooled, _DECLARED):
        for change, syntax, description in _variants(headers[0]):
            varied = [_varied(header, change, syntax) for header in headers]
            if _is_certain(_sample(varied, cache, N_SAMPLES)):
                return varied, [description]
    fault = verdict.fault or cut_off_fault(pooled)
    if fault is not None:
        raise _error(headers[0], fault)
    return headers, []


def _reaches_the_limits(histogram: ValueHistogram) -> bool:
    """Return whether many values are the lowest or the highest of int16, as a wrong sign makes them."""
    limits = np.iinfo(np.int16)
    at_limits = histogram.fraction(limits.min, limits.min + 1) + histogram.fraction(limits.max, limits.max + 1)
    return at_limits >= _MIN_FRACTION_AT_LIMITS


def _sample(headers: Sequence[SliceHeader], cache: FrameCache, count: int) -> dict[int, ValueHistogram]:
    """Return the histogram of some slices by their index; slices that cannot be decoded are left out."""
    indices = np.unique(((np.arange(count) + 0.5) * len(headers) / count).astype(int)).tolist()
    histograms = {}
    with suppress_pydicom_warnings():
        for index in indices:
            histogram = _histogram(headers[index], cache)
            if histogram is not None:
                histograms[index] = histogram
    return histograms


def _histogram(header: SliceHeader, cache: FrameCache) -> ValueHistogram | None:
    step = max((header.columns or 0) // _SAMPLE_COLUMNS, 1)
    region = PixelRegion(0, header.rows or 0, header.columns or 0, step)
    values = np.empty(region.shape, np.int16)
    try:
        decode_into(header, region, values, cache)
    except InputError:
        return None
    histogram = ValueHistogram.of(values)
    return histogram if header.pixel_format.padding is None else histogram.without(AIR_HU)


# --- slices of one series that differ -------------------------------------------------------------------------------


def _check_slices(headers: Sequence[SliceHeader], cache: FrameCache) -> tuple[Sequence[SliceHeader], list[str]]:
    """Correct slice by slice where some slices of a series are right and others are not.

    A slice whose histogram proves nothing is taken for what the nearest slice is that proves something.
    """
    histograms = _sample(headers, cache, len(headers))
    proven = {index: _slice_scale(h, headers[index].pixel_format.intercept) for index, h in histograms.items()}
    known = np.array([index for index, scale in proven.items() if scale is not None])
    nearest = [int(known[np.abs(known - index).argmin()]) for index in range(len(headers))]
    corrected, sentences = list(headers), []
    for scale in _distinct(proven.values()):
        alike = [index for index in known.tolist() if is_near(scale, proven[index] or _DECLARED)]
        pooled = assess_values(
            sum_histograms(histograms[index] for index in alike), headers[alike[0]].pixel_format.intercept
        )
        if pooled.scale is None or scale == _DECLARED:
            continue
        members = [index for index, at in enumerate(nearest) if at in alike]
        for index in members:
            corrected[index] = _rescaled(headers[index], pooled.scale)
        sentences.append(f"of {len(members)} of {len(headers)} slices {_describe(pooled.scale)}")
    return corrected, sentences


def _distinct(scales: Iterable[Scale | None]) -> list[Scale]:
    """Return one of each kind of scale, as declared first."""
    distinct: list[Scale] = []
    for scale in sorted((each for each in scales if each is not None), key=lambda each: abs(each.offset)):
        if not any(is_near(scale, other) for other in distinct):
            distinct.append(scale)
    return distinct


def _slice_scale(histogram: ValueHistogram, intercept: float) -> Scale | None:
    """Return the scale of a slice's values where it is certain, also where it is as declared; None otherwise."""
    verdict = assess_values(histogram, intercept)
    if verdict.is_wrong:
        return verdict.scale
    has_air = histogram.fraction(-1100, -900) >= 0.02
    return _DECLARED if has_air and shows_tissue(histogram, _DECLARED) else None


# --- corrections ----------------------------------------------------------------------------------------------------


def _rescaled(header: SliceHeader, scale: Scale) -> SliceHeader:
    """Return a header by which a slice's values under a scale become Hounsfield units."""
    pixels = header.pixel_format
    slope, intercept = pixels.slope / scale.factor, (pixels.intercept - scale.offset) / scale.factor
    return replace(header, pixel_format=replace(pixels, slope=slope, intercept=intercept))


def _describe(scale: Scale) -> str:
    offset = f" {'+' if scale.offset > 0 else '-'} {abs(scale.offset):g}" if scale.offset else ""
    if scale.factor == 1.0:
        change = f"{abs(scale.offset):g} was {'subtracted' if scale.offset > 0 else 'added'}"
        return f"the values are Hounsfield units{offset}, by the peaks of fat and muscle; {change}"
    return f"the values are Hounsfield units x {scale.factor:g}{offset}, {_PEAKS}; converted"


def _variants(header: SliceHeader) -> Iterator[tuple[dict[str, Any], str | None, str]]:
    """Yield other ways of reading the stored values, which faulty writers cause.

    Each is a change of the pixel format, another transfer syntax or None, and a sentence.
    """
    if not header.pixel_format.signed:
        for intercept in sorted({header.pixel_format.intercept, 0.0}):
            sentence = f"the values are signed, which the header denies, {_PEAKS}; read as signed"
            yield {"signed": True, "intercept": intercept}, None, sentence
    elif header.transfer_syntax_uid != NIFTI:
        yield {"signed": False}, None, f"the values are unsigned, which the header denies, {_PEAKS}; read as unsigned"
    sentence = f"the values are Hounsfield units + 32768, {_PEAKS}; 32768 was subtracted"
    yield {"intercept": -32768.0}, None, sentence
    if header.transfer_syntax_uid != NIFTI and not UID(header.transfer_syntax_uid).is_encapsulated:
        is_big = header.transfer_syntax_uid == ExplicitVRBigEndian
        sentence = f"the bytes of the values are swapped, {_PEAKS}; swapped back"
        yield {}, str(ExplicitVRLittleEndian if is_big else ExplicitVRBigEndian), sentence


def _varied(header: SliceHeader, change: dict[str, Any], syntax: str | None) -> SliceHeader:
    pixels = replace(header.pixel_format, **change)
    return replace(header, pixel_format=pixels, transfer_syntax_uid=syntax or header.transfer_syntax_uid)


def _is_certain(histograms: dict[int, ValueHistogram]) -> bool:
    return bool(histograms) and shows_air_fat_and_muscle(sum_histograms(histograms.values()), _DECLARED)


def _error(header: SliceHeader, fault: str) -> NotHounsfieldError:
    return NotHounsfieldError(
        f"{header.file.name}: its series does not hold Hounsfield units: {fault}; send the original CT, "
        "with its rescale slope and intercept"
    )
