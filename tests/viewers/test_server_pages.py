"""The server's pages in a real browser: axe-core, two widths, keys, and OHIF at the marked slice.

Research use only, not a medical device. Screenshots lie in pytest's folder of the test.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from cspine.core.anatomy import RESEARCH_USE_ONLY
from cspine.server.database.tables import JobState, Study
from tests.support.phantom import as_suspicious, predict_case, write_phantom
from tests.support.server import make_parts, write_objects
from tests.support.web import OPERATOR, TOKENS, answer, finish_study, running_web
from tests.viewers.npm_packages import needs_node, node_folder, node_program, ohif_site
from tests.viewers.test_ohif import CHROMIUM, STEP_MS, as_of_a_scanner

pytestmark = [
    needs_node,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium"),
    pytest.mark.timeout(900),
    pytest.mark.slow,
]

LEVEL = "C2"


def test_pages_and_viewer_in_a_browser(pytestconfig: pytest.Config, tmp_path: Path) -> None:
    node, site = node_folder(pytestconfig), ohif_site(pytestconfig, "3.13.2")
    parts = make_parts(tmp_path, web={"tokens": TOKENS, "viewer_folder": site})
    slices = write_phantom(tmp_path / "slices", as_of_a_scanner)
    for path in sorted(slices.iterdir()):
        key = parts.receive(path).key
    case_result = as_suspicious(predict_case(slices), {LEVEL, "C6"})
    finish_study(parts, key, case_result)
    for path in write_objects(tmp_path / "other"):
        other = parts.receive(path).key
    answer(parts.database, other, state=JobState.NOT_ASSESSABLE, error="too thick", remedy="send thin slices")
    marked = next(each for each in case_result.findings.vertebrae if each.level == LEVEL).strongest
    assert marked is not None
    assert marked.slice is not None
    (tmp_path / "screenshots").mkdir()
    with running_web(parts) as server:
        shown = drive(
            node_program(pytestconfig),
            node,
            {
                "url": server.url, "chromium": CHROMIUM, "token": OPERATOR, "study": key, "level": LEVEL,
                "image": marked.slice.sop_instance_uid, "out": str(tmp_path / "screenshots"), "timeout": STEP_MS,
            },
        )  # fmt: skip
    with parts.database.reading() as session:
        addresses = {f"/studies/{each}" for each in session.scalars(select(Study.key))}
    parts.database.close()

    assert shown.get("stopped") is None, shown
    assert shown["errors"] == []
    assert shown["foreign"] == []
    assert len(shown["pages"]) == 11
    for page in shown["pages"]:
        assert page["faults"] == [], page["name"]
        assert page["checks"] > 5
        assert page["widths"][0] <= page["widths"][1], page["name"]
        assert RESEARCH_USE_ONLY in page["text"]
    assert shown["keys"]["focused"] == shown["keys"]["first"]
    assert shown["keys"]["search"] == "q"
    assert {shown["keys"]["first"], shown["keys"]["next"]} == addresses
    assert f"/instances/{marked.slice.sop_instance_uid}/" in shown["viewer"]["image"]
    assert shown["viewer"]["size"] == [160, 160]
    assert shown["viewer"]["wrong"] == 0


def drive(program: str, node: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Return what the pages show."""
    command = [program, str(node / "server_pages.mjs"), json.dumps(settings)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    shown: dict[str, Any] = json.loads(done.stdout)
    return shown
