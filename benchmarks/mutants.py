"""How many small changes of the code its own tests find: mutants by cosmic-ray, a sample of each module.

    python benchmarks/mutants.py                                # 20 of each module, some minutes each
    python benchmarks/mutants.py --each 5 --only ledger/seals
    python benchmarks/mutants.py --each 0                       # all of them: hours

Each mutant is laid into a copy of the working tree, and the tests of its module run there until one fails.
What survives is printed as a diff: a test is missing, or the change makes no difference. Not part of CI.
"""

import argparse
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

ROOT = Path(__file__).parents[1]
QUEUE, COMPARING = (
    ("queue", "clock", "attempt"),
    ("comparing", "selection", "winner", "differences", "references"),
)
PROMOTING = ("gate", "promoted_files", "promotion", "grid_file_condition", "refusals")
TESTS = {
    "ledger/queue": QUEUE,
    "ledger/settling": QUEUE,
    "ledger/seals": ("seals", "quarantine"),
    "comparison/ranking": COMPARING,
    "comparison/verdict": COMPARING,
    "promotion/carry_out": PROMOTING,
    "promotion/decision": PROMOTING,
}
OPERATORS = (
    *("AddNot", "ReplaceUnaryOperator_Delete_Not", "ReplaceAndWithOr", "ReplaceOrWithAnd", "NumberReplacer"),
    *("ReplaceTrueWithFalse", "ReplaceFalseWithTrue", "ZeroIterationForLoop", "ReplaceBreakWithContinue"),
    *("ReplaceContinueWithBreak", "ReplaceBinaryOperator_Add_Sub", "ReplaceBinaryOperator_Sub_Add"),
    *("ReplaceBinaryOperator_Mul_Div", "ReplaceBinaryOperator_Div_Mul"),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("Eq_NotEq", "NotEq_Eq", "Lt_LtE", "LtE_Lt", "Gt_GtE")),
    *(f"ReplaceComparisonOperator_{pair}" for pair in ("GtE_Gt", "Lt_Gt", "Gt_Lt", "Is_IsNot", "IsNot_Is")),
)


def mutants(code: str) -> Iterator[str]:
    """Yield every change of `code` that one of the operators makes at one place."""
    for name in OPERATORS:
        operator, occurrence = get_operator(f"core/{name}")(), 0
        while (changed := mutate_code(code, operator, occurrence)) is not None:
            yield changed
            occurrence += 1


def survives(copy: Path, tests: tuple[str, ...]) -> bool:
    """Return whether no test in the copy fails or hangs."""
    files = [f"tests/test_{name}.py" for name in tests]
    command = [sys.executable, "-m", "pytest", "-qx", "-n", "0", "-p", "no:cacheprovider", *files]
    environment = os.environ | {"PYTHONPATH": str(copy), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
    return done.returncode == 0


def sampled(copy: Path, module: str, each: int, seed: int) -> tuple[int, int, list[str]]:
    """Return how many mutants there are, how many were tried, and the diffs of those that survived."""
    path = copy / "boneexp" / f"{module}.py"
    code = path.read_text(encoding="utf-8")
    found = list(dict.fromkeys(mutants(code)))
    tried = random.Random(seed).sample(found, min(each or len(found), len(found)))
    survivors = []
    for number, mutant in enumerate(tried, 1):
        path.write_text(mutant, encoding="utf-8")
        if survives(copy, TESTS[module]):
            lines = (code.splitlines(), mutant.splitlines())
            survivors.append("\n".join(difflib.unified_diff(*lines, module, module, lineterm="", n=1)))
        print(f"\r{module}: {number} of {len(tried)}, {len(survivors)} survived", end="", flush=True)
    path.write_text(code, encoding="utf-8")
    print()
    return len(found), len(tried), survivors


def main() -> None:
    """Try a sample of each module and print a table, and what survived."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--each", type=int, default=20, help="mutants of each module; 0 is all of them")
    parser.add_argument("--only", nargs="+", choices=TESTS, default=list(TESTS), metavar="MODULE")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="boneexp-mutants-") as folder:
        copy = Path(folder) / "boneexp"
        skipped = shutil.ignore_patterns(".venv", ".git", "build", "demo", "__pycache__", ".*_cache")
        shutil.copytree(ROOT, copy, ignore=skipped)
        rows = {module: sampled(copy, module, chosen.each, chosen.seed) for module in chosen.only}
    for _, _, survivors in rows.values():
        print("\n\n".join(survivors))
    print("\n| module | mutants | tried | killed |\n|---|---|---|---|")
    for module, (count, tried, survivors) in rows.items():
        print(f"| {module} | {count} | {tried} | {tried - len(survivors)} |")
    tried, lived = sum(row[1] for row in rows.values()), sum(len(row[2]) for row in rows.values())
    print(f"killed: {tried - lived} of {tried} ({1 - lived / tried:.0%})")


if __name__ == "__main__":
    main()
