"""What a comparison rests on: attributes of images, a summary of each run, uses of the test parts.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
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

# The figures that are compared, one row per run and part: a comparison of thousands of runs reads these rows.
SUMMARISED = {
    "accuracy": ("accuracy", "", True),
    "balanced_accuracy": ("balanced_accuracy", "", False),
    "macro_auroc": ("macro_auroc", "", True),
    "macro_f1": ("macro_f1", "", False),
    "malignant_sensitivity": ("sensitivity", "Malignant", True),
    "malignant_specificity": ("specificity", "Malignant", True),
}


def _summary_columns() -> list[tuple[str, str]]:
    """Return (column, SQL over the rows of one run and part in table metrics)."""
    found = []
    for name, (metric, class_name, has_interval) in SUMMARISED.items():
        for column, source in ((name, "value"), (f"{name}_low", "low"), (f"{name}_high", "high")):
            if source == "value" or has_interval:
                of_it = f"metric = '{metric}' AND class_name = '{class_name}'"
                found.append((column, f"MAX({source}) FILTER (WHERE {of_it})"))
    return found


RUN_METRICS = """
CREATE VIEW run_metrics AS
SELECT r.id AS run, e.experiment, r.split, r.seed, s.part,
       s.accuracy, s.accuracy_low, s.accuracy_high, s.balanced_accuracy,
       s.macro_auroc, s.macro_auroc_low, s.macro_auroc_high, s.macro_f1,
       s.malignant_sensitivity, s.malignant_sensitivity_low, s.malignant_sensitivity_high,
       s.malignant_specificity, s.malignant_specificity_low, s.malignant_specificity_high
FROM run_summaries s
JOIN runs r ON r.id = s.run_id
JOIN experiments e ON e.id = r.experiment_ref
"""

# One row per experiment, split and part, from the runs that were queued last: the mean over the finished
# seeds. An interval belongs to one run, so it is empty where seeds were averaged; test_set names the images.
PART_FIGURES = """
CREATE VIEW part_figures AS
SELECT e.id AS experiment_ref, e.experiment, r.split, p.part,
       COUNT(*) AS planned_runs, COUNT(m.run_id) AS finished_runs,
       MIN(m.run_id) AS first_run,
       substr(e.data_fingerprint, 1, 8) || '-' || substr(MIN(r.split_digest), 1, 8) AS test_set,
       SUM(r.micro_batch < e.batch_size AND m.run_id IS NOT NULL) AS smaller_batches,
       AVG(m.accuracy) AS accuracy, MIN(m.accuracy) AS accuracy_min, MAX(m.accuracy) AS accuracy_max,
       CASE WHEN COUNT(m.run_id) = 1 THEN MAX(m.accuracy_low) END AS accuracy_low,
       CASE WHEN COUNT(m.run_id) = 1 THEN MAX(m.accuracy_high) END AS accuracy_high,
       AVG(m.macro_auroc) AS macro_auroc, MIN(m.macro_auroc) AS macro_auroc_min,
       MAX(m.macro_auroc) AS macro_auroc_max,
       CASE WHEN COUNT(m.run_id) = 1 THEN MAX(m.macro_auroc_low) END AS macro_auroc_low,
       CASE WHEN COUNT(m.run_id) = 1 THEN MAX(m.macro_auroc_high) END AS macro_auroc_high,
       AVG(m.malignant_sensitivity) AS malignant_sensitivity,
       MIN(m.malignant_sensitivity) AS malignant_sensitivity_min,
       MAX(m.malignant_sensitivity) AS malignant_sensitivity_max,
       CASE WHEN COUNT(m.run_id) = 1 THEN MAX(m.malignant_sensitivity_low) END AS malignant_sensitivity_low,
       CASE WHEN COUNT(m.run_id) = 1 THEN MAX(m.malignant_sensitivity_high) END AS malignant_sensitivity_high,
       AVG(m.malignant_specificity) AS malignant_specificity,
       CASE WHEN COUNT(m.run_id) = 1 THEN MAX(m.malignant_specificity_low) END AS malignant_specificity_low,
       CASE WHEN COUNT(m.run_id) = 1 THEN MAX(m.malignant_specificity_high) END AS malignant_specificity_high
FROM experiments e
JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state <> 'cancelled'
CROSS JOIN (SELECT 'val' AS part UNION ALL SELECT 'test') p
LEFT JOIN run_summaries m ON m.run_id = r.id AND m.part = p.part AND r.state = 'succeeded'
GROUP BY e.id, r.split, p.part
"""

EXPERIMENT_FIGURES = """
CREATE VIEW experiment_figures AS
SELECT experiment_ref, experiment, split, planned_runs, finished_runs, first_run, test_set, smaller_batches,
       accuracy, accuracy_min, accuracy_max, accuracy_low, accuracy_high,
       macro_auroc, macro_auroc_min, macro_auroc_max, macro_auroc_low, macro_auroc_high,
       malignant_sensitivity, malignant_sensitivity_min, malignant_sensitivity_max,
       malignant_sensitivity_low, malignant_sensitivity_high,
       malignant_specificity, malignant_specificity_low, malignant_specificity_high
