"""A grid of thousands of experiments: what they share is done once, and the ledger is asked a few times."""

import sqlite3
from dataclasses import replace
from functools import partial

import pytest
from conftest import new_study
from specs import queued, spec
from tiny_dataset import dataset_of

from boneexp.cli.status import MOST_RUNS, status_table
from boneexp.errors import GridInvalid
from boneexp.learning import trial
from boneexp.ledger import enqueue as enqueueing
from boneexp.ledger import transaction
from boneexp.ledger.database import open_ledger, reading, writing
from boneexp.ledger.enqueue import enqueue
from boneexp.ledger.queries.files import finished_folders
from boneexp.ledger.queries.runs import known_hashes, run_rows, state_counts, status_rows, unfinished_rows
from boneexp.runs import plan as planning
from boneexp.runs.enqueue import Planned, PlannedRun, check_networks, put_in_queue
from boneexp.runs.plan import plan
from boneexp.study.grid import load_grid

MANY = 2_000
ONE_SPLIT = "splits.stratified.ratios = [0.5, 0.25, 0.25]\n"


def grid_of(tmp_path, count=MANY, head=""):
    """Return a grid on one split, each experiment with a dropout of its own."""
    tables = "".join(f"[experiments.E{n}]\nmodel.dropout = {n / (count + 1)}\n" for n in range(count))
    (tmp_path / "grid.toml").write_text(f"{ONE_SPLIT}{head}{tables}")
    return load_grid(tmp_path / "grid.toml")


@pytest.fixture
def counted(monkeypatch):
    """Count what is done again and again: reading, dealing, hashing a weights file, building a network."""
    calls = {}

    def count(module, name, value=None):
        real = getattr(module, name)

        def counting(*arguments, **more):
            calls[name] = calls.get(name, 0) + 1
            return real(*arguments, **more) if value is None else value

        monkeypatch.setattr(module, name, counting)

    count(planning, "study_dataset", dataset_of([(n % 3, 1, None, "") for n in range(24)]))
    count(planning, "study_split")
    count(planning, "sha256_of", "a" * 64)
    count(trial, "check_network", "")
    return calls


def test_what_thousands_of_experiments_share_is_done_once(tmp_path, counted):
    (tmp_path / "w.pt").write_bytes(b"weights")
    grid = grid_of(tmp_path, head='model.pretrained = "w.pt"\n')
    made = Planned(grid, plan(grid, None))
    check_networks(made, ())
    assert len(made.plan.specs) == MANY
    assert counted == {"study_dataset": 1, "study_split": 1, "sha256_of": 1, "check_network": 1}


def test_thousands_of_runs_go_into_the_ledger_in_a_few_statements(tmp_path, counted, monkeypatch):
    grid = grid_of(tmp_path)
    made = Planned(grid, plan(grid, None))
    ledger, said = open_ledger(tmp_path / "ledger.db"), []

    class Heard(sqlite3.Connection):
        def execute(self, statement, *values):
            said.append(statement)
            return super().execute(statement, *values)

        def executemany(self, statement, rows):
            said.append(statement)
            return super().executemany(statement, rows)

    connect = partial(sqlite3.connect, factory=Heard)
    monkeypatch.setattr(transaction.sqlite3, "connect", connect)
    first = put_in_queue(made, ledger, tmp_path / "artifacts", 1.0)
    again = put_in_queue(made, ledger, tmp_path / "artifacts", 2.0)
    assert first.added == tuple(range(1, MANY + 1))
    assert (again.added, again.known) == ((), MANY)
    assert 0 < len(said) < 80
    with reading(ledger) as connection:
        shared = connection.execute(
            "SELECT first_part, second_part, images_of_shared_groups FROM split_overlaps"
        )
        assert [tuple(row) for row in shared] == [
            ("train", "test", 0),
            ("train", "val", 0),
            ("val", "test", 0),
        ]
        assert connection.execute("SELECT contradicting_images FROM datasets").fetchone()[0] == 0
        rows = run_rows(connection)
    assert [row.experiment for row in rows] == [f"E{number}" for number in range(MANY)]
    assert all(row.is_current for row in rows)


def test_each_network_is_built_once_and_a_wrong_one_named_with_its_experiment(tmp_path, counted, monkeypatch):
    backbones = ("resnet18", "resnet50", "resnet5") * 10
    tables = [f'[experiments.E{n}]\nmodel.backbone = "{name}"\n' for n, name in enumerate(backbones)]
    (tmp_path / "grid.toml").write_text("".join([ONE_SPLIT, *tables]))
    grid = load_grid(tmp_path / "grid.toml")
    made, built = Planned(grid, plan(grid, None)), []

    def check(settings, *_):
        built.append(settings.backbone)
        if settings.backbone == "resnet5":
            raise GridInvalid("there is no resnet5")
        return ""

    monkeypatch.setattr(trial, "check_network", check)
    with pytest.raises(GridInvalid, match=r"experiments\.E2: there is no resnet5"):
        check_networks(made, ())
    assert built == ["resnet18", "resnet50", "resnet5"]


