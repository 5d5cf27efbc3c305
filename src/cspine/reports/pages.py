"""The Jinja environment of all HTML pages: text from files is escaped, and pages load nothing from elsewhere."""

import base64
from functools import cache
from typing import Literal

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


@cache
def environment(package: str = "cspine.reports") -> Environment:
    """Return the environment that loads a package's templates, with autoescaping and no silent undefined variables."""
    return Environment(
        loader=PackageLoader(package),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def data_url(data: bytes, image_format: Literal["jpeg", "png"]) -> str:
    """Return an encoded image as a ``data:`` URL, so that the page that shows it needs no other file."""
    return f"data:image/{image_format};base64," + base64.b64encode(data).decode("ascii")
