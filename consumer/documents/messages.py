"""The messages that the code can end with, for the reference page: each names the thing, its value and the fix."""

import ast
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import consumer
import projections
import snapshot

_ERRORS = {
    "OperatorError",
    "UnreachableError",
    "operator_error",
    "NotMadeYetError",
    "DatabaseUnavailableError",
    "StoreUnavailableError",
    "SourceUnavailableError",
}
_PLACEHOLDER = "…"
_FEWEST_WORDS = 3
"""What has fewer words of its own only hands another message on."""


def error_messages() -> list[str]:
    """All messages of errors that an operator fixes, `…` for values, in the order of the alphabet."""
    found = {
        message
        for tree in _modules()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and _name(call.func) in _ERRORS and call.args
        for message in _texts(call.args[0])
        if len(message.replace(_PLACEHOLDER, " ").split()) >= _FEWEST_WORDS
    }
    return sorted(found, key=lambda message: message.lstrip(f"{_PLACEHOLDER} (").lower())


def log_messages() -> set[str]:
    """All warnings and errors of the log, without their facts."""
    return {
        message
        for tree in _modules()
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and call.args and _is_logged(call.func)
        for message in _texts(call.args[0])
        if len(message.replace(_PLACEHOLDER, " ").split()) > 1
    }


def _is_logged(function: ast.expr) -> bool:
    if isinstance(function, ast.Attribute):
        return function.attr == "_log" or (
            function.attr in {"warning", "error", "exception"} and _name(function.value) in {"log", "_log"}
        )
    return _name(function) == "ThrottledWarning"


def _modules() -> Iterator[ast.Module]:
    for package in (projections, snapshot, consumer):
        for folder in package.__path__:
            for path in sorted(Path(folder).rglob("*.py")):
                yield ast.parse(path.read_text(encoding="utf-8"))


@cache
def _constants() -> dict[str, Sequence[str]]:
    return {
        _name(statement.targets[0]): _texts(statement.value)
        for tree in _modules()
        for statement in tree.body
        if isinstance(statement, ast.Assign)
    }


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _texts(node: ast.expr) -> Sequence[str]:
    """The texts that an expression may give; none where it is made elsewhere."""
    match node:
        case ast.Constant(value=str(text)):
            return [" ".join(text.split())]
        case ast.JoinedStr(values=parts):
            pieces = [part.value if isinstance(part, ast.Constant) else _PLACEHOLDER for part in parts]
            return [" ".join("".join(map(str, pieces)).split())]
        case ast.Name(id=name) if name.isupper():
            return _constants().get(name, [])
        case ast.IfExp(body=one, orelse=other):
            return [*_texts(one), *_texts(other)]
        case _:
            return []


def message_page() -> str:
    """The page of error messages."""
    lines = [
        "# Error messages",
        "",
        "What a command ends with, in one line on standard error and with exit code 2; `…` stands for a value. Each",
        "says what to fix. What the log says meanwhile: [Troubleshooting](../operations/troubleshooting.md).",
        "",
    ]
    return "\n".join(lines + [f"- `` {message} ``" for message in error_messages()]) + "\n"
