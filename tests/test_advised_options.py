"""Every `--option` in a message or a docstring is one that the named command takes."""

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

from boneexp.cli.app import app
from boneexp.cli.options import FORMER

PACKAGE = Path(__file__).parents[1] / "boneexp"
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
ADVICE = re.compile(r"boneexp ((?:data )?[a-z]+(?:-[a-z]+)?)((?: (?!boneexp )[^\s,;()]+)*)")
OF_OTHERS = {"sqlite3", "pip", "git", "nvidia-smi"}  # programs whose options are their own


def options(command):
    found = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
    return found | {"--help"}


def commands():
    top = get_command(app)
    found = {name: options(command) for name, command in top.commands.items() if name != "data"}
    data = {f"data {name}": options(command) for name, command in top.commands["data"].commands.items()}
    return {**found, **data}


def texts(path):
    """Return the texts of a module with their lines; what an f-string fills in is "X"."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "X" for part in node.values]
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            yield node.lineno, node.value


MESSAGES = [
    (path, line, text)
    for path in sorted(PACKAGE.rglob("*.py"))
    for line, text in texts(path)
    if "--" in text and path.name != "verify.py"  # which is a program of its own
]


def test_there_are_messages_to_look_at():
    assert len(MESSAGES) > 50


@pytest.mark.parametrize("known", [commands()], ids=["all commands"])
def test_a_command_that_is_advised_takes_the_options_beside_it(known):
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: boneexp {name} {option}"
        for path, line, text in MESSAGES
        for name, rest in ADVICE.findall(" ".join(text.split()))
        for option in OPTION.findall(rest)
        if name in known and option not in known[name]
    ]
    assert wrong == []


def test_an_option_that_is_named_alone_is_one_of_some_command():
    former = {option for _, option in FORMER}  # old spellings that are still taken
    known = set().union(*commands().values()) | {"--version"} | former
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: {option}"
        for path, line, text in MESSAGES
        if not OF_OTHERS & set(text.split())
        for option in OPTION.findall(text)
        if option not in known
    ]
    assert wrong == []


def test_advised_commands_exist():
    known = {name.split()[0] for name in commands()} | {"data"}
    wrong = [
        f"{path.relative_to(PACKAGE)}:{line}: boneexp {name}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for line, text in texts(path)
        for name in re.findall(r"(?:with|see|:|by) boneexp ([a-z]+(?:-[a-z]+)?)", " ".join(text.split()))
        if name not in known
    ]
    assert wrong == []