def test_more_runs_than_a_ledger_is_for_are_refused_before_the_data_are_read(tmp_path, counted):
    grid = grid_of(tmp_path, count=3)
    with pytest.raises(GridInvalid, match="spans 100,002 runs, and 100,000 are the most"):
        plan(replace(grid, seeds=tuple(range(33_334))), None)
    assert counted == {}


@pytest.mark.parametrize("seeds", ["-1", "2147483648", "42,99999999999999999999"])
def test_a_seed_out_of_range_is_refused(tmp_path, phantom, seeds):
    study = new_study(tmp_path / "study", phantom)
    assert "is not from 0 to 2,147,483,647" in study("queue", f"--seeds={seeds}", code=1).output
    assert not study.ledger.exists()


def test_a_plan_of_thousands_of_runs_shows_the_first_and_says_how_many_more():
    from boneexp.cli.queue import MOST_PLANNED, plan_table

    run = PlannedRun("E1", "", "stratified", 1, "b", 1, 1, "c" * 64, new=True)
    table = plan_table([run] * (MOST_PLANNED + 9_000))
    assert table.row_count == MOST_PLANNED
    assert table.caption == "and 9,000 more; all of them with --json"
    assert plan_table([run] * MOST_PLANNED).caption is None


# What queueing many at once must not change


def test_the_status_of_thousands_of_runs_shows_what_waits_or_failed_and_the_newest(ledger):
    with writing(ledger) as opened:
        queued(opened, [spec(seed=number) for number in range(1, 1001)])
        opened.execute("UPDATE runs SET state = 'succeeded' WHERE id NOT IN (3, 500)")
        opened.execute("UPDATE runs SET state = 'failed' WHERE id = 3")
    with reading(ledger) as opened:
        rows = status_rows(opened, MOST_RUNS)
        assert state_counts(opened) == {"succeeded": 998, "failed": 1, "queued": 1}
        assert [row.run for row in unfinished_rows(opened)] == [500]
        assert len(known_hashes(opened)) == 1000
        assert len(finished_folders(opened)) == 998
    table = status_table(rows, 0, 1000)
    assert [int(cell) for cell in table.columns[0].cells] == [3, 500, *range(703, 1001)]
    assert table.caption == "and 700 more; all of them with --json or --csv"
    assert status_table(rows, 0, len(rows)).caption is None


@pytest.fixture
def connection(ledger):
    with writing(ledger) as opened:
        yield opened


def current(connection):
    rows = connection.execute("SELECT id FROM runs WHERE is_current ORDER BY id")
    return [row["id"] for row in rows]


def test_one_spec_twice_in_a_call_is_one_run_under_its_last_name(connection):
    found = queued(connection, [spec(), spec(name="m")])
    assert (found.added, found.known) == ((1,), 1)
    assert tuple(connection.execute("SELECT name FROM experiments").fetchone()) == ("m",)


def test_of_two_settings_of_an_experiment_in_a_call_the_last_is_current(connection):
    queued(connection, [spec(), spec(training={"epochs": 3}), spec("E2")])
    assert current(connection) == [2, 3]


def test_of_two_deals_of_a_split_in_a_call_the_last_is_current(connection):
    other = spec().model_copy(update={"split_digest": "d" * 64})
    queued(connection, [spec(), other, spec(split="center_holdout")])
    assert current(connection) == [2, 3]
    enqueue(connection, [spec()], 2.0)
    assert current(connection) == [1, 3]


def test_folders_are_plain_for_the_first_of_a_split_in_one_call_and_over_several(connection):
    queued(connection, [spec(), spec(seed=43)])
    enqueue(connection, [spec(seed=44), spec("E2")], 2.0)
    rows = connection.execute("SELECT folder, config_hash FROM runs ORDER BY id")
    folders, hashes = zip(*rows, strict=True)
    assert list(folders) == [
        "experiments/E1/stratified",
        f"experiments/E1/stratified-seed43-{hashes[1][:8]}",
        f"experiments/E1/stratified-seed44-{hashes[2][:8]}",
        "experiments/E2/stratified",
    ]


def test_no_spec_at_all_changes_nothing(connection):
    queued(connection, [spec()])
    assert enqueue(connection, [], 2.0).added == ()
    assert current(connection) == [1]


def test_more_values_than_sqlite_takes_parameters_can_be_looked_for(connection):
    queued(connection, [spec()])
    hashes = [spec().config_hash, *(f"{number:064x}" for number in range(100_000))]
    assert enqueueing._states(connection, hashes) == {spec().config_hash: "queued"}
