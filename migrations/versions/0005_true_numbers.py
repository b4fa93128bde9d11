"""What numbers and claims rest on.

Revision: 0005, after 0004.

- `metrics` and `late_results` say by which method each interval was made; those of before are percentiles.
- `explanations` tell what was measured over the test part from what a person looked at; their key is longer.
- `explanations` say which lesion they were held against; those of before against all annotated shapes.
- `study_figures` may say of how many images a figure of the baseline is.
- The views `run_status` and `epoch_history` count epochs from 1, as people do; the tables count from 0. A run
  that was cancelled and whose worker is gone shows as cancelled, and `stop_requested` says what was asked.
- Equal means are equal: every mean over seeds in the views is cut at nine decimals, so that the order of an
  addition decides no rank.
- A run that predicts one class only is named in `run_summaries` and ranked last.
- What the parts of a split share is counted when it is queued: `split_overlaps` and
  `datasets.contradicting_images`.
- `study_figures` say of which data a baseline or target is.
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


SPLITS = ("stratified", "center_holdout")
COMPARED = ("accuracy", "macro_auroc", "malignant_sensitivity")
FIGURES = tuple(f"{split}_{figure}" for split in SPLITS for figure in COMPARED)
CLASSES = ("Normal", "Benign", "Malignant")


def _mean(column: str, where: str = "") -> str:
    """SQL for a mean that is the same float whatever the order of the addition: nine decimals.

    The golden ratio's fraction is added before the digits are cut off, since shares of a few hundred images
    lie far from it: plain rounding would put two halves of a last bit on both sides of 0.5.
    """
    return f"CAST(AVG({column}){where} * 1e9 + 0.381966011250105 AS INTEGER) / 1e9"


def _end(function: str, column: str) -> str:
    """SQL for the lowest or highest of the seeds, cut like their mean, so that the mean lies between."""
    return f"CAST({function}({column}) * 1e9 + 0.381966011250105 AS INTEGER) / 1e9"


def _of_one_run(column: str) -> str:
    return f"CASE WHEN COUNT(m.run_id) = 1 THEN MAX(m.{column}) END AS {column}"


def _spread(figure: str) -> str:
    """SQL for a figure's mean over the finished seeds, its spread, and the interval of a single run."""
    columns = [
        f"{_mean(f'm.{figure}')} AS {figure}",
        f"{_end('MIN', f'm.{figure}')} AS {figure}_min",
        f"{_end('MAX', f'm.{figure}')} AS {figure}_max",
        _of_one_run(f"{figure}_low"),
        _of_one_run(f"{figure}_high"),
    ]
    return ",\n       ".join(columns)


# One row per experiment, split and part, from the runs that were queued last: the mean over the finished
# seeds. An interval belongs to one run, so it is empty where seeds were averaged; test_set names the images;
# single_class counts the runs that predicted one class only.
PART_FIGURES = f"""
CREATE VIEW part_figures AS
SELECT e.id AS experiment_ref, e.experiment, r.split, p.part,
       COUNT(*) AS planned_runs, COUNT(m.run_id) AS finished_runs,
       MIN(m.run_id) AS first_run,
       substr(e.data_fingerprint, 1, 8) || '-' || substr(MIN(r.split_digest), 1, 8) AS test_set,
       SUM(r.micro_batch < e.batch_size AND m.run_id IS NOT NULL) AS smaller_batches,
       COUNT(m.only_class) AS single_class,
       {_spread("accuracy")},
       {_spread("macro_auroc")},
       {_spread("malignant_sensitivity")},
       {_mean("m.malignant_specificity")} AS malignant_specificity,
       {_of_one_run("malignant_specificity_low")},
       {_of_one_run("malignant_specificity_high")}
FROM experiments e
JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state <> 'cancelled'
CROSS JOIN (SELECT 'val' AS part UNION ALL SELECT 'test') p
LEFT JOIN run_summaries m ON m.run_id = r.id AND m.part = p.part AND r.state = 'succeeded'
GROUP BY e.id, r.split, p.part
"""

