"""A missing library is reported with the extra that brings it."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from cspine.core import extras
from cspine.core.errors import MissingExtraError
from cspine.core.extras import EXTRAS, missing_extra, require_extra

ROOT = Path(__file__).parents[2]


def test_a_missing_module_names_its_extra() -> None:
    for extra, modules in EXTRAS.items():
        for module in modules:
            error = missing_extra(ModuleNotFoundError(name=f"{module}.part"))
            assert str(error).startswith(f'{module} is not installed; run: pip install "cspine[{extra}]"')
    assert missing_extra(ModuleNotFoundError(name="numpy")) is None
    assert missing_extra(ModuleNotFoundError()) is None


def test_extras_are_those_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]

    assert set(EXTRAS) <= set(project["optional-dependencies"])


def test_requiring_an_extra_finds_it_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    require_extra("evaluate")

    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r'pip install "cspine\[fhir\]"'):
        require_extra("fhir")


@pytest.mark.parametrize(
    ("command", "module", "extra"),
    [
        (["describe", "somewhere"], "pandas", "evaluate"),
        (["train", "--data", "somewhere", "--out", "run"], "torch", "train"),
        (["deidentify", "somewhere", "--out", "out"], "dicomanonymizer", "deidentify"),
    ],
)
def test_a_command_without_its_extra_says_which_to_install(
    command: list[str], module: str, extra: str, tmp_path: Path
) -> None:
    script = (
        "import sys; from importlib.machinery import PathFinder\n"
        f"class Missing:\n    @staticmethod\n    def find_spec(name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {module!r}:\n"
        f"            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Missing)\n"
        "from cspine.cli import main\n"
        f"sys.argv = ['cspine', *{command!r}]\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 2, done.stderr
    assert f'pip install "cspine[{extra}]"' in done.stderr.replace("\n", "")


def test_the_demo_needs_the_base_install_only(tmp_path: Path) -> None:
    modules = {module for modules in EXTRAS.values() for module in modules}
    script = (
        "import sys\n"
        "class Missing:\n    @staticmethod\n    def find_spec(name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {modules!r}:\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Missing)\n"
        "from cspine.cli import main\n"
        "sys.argv = ['cspine', 'demo', '--out', 'demo']\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "demo" / "report.html").is_file()
