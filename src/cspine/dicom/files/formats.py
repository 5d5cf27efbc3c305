"""Formats of archives and of compressed files, by their first bytes."""

from typing import Final

HEAD_BYTES: Final = 512
"""Bytes of a file that tell its format."""

PACKED_ENDINGS: Final = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".tbz2")
"""Endings of archives and compressed files that are read in place where they lie in a folder."""

_READ: Final = ((b"PK\x03\x04", "zip"), (b"PK\x05\x06", "zip"), (b"\x1f\x8b", "gzip"), (b"BZh", "bzip2"))

_NOT_READ: Final = (
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a rar archive"),
    (b"\xfd7zXZ\x00", "compressed with xz"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd"),
    (b"\x04\x22\x4d\x18", "compressed with lz4"),
    (b"\x1f\x9d", "compressed with compress"),
    (b"MSCF", "a cab archive"),
)

_DISC_IMAGES: Final = (".iso", ".nrg", ".dmg", ".img.xz")


_NO_IMAGES: Final = (
    ".jar", ".apk", ".whl", ".cab",
    ".docx", ".docm", ".xlsx", ".xlsm", ".pptx", ".pptm", ".odt", ".ods", ".odp", ".epub", ".npz", ".pt", ".pth",
)  # fmt: skip
"""Endings of programs, documents and arrays, which are archives by their first bytes and hold no images."""


def packed_format(head: bytes) -> str | None:
    r"""Return the format of an archive or compressed file that is read in place; None of any other file.

    Parameters
    ----------
    head : bytes
        The first `HEAD_BYTES` of the file.

    >>> packed_format(b"PK\x03\x04 and so on"), packed_format(b"text")
    ('zip', None)
    """
    if head[128:132] == b"DICM":
        return None
    if head[257:262] == b"ustar":
        return "tar"
    return next((name for magic, name in _READ if head.startswith(magic)), None)


def packed_reason(name: str, head: bytes) -> str | None:
    r"""Return why a file that is no image has to be unpacked first; None where it is not packed.

    Parameters
    ----------
    name : str
        The file's name.
    head : bytes
        The first `HEAD_BYTES` of the file.

    >>> packed_reason("a.rar", b"Rar!\x1a\x07\x01\x00")
    'is a rar archive, which is not read; unpack it first'
    """
    if name.lower().endswith(_NO_IMAGES):
        return None
    if name.lower().endswith(_DISC_IMAGES):
        return "is the image of a disc, which is not read; open it first and give its folder"
    for magic, description in _NOT_READ:
        if head.startswith(magic):
            return f"is {description}, which is not read; unpack it first"
    packed = packed_format(head)
    return f"is packed ({packed}), which its ending does not say; unpack it first" if packed else None