EXPERIMENT_FIGURES = """
CREATE VIEW experiment_figures AS
SELECT experiment_ref, experiment, split, planned_runs, finished_runs, first_run, test_set, smaller_batches,
       single_class, accuracy, accuracy_min, accuracy_max, accuracy_low, accuracy_high,
       macro_auroc, macro_auroc_min, macro_auroc_max, macro_auroc_low, macro_auroc_high,
       malignant_sensitivity, malignant_sensitivity_min, malignant_sensitivity_max,
       malignant_sensitivity_low, malignant_sensitivity_high,
       malignant_specificity, malignant_specificity_low, malignant_specificity_high
FROM part_figures WHERE part = 'test'
"""


def _means(of: str, prefix: str) -> str:
    """SQL for the mean of each compared figure over the finished seeds of each split."""
    found = []
    for split in SPLITS:
        where = f" FILTER (WHERE r.split = '{split}')"
        found += [f"{_mean(f'{of}.{figure}', where)} AS {prefix}{split}_{figure}" for figure in COMPARED]
    return ",\n         ".join(found)


def _split_digest(split: str) -> str:
    return f"COALESCE(substr(MIN(r.split_digest) FILTER (WHERE r.split = '{split}'), 1, 8), 'none')"


TEST_SET = f"""substr(e.data_fingerprint, 1, 8) || '-' || {_split_digest("stratified")} || '/' ||
           {_split_digest("center_holdout")}"""

# The columns that are compared, one row per experiment and part.
PART_COMPARISON = f"""
CREATE VIEW part_comparison AS
SELECT p.part, e.experiment AS experiment_id, e.backbone, e.image_size,
       CASE e.annotations WHEN 1 THEN 'yes' ELSE 'no' END AS annotations,
         {_means("m", "")},
         {TEST_SET} AS test_set
FROM experiments e
JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state <> 'cancelled'
CROSS JOIN (SELECT 'val' AS part UNION ALL SELECT 'test') p
LEFT JOIN run_summaries m ON m.run_id = r.id AND m.part = p.part AND r.state = 'succeeded'
GROUP BY e.id, p.part
"""


def _chosen_figure(position: int) -> str:
    """SQL for the figure that the selection names at `position`, on its part; NULL if it names none."""
    cases = " ".join(f"WHEN '{figure}' THEN by_{figure}" for figure in FIGURES)
    return f"CASE (SELECT figure FROM selection_keys WHERE position = {position}) {cases} END"


# Ranked by the study's selection keys, on the part that they name; an experiment of which a run predicts one
# class only comes after all others. Only experiments that predicted the same images are ranked together. Runs
# are read once, with both parts: those that are shown, and those that rank.
LEADERBOARD = f"""
CREATE VIEW leaderboard AS
WITH rule AS (SELECT COALESCE(MAX(part), 'test') AS part FROM selection_keys),
figures AS (
  SELECT e.experiment AS experiment_id, e.backbone, e.image_size,
         CASE e.annotations WHEN 1 THEN 'yes' ELSE 'no' END AS annotations,
         {_means("t", "")},
         {_means("f", "by_")},
         COUNT(f.only_class) > 0 AS single_class,
         {TEST_SET} AS test_set
  FROM experiments e
  JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state <> 'cancelled'
  LEFT JOIN run_summaries t ON t.run_id = r.id AND t.part = 'test' AND r.state = 'succeeded'
  LEFT JOIN run_summaries f ON f.run_id = r.id AND f.part = (SELECT part FROM rule) AND r.state = 'succeeded'
  GROUP BY e.id),
keyed AS (
  SELECT experiment_id, backbone, image_size, annotations,
         {", ".join(FIGURES[:3])},
         {", ".join(FIGURES[3:])},
         (SELECT part FROM rule) AS part, single_class, {_chosen_figure(1)} AS key_1,
         {_chosen_figure(2)} AS key_2, {_chosen_figure(3)} AS key_3, test_set
  FROM figures)
SELECT RANK() OVER (PARTITION BY test_set
                    ORDER BY single_class, key_1 DESC NULLS LAST, key_2 DESC NULLS LAST,
                             key_3 DESC NULLS LAST) AS place,
       keyed.*
FROM keyed
WHERE key_1 IS NOT NULL
ORDER BY test_set, place, length(experiment_id), experiment_id
"""

