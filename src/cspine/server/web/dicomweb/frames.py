"""Frames of an object: as they are stored, or decoded."""

import struct
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.pixels.utils import unpack_bits
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from cspine.core.errors import DecodeError
from cspine.dicom.codec.codecs import CODECS, RLE, transfer_syntax_name
from cspine.dicom.codec.header import suppress_pydicom_warnings
from cspine.dicom.codec.rle import decode_rle

_Pixels = npt.NDArray[Any]

_PIXEL_TAGS: Final = {0x7FE00010: None, 0x7FE00008: np.dtype("<f4"), 0x7FE00009: np.dtype("<f8")}
"""Elements that hold pixels, with the type of those that are not integers."""

_MAX_FRAME_BYTES: Final = 512 * 2**20
_UNDEFINED: Final = 0xFFFFFFFF


class PixelFile:
    """The pixels of one file, of which single frames are read.

    Parameters
    ----------
    path : Path
        A DICOM file of the spool.

    Raises
    ------
    DecodeError
        The file cannot be read, or holds no pixels.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            with path.open("rb") as stream, suppress_pydicom_warnings():
                self.dataset = dcmread(stream, stop_before_pixels=True)
                self.syntax = UID(str(self.dataset.file_meta.get("TransferSyntaxUID", ImplicitVRLittleEndian)))
                self._tag, self._length, self._offset = self._find(stream)
        except Exception as error:  # pydicom raises whatever a damaged file leads it to
            raise DecodeError(f"an object's pixels cannot be found ({type(error).__name__}); send it again") from error
        if self._tag not in _PIXEL_TAGS:
            raise DecodeError("the object holds no pixels; ask for the object itself")
        self.n_frames = max(int(self.dataset.get("NumberOfFrames") or 1), 1)

    @property
    def is_compressed(self) -> bool:
        """Whether frames are stored compressed, each for itself."""
        return self._length == _UNDEFINED

    def read_stored(self, index: int) -> bytes:
        """Return a frame as it is stored; of what is not compressed in little endian.

        Parameters
        ----------
        index : int
            Counted from 0.

        Raises
        ------
        DecodeError
            There is no such frame, or it is damaged.
        """
        if not 0 <= index < self.n_frames:
            raise DecodeError(f"there is no frame {index + 1}; the object has {self.n_frames}")
        try:
            if self.is_compressed:
                with self._path.open("rb") as stream:
                    stream.seek(self._offset)
                    return get_frame(stream, index, number_of_frames=self.n_frames)
            return self._read_native(index)
        except DecodeError:
            raise
        except Exception as error:  # as in the constructor
            raise DecodeError(f"the frame is damaged ({type(error).__name__}); send the object again") from error

    def decode(self, index: int) -> _Pixels:
        """Return the stored values of a frame, (rows, columns) or (rows, columns, samples).

        Raises
        ------
        DecodeError
            The frame is damaged, or its transfer syntax is not read.
        """
        data = self.read_stored(index)
        if not self.is_compressed:
            return self._as_array(data)
        try:
            return self._with_sign(self._decode_compressed(data))
        except DecodeError:
            raise
        except Exception as error:  # as in the constructor
            raise DecodeError(f"the frame is damaged ({type(error).__name__}); send the object again") from error

    def native(self, index: int) -> bytes:
        """Return the stored values of a frame as bytes in little endian, decoded where they are compressed."""
        if not self.is_compressed:
            return self.read_stored(index)
        pixels = self.decode(index)
        size = max(self._bits // 8, 1)
        kind = "i" if pixels.dtype.kind == "i" else "u"
        return pixels.astype(f"<{kind}{size}", copy=False).tobytes()

    @property
    def _bits(self) -> int:
        return int(self.dataset.get("BitsAllocated") or 8)

    @property
    def _shape(self) -> tuple[int, int, int]:
        dataset: Dataset = self.dataset
        return int(dataset.Rows), int(dataset.Columns), int(dataset.get("SamplesPerPixel") or 1)

    def _find(self, stream: BinaryIO) -> tuple[int, int, int]:
        """Return tag, length and offset of the element that holds the pixels, at which reading stopped."""
        if self.syntax == DeflatedExplicitVRLittleEndian:
            return self._find_deflated()
        order = ">" if self.syntax == ExplicitVRBigEndian else "<"
        group, element = struct.unpack(f"{order}HH", stream.read(4))
        if self.syntax != ImplicitVRLittleEndian:
            stream.read(4)  # value representation, and two bytes reserved
        (length,) = struct.unpack(f"{order}L", stream.read(4))
        return group << 16 | element, length, stream.tell()

    def _find_deflated(self) -> tuple[int, int, int]:
        whole = dcmread(self._path)
        for tag in _PIXEL_TAGS:
            if tag in whole:
                self._inflated = bytes(whole[tag].value)
                return tag, len(self._inflated), 0
        return 0, 0, 0

    def _read_native(self, index: int) -> bytes:
        rows, columns, samples = self._shape
        n_bits = rows * columns * samples * self._bits
        if n_bits // 8 > _MAX_FRAME_BYTES:
            raise DecodeError("the frame is too large to be sent")
        if self._bits == 1:
            return self._read_bits(index, n_bits)
        size = n_bits // 8
        data = self._read_at(index * size, size)
        if self.syntax == ExplicitVRBigEndian and self._bits > 8:
            return np.frombuffer(data, f">u{self._bits // 8}").astype(f"<u{self._bits // 8}").tobytes()
        return data

    def _read_bits(self, index: int, n_bits: int) -> bytes:
        """Return a frame of single bits, which need not begin with a byte."""
        first = index * n_bits
        data = self._read_at(first // 8, (first % 8 + n_bits + 7) // 8)
        bits = np.asarray(unpack_bits(data))[first % 8 : first % 8 + n_bits]
        return np.packbits(bits, bitorder="little").tobytes()

    def _read_at(self, start: int, size: int) -> bytes:
        if start + size > self._length:
            raise DecodeError("the pixels are cut off; send the object again")
        if self.syntax == DeflatedExplicitVRLittleEndian:
            return self._inflated[start : start + size]
        with self._path.open("rb") as stream:
            stream.seek(self._offset + start)
            data = stream.read(size)
        if len(data) < size:
            raise DecodeError("the pixels are cut off; send the object again")
        return data

    def _as_array(self, data: bytes) -> _Pixels:
        rows, columns, samples = self._shape
        if self._bits == 1:
            return np.asarray(unpack_bits(data))[: rows * columns].reshape(rows, columns)
        kind = "i" if self.dataset.get("PixelRepresentation") == 1 else "u"
        values = np.frombuffer(data, _PIXEL_TAGS[self._tag] or np.dtype(f"<{kind}{self._bits // 8}"))
        if samples == 1:
            return values.reshape(rows, columns)
        if self.dataset.get("PlanarConfiguration") == 1:
            return np.moveaxis(values.reshape(samples, rows, columns), 0, -1)
        return values.reshape(rows, columns, samples)

    def _decode_compressed(self, data: bytes) -> _Pixels:
        rows, columns, samples = self._shape
        if self.syntax == RLE and samples == 1:
            return decode_rle(data, rows, columns, max(self._bits // 8, 1))
        if self.syntax in CODECS:
            return np.asarray(CODECS[self.syntax].decode(data))
        raise DecodeError(f"transfer syntax {transfer_syntax_name(self.syntax)} is not read; ask for it as stored")

    def _with_sign(self, values: _Pixels) -> _Pixels:
        """Return values with the sign that the header tells and most codecs do not know."""
        if self.dataset.get("PixelRepresentation") != 1 or values.dtype.kind != "u":
            return values
        sign = 1 << (int(self.dataset.get("BitsStored") or self._bits) - 1)
        wide = values.astype(np.int32) & (2 * sign - 1)
        return ((wide ^ sign) - sign).astype(f"<i{max(self._bits // 8, 1)}")
