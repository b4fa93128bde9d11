"""The code is built as docs/architecture.md says: who imports whom, where SQL, torch and print may stand."""

import ast
import re
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "boneexp"
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
MODULES = sorted(PACKAGE.rglob("*.py"))
DISTRIBUTION = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "mlflow": "mlflow-skinny",
    "pydantic_core": "pydantic",
    "pytorch_grad_cam": "grad-cam",
    "sklearn": "scikit-learn",
}
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE \w+ SET|DELETE FROM|CREATE (TABLE|VIEW)|PRAGMA)\b")
HEAVY = (
    "torch",
    "timm",
    "pandas",
    "scipy",
    "sklearn",
    "matplotlib",
    "alembic",
    "ray",
    "mlflow",
    "pydantic",
    "sqlalchemy",
)
VERIFIER = "boneexp.exports.verify"
UNTYPED = {f"{kind}[str, Any]" for kind in ("dict", "Mapping", "MutableMapping", "defaultdict")}
LIGHT = (*HEAVY, "jinja2", "cv2", "numpy")


@dataclass(frozen=True)
class Import:
    """One imported module, and whether the import runs when its module is loaded."""

    name: str
    line: int
    at_load: bool


def name_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {name_of(path) for path in MODULES}


def room_of(module):
    """Return what stands in the table for a module: `boneexp.ledger.views` -> `ledger`."""
    return module.split(".")[1] if "." in module else ""


@cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(path):
    return list(_imports(parsed(path)))


def _imports(tree):
    later = {id(node) for inner in ast.walk(tree) if _runs_later(inner) for node in ast.walk(inner)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names = [_imported(node.module, alias.name) for alias in node.names]
        else:
            continue
        for name in names:
            yield Import(name, node.lineno, id(node) not in later)


def _runs_later(node):
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _imported(module, name):
    return f"{module}.{name}" if f"{module}.{name}" in NAMES else module


def table(header):
    """Return the rows under a table's header as lists of cells."""
    lines = PAGE.splitlines()
    rows = takewhile(lambda line: line.startswith("|"), lines[lines.index(header) + 2 :])
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def may_import():
    """Return room -> what it may import."""
    allowed = {}
    for rooms, cell in table("| module | may import from boneexp (errors and results are open to all) |"):
        known = set() if cell == "nothing" else set(cell.split())
        allowed |= dict.fromkeys(rooms.split(", "), known)
    return allowed


def found_in(pattern_of, rooms):
    """Return where, outside of `rooms`, `pattern_of(path)` finds something."""
    return [
        f"{name_of(path)}: {found}"
        for path in MODULES
        if room_of(name_of(path)) not in rooms
        for found in pattern_of(path)
    ]


def found_but_in_the_verifier(pattern_of, rooms):
    """Do what `found_in` does, but for the one file that goes out with a bundle and can import nothing."""
    return [each for each in found_in(pattern_of, rooms) if not each.startswith(f"{VERIFIER}: ")]


def third_party(path):
    return [each.name.split(".")[0] for each in imports_of(path)]


def test_the_import_table_names_every_room_and_no_other():
    rooms = {room_of(name) for name in NAMES} - {""}
    assert set(may_import()) == rooms
    assert set().union(*may_import().values()) <= rooms


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_what_its_row_allows(path):
    room = room_of(name_of(path))
    known = may_import().get(room, set()) | {room, "errors", "results"}
    wrong = [
        f"line {each.line}: {each.name}"
        for each in imports_of(path)
        if each.name.startswith("boneexp.") and room_of(each.name) not in known
    ]
    assert wrong == [], f"{name_of(path)} may import {sorted(known)}"


def test_no_two_rooms_import_each_other_even_through_others():
    left = may_import()
    while left:
        lowest = [room for room, known in left.items() if not known & left.keys()]
        assert lowest, f"a circle of rooms: {sorted(left)}"
        left = {room: known for room, known in left.items() if room not in lowest}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_no_module_is_longer_than_300_lines_and_no_function_than_50(path):
    lines = path.read_text(encoding="utf-8").count("\n")
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef)]
    longest = max((node.end_lineno - node.lineno + 1 for node in functions), default=0)
    assert lines <= 300
    assert longest <= 50


def test_nobody_imports_the_command_line():
    def imports(path):
        return [f"line {each.line}" for each in imports_of(path) if each.name == "boneexp.cli.app"]

    assert found_in(imports, {"cli"}) == []


def test_every_module_is_explained():
    missing = [path for path in MODULES if path.name != "__init__.py" and f"`{relative(path)}`" not in PAGE]
    assert missing == []
    named = re.findall(r"`(boneexp/[a-z_/]+\.py)`", PAGE)
    assert [name for name in named if not (ROOT / name).is_file()] == []


def relative(path):
    return path.relative_to(ROOT).as_posix()


