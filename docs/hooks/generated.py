"""Fill the generated parts of the reference when mkdocs builds the site.

A page names what it needs in a comment, ``<!-- generated: NAME ARGUMENTS -->``. The comment is replaced by Markdown
that is made from the package itself, so that the reference cannot differ from the code:

- ``cli``: every command with its arguments and options, from the Typer application;
- ``api ROOM [-PACKAGE ...]``: mkdocstrings blocks of a room's public modules, without those of some packages in it;
- ``errors``: the exception tree of `cspine.core.errors`;
- ``findings``: the tables of the schema of `cspine.core.findings.Findings`;
- ``server_settings``: the tables of `cspine.server.settings.ServerSettings`.
"""

import inspect
import json
import pkgutil
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import typer.main

import cspine
from cspine.core import errors
from cspine.core.findings import Findings
from cspine.server.settings import ServerSettings

_MARKER: Final = re.compile(r"<!-- generated: (\w+)((?: [\w.-]+)*) -->")
_SOURCE: Final = Path(cspine.__file__).parent


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace every marker of a page; called by mkdocs."""
    return _MARKER.sub(lambda found: _PARTS[found[1]](*found[2].split()), markdown)


def cli_reference() -> str:
    """Return a section for each command of ``cspine``, in the order of ``cspine --help``."""
    from cspine.cli import app  # noqa: PLC0415 - mkdocs loads this file for every page

    group: Any = typer.main.get_command(app)
    parts = ["## Options before the command\n", _parameters(group.params, "cspine")]
    for name, command in group.commands.items():
        parts += [f"## {name}\n", f"{_paragraphs(command.help)}\n"]
        parts += [f"{_usage(name, command.params)}\n", _parameters(command.params, f"cspine {name}")]
        parts += [_examples(command.epilog)]
    return "\n".join(parts)


def _usage(name: str, params: list[Any]) -> str:
    arguments = " ".join(param.name.upper() for param in params if not _is_option(param))
    required = " ".join(f"{_flag(param)} {_metavar(param)}" for param in params if _is_option(param) and param.required)
    line = " ".join(part for part in ("cspine", name, arguments, required, "[OPTIONS]") if part)
    return f"```text\n{line}\n```"


def _is_option(param: Any) -> bool:  # noqa: ANN401 - Typer's parameters have no public type
    return str(param.opts[0]).startswith("-")


def _flag(param: Any) -> str:  # noqa: ANN401
    return str(param.opts[-1])


def _metavar(param: Any) -> str:  # noqa: ANN401
    return "" if getattr(param, "is_flag", False) else str(param.name).upper()


def _parameters(params: list[Any], title: str) -> str:
    rows = [
        f"| {_names(param)} | {_cell(param.help)} | {_default(param)} |"
        for param in params
        if not param.hidden and "--help" not in param.opts
    ]
    return "\n".join([f"| {title} | meaning | default |", "|---|---|---|", *rows, ""])


def _names(param: Any) -> str:  # noqa: ANN401
    if not _is_option(param):
        return f"`{param.name.upper()}`"
    return " / ".join(f"`{name}`" for name in [*param.opts, *param.secondary_opts])


def _default(param: Any) -> str:  # noqa: ANN401
    if param.required:
        return "required"
    if isinstance(param.show_default, str):
        return param.show_default
    value = param.default() if callable(param.default) else param.default
    if value is None or value is False or value == ():
        return ""
    return f"`{getattr(value, 'value', value)}`"


def _paragraphs(text: str | None) -> str:
    return (text or "").replace("\\[", "[").strip()


def _cell(text: str | None) -> str:
    return " ".join((text or "").replace("\\[", "[").replace("|", "\\|").split())


def _examples(epilog: str | None) -> str:
    """Return an epilog such as "Examples:  cspine a   |   cspine b" as a block of commands."""
    lines = [line.strip() for line in (epilog or "").partition(":")[2].split("   |   ")]
    return "```sh\n" + "\n".join(lines) + "\n```\n" if any(lines) else ""


def api_reference(room: str, *without: str) -> str:
    """Return a mkdocstrings block for each public module of a room."""
    package = f"cspine.{room}"
    excluded = tuple(f"{package}.{name.removeprefix('-')}." for name in without)
    found = (
        module.name
        for module in pkgutil.walk_packages([str(_SOURCE / room)], prefix=f"{package}.")
        if not module.ispkg and not module.name.startswith(excluded) and "._" not in module.name
    )
    return "\n".join(f"::: {name}\n" for name in sorted(found))


def error_tree() -> str:
    """Return the exceptions as a table, each under its base."""

    def rows(kind: type[Exception], depth: int) -> Iterator[str]:
        first = (inspect.getdoc(kind) or "").splitlines()[0]
        yield f"| {'&emsp;' * depth}`{kind.__name__}` | {first} |"
        for child in kind.__subclasses__():
            if child.__module__ == errors.__name__:
                yield from rows(child, depth + 1)

    return "\n".join(["| exception | meaning |", "|---|---|", *rows(errors.CspineError, 0), ""])


def findings_tables() -> str:
    """Return a table of fields for each object of the findings' schema."""
    schema = Findings.model_json_schema()
    parts = [_object("Findings", schema)]
    parts += [_object(name, part) for name, part in schema["$defs"].items() if "properties" in part]
    return "\n".join(parts)


