"""Every table and view of the first release.

Revision: 0001, the first.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

FIGURES = (
    "stratified_accuracy",
    "stratified_macro_auroc",
    "stratified_malignant_sensitivity",
    "center_holdout_accuracy",
    "center_holdout_macro_auroc",
    "center_holdout_malignant_sensitivity",
)

# What runs look like to whoever asks "how far are we"; times in seconds since the epoch.
RUN_STATUS = """
CREATE VIEW run_status AS
SELECT r.id AS run, e.experiment, e.name, r.split, r.seed, r.state, r.failure_kind, r.failure,
       r.attempt AS attempts, r.config_hash, r.checkpoint, r.folder, r.is_current,
       r.state = 'running' AND r.lease_until < (julianday('now') - 2440587.5) * 86400.0 AS lease_expired,
       (SELECT MAX(p.epoch) + 1 FROM epochs p WHERE p.run_id = r.id) AS epochs_done,
       CAST(json_extract(e.settings_json, '$.training.epochs') AS INTEGER) AS epochs_planned,
       r.best_epoch, e.batch_size, r.micro_batch, a.worker, a.host, a.device, a.started_at, a.renewed_at,
       r.queued_at, r.settled_at,
       (SELECT SUM(p.duration_s) FROM epochs p WHERE p.run_id = r.id) AS training_s,
       acc.value AS accuracy, auc.value AS macro_auroc, sen.value AS malignant_sensitivity
FROM runs r
JOIN experiments e ON e.id = r.experiment_ref
LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
LEFT JOIN metrics acc ON acc.run_id = r.id AND acc.part = 'test'
     AND acc.metric = 'accuracy' AND acc.class_name = ''
LEFT JOIN metrics auc ON auc.run_id = r.id AND auc.part = 'test'
     AND auc.metric = 'macro_auroc' AND auc.class_name = ''
LEFT JOIN metrics sen ON sen.run_id = r.id AND sen.part = 'test'
     AND sen.metric = 'sensitivity' AND sen.class_name = 'Malignant'
"""

# The history as it counts: an epoch that was trained again shows the attempt that went on from it.
EPOCH_HISTORY = """
CREATE VIEW epoch_history AS
SELECT e.run_id AS run, e.epoch, e.attempt, e.train_loss, e.val_loss, e.val_accuracy, e.val_macro_auroc,
       e.learning_rate, e.duration_s, e.ended_at
FROM epochs e
WHERE e.attempt = (SELECT MAX(later.attempt) FROM epochs later
                   WHERE later.run_id = e.run_id AND later.epoch = e.epoch)
"""

# One row per settled run and part, with the figures that are compared and their intervals.
RUN_METRICS = """
CREATE VIEW run_metrics AS
SELECT r.id AS run, e.experiment, r.split, r.seed, acc.part,
       acc.value AS accuracy, acc.low AS accuracy_low, acc.high AS accuracy_high,
       bal.value AS balanced_accuracy,
       auc.value AS macro_auroc, auc.low AS macro_auroc_low, auc.high AS macro_auroc_high,
       f1.value AS macro_f1,
       sen.value AS malignant_sensitivity, sen.low AS malignant_sensitivity_low,
       sen.high AS malignant_sensitivity_high,
       spe.value AS malignant_specificity, spe.low AS malignant_specificity_low,
       spe.high AS malignant_specificity_high
FROM metrics acc
JOIN runs r ON r.id = acc.run_id
JOIN experiments e ON e.id = r.experiment_ref
LEFT JOIN metrics bal ON bal.run_id = acc.run_id AND bal.part = acc.part
     AND bal.metric = 'balanced_accuracy' AND bal.class_name = ''
LEFT JOIN metrics auc ON auc.run_id = acc.run_id AND auc.part = acc.part
     AND auc.metric = 'macro_auroc' AND auc.class_name = ''
LEFT JOIN metrics f1 ON f1.run_id = acc.run_id AND f1.part = acc.part
     AND f1.metric = 'macro_f1' AND f1.class_name = ''
LEFT JOIN metrics sen ON sen.run_id = acc.run_id AND sen.part = acc.part
     AND sen.metric = 'sensitivity' AND sen.class_name = 'Malignant'
LEFT JOIN metrics spe ON spe.run_id = acc.run_id AND spe.part = acc.part
     AND spe.metric = 'specificity' AND spe.class_name = 'Malignant'
