"""Hooks of mkdocs: the pages that are made from the program, and files that others show.

A page shows a file of the checkout with `<!-- include PATH -->` on a line of its own.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from micwire.api.openapi import document
from micwire.app import create_app
from micwire.cli import app as command_line
from micwire.config import Config

ROOT = Path(__file__).parents[1]
FOR_TESTS = {"failpoint"}
_INCLUDE = re.compile(r"^<!-- include (\S+) -->$", re.MULTILINE)
_WIDTH = 88


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what is made, and the contract, which lives elsewhere."""
    made = {
        "cli": commands(),
        "settings": settings(),
        "api": api(),
        "wire": (ROOT / "spec" / "wire.md").read_text(),
        "journal": (ROOT / "spec" / "journal.md").read_text(),
    }
    for name, text in made.items():
        files.append(File.generated(config, f"reference/{name}.md", content=text))
    files.append(File.generated(config, "decisions/index.md", content=decisions()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show the files that a page names."""
    return _INCLUDE.sub(lambda match: f"```\n{(ROOT / match[1]).read_text()}```", markdown)


def decisions() -> str:
    """Return the list of decisions."""
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    titles = [page.read_text().partition("\n")[0].removeprefix("# ") for page in pages]
    lines = [f"- [{title}]({page.name})" for title, page in zip(titles, pages, strict=True)]
    return "\n".join(["# Decisions", "", "Why it is as it is, a page each.", "", *lines, ""])


def commands() -> str:
    """Return the page of the commands: the help of each, as the program prints it."""
    parts = ["# Commands\n\nWhat `--help` says of each.\n"]
    for path, text in _helps(typer.main.get_command(command_line), "micwire", None):
        parts.append(f"## {path}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def _helps(command: Any, name: str, parent: Any) -> Iterator[tuple[str, str]]:
    # Typer has a click of its own inside, and gives no names to its classes.
    context = command.make_context(
        name, [], parent=parent, resilient_parsing=True, terminal_width=_WIDTH
    )
    yield context.command_path, command.get_help(context)
    for inner, each in getattr(command, "commands", {}).items():
        yield from _helps(each, inner, context)


def settings() -> str:
    """Return the page of the settings."""
    rows = []
    for name, field in Config.model_fields.items():
        if name not in FOR_TESTS:
            default = field.default
            if isinstance(default, tuple):
                default = ", ".join(default)
            shown = "" if default in ("", None) else f"`{default}`"
            rows.append(f"| `{name}` | `MICWIRE_{name.upper()}` | {shown} | {field.description} |")
    return "\n".join(
        [
            "# Settings",
            "",
            "A flag of `micwire serve` beats the environment, which beats `micwire.toml` in the"
            " current directory. Flags are in [the commands](cli.md).",
            "",
            "| `micwire.toml` | environment | default | meaning |",
            "|---|---|---|---|",
            *rows,
            "",
        ]
    )


def api() -> str:
    """Return the page of the HTTP API, from its own description."""
    parts = [
        "# HTTP API",
        "",
        "A running server describes itself at `/openapi.json` (OpenAPI 3.1); this page is made from"
        " that. Programs sign in with `Authorization: Bearer` and a token of `micwire token"
        " create`. Errors are `application/problem+json`, with a `code` that never changes.",
        "",
    ]
    for path, methods in document(create_app(Config()).endpoints)["paths"].items():
        for method, operation in methods.items():
            parts += _operation(f"{method.upper()} {path}", operation)
    return "\n".join(parts)


def _operation(heading: str, operation: dict[str, Any]) -> list[str]:
    parts = [f"## {heading}", "", f"{operation['summary']}.", ""]
    more = operation.get("description", "")
    if more.rstrip(".") != operation["summary"]:
        parts += [more, ""]
    parameters = operation.get("parameters", [])
    if parameters:
        parts += ["| parameter | in | what |", "|---|---|---|"]
        parts += [_parameter(parameter) for parameter in parameters] + [""]
    parts += ["| status | when |", "|---|---|"]
    for status, answer in operation["responses"].items():
        parts.append(f"| {status} | {answer['description']} |")
    return [*parts, ""]


def _parameter(parameter: dict[str, Any]) -> str:
    schema = parameter.get("schema", {})
    what = parameter.get("description") or schema.get("description") or schema.get("type", "")
    return f"| `{parameter['name']}` | {parameter['in']} | {what} |"
