"""The documents say what the program does: generated pages, names, queries, links, and the warning."""

import ast
import re
import sqlite3
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from decided_facts import both, facts_of, updated
from settled_ledger import NOW, settled_ledger
from typer.main import get_command

from boneexp import errors
from boneexp.cli.app import app
from boneexp.evaluation import metrics
from boneexp.files.folders import MODEL_CARD, POC_REPORT
from boneexp.ledger.database import writing
from boneexp.ledger.queue import Worker, claim_next
from boneexp.ledger.schema import SCHEMA
from boneexp.ledger.settling import fail
from boneexp.ledger.tables import FAILURE_KINDS, STATES
from boneexp.results import Failed
from boneexp.study import decision_settings, settings
from boneexp.study import grid as gridfile
from boneexp.text.labels import RESEARCH_ONLY

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
CELL = re.compile(r"`([^`]+)`")


def text_of(name):
    return (ROOT / name).read_text(encoding="utf-8")


def section(text, heading):
    """Return what stands under a heading, up to the next one of its level or above."""
    level = heading.split(" ")[0]
    after = text.split(f"\n{heading}\n", 1)[1]
    return re.split(rf"\n#{{1,{len(level)}}} ", after, maxsplit=1)[0]


def first_cells(text):
    """Return the names in backticks in the first column of the tables in `text`."""
    rows = [line for line in text.splitlines() if line.startswith("|")]
    return [name for row in rows for name in CELL.findall(row.split("|")[1])]


def blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def commands(command, prefix=""):
    for name, inner in command.commands.items():
        if hasattr(inner, "commands"):
            yield from commands(inner, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}"


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Two experiments on both splits, finished, and a third that has failed."""
    path = settled_ledger(tmp_path_factory.mktemp("docs") / "ledger.db")
    settled_ledger(path, experiments=("E1", "E2", "E3"), settle=False)
    worker = Worker("tester", "host", 1, "boot", "0", "cpu", {})
    with writing(path) as connection:
        claim = claim_next(connection, worker, NOW, lease_s=60)
        assert fail(connection, claim, Failed("error", "it broke", "Traceback …"), NOW + 1)
    return path


def schema(path):
    """Return table or view -> its columns."""
    with sqlite3.connect(path) as connection:
        names = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        return {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")] for (name,) in names
        }


def test_the_command_reference_is_what_the_program_generates(tmp_path):
    made = tmp_path / "cli.md"
    generate = [
        sys.executable,
        "-m",
        "typer",
        "boneexp.cli.app",
        "utils",
        "docs",
        "--name",
        "boneexp",
        "--output",
    ]
    subprocess.run([*generate, str(made)], check=True, capture_output=True)
    assert made.read_text(encoding="utf-8") == text_of("docs/cli.md"), (
        "make docs/cli.md anew: CONTRIBUTING.md"
    )


def test_every_command_is_explained():
    prose = "".join(path.read_text(encoding="utf-8") for path in PAGES if path.name != "cli.md")
    found = list(commands(get_command(app)))
    assert {"queue", "run", "status", "compare", "promote", "gradcam"} <= set(found)
    assert [name for name in found if f"boneexp {name}" not in prose] == []


def test_the_readme_has_the_two_commands_and_fits_a_screen_and_the_start_has_the_six_of_a_study():
    readme = text_of("README.md")
    (first,) = blocks(readme, "sh")
    assert first.split("\n") == ["make demo", "make test", ""]
    assert len(readme.splitlines()) < 50
    study = [block for block in blocks(text_of("docs/start.md"), "sh") if "boneexp queue" in block]
    assert study == [
        "boneexp queue --grid experiments.toml\nboneexp run --next\nboneexp status\nboneexp compare\n"
        "boneexp promote E3\nboneexp gradcam\n"
    ]


def test_the_makefile_has_the_targets_that_the_documents_name():
    targets = set(re.findall(r"^([a-z-]+):", text_of("Makefile"), re.MULTILINE))
    named = {target for path in PAGES for target in re.findall(r"`make ([a-z-]+)", path.read_text("utf-8"))}
    assert {"demo", "test"} <= named <= targets


def test_exit_codes_are_those_of_the_program():
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", text_of("docs/start.md"), re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    assert {kind.exit_code for kind in kinds if issubclass(kind, errors.BoneexpError)} <= codes


def grid_keys():
    """Return every key of the grid file with its default."""
    sections = settings.ExperimentSettings()
    for name in gridfile.DEFAULT_SECTIONS:
        for key, value in getattr(sections, name).model_dump().items():
            yield f"{name}.{key}", value
    for key in set(settings.ExperimentSettings.model_fields) - set(gridfile.DEFAULT_SECTIONS):
        yield f"experiments.<id>.{key}", getattr(sections, key)
    splits = settings.SplitsSettings(
        stratified=settings.StratifiedSettings(), center_holdout=settings.CenterHoldoutSettings()
    )
    for key, value in splits.model_dump().items():
        inner = value.items() if isinstance(value, dict) else ()
        yield from [(f"splits.{key}.{each}", found) for each, found in inner] or [(f"splits.{key}", value)]
    for key, value in decision_settings.SelectionSettings().model_dump().items():
        yield f"selection.{key}", value
    for key, value in decision_settings.PromotionSettings().model_dump().items():
        yield f"promotion.{key}", value
    yield "targets.comparable_to", decision_settings.ReferenceSettings().comparable_to
    yield "baseline.comparable_to", decision_settings.BaselineSettings().comparable_to
    for key, value in decision_settings.PromotedSettings().model_dump().items():
        yield f"promoted.{key}", value
    yield "seeds", gridfile.GridText.model_fields["seeds"].default


def test_every_key_of_the_grid_file_stands_in_its_page_with_its_default():
    page = text_of("docs/grid.md")
    shown = {}
    for row in page.splitlines():
        if match := re.match(r"\| `([a-z_.<>]+)` \|", row):
            cells = row.strip("|").split(" | ")
            shown[match[1]] = tomllib.loads(f"value = {cells[2].strip(' `|')}")["value"]
    plain = {key: list(value) if isinstance(value, tuple) else value for key, value in grid_keys()}
    assert shown == plain
    for figure in decision_settings.REFERENCE_FIGURES:
        assert f"`{figure}`" in page
    known = {key.split(".")[0] for key in plain} | {"targets", "baseline"}
    assert known == set(gridfile.GridText.model_fields)


def test_every_table_view_and_column_stands_in_the_ledgers_page(ledger):
    page = text_of("docs/ledger.md")
    for name, columns in schema(ledger).items():
        described = section(page, f"### `{name}`").split("\n| kind | when |")[0]
        assert first_cells(described) == columns or sorted(first_cells(described)) == sorted(columns), name
    headings = set(re.findall(r"^### `([a-z_]+)`", page, re.MULTILINE))
    assert headings == set(schema(ledger))


def test_the_ledgers_page_names_todays_schema():
    assert re.findall(r"[Ss]chema `(\d+)`", text_of("docs/ledger.md")) == [SCHEMA]


def test_every_state_kind_outcome_and_event_stands_in_the_ledgers_page():
    page = text_of("docs/ledger.md")
    states, kinds, outcomes = re.findall(
        r"^\| (?:state|kind|outcome) \| meaning .*?(?=\n\n)", page, re.MULTILINE | re.DOTALL
    )
    assert first_cells(states) == list(STATES)
    assert sorted(first_cells(kinds)) == sorted(FAILURE_KINDS)
    assert first_cells(outcomes) == ["succeeded", "failed", "stopped", "lost"]
    events = page.split("\n| kind | when |")[1].split("\n\n")[0]
    assert set(first_cells(events)) == event_kinds()


def event_kinds():
    """Return every kind that `record_event` is called with: constants, both sides of an `if`, a Literal's."""
    found = set()
    for path in (ROOT / "boneexp").rglob("*.py"):
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef):
                found |= _kinds_in(function)
    return found


