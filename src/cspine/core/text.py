"""Text from files and archives, sanitized for messages."""


def sanitize_text(text: str, max_length: int | None = None) -> str:
    r"""Replace characters that do not print (line breaks, control and bidirectional characters) by question marks.

    Parameters
    ----------
    text : str
        Text of any origin.
    max_length : int, optional
        Longer text is truncated to this number of characters.

    >>> sanitize_text("a\nb\u202ec"), sanitize_text("abcdef", 4)
    ('a?b?c', 'abc…')
    """
    if max_length is not None and len(text) > max_length:
        text = text[: max_length - 1] + "…"
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
