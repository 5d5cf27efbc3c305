"""What the source must state so that it does the same on Linux, macOS and Windows."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import cspine

SOURCE = Path(cspine.__file__).parent
TREES = {path: ast.parse(path.read_text("utf-8")) for path in sorted(SOURCE.rglob("*.py"))}

UNIX_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty"}
"""Modules that Windows lacks: imported inside a function that does without them there."""

UNIX_FUNCTIONS = {"fork", "getuid", "geteuid", "setuid", "killpg", "sched_getaffinity", "statvfs", "mkfifo"}
"""Functions of `os` that Windows or macOS lack: used on a line that asks for them first."""


def calls(names: set[str]) -> Iterator[tuple[str, ast.Call, set[str | None]]]:
    """Yield the calls of functions with these names: the place, the call, and its keywords."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in names:
                yield f"{path.name}:{node.lineno}", node, {keyword.arg for keyword in node.keywords}


def constants(call: ast.Call) -> set[str]:
    return {str(each.value) for each in call.args if isinstance(each, ast.Constant)}


def test_text_files_state_their_encoding() -> None:
    read = [place for place, call, words in calls({"read_text"}) if not ({"encoding"} & words or constants(call))]
    written = [
        place
        for place, call, words in calls({"write_text"})
        if isinstance(call.func, ast.Attribute) and "encoding" not in words
    ]
    opened = [
        place
        for place, call, words in calls({"open", "fdopen"})
        if "encoding" not in words and any(re.fullmatch("[rwax+t]+", text) for text in constants(call))
    ]

    assert (read, written, opened) == ([], [], [])


def test_tables_have_the_same_line_ends_everywhere() -> None:
    tables = [place for place, _, words in calls({"to_csv", "DictWriter"}) if "lineterminator" not in words]

    assert tables == []


def test_no_module_of_unix_is_imported_at_the_top() -> None:
    imported = {
        (path.name, name.partition(".")[0])
        for path, tree in TREES.items()
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names])
    }

    assert {place for place, name in imported if name in UNIX_MODULES} == set()


def test_functions_of_unix_are_used_where_they_are_there() -> None:
    for path, tree in TREES.items():
        lines = path.read_text("utf-8").splitlines()
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and ast.unparse(node) in {f"os.{name}" for name in UNIX_FUNCTIONS}:
                assert "hasattr(os," in lines[node.lineno - 1], f"{path.name}:{node.lineno}"
