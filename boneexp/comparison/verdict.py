"""What the choice of the best is worth: who is tied with it, and how much of its lead is luck.

Nothing here changes the choice: the rule is the person's.
"""

import math
import sqlite3
from dataclasses import asdict, dataclass

from boneexp.comparison.compared import Comparison
from boneexp.comparison.detectable import Detectable, detectable_differences
from boneexp.comparison.metric_names import metric_named
from boneexp.comparison.paired_tests import LEVEL, SEED, PairedTest, paired_tests
from boneexp.comparison.predictions import Evaluated, evaluated_runs
from boneexp.comparison.ranking import decided_at
from boneexp.evaluation.intervals import small_sample_warnings
from boneexp.evaluation.winner import Candidates, Criterion, WinnersCurse, winners_curse
from boneexp.ledger.queries.comparison import PartUse, uses_of_test_parts
from boneexp.ledger.queries.predictions import class_counts
from boneexp.text.labels import label, split_of
from boneexp.text.numbers import counted, listed

MOST_RUNS = 64  # with more, drawing them all takes minutes
MOST_CANDIDATES = 16


@dataclass(frozen=True)
class Verdict:
    """What stands behind the best experiment."""

    best: str | None
    part: str  # whose metrics chose
    deciding: str  # the metric that puts the best above the next, "stratified_accuracy"
    position: int  # of that metric in the rule, from 0
    tests: tuple[PairedTest, ...]  # the best less each other, in the metric that decided between them
    pairs: int  # over how many comparisons in such a metric the p-values are adjusted: all pairs
    seeds: int  # of the experiment that has fewest
    curse: WinnersCurse | None
    uses: tuple[PartUse, ...]
    notes: tuple[str, ...]  # why something is not known
    detectable: tuple[Detectable, ...] = ()  # what the part can show at all

    def as_json(self) -> dict[str, object]:
        """Return it ready for json.dumps."""
        return {
            "selected_on": self.part,
            "deciding_figure": self.deciding,
            "tied_with_best": list(self.tied),
            "not_known_of": list(self.unknown),
            "adjusted_over_pairs": self.pairs,
            "tests_against_best": [asdict(test) for test in self.tests],
            "winners_curse": None if self.curse is None else asdict(self.curse),
            "test_part_uses": [asdict(use) for use in self.uses],
            "detectable_differences": [asdict(each) for each in self.detectable],
            "notes": list(self.notes),
        }

    @property
    def tied(self) -> tuple[str, ...]:
        """The experiments that do not differ significantly from the best in the figure that decided."""
        return tuple(
            test.first for test in self.tests if test.adjusted_p is not None and not test.is_significant
        )

    @property
    def unknown(self) -> tuple[str, ...]:
        """The experiments of which no test says whether they differ from the best."""
        return tuple(test.first for test in self.tests if test.adjusted_p is None)

    def sentences(self) -> list[str]:
        """Return every sentence about the choice, in order."""
        sentences = (self.ties(), self.optimism(), self.power(), self.looks(), *self.notes)
        return [sentence for sentence in sentences if sentence]

    def ties(self) -> str:
        """Say who is tied with the best, in the metric that decided between them."""
        if self.best is None or not self.tests:
            return ""
        over = f"Holm-adjusted over {counted(self.pairs, 'pair')}"
        sentences = []
        if self.tied:
            tied = self._by_metric(self.tied)
            sentences.append(
                f"Statistical ties: {self.best} does not differ significantly from {tied} "
                f"({over}, p >= {LEVEL}; {len(self.tied)} of {len(self.tests)} others)."
            )
        elif not self.unknown:
            others = tuple(test.first for test in self.tests)
            sentences.append(
                f"{self.best} differs significantly from {self._by_metric(others)} ({over}, p < {LEVEL})."
            )
        if self.unknown:
            sentences.append(
                f"Whether {self.best} differs from {self._by_metric(self.unknown)} is not known: no test."
            )
        return " ".join([*sentences, self._of_what()])

    def _by_metric(self, names: tuple[str, ...]) -> str:
        """Return experiments by the metric that decided: "E2 and E3 in stratified accuracy, E4 in ..."."""
        by_metric: dict[str, list[str]] = {}
        for test in self.tests:
            if test.first in names:
                by_metric.setdefault(label(f"{test.split}_{test.figure}"), []).append(test.first)
        return ", ".join(f"{listed(experiments)} in {metric}" for metric, experiments in by_metric.items())

    def _of_what(self) -> str:
        """Say whether the tests are about trained models or about what their recipes give."""
        if self.seeds > 1:
            return "That allows for other images and for other seeds."
        return "That is about these trained models; what other seeds would give is not known."

    def optimism(self) -> str:
        """Say how optimistic the winner's deciding metric is, and what the other part would choose."""
        if self.curse is None or self.best is None or len(self.curse.by_test.wins) < 2:
            return ""  # with one candidate nothing was chosen
        by_test, by_validation = self.curse.by_test, self.curse.by_validation
        if self.part == "val":
            other = "the same" if by_test.winners == by_validation.winners else listed(by_test.winners)
            return (
                f"{self.best} was chosen on validation, so its metrics on the test part carry no optimism "
                f"from the choice. The test part would choose {other}."
            )
        first = self.curse.figures[self.position]
        wins = by_test.wins[by_test.winners[0]]
        sentence = f"Best of {len(by_test.wins)}: {listed(by_test.winners)} wins {wins:.0%} of the resamples"
        if first.optimism is not None and first.corrected is not None:
            optimism = round(first.optimism, 3) + 0.0  # no -0.000
            sentence += (
                f"; its {label(self.deciding)} is optimistic by about {optimism:.3f} for having been chosen "
                f"on the same images, corrected {first.corrected:.3f}"
            )
        return f"{sentence}. {self._choice_of_validation()}"

    def _choice_of_validation(self) -> str:
        assert self.curse is not None
        chosen = self.curse.by_validation.winners
        figure = self.curse.figures[self.position].of_validation_choice
        if chosen == self.curse.by_test.winners:
            return "The validation part would choose the same."
        reached = "" if figure is None else f", which has {figure:.3f} on the test part"
        return f"The validation part would choose {listed(chosen)}{reached}."

    def power(self) -> str:
        """Say how small a difference these images can show."""
        if not self.detectable:
            return ""
        by_split = [
            f"{label(split)} {', '.join(_shown(each) for each in self.detectable if each.split == split)}"
            for split in dict.fromkeys(each.split for each in self.detectable)
        ]
        pairs = max(each.pairs for each in self.detectable)
        how = "as if two models erred independently of each other"
        if pairs:
            how = f"from how much the experiments agree, {counted(pairs, 'pair')}"
        return (
            "Smallest difference that the images show with 80 % power (two-sided 5 %, one comparison, "
            f"{how}): {'; '.join(by_split)}."
        )

    def looks(self) -> str:
        """Say how often the test parts were looked at, and used to choose."""
        if not self.uses:
            return ""
        evaluated = [
            f"{label(use.split)} {_times(use.finished_runs + use.late_results)} "
            f"(experiments: {use.experiments}, seeds: {use.seeds})"
            for use in self.uses
        ]
        decisions = self.uses[0].decisions
        return f"Test parts evaluated: {'; '.join(evaluated)}. Decisions taken in view of them: {decisions}."


