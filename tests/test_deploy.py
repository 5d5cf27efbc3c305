"""The container's recipe and the descriptors of orchestrators agree with the package and with each other."""

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from cspine.cli import app
from cspine.pipelines.run import DEFAULT_INPUT, DEFAULT_OUTPUT, INPUT_VARIABLES, OUTPUT_VARIABLES, RESULT_FILE
from cspine.server.settings import load_server_settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text(encoding="utf-8")


def descriptor(name: str) -> Any:
    return json.loads((DEPLOY / name).read_text(encoding="utf-8"))


def test_all_descriptors_have_the_version_of_the_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    version = project["tool"]["hatch"]["version"]["fallback-version"]

    (xnat,) = descriptor("xnat.json")
    assert set(re.findall(r"^ARG VERSION=(.*)$", CONTAINERFILE, re.MULTILINE)) == {version}
    assert descriptor("map/app.json")["version"] == descriptor("map/pkg.json")["version"] == version
    assert (xnat["version"], xnat["image"]) == (version, f"cspine:{version}")
    assert descriptor("mercure.json")["modules"]["cspine"]["docker_tag"] == f"cspine:{version}"


def test_what_the_recipe_copies_is_in_its_context() -> None:
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", CONTAINERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    kept = re.findall(r"^!(.*)$", (DEPLOY / "Containerfile.dockerignore").read_text(encoding="utf-8"), re.MULTILINE)

    assert {"src", "deploy/map", "deploy/kaapana.json"} <= set(copied)
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source.split("/")[0] in kept, source


def test_the_image_runs_as_nobody_and_mercure_does_not_take_it_for_a_map() -> None:
    user = re.findall(r"^USER (.*)$", CONTAINERFILE, re.MULTILINE)
    destinations = [line.split()[-1] for line in re.findall(r"^COPY (.*)$", CONTAINERFILE, re.MULTILINE)]

    assert user == ["65532:65532", "65532:65532"]
    assert not [path for path in destinations if path.startswith("/etc/monai")]


def test_the_label_for_xnat_is_the_descriptor() -> None:
    (label,) = re.findall(r"^LABEL org\.nrg\.commands=(.*)$", CONTAINERFILE, re.MULTILINE)

    assert json.loads(json.loads(label.replace(r"\$", "$"))) == descriptor("xnat.json")


@pytest.mark.parametrize(
    "command",
    [
        " ".join(json.loads(CONTAINERFILE.rpartition("CMD ")[2])),
        descriptor("xnat.json")[0]["command-line"],
        descriptor("map/app.json")["command"],
    ],
)
def test_commands_of_descriptors_exist(command: str) -> None:
    group: Any = typer.main.get_command(app)
    program, name, *options = shlex.split(command)
    known = {option for parameter in group.commands[name].params for option in parameter.opts}

    assert Path(program).name == "cspine"
    assert set(options) <= known


def test_folders_of_descriptors_are_those_that_the_command_reads() -> None:
    (xnat,) = descriptor("xnat.json")
    (template,) = descriptor("kaapana.json")["templates"]
    manifest = descriptor("map/app.json")
    environment, folder = manifest["environment"], Path(manifest["workingDirectory"])

    assert [mount["path"] for mount in xnat["mounts"]] == [str(DEFAULT_INPUT), str(DEFAULT_OUTPUT)]
    assert [part["mounted_path"] for part in template["inputs"] + template["outputs"]] == ["/input", "/output"]
    assert "command" not in template  # the image's own
    named = [next(Path(environment[name]) for name in names if name in environment) for names in (
        INPUT_VARIABLES, OUTPUT_VARIABLES,
    )]  # fmt: skip
    assert named == [folder / manifest["input"]["path"], folder / manifest["output"]["path"]]
    assert descriptor("grand-challenge.json")["outputs"][0]["relative_path"] == RESULT_FILE


def test_every_descriptor_says_what_it_is_not() -> None:
    for path in (DEPLOY / "Containerfile", DEPLOY / "README.md", *DEPLOY.glob("*.json")):
        assert "Not a medical device" in path.read_text(encoding="utf-8"), path.name


def test_the_servers_files_agree_with_each_other_and_with_the_settings() -> None:
    settings = load_server_settings(DEPLOY / "server" / "cspine.toml")
    compose = (DEPLOY / "server" / "compose.yaml").read_text(encoding="utf-8")
    orthanc = descriptor("server/orthanc.json")
    unit = (DEPLOY / "server" / "cspine.service").read_text(encoding="utf-8")

    assert settings.storage.silent
    assert orthanc["DicomModalities"]["cspine"] == [settings.node.ae_title, "cspine", settings.node.port]
    assert settings.destinations[0].ae_title == orthanc["DicomAet"] == settings.node.allow[0].ae_title
    assert settings.destinations[0].port == orthanc["DicomPort"]
    assert f"127.0.0.1:{settings.web.port}:{settings.web.port}" in compose
    assert f"127.0.0.1:{settings.node.port}:{settings.node.port}" in compose
    assert str(settings.storage.spool) in compose
    assert "DynamicUser=yes" in unit
    for command in re.findall(r"^ExecStart(?:Pre)?=\S*cspine (.*)$", unit, re.MULTILINE):
        words = [word for word in shlex.split(command) if word != "--log-json"]
        assert words[0] == "serve"
        group: Any = typer.main.get_command(app)
        known = {option for parameter in group.commands["serve"].params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known
