"""The environment of the templates: unknown names are errors, and every value passes one printing function.

A template sees facts, and by their names the public functions of the modules that its document hands in.
"""

import inspect
from collections.abc import Callable
from types import ModuleType

from jinja2 import Environment, PackageLoader, StrictUndefined

from boneexp.reports.prose import certainty, decision, next_steps, sentences
from boneexp.reports.tables import analysis, grid, model
from boneexp.text.labels import RESEARCH_ONLY, UNKNOWN, data_label, split_label
from boneexp.text.numbers import counted, format_estimate, moment

Function = Callable[..., object]
MODULES = (sentences, certainty, decision, next_steps, grid, model, analysis)
WORDS = (split_label, data_label, counted, format_estimate, moment)


def environment(
    printed: Callable[[object], str],
    modules: tuple[ModuleType, ...],
    *functions: Function,
    **constants: object,
) -> Environment:
    """Return the environment of a document.

    Args:
        printed: makes any value text that is harmless in the document's language.
        modules: whose public functions its templates may call, beside those of MODULES.
        functions: what else they may call.
        constants: what they may print by name.
    """
    made = Environment(
        loader=PackageLoader("boneexp.reports", "templates"),
        undefined=StrictUndefined,
        autoescape=True,
        finalize=printed,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    public = [each for module in (*MODULES, *modules) for each in _public_functions(module)]
    made.globals.update({each.__name__: each for each in (*public, *WORDS, *functions)})
    made.globals.update(RESEARCH_ONLY=RESEARCH_ONLY, UNKNOWN=UNKNOWN, **constants)
    return made


def _public_functions(module: ModuleType) -> list[Function]:
    """Return the functions that a module defines for others."""
    found = [each for _, each in inspect.getmembers(module, inspect.isfunction)]
    return [each for each in found if each.__module__ == module.__name__ and each.__name__[0] != "_"]
