"""What numbers and claims rest on.

Revision: 0005, after 0004.

- `metrics` and `late_results` say by which method each interval was made; those of before are percentiles.
- `explanations` tell what was measured over the test part from what a person looked at; their key is longer.
- `study_figures` may say of how many images a figure of the baseline is.
- The views `run_status` and `epoch_history` count epochs from 1, as people do; the tables count from 0. A run
  that was cancelled and whose worker is gone shows as cancelled, and `stop_requested` says what was asked.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

GRADCAM_OVERLAP = """
CREATE VIEW gradcam_overlap AS
SELECT e.experiment, r.id AS run, r.split, r.seed, x.threshold, COUNT(x.iou) AS images, AVG(x.iou) AS iou,
       AVG(x.energy_inside) AS energy_inside, AVG(x.pointing_hit) AS pointing_hits
FROM explanations x
JOIN runs r ON r.id = x.run_id AND r.checkpoint_sha256 = x.checkpoint_sha256
JOIN experiments e ON e.id = r.experiment_ref
JOIN predictions p ON p.run_id = x.run_id AND p.part = x.part AND p.image_id = x.image_id
     AND p.label = x.explained_class
WHERE x.part = 'test' AND x.purpose = 'measured' AND x.iou IS NOT NULL
GROUP BY r.id, x.threshold
"""

# A lease that is over, as `boneexp.ledger.queue` sees it: run out, or given before the clock was put back.
NOW = "(julianday('now') - 2440587.5) * 86400.0"
LEASE_IS_OVER = f"r.state = 'running' AND (r.lease_until < {NOW} OR r.lease_until > {NOW} + 3600)"

# As before, but for the three columns that the docstring names.
RUN_STATUS = f"""
CREATE VIEW run_status AS
SELECT r.id AS run, e.experiment, e.name, r.split, r.seed,
       CASE WHEN {LEASE_IS_OVER} AND r.stop_requested THEN 'cancelled' ELSE r.state END AS state,
       r.failure_kind, r.failure,
       r.attempt AS attempts, r.config_hash, r.checkpoint, r.folder, r.is_current,
       {LEASE_IS_OVER} AND NOT r.stop_requested AS lease_expired, r.stop_requested,
       (SELECT MAX(p.epoch) + 1 FROM epochs p WHERE p.run_id = r.id) AS epochs_done,
       CAST(json_extract(e.settings_json, '$.training.epochs') AS INTEGER) AS epochs_planned,
       r.best_epoch + 1 AS best_epoch, e.batch_size, r.micro_batch, a.worker, a.host, a.device, a.started_at,
       a.renewed_at, r.queued_at, r.settled_at,
       (SELECT SUM(p.duration_s) FROM epochs p WHERE p.run_id = r.id) AS training_s,
       s.accuracy, s.macro_auroc, s.malignant_sensitivity
FROM runs r
JOIN experiments e ON e.id = r.experiment_ref
LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
LEFT JOIN run_summaries s ON s.run_id = r.id AND s.part = 'test'
"""

EPOCH_HISTORY = """
CREATE VIEW epoch_history AS
SELECT e.run_id AS run, e.epoch + 1 AS epoch, e.attempt, e.train_loss, e.val_loss, e.val_accuracy,
       e.val_macro_auroc, e.learning_rate, e.duration_s, e.ended_at
FROM epochs e
WHERE e.attempt = (SELECT MAX(later.attempt) FROM epochs later
                   WHERE later.run_id = e.run_id AND later.epoch = e.epoch)
"""


def upgrade() -> None:
    _say_how_intervals_were_made()
    _tell_why_an_image_was_explained()
    _say_how_many_images_a_figure_is_of()
    _count_epochs_from_one()


def _say_how_intervals_were_made() -> None:
    for table in ("metrics", "late_results"):
        op.add_column(
            table, sa.Column("interval_method", sa.Text(), nullable=False, server_default="percentile")
        )


def _tell_why_an_image_was_explained() -> None:
    op.execute("DROP VIEW gradcam_overlap")
    op.create_table(
        "explanations_by_purpose",
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
        sa.Column("purpose", sa.Text(), nullable=False, server_default="measured"),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_explanations_run_id")),
        sa.CheckConstraint("purpose IN ('measured', 'looked-at')", name=op.f("ck_explanations_purpose")),
        sa.PrimaryKeyConstraint(
            "run_id",
            "part",
            "image_id",
            "explained_class",
            "threshold",
            "purpose",
            name=op.f("pk_explanations"),
        ),
    )
    op.execute("INSERT INTO explanations_by_purpose SELECT *, 'measured' FROM explanations")
    op.drop_table("explanations")
    op.rename_table("explanations_by_purpose", "explanations")
    op.execute(GRADCAM_OVERLAP)


def _say_how_many_images_a_figure_is_of() -> None:
    op.add_column("study_figures", sa.Column("images", sa.Integer(), nullable=True))


def _count_epochs_from_one() -> None:
    for view, text in (("run_status", RUN_STATUS), ("epoch_history", EPOCH_HISTORY)):
        op.execute(f"DROP VIEW {view}")
        op.execute(text)
