"""What is written and read most is found at once: leases, the epochs of a run, the leaderboard.

Revision: 0004, after 0003.
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SPLITS = ("stratified", "center_holdout")
COMPARED = ("accuracy", "macro_auroc", "malignant_sensitivity")
FIGURES = tuple(f"{split}_{figure}" for split in SPLITS for figure in COMPARED)

# As before, but the figures come from the row that the settling transaction keeps.
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
       s.accuracy, s.macro_auroc, s.malignant_sensitivity
FROM runs r
JOIN experiments e ON e.id = r.experiment_ref
LEFT JOIN attempts a ON a.run_id = r.id AND a.number = r.attempt
LEFT JOIN run_summaries s ON s.run_id = r.id AND s.part = 'test'
"""

EPOCH_HISTORY = """
CREATE VIEW epoch_history AS
SELECT e.run_id AS run, e.epoch, e.attempt, e.train_loss, e.val_loss, e.val_accuracy, e.val_macro_auroc,
       e.learning_rate, e.duration_s, e.ended_at
FROM epochs e
WHERE e.attempt = (SELECT MAX(later.attempt) FROM epochs later
                   WHERE later.run_id = e.run_id AND later.epoch = e.epoch)
"""


def _means(of: str, prefix: str) -> str:
    """SQL for the mean of each compared figure over the finished seeds of each split."""
    found = [
        f"AVG({of}.{figure}) FILTER (WHERE r.split = '{split}') AS {prefix}{split}_{figure}"
        for split in SPLITS
        for figure in COMPARED
    ]
    return ",\n         ".join(found)


def _deal(split: str) -> str:
    return f"COALESCE(substr(MIN(r.split_digest) FILTER (WHERE r.split = '{split}'), 1, 8), 'none')"


def _chosen_figure(position: int) -> str:
    """SQL for the figure that the selection names at `position`, on its part; NULL if it names none."""
    cases = " ".join(f"WHEN '{figure}' THEN by_{figure}" for figure in FIGURES)
    return f"CASE (SELECT figure FROM selection_keys WHERE position = {position}) {cases} END"


# Ranked by the study's selection keys, on the part that they name. Only experiments that predicted the same
# images are ranked together. Runs are read once, with both parts: those that are shown, and those that rank.
LEADERBOARD = f"""
CREATE VIEW leaderboard AS
WITH rule AS (SELECT COALESCE(MAX(part), 'test') AS part FROM selection_keys),
figures AS (
  SELECT e.experiment AS experiment_id, e.backbone, e.image_size,
         CASE e.annotations WHEN 1 THEN 'yes' ELSE 'no' END AS annotations,
         {_means("t", "")},
         {_means("f", "by_")},
         substr(e.data_fingerprint, 1, 8) || '-' || {_deal("stratified")} || '/' ||
           {_deal("center_holdout")} AS test_set
  FROM experiments e
  JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state <> 'cancelled'
  LEFT JOIN run_summaries t ON t.run_id = r.id AND t.part = 'test' AND r.state = 'succeeded'
  LEFT JOIN run_summaries f ON f.run_id = r.id AND f.part = (SELECT part FROM rule) AND r.state = 'succeeded'
  GROUP BY e.id),
keyed AS (
  SELECT experiment_id, backbone, image_size, annotations,
         {", ".join(FIGURES[:3])},
         {", ".join(FIGURES[3:])},
         (SELECT part FROM rule) AS part, {_chosen_figure(1)} AS key_1, {_chosen_figure(2)} AS key_2,
         {_chosen_figure(3)} AS key_3, test_set
  FROM figures)
SELECT RANK() OVER (PARTITION BY test_set
                    ORDER BY key_1 DESC NULLS LAST, key_2 DESC NULLS LAST, key_3 DESC NULLS LAST) AS place,
       keyed.*
FROM keyed
WHERE key_1 IS NOT NULL
ORDER BY test_set, place, length(experiment_id), experiment_id
"""


def upgrade() -> None:
    for view in ("leaderboard", "epoch_history", "run_status"):
        op.execute(f"DROP VIEW {view}")
    _keep_the_epochs_of_a_run_together()
    op.drop_index(op.f("ix_runs_state"), "runs")
    op.create_index(op.f("ix_runs_state_lease_until"), "runs", ["state", "lease_until"])
    for view in (RUN_STATUS, EPOCH_HISTORY, LEADERBOARD):
        op.execute(view)


def _keep_the_epochs_of_a_run_together() -> None:
    """Order the table itself by its key: one page to write per epoch instead of two, one to read per run."""
    op.create_table(
        "ordered_epochs",
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
        sqlite_with_rowid=False,
    )
    op.execute("INSERT INTO ordered_epochs SELECT * FROM epochs ORDER BY run_id, epoch, attempt")
    op.drop_table("epochs")
    op.rename_table("ordered_epochs", "epochs")
