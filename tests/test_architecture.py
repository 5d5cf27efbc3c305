"""The rules of the house: which room may import which, what is public, what `import cspine` loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import cspine

SOURCE = Path(cspine.__file__).parent

ROOMS = [
    "core", "dicom", "spine", "views", "phantom", "insertion", "metrics", "datasets", "deidentify", "models",
    "localization", "importing", "classification", "plots", "training", "evaluation", "experiments", "reports",
    "pipelines", "server", "cli", "__main__",
]  # fmt: skip
"""From bottom to top: a room imports those before it, and no other."""

ONLY_IN = {
    "torch": {"training"},
    "monai": {"training"},
    "lightning_fabric": {"training"},
    "onnx": {"training"},
    "optuna": {"experiments", "pipelines"},
    "onnxruntime": {"models"},
    "matplotlib": {"plots"},
    "typer": {"cli"},
    "rich": {"cli"},
    "jinja2": {"reports", "server"},
    "alembic": {"server"},
    "fastapi": {"server"},
    "pynetdicom": {"server"},
    "sqlalchemy": {"server"},
    "uvicorn": {"server"},
    "fhir": {"reports"},
    "dicomanonymizer": {"deidentify"},
    "obstore": {"core"},
    "distributed": {"core"},
    "submitit": {"pipelines"},
}
"""Heavy or single-purpose libraries, and the only room that may import each."""


def _room(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def _imports(path: Path) -> Iterator[str]:
    """Yield every module a file imports, at its top or inside functions, but for type checking only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    only_types = {
        id(node)
        for test in ast.walk(tree)
        if isinstance(test, ast.If) and ast.unparse(test.test) == "TYPE_CHECKING"
        for statement in test.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if id(node) in only_types:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or ""
            if node.module == "cspine":
                yield from (f"cspine.{name.name}" for name in node.names)


FILES = [path for path in sorted(SOURCE.rglob("*.py")) if path != SOURCE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_imports_go_down(path: Path) -> None:
    room = _room(path)
    below = set(ROOMS[: ROOMS.index(room) + 1])
    for module in _imports(path):
        parts = module.split(".")
        if parts[0] == "cspine" and len(parts) > 1 and parts[1] != "__version__":
            assert parts[1] in below, f"{path.name} imports {module}, which is not below {room}"
        assert room in ONLY_IN.get(parts[0], {room}), f"{path.name} imports {parts[0]}, which belongs elsewhere"


def test_every_room_is_in_the_list() -> None:
    assert {_room(path) for path in FILES} == set(ROOMS)


def test_public_names_are_pinned() -> None:
    assert cspine.__all__ == [
        "VERTEBRAE", "CspineError", "Detector", "Findings", "VertebraFinding", "__version__", "load_volume",
    ]  # fmt: skip
    for name in cspine.__all__:
        assert getattr(cspine, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = cspine.nothing


HEAVY = "torch", "monai", "onnxruntime", "matplotlib", "scipy", "pandas", "highdicom"


@pytest.mark.parametrize("code", ["import cspine", "import cspine.cli; cspine.cli.application"])
def test_import_and_help_load_nothing_heavy(code: str) -> None:
    script = f"import sys; {code}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_inference_and_reports_load_no_torch() -> None:
    script = (
        "import sys; import cspine.pipelines.predict_batch, cspine.classification.predict_dataset; "
        "print([name for name in ('torch', 'monai', 'matplotlib') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_library_never_prints_or_exits() -> None:
    for path in FILES:
        if _room(path) == "cli":
            continue
        calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        names = {ast.unparse(call) for call in calls}
        assert not names & {"print", "exit", "sys.exit", "os._exit"}, path


MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_ROOM_FILES = 400, 60, 19


def _code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, source: list[str]) -> int:
    """Return the lines of a function that hold code: neither its docstring, nor comments, nor blank lines."""
    first = function.body[0]
    is_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and len(function.body) > 1
    docstring = range(first.lineno, (first.end_lineno or first.lineno) + 1) if is_docstring else range(0)
    lines = range(function.lineno, (function.end_lineno or function.lineno) + 1)
    return sum(
        number not in docstring and bool(source[number - 1].strip()) and not source[number - 1].lstrip().startswith("#")
        for number in lines
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_files_and_functions_fit_a_screen(path: Path) -> None:
    text = path.read_text("utf-8")
    source = text.splitlines()
    functions = [
        node for node in ast.walk(ast.parse(text)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]

    assert len(source) <= MAX_FILE_LINES
    assert not {each.name: n for each in functions if (n := _code_lines(each, source)) > MAX_FUNCTION_LINES}


def test_rooms_are_small() -> None:
    counts = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in FILES}}
    cli = SOURCE / "cli"  # one file per command

    assert not {folder.name: n for folder, n in counts.items() if n > MAX_ROOM_FILES and folder != cli}
