import pytest
import specs as make

from boneexp.ledger.database import reading, writing
from boneexp.ledger.enqueue import record_study
from boneexp.ledger.queue import claim_next
from boneexp.ledger.settling import finish
from boneexp.selection import Target, choose, compared, label

ORDER = ("stratified_accuracy", "stratified_malignant_sensitivity", "center_holdout_accuracy")


def settle(ledger, spec, accuracy, malignant=0.5):
    with writing(ledger) as connection:
        make.queued(connection, [spec])
        claim = claim_next(connection, make.WORKER, 0, 60)
        path = f"{claim.folder}/best.pt"
        assert finish(connection, claim, make.finished(accuracy, malignant, path=path), 1)


def study(ledger, figures, **study_figures):
    """Settle {experiment: (stratified accuracy, malignant sensitivity, centre-holdout accuracy)}."""
    for experiment, (accuracy, malignant, held_out) in figures.items():
        settle(ledger, make.spec(experiment), accuracy, malignant)
        settle(ledger, make.spec(experiment, split="center_holdout"), held_out)
    from boneexp.config import SelectionSettings

    with writing(ledger) as connection:
        record_study(
            connection,
            SelectionSettings(),
            study_figures.get("targets", {}),
            study_figures.get("baseline", {}),
            0,
        )
    with reading(ledger) as connection:
        return compared(connection)


@pytest.mark.parametrize(
    ("second", "why"),
    [
        ((0.7, 0.9, 0.9), "E1 has the highest stratified accuracy: 0.800, next E2 with 0.700"),
        (
            (0.8, 0.5, 0.9),
            "equal to E2 in stratified accuracy, E1 has the highest stratified malignant sensitivity",
        ),
        ((0.8, 0.6, 0.1), "E1 has the highest centre-holdout accuracy: 0.300, next E2 with 0.100"),
    ],
)
def test_the_first_key_that_differs_decides(ledger, second, why):
    found = study(ledger, {"E1": (0.8, 0.6, 0.3), "E2": second})
    assert found.best == "E1"
    assert why in found.why


def test_equals_are_left_to_a_person(ledger):
    found = study(ledger, {"E1": (0.8, 0.6, 0.3), "E2": (0.8, 0.6, 0.3)})
    assert found.best is None
    assert "a person must decide" in found.why
    assert [row["place"] for row in found.leaderboard] == [1, 1]


def test_results_of_different_test_sets_are_not_ranked_together(ledger):
    study(ledger, {"E1": (0.8, 0.6, 0.3)})
    other = make.spec("E2").model_copy(update={"split_digest": "d" * 64})
    settle(ledger, other, 0.9)
    with reading(ledger) as connection:
        found = compared(connection)
    assert found.best is None
    assert "different images" in found.why
    assert [row["place"] for row in found.leaderboard] == [1, 1]


def test_several_seeds_are_averaged_and_have_no_interval(ledger):
    settle(ledger, make.spec(seed=1), 0.8)
    settle(ledger, make.spec(seed=2), 0.6)
    with reading(ledger) as connection:
        found = compared(connection)
    assert found.value("E1", "stratified_accuracy") == pytest.approx(0.7)
    assert found.interval("E1", "stratified_accuracy") == (None, None)
    row = found.figures[("E1", "stratified")]
    assert (row["accuracy_min"], row["accuracy_max"], row["finished_runs"]) == (0.6, 0.8, 2)


def test_deltas_and_targets_hold_what_is_known(ledger):
    targets = {"stratified_accuracy": 0.65, "gradcam_iou": 0.15}
    found = study(ledger, {"E1": (0.8, 0.6, 0.3)}, targets=targets, baseline={"center_holdout_accuracy": 0.4})
    assert found.deltas("E1") == {"center_holdout_accuracy": pytest.approx(-0.1)}
    accuracy, iou = found.targets_of("E1")
    assert (accuracy.met, accuracy.met_by_interval) == (True, True)
    assert (iou.met, iou.met_by_interval) == (None, False)


def test_an_interval_without_width_passes_no_target():
    assert Target("f", 0.7, 1.0, 1.0, 1.0).met
    assert not Target("f", 0.7, 1.0, 1.0, 1.0).met_by_interval
    assert not Target("f", 0.7, 0.8, 0.65, 0.9).met_by_interval


def test_an_empty_ledger_has_no_best():
    assert choose([], ORDER)[0] is None


def test_figures_are_worded_for_people():
    assert label("center_holdout_macro_auroc") == "centre-holdout macro AUROC"
