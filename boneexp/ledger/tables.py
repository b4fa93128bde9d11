"""The ledger's tables, as SQLAlchemy sees them; migrations/ makes them, and a test holds the two together.

Times are seconds since the epoch (UTC); paths are relative to the artifacts folder; digests are hex digits.
"""

import sqlalchemy as sa

from boneexp.ledger.summaries import SUMMARY_COLUMNS

STATES = ("queued", "running", "succeeded", "failed", "cancelled")
FAILURE_KINDS = ("oom", "error", "killed", "disk", "data", "timeout")

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


datasets = sa.Table(
    "datasets",
    metadata,
    sa.Column("fingerprint", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("counts_json", sa.Text, nullable=False),
    sa.Column("notes_json", sa.Text, nullable=False),
    sa.Column("recorded_at", sa.Double, nullable=False),
    sa.Column("contradicting_images", sa.Integer),
)

split_overlaps = sa.Table(
    "split_overlaps",
    metadata,
    sa.Column("data_fingerprint", sa.Text, sa.ForeignKey("datasets.fingerprint"), primary_key=True),
    sa.Column("split_digest", sa.Text, primary_key=True),
    sa.Column("first_part", sa.Text, primary_key=True),
    sa.Column("second_part", sa.Text, primary_key=True),
    sa.Column("images", sa.Integer, nullable=False),
    sa.Column("images_of_shared_groups", sa.Integer, nullable=False),
    sa.Column("images_of_shared_pictures", sa.Integer, nullable=False),
    sa.Column("images_without_group", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)

image_attributes = sa.Table(
    "image_attributes",
    metadata,
    sa.Column("data_fingerprint", sa.Text, sa.ForeignKey("datasets.fingerprint"), primary_key=True),
    sa.Column("image_id", sa.Text, primary_key=True),
    sa.Column("attribute", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, primary_key=True),
    sqlite_with_rowid=False,
)

experiments = sa.Table(
    "experiments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("experiment", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("config_digest", sa.Text, nullable=False, unique=True),
    sa.Column("backbone", sa.Text, nullable=False),
    sa.Column("image_size", sa.Integer, nullable=False),
    sa.Column("batch_size", sa.Integer, nullable=False),
    sa.Column("annotations", sa.Boolean, nullable=False),
    sa.Column("settings_json", sa.Text, nullable=False),
    sa.Column("data_fingerprint", sa.Text, sa.ForeignKey("datasets.fingerprint"), nullable=False),
    sa.Column("queued_at", sa.Double, nullable=False),
    sa.Index("ix_experiments_experiment", "experiment"),
)

runs = sa.Table(
    "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("experiment_ref", sa.Integer, sa.ForeignKey("experiments.id"), nullable=False),
    sa.Column("split", sa.Text, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("config_hash", sa.Text, nullable=False, unique=True),
    sa.Column("split_digest", sa.Text, nullable=False),
    sa.Column("spec_json", sa.Text, nullable=False),
    sa.Column("folder", sa.Text, nullable=False, unique=True),
    sa.Column("is_current", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("failure_kind", sa.Text),
    sa.Column("failure", sa.Text),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("killed_attempts", sa.Integer, nullable=False),
    sa.Column("max_attempts", sa.Integer, nullable=False),
    sa.Column("micro_batch", sa.Integer, nullable=False),
    sa.Column("lease_until", sa.Double),
    sa.Column("stop_requested", sa.Boolean, nullable=False),
    sa.Column("best_epoch", sa.Integer),
    sa.Column("checkpoint", sa.Text),
    sa.Column("checkpoint_sha256", sa.Text),
    sa.Column("queued_at", sa.Double, nullable=False),
    sa.Column("settled_at", sa.Double),
    _one_of("state", STATES),
    _one_of("failure_kind", FAILURE_KINDS),
    sa.Index("ix_runs_experiment_ref", "experiment_ref"),
    sa.Index("ix_runs_state_lease_until", "state", "lease_until"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("boot_id", sa.Text, nullable=False),
    sa.Column("process_started", sa.Text, nullable=False),
    sa.Column("device", sa.Text, nullable=False),
    sa.Column("versions_json", sa.Text, nullable=False),
    sa.Column("batch_size", sa.Integer, nullable=False),
    sa.Column("micro_batch", sa.Integer, nullable=False),
    sa.Column("started_at", sa.Double, nullable=False),
    sa.Column("renewed_at", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double),
    sa.Column("outcome", sa.Text),
    sa.Column("failure_kind", sa.Text),
    sa.Column("failure", sa.Text),
    sa.Column("traceback", sa.Text),
    _one_of("failure_kind", FAILURE_KINDS),
    _one_of("outcome", ("succeeded", "failed", "stopped", "lost")),
)

epochs = sa.Table(
    "epochs",
    metadata,
    sa.Column("run_id", sa.Integer, primary_key=True),
    sa.Column("epoch", sa.Integer, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("train_loss", sa.Double, nullable=False),
    sa.Column("val_loss", sa.Double, nullable=False),
    sa.Column("val_accuracy", sa.Double, nullable=False),
    sa.Column("val_macro_auroc", sa.Double),
    sa.Column("learning_rate", sa.Double, nullable=False),
    sa.Column("duration_s", sa.Double, nullable=False),
    sa.Column("ended_at", sa.Double, nullable=False),
    sa.ForeignKeyConstraint(["run_id", "attempt"], ["attempts.run_id", "attempts.number"]),
    sqlite_with_rowid=False,
)

metrics = sa.Table(
    "metrics",
    metadata,
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("class_name", sa.Text, primary_key=True),
    sa.Column("value", sa.Double),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sa.Column("interval_method", sa.Text, nullable=False, server_default="percentile"),
    sqlite_with_rowid=False,
)

run_summaries = sa.Table(
    "run_summaries",
    metadata,
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    *(sa.Column(name, sa.Double) for name, *_ in SUMMARY_COLUMNS),
    sa.Column("only_class", sa.Text),
    sqlite_with_rowid=False,
)

late_results = sa.Table(
    "late_results",
    metadata,
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("metric", sa.Text, primary_key=True),
    sa.Column("class_name", sa.Text, primary_key=True),
    sa.Column("value", sa.Double),
    sa.Column("low", sa.Double),
    sa.Column("high", sa.Double),
    sa.Column("recorded_at", sa.Double, nullable=False),
    sa.Column("interval_method", sa.Text, nullable=False, server_default="percentile"),
    sqlite_with_rowid=False,
)

predictions = sa.Table(
    "predictions",
    metadata,
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("image_id", sa.Text, primary_key=True),
    sa.Column("group_id", sa.Text, nullable=False),
    sa.Column("center", sa.Integer, nullable=False),
    sa.Column("label", sa.Text, nullable=False),
    sa.Column("p_normal", sa.Double, nullable=False),
    sa.Column("p_benign", sa.Double, nullable=False),
    sa.Column("p_malignant", sa.Double, nullable=False),
    sqlite_with_rowid=False,
)

files = sa.Table(
    "files",
    metadata,
    sa.Column("path", sa.Text, primary_key=True),
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id")),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("sha256", sa.Text, nullable=False),
    sa.Column("size_bytes", sa.Integer, nullable=False),
    sa.Column("written_at", sa.Double, nullable=False),
    sa.Index("ix_files_run_id", "run_id"),
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("experiment", sa.Text),
    sa.Column("stratified_run_id", sa.Integer, sa.ForeignKey("runs.id")),
    sa.Column("center_run_id", sa.Integer, sa.ForeignKey("runs.id")),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("decided_by", sa.Text, nullable=False),
    sa.Column("decided_at", sa.Double, nullable=False),
    sa.Column("evidence_json", sa.Text, nullable=False),
    sa.Column("undoes_id", sa.Integer, sa.ForeignKey("promotions.id")),
    _one_of("action", ("promote", "keep-baseline", "rollback")),
)

explanations = sa.Table(
    "explanations",
    metadata,
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("part", sa.Text, primary_key=True),
    sa.Column("image_id", sa.Text, primary_key=True),
    sa.Column("explained_class", sa.Text, primary_key=True),
    sa.Column("threshold", sa.Double, primary_key=True),
    sa.Column("checkpoint_sha256", sa.Text, nullable=False),
    sa.Column("layer", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("overlay", sa.Text, nullable=False),
    sa.Column("iou", sa.Double),
    sa.Column("energy_inside", sa.Double),
    sa.Column("pointing_hit", sa.Boolean),
    sa.Column("explained_at", sa.Double, nullable=False),
    sa.Column("purpose", sa.Text, primary_key=True, server_default="measured"),
    sa.Column("lesion", sa.Text, nullable=False, server_default="union"),
    _one_of("purpose", ("measured", "looked-at")),
)

study_figures = sa.Table(
    "study_figures",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("figure", sa.Text, primary_key=True),
    sa.Column("value", sa.Double, nullable=False),
    sa.Column("images", sa.Integer),
    sa.Column("comparable_to", sa.Text, nullable=False, server_default="BTXRD"),
    _one_of("kind", ("target", "baseline")),
)

selection_keys = sa.Table(
    "selection_keys",
    metadata,
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("figure", sa.Text, nullable=False),
    sa.Column("part", sa.Text, nullable=False, server_default="test"),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", sa.Double, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("run_id", sa.Integer, sa.ForeignKey("runs.id")),
    sa.Column("attempt", sa.Integer),
    sa.Column("details_json", sa.Text, nullable=False),
    sa.Column("previous_hash", sa.Text, nullable=False),
    sa.Column("hash", sa.Text, nullable=False, unique=True),
    sa.Index("ix_events_run_id", "run_id"),
)
