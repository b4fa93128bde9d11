"""The environment of the templates: unknown names are errors, and every value passes one printing function.

A template sees facts, the functions named here, and what its document hands in beside them.
"""

from collections.abc import Callable

from jinja2 import Environment, PackageLoader, StrictUndefined

from boneexp.reports.prose import certainty, decision, sentences
from boneexp.reports.tables import analysis, grid
from boneexp.text.labels import RESEARCH_ONLY, UNKNOWN, split_label
from boneexp.text.numbers import moment

Function = Callable[..., object]
SHARED: tuple[Function, ...] = (
    sentences.titled,
    sentences.decision_taken,
    sentences.reason_given,
    sentences.subject_described,
    sentences.ranking,
    sentences.baseline_headline,
    sentences.baseline_differences,
    sentences.baseline_certainty,
    sentences.targets_met,
    sentences.run_history,
    sentences.split_leakage,
    sentences.other_warnings,
    sentences.lesion_overlap,
    certainty.interval_method,
    certainty.consistency_note,
    certainty.uses_of_test_sets,
    certainty.subgroups_note,
    certainty.few_malignant,
    decision.conditions_note,
    decision.conditions_table,
    decision.override_note,
    decision.kept_note,
    decision.kept_table,
    grid.grid_table,
    grid.recipe_table,
    grid.results_table,
    grid.seeds_table,
    grid.attempts_table,
    grid.decision_table,
    analysis.paired_table,
    analysis.best_table,
    analysis.subgroup_table,
    analysis.gap_table,
    analysis.calibration_table,
    analysis.consistency_table,
    analysis.recalibration_table,
    analysis.net_benefit_table,
    analysis.predictive_table,
    analysis.variance_table,
    split_label,
    moment,
)


def environment(printed: Callable[[object], str], *functions: Function, **constants: object) -> Environment:
    """Return the environment of a document.

    Args:
        printed: makes any value text that is harmless in the document's language.
        functions: what its templates may call by name, beside SHARED.
        constants: what its templates may print by name.
    """
    made = Environment(
        loader=PackageLoader("boneexp.reports", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update({each.__name__: each for each in (*SHARED, *functions)})
    made.globals.update(RESEARCH_ONLY=RESEARCH_ONLY, UNKNOWN=UNKNOWN, **constants)
    return made