WHERE acc.metric = 'accuracy' AND acc.class_name = ''
"""

# One row per experiment and split, from the runs that were queued last: the mean over the finished seeds. An
# interval belongs to one run, so it is empty where seeds were averaged; test_set names the predicted images.
EXPERIMENT_FIGURES = """
CREATE VIEW experiment_figures AS
SELECT e.id AS experiment_ref, e.experiment, r.split,
       COUNT(*) AS planned_runs, COUNT(m.run) AS finished_runs,
       MIN(r.id) FILTER (WHERE m.run IS NOT NULL) AS first_run,
       substr(e.data_fingerprint, 1, 8) || '-' || substr(MIN(r.split_digest), 1, 8) AS test_set,
       SUM(r.micro_batch < e.batch_size AND m.run IS NOT NULL) AS smaller_batches,
       AVG(m.accuracy) AS accuracy, MIN(m.accuracy) AS accuracy_min, MAX(m.accuracy) AS accuracy_max,
       CASE WHEN COUNT(m.run) = 1 THEN MAX(m.accuracy_low) END AS accuracy_low,
       CASE WHEN COUNT(m.run) = 1 THEN MAX(m.accuracy_high) END AS accuracy_high,
       AVG(m.macro_auroc) AS macro_auroc, MIN(m.macro_auroc) AS macro_auroc_min,
       MAX(m.macro_auroc) AS macro_auroc_max,
       CASE WHEN COUNT(m.run) = 1 THEN MAX(m.macro_auroc_low) END AS macro_auroc_low,
       CASE WHEN COUNT(m.run) = 1 THEN MAX(m.macro_auroc_high) END AS macro_auroc_high,
       AVG(m.malignant_sensitivity) AS malignant_sensitivity,
       MIN(m.malignant_sensitivity) AS malignant_sensitivity_min,
       MAX(m.malignant_sensitivity) AS malignant_sensitivity_max,
       CASE WHEN COUNT(m.run) = 1 THEN MAX(m.malignant_sensitivity_low) END AS malignant_sensitivity_low,
       CASE WHEN COUNT(m.run) = 1 THEN MAX(m.malignant_sensitivity_high) END AS malignant_sensitivity_high,
       AVG(m.malignant_specificity) AS malignant_specificity,
       CASE WHEN COUNT(m.run) = 1 THEN MAX(m.malignant_specificity_low) END AS malignant_specificity_low,
       CASE WHEN COUNT(m.run) = 1 THEN MAX(m.malignant_specificity_high) END AS malignant_specificity_high
FROM experiments e
JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state <> 'cancelled'
LEFT JOIN run_metrics m ON m.run = r.id AND m.part = 'test' AND r.state = 'succeeded'
GROUP BY e.id, r.split
"""

COMPARISON = """
CREATE VIEW comparison AS
SELECT e.experiment AS experiment_id, e.backbone, e.image_size,
       CASE e.annotations WHEN 1 THEN 'yes' ELSE 'no' END AS annotations,
       s.accuracy AS stratified_accuracy, s.macro_auroc AS stratified_macro_auroc,
       s.malignant_sensitivity AS stratified_malignant_sensitivity,
       c.accuracy AS center_holdout_accuracy, c.macro_auroc AS center_holdout_macro_auroc,
       c.malignant_sensitivity AS center_holdout_malignant_sensitivity
FROM experiments e
LEFT JOIN experiment_figures s ON s.experiment_ref = e.id AND s.split = 'stratified'
LEFT JOIN experiment_figures c ON c.experiment_ref = e.id AND c.split = 'center_holdout'
WHERE s.experiment_ref IS NOT NULL OR c.experiment_ref IS NOT NULL
ORDER BY length(e.experiment), e.experiment
"""


def _chosen_figure(position: int) -> str:
    """SQL for the figure that the study's selection names at `position`; NULL where it names none."""
    cases = " ".join(f"WHEN '{figure}' THEN c.{figure}" for figure in FIGURES)
    return f"CASE (SELECT figure FROM selection_keys WHERE position = {position}) {cases} END"


# Ranked by the study's selection keys. Only experiments that predicted the same images are ranked together.
LEADERBOARD = f"""
CREATE VIEW leaderboard AS
WITH keyed AS (
  SELECT c.*, {_chosen_figure(1)} AS key_1, {_chosen_figure(2)} AS key_2, {_chosen_figure(3)} AS key_3,
         COALESCE((SELECT f.test_set FROM experiment_figures f WHERE f.experiment = c.experiment_id
                   AND f.split = 'stratified'), 'none') || '/' ||
         COALESCE((SELECT f.test_set FROM experiment_figures f WHERE f.experiment = c.experiment_id
                   AND f.split = 'center_holdout'), 'none') AS test_set
  FROM comparison c)
SELECT RANK() OVER (PARTITION BY test_set
                    ORDER BY key_1 DESC NULLS LAST, key_2 DESC NULLS LAST, key_3 DESC NULLS LAST) AS place,
       keyed.*
FROM keyed
WHERE key_1 IS NOT NULL
ORDER BY test_set, place, length(experiment_id), experiment_id
"""


