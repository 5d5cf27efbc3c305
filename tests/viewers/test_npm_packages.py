"""Without the npm registry, or with one that does not answer, tests of viewers are skipped instead of failing."""

import json
import platform
from pathlib import Path

import pytest

from tests.viewers import npm_packages
from tests.viewers.npm_packages import major_version, needs_node, node_program, ohif_site

pytestmark = needs_node


@pytest.mark.parametrize(
    ("patience_s", "reason"),
    [(300.0, "npm does not reach its registry: .*ECONNREFUSED"), (0.01, "does not get an answer")],
)
def test_tests_are_skipped_without_the_registry(
    patience_s: float, reason: str, pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(npm_packages, "_PATIENCE_S", patience_s)
    for name, value in {
        "registry": "http://127.0.0.1:9", "noproxy": "127.0.0.1", "fetch_retries": "0", "cache": str(tmp_path),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"npm_config_{name}", value)

    with pytest.raises(pytest.skip.Exception, match=f"(?s){reason}"):
        ohif_site(pytestconfig, "0.0.0")


@pytest.mark.nightly
@pytest.mark.skipif(platform.system() != "Linux", reason="Linux")
def test_an_old_node_is_replaced_by_one_of_the_registry(
    pytestconfig: pytest.Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(npm_packages, "_SYSTEM_NODE", None)

    assert major_version(node_program(pytestconfig)) >= 20


def test_every_version_is_pinned() -> None:
    folder = Path(npm_packages.__file__).parent
    wanted = json.loads((folder / "package.json").read_text())["dependencies"]
    locked = json.loads((folder / "package-lock.json").read_text())["packages"]

    assert {name: locked[f"node_modules/{name}"]["version"] for name in wanted} == wanted
    assert all(package.get("integrity") for name, package in locked.items() if name)
