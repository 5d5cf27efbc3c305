"""Text from files and archives, made fit to stand in a sentence."""


def sanitize_text(text: str, most: int | None = None) -> str:
    r"""Replace what does not print (line breaks, control and direction characters) by question marks.

    Parameters
    ----------
    text : str
        Anything.
    most : int, optional
        Longer text is cut here.

    >>> sanitize_text("a\nb\u202ec"), sanitize_text("abcdef", 4)
    ('a?b?c', 'abc…')
    """
    if most is not None and len(text) > most:
        text = text[: most - 1] + "…"
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)