def _kinds_in(function):
    assigned = {
        node.targets[0].id: node.value
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    assigned |= {each.arg: each.annotation for each in function.args.args}
    found = set()
    for call in ast.walk(function):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("record_event"):
            kind = call.args[2]
            kind = assigned[kind.id] if isinstance(kind, ast.Name) else kind
            sides = [kind.body, kind.orelse] if isinstance(kind, ast.IfExp) else [kind]
            sides = kind.slice.elts if isinstance(kind, ast.Subscript) else sides  # Literal["a", "b"]
            found |= {side.value for side in sides}
    return found


def test_the_five_queries_run_and_answer(ledger):
    queries = blocks(text_of("docs/ledger.md"), "sql")
    assert len(queries) == 5
    with sqlite3.connect(ledger) as connection:
        for query in queries:
            assert connection.execute(query).fetchall(), query


def test_the_python_of_the_ledgers_page_checks_the_chain(ledger, monkeypatch, capsys):
    (program,) = blocks(text_of("docs/ledger.md"), "python")
    monkeypatch.chdir(ledger.parent)
    exec(compile(program, "docs/ledger.md", "exec"), {})
    assert capsys.readouterr().out == "the chain holds\n"


def test_every_metric_is_defined():
    page = section(text_of("docs/statistics.md"), "## Metrics")
    assert first_cells(page) == [*metrics.OVERALL, *metrics.PER_CLASS]


def test_the_baseline_of_the_statistics_page_is_the_grid_files():
    page = section(text_of("docs/statistics.md"), "## Baseline and targets")
    grid = gridfile.load_grid(ROOT / "experiments.toml")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    shown = {CELL.findall(row[0])[0]: [re.findall(r"0\.\d+", cell) for cell in row[1:3]] for row in rows}
    assert set(shown) == set(decision_settings.REFERENCE_FIGURES)
    for figure, (baseline, target) in shown.items():
        assert [float(value) for value in baseline] == [grid.baseline.figures[figure]]
        assert [float(value) for value in target] == [
            value for key, value in grid.targets.figures.items() if key == figure
        ]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_relative_links_resolve(path):
    text = re.sub(r"^```.*?^```$", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


def anchors(path):
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_says_research_use_only():
    silent = [
        path.name
        for path in (ROOT / "README.md", *sorted(DOCS.rglob("*.md")))
        if RESEARCH_ONLY not in path.read_text(encoding="utf-8")
    ]
    assert silent == []
    assert RESEARCH_ONLY in app.info.help
    assert text_of("README.md").split("\n\n")[1] == f"**{RESEARCH_ONLY}**"


def test_the_readme_links_to_every_page():
    readme = text_of("README.md")
    assert [path.name for path in sorted(DOCS.glob("*.md")) if f"](docs/{path.name})" not in readme] == []


def test_the_changelog_begins_with_what_is_unreleased():
    versions = re.findall(r"^## \[(.*?)\]", text_of("CHANGELOG.md"), re.MULTILINE)
    assert versions[0] == "Unreleased"


def test_promoting_into_the_pages_that_stand_for_both_documents_gives_whole_documents(tmp_path):
    facts = facts_of(settled_ledger(tmp_path / "ledger.db"))
    for name, whole in zip((MODEL_CARD, POC_REPORT), both(facts), strict=True):
        standing = text_of(f"docs/{name}")
        assert "No model is promoted yet" in standing
        assert updated(name, facts, standing, tmp_path) == whole


def own_files():
    """Return what belongs to the repository: tracked, or new and not ignored."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip("no git checkout, so what belongs to the repository is not known")
    return [ROOT / name for name in done.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_file_names_a_package_host_or_a_folder_of_some_machine():
    hosts = "|".join(["pypi[.]" + "org", "python" + "hosted", "npm" + "js[.]", "deb[.]deb" + "ian"])
    folders = "|".join(["wo" + "rk", "fa" + "rm", "ro" + "ot"])
    forbidden = re.compile(rf"(?:{hosts})|(?:^|[^A-Za-z0-9_.])/(?:{folders})/".encode(), re.MULTILINE)
    found = {}
    for path in own_files():
        content = path.read_bytes()
        if b"\0" not in content[:8000] and (match := forbidden.search(content)):
            found[path.relative_to(ROOT).as_posix()] = match[0]
    assert found == {}