FROM part_figures WHERE part = 'test'
"""

# The columns that are compared, one row per experiment and part.
PART_COMPARISON = """
CREATE VIEW part_comparison AS
SELECT p.part, e.experiment AS experiment_id, e.backbone, e.image_size,
       CASE e.annotations WHEN 1 THEN 'yes' ELSE 'no' END AS annotations,
       AVG(m.accuracy) FILTER (WHERE r.split = 'stratified') AS stratified_accuracy,
       AVG(m.macro_auroc) FILTER (WHERE r.split = 'stratified') AS stratified_macro_auroc,
       AVG(m.malignant_sensitivity) FILTER (WHERE r.split = 'stratified') AS stratified_malignant_sensitivity,
       AVG(m.accuracy) FILTER (WHERE r.split = 'center_holdout') AS center_holdout_accuracy,
       AVG(m.macro_auroc) FILTER (WHERE r.split = 'center_holdout') AS center_holdout_macro_auroc,
       AVG(m.malignant_sensitivity) FILTER (WHERE r.split = 'center_holdout')
         AS center_holdout_malignant_sensitivity,
       substr(e.data_fingerprint, 1, 8) || '-' ||
         COALESCE(substr(MIN(r.split_digest) FILTER (WHERE r.split = 'stratified'), 1, 8), 'none') || '/' ||
         COALESCE(substr(MIN(r.split_digest) FILTER (WHERE r.split = 'center_holdout'), 1, 8), 'none')
         AS test_set
FROM experiments e
JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state <> 'cancelled'
CROSS JOIN (SELECT 'val' AS part UNION ALL SELECT 'test') p
LEFT JOIN run_summaries m ON m.run_id = r.id AND m.part = p.part AND r.state = 'succeeded'
GROUP BY e.id, p.part
"""

COMPARISON = """
CREATE VIEW comparison AS
SELECT experiment_id, backbone, image_size, annotations,
       stratified_accuracy, stratified_macro_auroc, stratified_malignant_sensitivity,
       center_holdout_accuracy, center_holdout_macro_auroc, center_holdout_malignant_sensitivity
FROM part_comparison WHERE part = 'test'
ORDER BY length(experiment_id), experiment_id
"""


def _chosen_figure(position: int) -> str:
    """SQL for the figure that the selection names at `position`, on its part; NULL if it names none."""
    cases = " ".join(f"WHEN '{figure}' THEN f.{figure}" for figure in FIGURES)
    return f"CASE (SELECT figure FROM selection_keys WHERE position = {position}) {cases} END"


# Ranked by the study's selection keys, on the part that they name. Only experiments that predicted the same
# images are ranked together.
LEADERBOARD = f"""
CREATE VIEW leaderboard AS
WITH keyed AS (
  SELECT t.experiment_id, t.backbone, t.image_size, t.annotations,
         t.stratified_accuracy, t.stratified_macro_auroc, t.stratified_malignant_sensitivity,
         t.center_holdout_accuracy, t.center_holdout_macro_auroc, t.center_holdout_malignant_sensitivity,
         f.part, {_chosen_figure(1)} AS key_1, {_chosen_figure(2)} AS key_2, {_chosen_figure(3)} AS key_3,
         t.test_set
  FROM part_comparison t
  JOIN part_comparison f ON f.experiment_id = t.experiment_id
       AND f.part = (SELECT COALESCE(MAX(part), 'test') FROM selection_keys)
  WHERE t.part = 'test')
SELECT RANK() OVER (PARTITION BY test_set
                    ORDER BY key_1 DESC NULLS LAST, key_2 DESC NULLS LAST, key_3 DESC NULLS LAST) AS place,
       keyed.*
FROM keyed
WHERE key_1 IS NOT NULL
ORDER BY test_set, place, length(experiment_id), experiment_id
"""

# Every stored metric, one row per experiment, split, part, metric and class: the mean over finished seeds.
METRIC_FIGURES = """
CREATE VIEW metric_figures AS
SELECT e.experiment, r.split, m.part, m.metric, m.class_name, COUNT(m.value) AS runs,
       AVG(m.value) AS value, MIN(m.value) AS value_min, MAX(m.value) AS value_max,
       CASE WHEN COUNT(*) = 1 THEN MAX(m.low) END AS low, CASE WHEN COUNT(*) = 1 THEN MAX(m.high) END AS high
