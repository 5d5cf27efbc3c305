"""What commands need beyond the base install."""

from collections.abc import Iterator
from contextlib import contextmanager

from cspine.core.errors import MissingExtraError


@contextmanager
def training_extra() -> Iterator[None]:
    """Say in a sentence that what training needs is not installed.

    Raises
    ------
    MissingExtraError
        A module that the block imports is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f'training needs {error.name}, which is not installed; run: pip install "cspine[train]"'
        ) from error
