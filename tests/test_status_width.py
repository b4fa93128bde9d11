"""`status` on terminals of every usual width: no number is cut or broken."""

import re
from dataclasses import replace

import pytest
from rich.console import Console

from boneexp.cli.status import status_parts
from boneexp.ledger.queries.runs import RunStatus

ROW = RunStatus(
    run=1,
    experiment="E1",
    name="b0_baseline",
    split="stratified",
    seed=42,
    state="succeeded",
    failure_kind=None,
    failure=None,
    attempts=1,
    config_hash="a" * 64,
    checkpoint="experiments/E1/stratified/best.pt",
    folder="experiments/E1/stratified",
    is_current=True,
    lease_expired=False,
    stop_requested=False,
    epochs_done=17,
    epochs_planned=80,
    best_epoch=12,
    batch_size=32,
    micro_batch=32,
    worker="host:1",
    host="host",
    device="cpu",
    started_at=0.0,
    renewed_at=0.0,
    queued_at=0.0,
    settled_at=None,
    training_s=5025.0,
    accuracy=0.7318,
    macro_auroc=0.8642,
    malignant_sensitivity=0.6471,
)
NONE = {"accuracy": None, "macro_auroc": None, "malignant_sensitivity": None}
LONG = {"name": "a_rather_long_name_of_an_experiment_that_somebody_gave_it", "split": "center_holdout"}
ROWS = [
    ROW,
    replace(ROW, run=12345, attempts=3, **LONG, epochs_done=80),
    replace(ROW, run=3, state="running", **NONE),
    replace(ROW, run=4, state="failed", failure_kind="oom", failure="no memory left", **NONE),
    replace(ROW, run=5, seed=43, micro_batch=8),
]


def shown(rows, width):
    console = Console(width=width, no_color=True, record=True, file=None)
    with console.capture() as capture:
        for part in status_parts(rows, 5.0, len(rows), width):
            console.print(part)
    return capture.get()


@pytest.mark.parametrize("width", [80, 90, 100, 110, 120, 150, 160, 200])
@pytest.mark.parametrize("rows", [ROWS, ROWS[:4]], ids=["two seeds", "one seed"])
def test_no_number_is_cut_and_no_line_is_wider_than_the_terminal(rows, width):
    text = shown(rows, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    finished = [row for row in rows if row.accuracy is not None]
    for value in ("0.732", "0.864", "0.647"):
        assert len(re.findall(rf"(?<![0-9.]){value}(?![0-9])", text)) == len(finished), value
    for row in rows:
        assert re.search(rf"(?<![0-9]){row.run}(?![0-9])", text)


def test_a_narrow_terminal_says_below_the_table_what_it_has_no_column_for():
    lines = shown(ROWS, 80).splitlines()
    assert "run 4: oom: no memory left" in lines
    assert "run 12345: 3 attempts" in lines
    assert "run 5: micro-batch 8 of 32 (out of memory)" in lines
    assert not any(line.startswith("run 1:") for line in lines)
