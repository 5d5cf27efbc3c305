"""What all HTML pages are made with: everything that comes from files is escaped, and nothing is fetched."""

import base64
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape


@cache
def environment() -> Environment:
    """Return the templates' environment."""
    return Environment(
        loader=PackageLoader("cspine.reports"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def inline(data: bytes, kind: str) -> str:
    """Return an image as a URL that holds it; `kind` is jpeg or png."""
    return f"data:image/{kind};base64," + base64.b64encode(data).decode("ascii")
