"""Options that contradict each other, and options that need another one, by command.

An option that would have no effect is refused instead of ignored.
"""

from collections.abc import Collection, Mapping

FORMATS = ("--json", "--csv", "--md")  # at most one, in every command

# At most one option of each group may be given.
EXCLUSIVE: Mapping[str, tuple[tuple[str, ...], ...]] = {
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

# Each option needs one of the options behind it.
NEEDS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "compare": {
        "--only": ("--paired", "--subgroups", "--calibration"),
        "--prevalence": ("--calibration",),
    },
    "export": {"--yes": ("--bundle",)},
    "doctor": {"--yes": ("--fix",), "--dry-run": ("--fix",)},
}


def contradiction(command: str, given: Collection[str]) -> str | None:
    """Return what is wrong with the options `given` to a command, or None."""
    for group in (FORMATS, *EXCLUSIVE.get(command, ())):
        both = [name for name in group if name in given]
        if len(both) > 1:
            return f"{' and '.join(both)} contradict each other; give only one"
    for name, needed in NEEDS.get(command, {}).items():
        if name in given and not set(needed) & set(given):
            return f"{name} needs {' or '.join(needed)}"
    return None