FROM experiments e
JOIN runs r ON r.experiment_ref = e.id AND r.is_current AND r.state = 'succeeded'
JOIN metrics m ON m.run_id = r.id
GROUP BY e.id, r.split, m.part, m.metric, m.class_name
"""

# What is known of each predicted image: its attributes in the dataset's table, and its centre.
PREDICTED_ATTRIBUTES = """
CREATE VIEW predicted_attributes AS
SELECT p.run_id AS run, p.part, p.image_id, 'centre' AS attribute, CAST(p.center AS TEXT) AS value
FROM predictions p
UNION ALL
SELECT p.run_id, p.part, p.image_id, a.attribute, a.value
FROM predictions p
JOIN runs r ON r.id = p.run_id
JOIN experiments e ON e.id = r.experiment_ref
JOIN image_attributes a ON a.data_fingerprint = e.data_fingerprint AND a.image_id = p.image_id
"""

# How each run did on some of the images: an image with two sites counts for both.
SUBGROUP_FIGURES = """
CREATE VIEW subgroup_figures AS
WITH called AS (
  SELECT run_id AS run, part, image_id, label,
         CASE WHEN p_normal >= p_benign AND p_normal >= p_malignant THEN 'Normal'
              WHEN p_benign >= p_malignant THEN 'Benign' ELSE 'Malignant' END AS predicted
  FROM predictions)
SELECT e.experiment, r.split, r.seed, c.run, c.part, a.attribute, a.value, COUNT(*) AS images,
       SUM(c.label = 'Malignant') AS malignant_images, SUM(c.predicted = c.label) AS right_images,
       AVG(c.predicted = c.label) AS accuracy,
       AVG(c.predicted = 'Malignant') FILTER (WHERE c.label = 'Malignant') AS malignant_sensitivity
FROM called c
JOIN predicted_attributes a ON a.run = c.run AND a.part = c.part AND a.image_id = c.image_id
JOIN runs r ON r.id = c.run
JOIN experiments e ON e.id = r.experiment_ref
GROUP BY c.run, c.part, a.attribute, a.value
"""

# How often each split's test part was evaluated, and used to choose: every finished run looks at it once, a
# late result that was refused did too, and a promotion is a choice made in view of it.
TEST_PART_USES = """
CREATE VIEW test_part_uses AS
SELECT u.split, SUM(u.finished) AS finished_runs, SUM(1 - u.finished) AS late_results,
       COUNT(DISTINCT u.experiment) AS experiments, COUNT(DISTINCT u.seed) AS seeds,
       (SELECT COUNT(*) FROM promotions) AS decisions
FROM (SELECT r.split, r.seed, e.experiment, 1 AS finished
      FROM runs r JOIN experiments e ON e.id = r.experiment_ref WHERE r.state = 'succeeded'
      UNION ALL
      SELECT r.split, r.seed, e.experiment, 0
      FROM (SELECT DISTINCT run_id, attempt FROM events WHERE kind = 'late-result') l
      JOIN runs r ON r.id = l.run_id JOIN experiments e ON e.id = r.experiment_ref) u
GROUP BY u.split
ORDER BY u.split DESC
"""

REPLACED = ("leaderboard", "comparison", "experiment_figures", "run_metrics")
VIEWS = (
    RUN_METRICS,
    PART_FIGURES,
    EXPERIMENT_FIGURES,
    PART_COMPARISON,
    COMPARISON,
    LEADERBOARD,
    METRIC_FIGURES,
    PREDICTED_ATTRIBUTES,
    SUBGROUP_FIGURES,
    TEST_PART_USES,
)


def upgrade() -> None:
    for view in REPLACED:
        op.execute(f"DROP VIEW {view}")
    op.create_table(
        "image_attributes",
        sa.Column("data_fingerprint", sa.Text(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("attribute", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["data_fingerprint"],
            ["datasets.fingerprint"],
            name=op.f("fk_image_attributes_data_fingerprint"),
        ),
        sa.PrimaryKeyConstraint(
            "data_fingerprint", "image_id", "attribute", "value", name=op.f("pk_image_attributes")
        ),
        sqlite_with_rowid=False,
    )
    columns = _summary_columns()
    op.create_table(
        "run_summaries",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("part", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Double(), nullable=True) for name, _ in columns),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_run_summaries_run_id")),
        sa.PrimaryKeyConstraint("run_id", "part", name=op.f("pk_run_summaries")),
        sqlite_with_rowid=False,
    )
    pivot = ", ".join(source for _, source in columns)
    op.execute(f"INSERT INTO run_summaries SELECT run_id, part, {pivot} FROM metrics GROUP BY run_id, part")
    op.add_column("selection_keys", sa.Column("part", sa.Text(), nullable=False, server_default="test"))
    for view in VIEWS:
        op.execute(view)