def server_settings_tables() -> str:
    """Return a table of settings, with their defaults, for each table of the server's TOML file."""
    schema = ServerSettings.model_json_schema()
    parts = {"tables of the file": schema, **schema["$defs"]}
    return "\n".join(_settings_table(name, part) for name, part in parts.items() if "properties" in part)


def _settings_table(name: str, part: dict[str, Any]) -> str:
    required = set(part.get("required", ()))
    rows = [
        f"| `{field}` | {_type(of)} | {'required' if field in required else _json_default(of)} | "
        f"{_cell(of.get('description'))} |"
        for field, of in part["properties"].items()
    ]
    summary = part.get("description", "").split("\n")[0]
    head = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    return "\n".join([f"## {name}\n", f"{summary}\n", *head, *rows, ""])


def _json_default(about: dict[str, Any]) -> str:
    value = about.get("default")
    return "" if value is None or isinstance(value, (dict, list)) else f"`{json.dumps(value)}`"


def _object(name: str, part: dict[str, Any]) -> str:
    required = set(part.get("required", ()))
    rows = [
        f"| `{field}`{'' if field in required else ' (optional)'} | {_type(of)} | {_cell(of.get('description'))} |"
        for field, of in part["properties"].items()
    ]
    summary = part.get("description", "").split("\n")[0]
    return "\n".join([f"### {name}\n", f"{summary}\n", "| field | type | meaning |", "|---|---|---|", *rows, ""])


def _type(about: dict[str, Any]) -> str:
    if "$ref" in about:
        name = about["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in about:
        return f"`{json.dumps(about['const'])}`"
    if "enum" in about:
        return ", ".join(f"`{json.dumps(value)}`" for value in about["enum"])
    for union in ("anyOf", "oneOf"):
        if union in about:
            return " or ".join(_type(part) for part in about[union])
    if about.get("type") == "array":
        items = about.get("items") or next(iter(about.get("prefixItems", [])), {})
        return f"list of {_type(items)}" if items else "list"
    if about.get("type") == "object" and isinstance(about.get("additionalProperties"), dict):
        return f"object of {_type(about['additionalProperties'])}"
    return str(about.get("type", "any"))


_PARTS: Final[dict[str, Callable[..., str]]] = {
    "cli": cli_reference,
    "api": api_reference,
    "errors": error_tree,
    "findings": findings_tables,
    "server_settings": server_settings_tables,
}
