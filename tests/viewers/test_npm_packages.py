"""Without the npm registry, or with one that does not answer, tests of viewers are skipped instead of failing."""

from pathlib import Path

import pytest

from tests.viewers import npm_packages
from tests.viewers.npm_packages import needs_node, ohif_site

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
