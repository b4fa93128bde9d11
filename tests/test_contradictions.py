"""Options that contradict each other, in every command: refused with both named, and nothing done."""

import itertools
import json

import pytest
from settled_study import settled_study
from typer.main import get_command
from typer.testing import CliRunner

from boneexp.cli.app import app
from boneexp.cli.contradictions import EXCLUSIVE, FORMATS, NEEDS
from boneexp.cli.options import Command

GROUP = get_command(app)
COMMANDS = {**GROUP.commands, **GROUP.commands["data"].commands}
COMMANDS.pop("data")
VALUES = {"--bundle": ["study.zip"], "--mlflow": ["runs"], "--reason": ["why"]}
VALUES |= {"--metric": ["log_loss"], "--intervals": ["bca"], "--only": ["E1"], "--images": ["a.jpeg"]}
VALUES |= {"--prevalence": ["0.1"], "--count": ["3"]}
WORDS = {"RUN": ["1"], "EXPERIMENT": ["E1"]}


def options_of(name):
    return [option for each in COMMANDS[name].params for option in each.opts]


def words(option):
    return WORDS.get(option) or [option, *VALUES.get(option, [])]


PAIRS = [
    (command, *pair)
    for command, groups in EXCLUSIVE.items()
    for pair in dict.fromkeys(pair for group in groups for pair in itertools.combinations(group, 2))
]
PAIRS += [
    (command, *pair)
    for command in COMMANDS
    for pair in itertools.combinations([each for each in FORMATS if each in options_of(command)], 2)
]
ALONE = [(command, name, needed) for command, rules in NEEDS.items() for name, needed in rules.items()]


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return settled_study(tmp_path_factory.mktemp("study"))


def refused(study, *command):
    before = lying_in(study.folder)
    said = study(*command, code=2)
    assert said.stdout == ""
    assert lying_in(study.folder) == before
    return said.stderr


def lying_in(folder):
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith("-shm")]
    return {path: path.read_bytes() for path in files}


@pytest.mark.parametrize(("command", "first", "second"), PAIRS)
@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
def test_two_that_contradict_each_other_are_refused_and_both_named(study, command, first, second, turned):
    both = [*words(second), *words(first)] if turned else [*words(first), *words(second)]
    said = refused(study, command, *both)
    assert "contradict each other" in said
    assert {first, second} <= set(said.replace(";", " ").split())


@pytest.mark.parametrize(("command", "name", "needed"), ALONE)
def test_one_that_means_something_only_beside_another_is_refused_without_it(study, command, name, needed):
    others = {"export": ["--mlflow", "runs"], "promote": ["E1"]}.get(command, [])
    said = refused(study, command, *others, *words(name))
    assert f"{name} needs {' or '.join(needed)}" in said


def test_every_command_refuses_them_and_every_name_in_the_tables_is_an_option():
    for name, command in COMMANDS.items():
        assert isinstance(command, Command), name
    named = [(command, each) for command, groups in EXCLUSIVE.items() for group in groups for each in group]
    named += [
        (command, each) for command, rules in NEEDS.items() for each in [*rules, *sum(rules.values(), ())]
    ]
    for command, each in named:
        arguments = [
            each.metavar or each.name for each in COMMANDS[command].params if not each.opts[0].startswith("-")
        ]
        assert each in options_of(command) or each in [name.upper().strip("[].") for name in arguments]


def test_an_old_spelling_leads_to_the_command_that_it_has_become(study):
    assert study("promote", "--history", code=4).stderr == study("decisions", code=4).stderr
    assert study.json("doctor", "--backup", "old.db").keys() == {"backup", "sha256"}
    assert "a rollback needs confirmation" in refused(study, "promote", "--rollback")
    assert "No such option" in refused(study, "doctor", "--verify-resume", "--quick")


@pytest.mark.parametrize(
    ("option", "value", "key"), [("--seeds", "43", "seeds"), ("--root", "D", "data.root")]
)
def test_what_has_an_option_of_its_own_is_given_in_one_way(study, option, value, key):
    said = refused(study, "queue", option, value, "--set", f"{key}={value}")
    assert f"{option} and --set {key} contradict each other" in said


def test_an_option_overrides_its_environment_variable(study, monkeypatch):
    monkeypatch.setenv("BONEEXP_LEDGER", "elsewhere.db")
    assert len(json.loads(study("status", "--ledger", "ledger.db", "--json").stdout)) == 4
    assert "elsewhere.db" in CliRunner().invoke(app, ["status"]).stderr