# Every stored metric, one row per experiment, split, part, metric and class: the mean over finished seeds.
METRIC_FIGURES = f"""
CREATE VIEW metric_figures AS
SELECT e.experiment, r.split, m.part, m.metric, m.class_name, COUNT(m.value) AS runs,
       {_mean("m.value")} AS value,
       {_end("MIN", "m.value")} AS value_min, {_end("MAX", "m.value")} AS value_max,
       CASE WHEN COUNT(*) = 1 THEN MAX(m.low) END AS low, CASE WHEN COUNT(*) = 1 THEN MAX(m.high) END AS high,
       substr(e.data_fingerprint, 1, 8) || '-' || substr(MIN(r.split_digest), 1, 8) AS test_set
FROM experiments e
JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state = 'succeeded'
JOIN metrics m ON m.run_id = r.id
GROUP BY e.id, r.split, m.part, m.metric, m.class_name
"""

REPLACED_VIEWS = {
    "part_figures": PART_FIGURES,
    "experiment_figures": EXPERIMENT_FIGURES,
    "part_comparison": PART_COMPARISON,
    "leaderboard": LEADERBOARD,
    "metric_figures": METRIC_FIGURES,
}


def upgrade() -> None:
    _say_how_intervals_were_made()
    _tell_why_an_image_was_explained()
    _say_which_lesion_was_meant()
    _say_how_many_images_a_figure_is_of()
    _count_epochs_from_one()
    _say_of_which_data_references_are()
    _name_runs_of_one_class()
    _count_what_parts_share()
    _replace_views()


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


def _say_which_lesion_was_meant() -> None:
    op.add_column("explanations", sa.Column("lesion", sa.Text(), nullable=False, server_default="union"))


def _say_how_many_images_a_figure_is_of() -> None:
    op.add_column("study_figures", sa.Column("images", sa.Integer(), nullable=True))


def _count_epochs_from_one() -> None:
    for view, text in (("run_status", RUN_STATUS), ("epoch_history", EPOCH_HISTORY)):
        op.execute(f"DROP VIEW {view}")
        op.execute(text)


def _say_of_which_data_references_are() -> None:
    op.add_column(
        "study_figures", sa.Column("comparable_to", sa.Text(), nullable=False, server_default="BTXRD")
    )


def _count_what_parts_share() -> None:
    """Make room for how many patients and pictures the parts of a split share; older splits have no rows."""
    op.add_column("datasets", sa.Column("contradicting_images", sa.Integer(), nullable=True))
    op.create_table(
        "split_overlaps",
        sa.Column("data_fingerprint", sa.Text(), nullable=False),
        sa.Column("split_digest", sa.Text(), nullable=False),
        sa.Column("first_part", sa.Text(), nullable=False),
        sa.Column("second_part", sa.Text(), nullable=False),
        sa.Column("images", sa.Integer(), nullable=False),
        sa.Column("images_of_shared_groups", sa.Integer(), nullable=False),
        sa.Column("images_of_shared_pictures", sa.Integer(), nullable=False),
        sa.Column("images_without_group", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["data_fingerprint"], ["datasets.fingerprint"], name=op.f("fk_split_overlaps_data_fingerprint")
        ),
        sa.PrimaryKeyConstraint(
            "data_fingerprint",
            "split_digest",
            "first_part",
            "second_part",
            name=op.f("pk_split_overlaps"),
        ),
        sqlite_with_rowid=False,
    )


def _name_runs_of_one_class() -> None:
    """Say of each summary whether every image was predicted as one class, by the sealed metrics."""
    op.add_column("run_summaries", sa.Column("only_class", sa.Text(), nullable=True))
    op.execute(
        f"UPDATE run_summaries SET only_class = (SELECT {_only_class()} FROM metrics m"
        " WHERE m.run_id = run_summaries.run_id AND m.part = run_summaries.part)"
    )


def _only_class() -> str:
    """SQL over the metrics of a run's part: the class that every image was predicted as; NULL for several.

    All images of the class are predicted so (or there is none), and no other is predicted otherwise.
    """
    cases = [
        f"WHEN MAX(value) FILTER (WHERE metric = 'specificity' AND class_name = '{name}') = 0"
        f" AND COALESCE(MAX(value) FILTER (WHERE metric = 'sensitivity' AND class_name = '{name}'), 1) = 1"
        f" THEN '{name}'"
        for name in CLASSES
    ]
    return f"CASE {' '.join(cases)} END"


def _replace_views() -> None:
    for view in reversed(REPLACED_VIEWS):
        op.execute(f"DROP VIEW {view}")
    for text in REPLACED_VIEWS.values():
        op.execute(text)
