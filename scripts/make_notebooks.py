"""Make the notebooks of ``examples/`` from their scripts: cells begin with ``# %%``; outputs are left out.

Run it by ``python -m scripts.make_notebooks`` after a script was changed.
"""

import json
import re
from pathlib import Path
from typing import Any, Final

EXAMPLES: Final = Path(__file__).parents[1] / "examples"

_CELL: Final = re.compile(r"^# %%( \[markdown\])?\n", re.MULTILINE)


def notebook_of(script: str) -> dict[str, Any]:
    r"""Return the notebook of a script, as JSON can hold it.

    Parameters
    ----------
    script : str
        Python in cells; those of ``# %% [markdown]`` are comments.

    Examples
    --------
    >>> notebook_of("# %% [markdown]\n# # Title\n\n# %%\nprint(1)\n")["cells"][1]["source"]
    ['print(1)']
    """
    parts = _CELL.split(script)[1:]
    cells: list[dict[str, Any]] = []
    for number, (kind, text) in enumerate(zip(parts[::2], parts[1::2], strict=True)):
        lines = text.strip("\n").splitlines(keepends=True)
        cell: dict[str, Any] = {"cell_type": "markdown" if kind else "code", "id": f"cell-{number}", "metadata": {}}
        if kind:
            lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
        else:
            cell |= {"execution_count": None, "outputs": []}
        cells.append(cell | {"source": lines})
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def main() -> None:
    """Write the notebook of every script."""
    for path in sorted(EXAMPLES.glob("*.py")):
        text = json.dumps(notebook_of(path.read_text(encoding="utf-8")), indent=1, ensure_ascii=False) + "\n"
        path.with_suffix(".ipynb").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
