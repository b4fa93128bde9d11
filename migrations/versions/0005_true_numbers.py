"""What numbers and claims rest on.

Revision: 0005, after 0004.

- `metrics` and `late_results` say by which method each interval was made; those of before are percentiles.
- `explanations` tell what was measured over the test part from what a person looked at; their key is longer.
- `study_figures` may say of how many images a figure of the baseline is.
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


def upgrade() -> None:
    _say_how_intervals_were_made()
    _tell_why_an_image_was_explained()
    _say_how_many_images_a_figure_is_of()


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
