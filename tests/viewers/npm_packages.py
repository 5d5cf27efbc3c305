"""Programs from the npm registry, kept in pytest's cache; tests that need them are skipped where they cannot be had."""

import hashlib
import platform
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

NPM: Final = shutil.which("npm")

needs_node = pytest.mark.skipif(NPM is None, reason="npm")

_SYSTEM_NODE: Final = shutil.which("node")
_OLDEST: Final = 20
"""Major version of Node.js that the packages need; an older one, such as Debian 12's, takes one of the registry."""

_NODE_VERSION: Final = "24.22.3"
_ARCHITECTURES: Final = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}

_HERE: Final = Path(__file__).parent
_UNREACHABLE: Final = (
    "ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ERR_SOCKET_TIMEOUT", "EHOSTUNREACH",
    "ENETUNREACH", "E429", "E502", "E503", "E504",
)  # fmt: skip
"""What npm says where it does not reach its registry."""
_PATIENCE_S: Final = 300
"""How long npm may take; behind a firewall that drops packets it would try for longer."""
_LEFT_OUT: Final = ("ort/", "dicom-microscopy-viewer/")
"""Folders of OHIF's site with 150 MB of what these tests do not show."""


def node_program(config: pytest.Config) -> str:
    """Return the path of Node.js: the system's, or where that is too old one of the npm registry."""
    if _SYSTEM_NODE is not None and major_version(_SYSTEM_NODE) >= _OLDEST:
        return _SYSTEM_NODE
    architecture = _ARCHITECTURES.get(platform.machine().lower())
    if platform.system() != "Linux" or architecture is None:
        pytest.skip(f"Node.js {_OLDEST} or newer")
    package = f"node-linux-{architecture}@{_NODE_VERSION}"

    def unpack(folder: Path) -> None:
        name = _npm(folder, "pack", package).strip().splitlines()[-1]
        with tarfile.open(folder / name) as archive:
            archive.extract("package/bin/node", folder, filter="data")
        (folder / name).unlink()

    return str(_kept(config, package.replace("@", "-"), unpack) / "package" / "bin" / "node")


def major_version(node: str) -> int:
    """Return the major version of a Node.js; 0 where it does not start."""
    done = subprocess.run([node, "--version"], check=False, capture_output=True, text=True, timeout=60)
    return int(done.stdout.strip().removeprefix("v").split(".")[0] or 0)


def node_folder(config: pytest.Config) -> Path:
    """Return a folder with the scripts of this folder and the packages of its lock file, installed on first use."""
    lock = (_HERE / "package-lock.json").read_bytes()

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            (folder / name).write_bytes((_HERE / name).read_bytes())
        _npm(folder, "ci", "--no-audit", "--no-fund", "--ignore-scripts")

    folder = _kept(config, f"node-{hashlib.sha256(lock).hexdigest()[:12]}", install)
    for script in _HERE.glob("*.mjs"):  # node looks for packages beside the script
        (folder / script.name).write_bytes(script.read_bytes())
    return folder


def ohif_site(config: pytest.Config, version: str) -> Path:
    """Return the folder of OHIF's pages of a version, or of the newest by ``"latest"``."""
    if version == "latest":
        version = _npm(_HERE, "view", "@ohif/app", "version").strip()

    def unpack(folder: Path) -> None:
        name = _npm(folder, "pack", f"@ohif/app@{version}").strip().splitlines()[-1]
        with tarfile.open(folder / name) as archive:
            for member in archive.getmembers():
                member.name = member.name.removeprefix("package/dist/")
                if member.isfile() and not member.name.startswith(("package/", *_LEFT_OUT)):
                    archive.extract(member, folder, filter="data")
        (folder / name).unlink()

    return _kept(config, f"ohif-{version}", unpack)


def _kept(config: pytest.Config, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder of pytest's cache, made in one step, so that tests in other processes never see half of it."""
    cache = config.cache
    if cache is None:
        pytest.skip("pytest's cache is switched off")
    parent = cache.mkdir("viewers")
    if not (parent / name).is_dir():
        partial = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=parent))
        try:
            make(partial)
            if not (parent / name).is_dir():
                partial.rename(parent / name)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return parent / name


def _npm(folder: Path, *arguments: str) -> str:
    command = [str(NPM), *arguments, "--loglevel=error"]  # without notices, but with the reason of a failure
    try:
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm does not get an answer of its registry in {_PATIENCE_S} s")
    if done.returncode and any(word in done.stderr for word in _UNREACHABLE):
        pytest.skip(f"npm does not reach its registry: {done.stderr[:300]}")
    assert done.returncode == 0, done.stderr
    return done.stdout