def verdict_of(connection: sqlite3.Connection, comparison: Comparison) -> Verdict:
    """Return what stands behind the comparison's best; it reads every prediction of the ranked."""
    ranked = [row.experiment_id for row in comparison.leaderboard]
    position = _deciding_position(comparison)
    notes = _few_images(connection)
    tests: tuple[PairedTest, ...] = ()
    detectable: tuple[Detectable, ...] = ()
    curse = None
    if len(ranked) > MOST_CANDIDATES or comparison.finished_runs > MOST_RUNS:
        notes.append(
            f"Ties, the winner's optimism and the smallest difference shown are computed for up to "
            f"{MOST_CANDIDATES} experiments and {MOST_RUNS} runs; this grid has more."
        )
    elif ranked:
        evaluated = evaluated_runs(connection, ranked)
        detectable = detectable_differences(evaluated, comparison.selected_on)
        if len(ranked) > 1 and comparison.best is not None:
            tests = _tests_of_best(evaluated, comparison)
            curse = _curse(evaluated, comparison)
            if curse is None:
                notes.append(
                    "Not every experiment has all runs that the rule asks for: no optimism is estimated."
                )
    return Verdict(
        best=comparison.best,
        part=comparison.selected_on,
        deciding=comparison.order[position] if comparison.order else "",
        position=position,
        tests=tests,
        pairs=math.comb(len(ranked), 2),
        seeds=_fewest_seeds(comparison),
        curse=curse,
        uses=tuple(uses_of_test_parts(connection)),
        notes=tuple(notes),
        detectable=detectable,
    )


