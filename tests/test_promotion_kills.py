"""Killed at any point of a promotion: the old default or the new one, whole, after the next command."""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from settled_study import GRID, settled_study

PLACES = {
    "artifacts/promoted/best_stratified.pt",
    "artifacts/promoted/best_center.pt",
    "experiments.toml",
    "docs/model_card.md",
    "docs/poc_report.md",
}
E1, E2, BASELINE = (
    ["promote", "E1", "--yes"],
    ["promote", "E2", "--yes"],
    ["promote", "--keep-baseline", "--yes"],
)
BACK, FINISH = ["rollback", "--yes"], ["promote", "--finish"]
OVERRIDE = ["promote", "E2", "--yes", "--override", "--reason", "killed all the same"]
HALF_WAY = "rename experiments.toml.ledger.db.promotion.part -> experiments.toml"
CASES = {
    "over nothing": [E2],
    "over another": [[E1, None], E2],
    "back to another": [[E1, None], [E2, None], BACK],
    "back to nothing": [[E1, None], BACK],
    "keep the baseline": [[E1, None], BASELINE],
    "finish what was cut short": [[E1, None], [E2, HALF_WAY], FINISH],
    "clear away what was cut short": [
        [E1, None],
        [E2, "open docs/poc_report.md.ledger.db.promotion.part"],
        FINISH,
    ],
}

OVERRIDES = {  # in a study whose conditions bind
    "override what binds": [[OVERRIDE, None], [BASELINE, None], OVERRIDE],
    "back to what was overridden": [[OVERRIDE, None], [BASELINE, None], BACK],
    "finish an override": [[BASELINE, None], [OVERRIDE, HALF_WAY], FINISH],
}
ENFORCED = f"{GRID}[promotion]\nenforce = true\n"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return settled_study(tmp_path_factory.mktemp("study")).folder


@pytest.fixture(scope="module")
def strict_study(tmp_path_factory):
    return settled_study(tmp_path_factory.mktemp("strict"), ENFORCED).folder


@pytest.mark.slow
@pytest.mark.parametrize("case", OVERRIDES)
def test_an_override_killed_at_any_point_is_recorded_and_shown_whole_or_not_at_all(strict_study, case):
    told = killed_everywhere(strict_study, OVERRIDES[case])
    assert_old_or_new_at_every_point(told)
    states = [told["after"], *(kill["finished"] for kill in told["kills"])]
    for state in states:
        stands = state["overridden"][-1] != "none"
        for name in ("docs/model_card.md", "docs/poc_report.md"):
            assert ("PROMOTED BY OVERRIDE" in state["files"][name]) == stands
            assert ("killed all the same" in state["files"][name]) == stands
    assert told["after"]["overridden"][-1] != "none"
    print(f"{case}: {len(told['kills'])} kills")


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_promotion_killed_at_any_point_leaves_the_old_default_or_the_new_one(study, case):
    told = killed_everywhere(study, CASES[case], *(["really"] if case == "over another" else []))
    assert_old_or_new_at_every_point(told)
    print(f"{case}: {len(told['kills'])} kills")


def killed_everywhere(study, commands, *really):
    """Return what was found after a kill at each point of the last of `commands`."""
    driver = [sys.executable, str(Path(__file__).with_name("killed_promotions.py"))]
    done = subprocess.run(
        [*driver, str(study), json.dumps(commands), *really], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def assert_old_or_new_at_every_point(told):
    assert told["code"] == 0, told["said"]
    assert_agree(told["after"])
    assert_nothing_was_missed(told)
    assert told["survived"]["files"] == told["after"]["files"]
    for number, left in told["really"]:
        assert left == told["kills"][number]["left"], told["points"][number]
    for point, kill in zip(told["points"], told["kills"], strict=True):
        assert_whole_or_mentioned(point, kill, told)
        assert_old_or_new(point, kill, told)


def assert_nothing_was_missed(told):
    """Every file that came, changed or went did so at one of the points."""
    before, after = told["before"]["files"], told["after"]["files"]
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    ends = {
        point.split(" ")[-1] for point in told["points"] if point.startswith(("rename", "link", "remove"))
    }
    moved = {point.split(" ")[1] for point in told["points"] if point.startswith("rename")}
    assert changed <= ends | moved
    assert told["points"].count("BEGIN IMMEDIATE") == told["points"].count("COMMIT") >= 1


def assert_whole_or_mentioned(point, kill, told):
    """Right after the kill every file is an old or a new one, and `status` says so if both may be there."""
    left, said = kill["left"], kill["mentioned"]
    assert left["broken"] is None, point
    files = {name: text for name, text in left["files"].items() if not name.endswith(".promotion.part")}
    both = (told["before"]["files"], told["after"]["files"])
    for name in set(files) | PLACES:
        assert files.get(name) in [state.get(name) for state in both], (point, name)
    if left["cut_short"] is None:
        assert said == "", point
        assert left["files"] in both, point
    else:
        assert "finish it with: boneexp promote --finish" in said, point


def assert_old_or_new(point, kill, told):
    """After the next command all is old if the ledger has no row for the decision, and new if it has."""
    recorded = kill["left"]["promotions"] == told["after"]["promotions"]
    right = told["after"] if recorded else expected_without_row(told)
    assert kill["code"] == (0 if kill["left"]["cut_short"] else 4), point
    assert kill["finished"] == right, point


def expected_without_row(told):
    """What stood before, with nothing left of a promotion that was cut short before it was recorded."""
    before = told["before"]
    files = {name: text for name, text in before["files"].items() if not name.endswith(".promotion.part")}
    return {**before, "files": files, "cut_short": None}


def assert_agree(state):
    """Ledger, checkpoints, grid file and documents say the same; nothing is left over."""
    files, experiment = state["files"], (state["promotions"] or [[0, "", None]])[-1][2]
    promoted = tomllib.loads(files["experiments.toml"]).get("promoted", {})
    assert files["experiments.toml"].startswith(GRID.rstrip("\n"))
    assert promoted.get("experiment") == experiment
    there = {name: files[f"artifacts/{name}"].encode() for name in state["promoted"]}
    assert {name: hashlib.sha256(text).hexdigest() for name, text in there.items()} == state["promoted"]
    assert set(there) == ({"promoted/best_stratified.pt", "promoted/best_center.pt"} if experiment else set())
    assert promoted.get("digest_stratified") == state["promoted"].get("promoted/best_stratified.pt")
    assert promoted.get("digest_center") == state["promoted"].get("promoted/best_center.pt")
    for name in ("docs/model_card.md", "docs/poc_report.md"):
        decided = rf"\*\*{experiment} \(b0_" if experiment else r"\*\*The .*no model of this grid "
        assert re.search(rf"{decided}.*is promoted", files[name]), files[name]
    assert files["docs/model_card.md"].count("Our own words.") == 1
    assert [name for name in files if name.endswith(".part")] == []
    assert (state["broken"], state["cut_short"]) == (None, None)
