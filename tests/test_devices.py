"""Kernels that add in one order, or the fastest: what is asked of CUDA, and what the ledger says of it."""

import json
import sqlite3

import pytest
import torch

from boneexp.learning.devices import software, use_kernels

CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def asked(monkeypatch):
    """Return what CUDA was asked for, and forget it afterwards."""
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    yield lambda: (torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark)
    torch.use_deterministic_algorithms(False)
    torch.backends.cudnn.benchmark = False
    torch.utils.deterministic.fill_uninitialized_memory = True


@pytest.mark.filterwarnings("default")
def test_cuda_is_asked_for_exact_kernels_or_for_the_fastest(asked):
    use_kernels(CUDA, "deterministic")
    assert asked() == (True, False)
    assert not torch.utils.deterministic.fill_uninitialized_memory
    use_kernels(CUDA, "autotune")
    assert asked() == (False, True)


def test_a_cpu_is_asked_for_nothing(asked):
    before = asked()
    use_kernels(CPU, "autotune")
    assert asked() == before


def test_the_software_of_an_attempt_names_its_kernels():
    assert software(CPU, "autotune")["kernels"] == "autotune"


def test_the_ledger_says_by_which_kernels_and_a_run_is_reproduced_by_the_same(study):
    study("queue", "--only", "E1", "--split", "stratified", "--set", "training.epochs=1")
    study("run", "--next", "--device", "cpu", "--kernels", "autotune")
    with sqlite3.connect(study.ledger) as connection:
        (versions,) = connection.execute("SELECT versions_json FROM attempts").fetchone()
    assert json.loads(versions)["kernels"] == "autotune"
    found = study.json("reproduce", "1", "--device", "cpu")
    assert found["software"] == {}
    assert found["bit_equal"]
