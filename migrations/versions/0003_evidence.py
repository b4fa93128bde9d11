"""What a comparison rests on: attributes of images, figures of every part, uses of the test parts.

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

# One row per experiment, split and part, from the runs that were queued last: the mean over the finished
# seeds. An interval belongs to one run, so it is empty where seeds were averaged; test_set names the images.
PART_FIGURES = """
CREATE VIEW part_figures AS
SELECT e.id AS experiment_ref, e.experiment, r.split, p.part,
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
CROSS JOIN (SELECT 'val' AS part UNION ALL SELECT 'test') p
LEFT JOIN run_metrics m ON m.run = r.id AND m.part = p.part AND r.state = 'succeeded'
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
       s.accuracy AS stratified_accuracy, s.macro_auroc AS stratified_macro_auroc,
       s.malignant_sensitivity AS stratified_malignant_sensitivity,
       c.accuracy AS center_holdout_accuracy, c.macro_auroc AS center_holdout_macro_auroc,
       c.malignant_sensitivity AS center_holdout_malignant_sensitivity
FROM experiments e
CROSS JOIN (SELECT 'val' AS part UNION ALL SELECT 'test') p
LEFT JOIN part_figures s ON s.experiment_ref = e.id AND s.part = p.part AND s.split = 'stratified'
LEFT JOIN part_figures c ON c.experiment_ref = e.id AND c.part = p.part AND c.split = 'center_holdout'
WHERE s.experiment_ref IS NOT NULL OR c.experiment_ref IS NOT NULL
ORDER BY p.part, length(e.experiment), e.experiment
"""

COMPARISON = """
CREATE VIEW comparison AS
SELECT experiment_id, backbone, image_size, annotations,
       stratified_accuracy, stratified_macro_auroc, stratified_malignant_sensitivity,
       center_holdout_accuracy, center_holdout_macro_auroc, center_holdout_malignant_sensitivity
FROM part_comparison WHERE part = 'test'
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
  SELECT c.*, f.part,
         {_chosen_figure(1)} AS key_1, {_chosen_figure(2)} AS key_2, {_chosen_figure(3)} AS key_3,
         COALESCE((SELECT t.test_set FROM experiment_figures t WHERE t.experiment = c.experiment_id
                   AND t.split = 'stratified'), 'none') || '/' ||
         COALESCE((SELECT t.test_set FROM experiment_figures t WHERE t.experiment = c.experiment_id
                   AND t.split = 'center_holdout'), 'none') AS test_set
  FROM comparison c
  JOIN part_comparison f ON f.experiment_id = c.experiment_id
       AND f.part = (SELECT COALESCE(MAX(part), 'test') FROM selection_keys))
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

REPLACED = ("leaderboard", "comparison", "experiment_figures")
VIEWS = (
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
    op.add_column("selection_keys", sa.Column("part", sa.Text(), nullable=False, server_default="test"))
    for view in VIEWS:
        op.execute(view)