def test_every_dependency_has_a_reason_and_is_imported_where_the_table_says():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *(each for name in extras if name != "dev" for each in extras[name])]
    wanted = {re.match(r"[a-z0-9-]+", each)[0] for each in asked}
    rows = table("| package | imported by | reason |")
    assert {row[0] for row in rows} == wanted
    assert all(row[2] for row in rows)
    importers = {package: set() for package in wanted}
    for path in MODULES:
        for name in third_party(path):
            if (package := DISTRIBUTION.get(name, name)) in wanted:
                importers[package].add(room_of(name_of(path)))
    assert {row[0]: set(row[1].split()) - {"-"} for row in rows} == importers


def test_only_declared_packages_are_imported():
    declared = {row[0] for row in table("| package | imported by | reason |")} | {"boneexp"}
    found = {name for path in MODULES for name in third_party(path)} - sys.stdlib_module_names
    assert {DISTRIBUTION.get(name, name) for name in found} - declared == set()


NAMED = {  # the values of these have no type before they are checked
    "boneexp.study.toml": {"Document"},
    "boneexp.learning.checkpoint": {"State"},
}


def test_no_row_leaves_the_ledger_as_a_dict_of_anything():
    def untyped(path):
        tree, named = parsed(path), NAMED.get(name_of(path), set())
        aliases = [node for node in tree.body if isinstance(node, ast.Assign)]
        kept = {id(node.value) for node in aliases if {ast.unparse(name) for name in node.targets} <= named}
        nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Subscript) and id(node) not in kept]
        return [f"line {node.lineno}" for node in nodes if ast.unparse(node) in UNTYPED]

    assert found_in(untyped, {"ledger"}) == []
    assert any(
        untyped(path) for path in (PACKAGE / "ledger").rglob("*.py")
    )  # it finds some where they may be


def test_sql_stands_only_in_the_ledger():
    def statements(path):
        tree = parsed(path)
        texts = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        return [text for text in texts if isinstance(text, str) and SQL.search(text)]

    assert found_but_in_the_verifier(statements, {"ledger"}) == []
    assert any(statements(path) for path in (PACKAGE / "ledger").glob("*.py"))


def test_sqlite_is_no_more_than_a_type_outside_the_ledger():
    def uses(path):
        nodes = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Attribute)]
        return [ast.unparse(node) for node in nodes if ast.unparse(node.value) == "sqlite3"]

    assert set(found_but_in_the_verifier(uses, {"ledger"})) <= {
        f"{name}: sqlite3.Connection" for name in NAMES if room_of(name) != "ledger"
    }


def test_the_verifier_imports_nothing_of_boneexp():
    names = [each.name for each in imports_of(PACKAGE / "exports" / "verify.py")]
    assert [name for name in names if name.split(".")[0] not in sys.stdlib_module_names] == []


def test_torch_stays_in_its_rooms():
    def torches(path):
        return {"torch", "torchvision"} & set(third_party(path))

    def networks(path):
        return {"timm", "pytorch_grad_cam"} & set(third_party(path))

    assert found_in(torches, {"learning", "experiment", "explanations", "runs"}) == []
    assert found_in(networks, {"learning"}) == []


def test_scikit_learn_and_scipy_are_imported_where_they_are_called():
    """They take half as long to import as torch: no module may load them with itself."""

    def at_load(path):
        heavy = [each for each in imports_of(path) if each.name.split(".")[0] in ("sklearn", "scipy")]
        return [f"line {each.line}" for each in heavy if each.at_load]

    assert found_in(lambda path: {"sklearn", "scipy"} & set(third_party(path)), {"evaluation", "runs"}) == []
    at_once = [each.split(":")[0] for each in found_in(at_load, set())]
    assert at_once == ["boneexp.runs.children.forkserver_preload"]


def test_only_the_command_line_prints():
    def prints(path):
        calls = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.Call)]
        return [f"line {call.lineno}" for call in calls if ast.unparse(call.func) in ("print", "typer.echo")]

    assert found_in(prints, {"cli"}) == []


@pytest.fixture(scope="module")
def loaded_by(tmp_path_factory):
    """Return a function from a command's words to the packages that it loads, run on a ledger."""
    from settled_ledger import settled_ledger

    folder = tmp_path_factory.mktemp("light")
    settled_ledger(folder / "ledger.db", experiments=("E1",))

    def loaded(command):
        program = (
            "import sys\n"
            "from boneexp.cli.app import app\n"
            f"app({command.split()!r}, standalone_mode=False)\n"
            "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=False, cwd=folder
        )
        assert done.returncode == 0, done.stderr
        found = set(done.stderr.splitlines()[-1].split())
        assert "boneexp" in found
        return found

    return loaded


@pytest.mark.parametrize("command", ["--help", "status", "show 1"])
def test_light_commands_stay_light(loaded_by, command):
    assert sorted(loaded_by(command) & set(LIGHT)) == []


def test_help_is_not_drawn_with_rich(loaded_by):
    assert "rich" not in loaded_by("--help") | loaded_by("run --help")


def test_comparing_needs_numpy_and_nothing_heavier(loaded_by):
    assert sorted(loaded_by("compare") & set(LIGHT)) == ["numpy"]