def _fewest_seeds(comparison: Comparison) -> int:
    return min((each.finished_runs for each in comparison.results.values() if each.finished_runs), default=0)


def _deciding_position(comparison: Comparison) -> int:
    """Return the position in the rule of the metric that ranks the best above the experiment that follows."""
    behind = [row for row in comparison.leaderboard if row.place > 1]
    return decided_at(comparison.leaderboard[0], behind[0]) if behind else 0


def _tests_of_best(evaluated: Evaluated, comparison: Comparison) -> tuple[PairedTest, ...]:
    """Return the best less each other experiment, in the metric that decided between the two.

    The p-values are adjusted over all pairs of the ranked, since whichever is best was one of them.
    """
    best, *others = comparison.leaderboard
    decided = {row.experiment_id: comparison.order[decided_at(best, row)] for row in others}
    found = {}
    for figure in dict.fromkeys(decided.values()):
        split, key = split_of(figure)
        tests = paired_tests(evaluated, [metric_named(key)], part=comparison.selected_on, splits=[split])
        for test in tests:
            pair = {test.first: test.flipped(), test.second: test}
            if best.experiment_id in pair:
                against_best = pair[best.experiment_id]
                if decided[against_best.first] == figure:
                    found[against_best.first] = against_best
    return tuple(found[name] for name in decided if name in found)


def _few_images(connection: sqlite3.Connection) -> list[str]:
    """Warn of every class of which a test part has few images, or few groups of them."""
    return [
        warning
        for row in class_counts(connection)
        for warning in small_sample_warnings(
            {f"{label(row.split)} test part, {row.label}": row.units},
            unit="group" if row.units < row.images else "image",
        )
    ]


def _curse(evaluated: Evaluated, comparison: Comparison) -> WinnersCurse | None:
    """Estimate the winner's optimism; None where an experiment lacks runs that the rule asks for.

    One that predicts one class only is no candidate while another is not one.
    """
    order = [_criterion(figure) for figure in comparison.order]
    splits = {criterion.split for criterion in order}
    names = [row.experiment_id for row in comparison.leaderboard if not row.single_class]
    candidates: Candidates = {
        name: {
            (split, part): [run.parts[part] for run in evaluated.of(name, split)]
            for split in splits
            for part in ("val", "test")
        }
        for name in evaluated.experiments
        if name in names or not names
    }
    if not all(runs for parts in candidates.values() for runs in parts.values()):
        return None
    return winners_curse(candidates, order, seed=SEED, resamples=evaluated.resamples)


def _criterion(figure: str) -> Criterion:
    split, key = split_of(figure)
    metric = metric_named(key)
    return Criterion(split, metric.name, metric.class_name)


def _shown(each: Detectable) -> str:
    difference = "none" if each.difference is None else f"{each.difference:.3f}"
    return f"{label(each.figure)} {difference}"


def _times(count: int) -> str:
    return f"{count} time" if count == 1 else f"{count} times"
