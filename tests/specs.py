"""Run specs and outcomes for tests of the ledger, without data or torch."""

from boneexp.ledger.datasets import DatasetFacts, record_dataset
from boneexp.ledger.enqueue import enqueue
from boneexp.ledger.queue import Worker
from boneexp.results import EpochRecord, Finished, MetricValue, Prediction, WrittenFile
from boneexp.study.settings import ExperimentSettings, RunSpec, SplitSpec, StratifiedSettings

WORKER = Worker("w", "host", 1, "boot/pid", "7", "cpu", {"torch": "2"})
FACTS = DatasetFacts("f" * 64, "made up", "other", 3, {"1": {"Normal": 1, "Benign": 1, "Malignant": 1}}, ())


def worker(name):
    return Worker(name, "host", 1, "boot/pid", "7", "cpu", {})


def spec(experiment="E1", seed=42, split="stratified", **changes):
    settings = ExperimentSettings.model_validate({"name": "n", **changes})
    return RunSpec(
        experiment=experiment,
        settings=settings,
        split=SplitSpec(name=split, seed=42, group_column="", settings=StratifiedSettings()),
        seed=seed,
        data_fingerprint=FACTS.fingerprint,
        split_digest=("a" if split == "stratified" else "b") * 64,
    )


def specs(count):
    return [spec(seed=seed) for seed in range(count)]


def queued(connection, wanted, now=0.0):
    record_dataset(connection, FACTS, now)
    return enqueue(connection, wanted, now)


def finished(accuracy=0.8, malignant=0.7, sha="c" * 64, path="experiments/E1/stratified/best.pt"):
    values = (
        MetricValue("accuracy", "", accuracy, accuracy - 0.1, accuracy + 0.1),
        MetricValue("macro_auroc", "", 0.9, 0.8, 0.95),
        MetricValue("sensitivity", "Malignant", malignant, None, None),
    )
    predictions = (
        Prediction("test", "IMG1.jpeg", "", 1, 0, (0.8, 0.1, 0.1)),
        Prediction("test", "IMG2.jpeg", "", 2, 2, (0.1, 0.2, 0.7)),
    )
    return Finished(1, {"test": values}, predictions, (WrittenFile("best checkpoint", path, sha, 9),))


def epoch(number, loss=0.5):
    return EpochRecord(number, loss, loss, 0.5, None, 1e-3, 1.0)
