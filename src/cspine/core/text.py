"""Text from files and archives, sanitized for messages."""


def sanitize_text(text: str, max_length: int | None = None) -> str:
    r"""Replace characters that do not print (line breaks, control and bidirectional characters) by question marks.

    A byte of a file's name that is not in the system's encoding becomes ``\xNN``, so that names stay different and the
    true one can be told.

    Parameters
    ----------
    text : str
        Text of any origin.
    max_length : int, optional
        Longer text is truncated to this number of characters.

    >>> sanitize_text("a\nb\u202ec"), sanitize_text("abcdef", 4), sanitize_text("caf\udce9")
    ('a?b?c', 'abc…', 'caf\\xe9')
    """
    if max_length is not None and len(text) > max_length:
        text = text[: max_length - 1] + "…"
    return text if text.isprintable() else "".join(map(_printable, text))


def _printable(letter: str) -> str:
    if letter.isprintable():
        return letter
    is_byte = 0xDC80 <= ord(letter) <= 0xDCFF  # the surrogates by which Python keeps such a byte, PEP 383
    return f"\\x{ord(letter) - 0xDC00:02x}" if is_byte else "?"


def counted(count: int, singular: str, plural: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "study", "studies"), counted(0, "sham", "shams")
    ('1 study', '0 shams')
    """
    return f"{count} {singular if count == 1 else plural}"
