"""The kill storm of benchmarks/chaos.py in short form: it checks all that must hold."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))

import chaos


@pytest.mark.slow
@pytest.mark.timeout(1100)  # of many processes, each of which loads torch
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks processes up in /proc")
def test_in_a_kill_storm_every_run_ends_once_and_as_if_undisturbed(tmp_path):
    lines = chaos.storm(tmp_path, runs=4, kills=5, seed=1, epochs=4)
    assert "- runs succeeded, each once: 4" in lines
    assert "- finished epochs that were trained again: 0" in lines