# How well Grad-CAM meets the annotated lesions: means over a run's annotated test images, each explained for
# its own class, on the checkpoint that the run has now.
GRADCAM_OVERLAP = """
CREATE VIEW gradcam_overlap AS
SELECT e.experiment, r.id AS run, r.split, r.seed, x.threshold, COUNT(x.iou) AS images, AVG(x.iou) AS iou,
       AVG(x.energy_inside) AS energy_inside, AVG(x.pointing_hit) AS pointing_hits
FROM explanations x
JOIN runs r ON r.id = x.run_id AND r.checkpoint_sha256 = x.checkpoint_sha256
JOIN experiments e ON e.id = r.experiment_ref
JOIN predictions p ON p.run_id = x.run_id AND p.part = x.part AND p.image_id = x.image_id
     AND p.label = x.explained_class
WHERE x.part = 'test' AND x.iou IS NOT NULL
GROUP BY r.id, x.threshold
"""

VIEWS = (
    RUN_STATUS,
    EPOCH_HISTORY,
    RUN_METRICS,
    EXPERIMENT_FIGURES,
    COMPARISON,
    LEADERBOARD,
    GRADCAM_OVERLAP,
)


def upgrade() -> None:
    op.create_table(
        "datasets",
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("counts_json", sa.Text(), nullable=False),
        sa.Column("notes_json", sa.Text(), nullable=False),
        sa.Column("recorded_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("fingerprint", name=op.f("pk_datasets")),
    )
    op.create_table(
        "selection_keys",
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("figure", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_selection_keys")),
    )
    op.create_table(
        "study_figures",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("figure", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.CheckConstraint("kind IN ('target', 'baseline')", name=op.f("ck_study_figures_kind")),
        sa.PrimaryKeyConstraint("kind", "figure", name=op.f("pk_study_figures")),
    )
    op.create_table(
        "experiments",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("config_digest", sa.Text(), nullable=False),
        sa.Column("backbone", sa.Text(), nullable=False),
        sa.Column("image_size", sa.Integer(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("annotations", sa.Boolean(), nullable=False),
        sa.Column("settings_json", sa.Text(), nullable=False),
        sa.Column("data_fingerprint", sa.Text(), nullable=False),
        sa.Column("queued_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["data_fingerprint"], ["datasets.fingerprint"], name=op.f("fk_experiments_data_fingerprint")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
        sa.UniqueConstraint("config_digest", name=op.f("uq_experiments_config_digest")),
    )
    op.create_index("ix_experiments_experiment", "experiments", ["experiment"], unique=False)
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("experiment_ref", sa.Integer(), nullable=False),
        sa.Column("split", sa.Text(), nullable=False),
        sa.Column("seed", sa.Integer(), nullable=False),
        sa.Column("config_hash", sa.Text(), nullable=False),
        sa.Column("split_digest", sa.Text(), nullable=False),
        sa.Column("spec_json", sa.Text(), nullable=False),
        sa.Column("folder", sa.Text(), nullable=False),
        sa.Column("is_current", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failure_kind", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("killed_attempts", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("micro_batch", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.Double(), nullable=True),
        sa.Column("stop_requested", sa.Boolean(), nullable=False),
        sa.Column("best_epoch", sa.Integer(), nullable=True),
        sa.Column("checkpoint", sa.Text(), nullable=True),
        sa.Column("checkpoint_sha256", sa.Text(), nullable=True),
        sa.Column("queued_at", sa.Double(), nullable=False),
        sa.Column("settled_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "failure_kind IN ('oom', 'error', 'killed', 'disk', 'data', 'timeout')",
            name=op.f("ck_runs_failure_kind"),
        ),
        sa.CheckConstraint(
            "state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_runs_state")
        ),
        sa.ForeignKeyConstraint(["experiment_ref"], ["experiments.id"], name=op.f("fk_runs_experiment_ref")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("config_hash", name=op.f("uq_runs_config_hash")),
        sa.UniqueConstraint("folder", name=op.f("uq_runs_folder")),
    )
    op.create_index("ix_runs_experiment_ref", "runs", ["experiment_ref"], unique=False)
    op.create_index("ix_runs_state", "runs", ["state"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("process_started", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("versions_json", sa.Text(), nullable=False),
        sa.Column("batch_size", sa.Integer(), nullable=False),
        sa.Column("micro_batch", sa.Integer(), nullable=False),
        sa.Column("started_at", sa.Double(), nullable=False),
        sa.Column("renewed_at", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=True),
        sa.Column("failure_kind", sa.Text(), nullable=True),
        sa.Column("failure", sa.Text(), nullable=True),
        sa.Column("traceback", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "failure_kind IN ('oom', 'error', 'killed', 'disk', 'data', 'timeout')",
            name=op.f("ck_attempts_failure_kind"),
        ),
        sa.CheckConstraint(
            "outcome IN ('succeeded', 'failed', 'stopped', 'lost')", name=op.f("ck_attempts_outcome")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_attempts_run_id")),
        sa.PrimaryKeyConstraint("run_id", "number", name=op.f("pk_attempts")),
    )
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=True),
        sa.Column("details_json", sa.Text(), nullable=False),
        sa.Column("previous_hash", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_events_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
        sa.UniqueConstraint("hash", name=op.f("uq_events_hash")),
    )
    op.create_index("ix_events_run_id", "events", ["run_id"], unique=False)
    op.create_table(
        "explanations",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("explained_class", sa.Text(), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=False),
        sa.Column("checkpoint_sha256", sa.Text(), nullable=False),
        sa.Column("layer", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("overlay", sa.Text(), nullable=False),
        sa.Column("iou", sa.Double(), nullable=True),
        sa.Column("energy_inside", sa.Double(), nullable=True),
        sa.Column("pointing_hit", sa.Boolean(), nullable=True),
        sa.Column("explained_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_explanations_run_id")),
        sa.PrimaryKeyConstraint(
            "run_id", "part", "image_id", "explained_class", "threshold", name=op.f("pk_explanations")
        ),
    )
    op.create_table(
        "files",
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("written_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_files_run_id")),
        sa.PrimaryKeyConstraint("path", name=op.f("pk_files")),
    )
    op.create_index("ix_files_run_id", "files", ["run_id"], unique=False)
    op.create_table(
        "metrics",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("metric", sa.Text(), nullable=False),
        sa.Column("class_name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("low", sa.Double(), nullable=True),
        sa.Column("high", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_metrics_run_id")),
        sa.PrimaryKeyConstraint("run_id", "part", "metric", "class_name", name=op.f("pk_metrics")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "predictions",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("group_id", sa.Text(), nullable=False),
        sa.Column("center", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("p_normal", sa.Double(), nullable=False),
        sa.Column("p_benign", sa.Double(), nullable=False),
        sa.Column("p_malignant", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_predictions_run_id")),
        sa.PrimaryKeyConstraint("run_id", "part", "image_id", name=op.f("pk_predictions")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("experiment", sa.Text(), nullable=True),
        sa.Column("stratified_run_id", sa.Integer(), nullable=True),
        sa.Column("center_run_id", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("decided_by", sa.Text(), nullable=False),
        sa.Column("decided_at", sa.Double(), nullable=False),
        sa.Column("evidence_json", sa.Text(), nullable=False),
        sa.Column("undoes_id", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "action IN ('promote', 'keep-baseline', 'rollback')", name=op.f("ck_promotions_action")
        ),
        sa.ForeignKeyConstraint(["center_run_id"], ["runs.id"], name=op.f("fk_promotions_center_run_id")),
        sa.ForeignKeyConstraint(
            ["stratified_run_id"], ["runs.id"], name=op.f("fk_promotions_stratified_run_id")
        ),
        sa.ForeignKeyConstraint(["undoes_id"], ["promotions.id"], name=op.f("fk_promotions_undoes_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
    )
    op.create_table(
        "epochs",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("train_loss", sa.Double(), nullable=False),
        sa.Column("val_loss", sa.Double(), nullable=False),
        sa.Column("val_accuracy", sa.Double(), nullable=False),
        sa.Column("val_macro_auroc", sa.Double(), nullable=True),
        sa.Column("learning_rate", sa.Double(), nullable=False),
        sa.Column("duration_s", sa.Double(), nullable=False),
        sa.Column("ended_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id", "attempt"],
            ["attempts.run_id", "attempts.number"],
            name=op.f("fk_epochs_run_id_attempt"),
        ),
        sa.PrimaryKeyConstraint("run_id", "epoch", "attempt", name=op.f("pk_epochs")),
    )
    for view in VIEWS:
        op.execute(view)
