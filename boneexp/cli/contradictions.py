"""Options that contradict each other, and options that mean something only beside another one, by command.

What would be ignored in silence is refused, so that nobody believes in it.
"""

from collections.abc import Collection, Mapping

FORMATS = ("--json", "--csv", "--md")  # one of them, in whichever command

# Of each group at most one can be given.
APART: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "run": (("RUN", "--next", "--all"),),
    "status": tuple(("--watch", each) for each in FORMATS),
    "compare": (
        ("--paired", "--subgroups", "--seeds", "--calibration", "--intervals"),
        ("--metric", "--intervals"),
        ("--metric", "--calibration"),
        *(("--sql", each) for each in FORMATS),
    ),
    "promote": (
        ("EXPERIMENT", "--best", "--keep-baseline", "--finish"),
        *(("--override", each) for each in ("--keep-baseline", "--finish")),
        ("--reason", "--finish"),
        *(("--dry-run", each) for each in ("--finish", "--yes")),
    ),
    "rollback": (("--dry-run", "--yes"),),
    "gradcam": (("--images", "--count"),),
    "export": (("--bundle", "--mlflow"),),
    "retry": (("RUN", "--failed"),),
    "doctor": (("--dry-run", "--yes"),),
}

# The first goes with one of the others.
GOES_WITH: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "compare": {
        "--only": ("--paired", "--subgroups", "--calibration"),
        "--prevalence": ("--calibration",),
    },
    "export": {"--yes": ("--bundle",)},
    "doctor": {"--yes": ("--fix",), "--dry-run": ("--fix",)},
}


def contradiction(command: str, given: Collection[str]) -> str | None:
    """Return what is wrong with the options `given` to a command; None where they go together."""
    for group in (FORMATS, *APART.get(command, ())):
        both = [name for name in group if name in given]
        if len(both) > 1:
            return f"{' and '.join(both)} contradict each other; give one of them"
    for name, needed in GOES_WITH.get(command, {}).items():
        if name in given and not set(needed) & set(given):
            return f"{name} goes with {' or '.join(needed)}"
    return None
