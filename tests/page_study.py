"""A study with every kind of thing that the page shows, and names that mean harm."""

from conftest import Study
from PIL import Image
from settled_ledger import NOW, settled_ledger

from boneexp.ledger.database import reading, writing
from boneexp.ledger.explanations import record_explanations
from boneexp.ledger.promotions import Promotion, Standing, record_promotion, settle_promotion
from boneexp.ledger.queries.files import checkpoint_of
from boneexp.ledger.queries.predictions import wrong_predictions
from boneexp.ledger.queries.runs import run_row
from boneexp.ledger.queue import Worker, claim_next
from boneexp.ledger.settling import fail
from boneexp.results import Failed

HARM = (
    "</script><script>document.title='hit'</script><img src=x onerror=\"document.title='hit'\">&amp;\u202e'"
)
OVERLAYS = 3


def page_study(home, kind="BTXRD"):
    """Make four finished experiments, one that has failed, a promotion, and heat maps of three mistakes."""
    home.mkdir(parents=True)
    study = Study(home)
    settled_ledger(study.ledger, ("E1", "E2", "E3", "E4"), kind=kind, names={"E1": HARM})
    settled_ledger(
        study.ledger,
        ("E1", "E2", "E3", "E4"),
        (42, 43),
        splits=("stratified",),
        kind=kind,
        names={"E1": HARM},
        settle=False,
    )
    worker = Worker("tester", "host", 1, "boot", "0", "cpu", {})
    with writing(study.ledger) as connection:
        claim = claim_next(connection, worker, NOW + 90_000, lease_s=60)
        assert fail(connection, claim, Failed("error", f"ValueError: {HARM}", "Traceback …"), NOW + 90_001)
    explain(study, run_id=5)
    with writing(study.ledger) as connection:
        chosen = Standing("E3", 5, 6)
        decided = record_promotion(connection, Promotion("promote", chosen, HARM, HARM, {}), NOW + 99_000)
        settle_promotion(connection, decided, (), NOW + 99_001)
    return study


def explain(study, run_id):
    """Draw overlays of a run's most confident errors; the ledger gets their rows."""
    with reading(study.ledger) as connection:
        errors = wrong_predictions(connection, run_id)[:OVERLAYS]
        run, sha256 = run_row(connection, run_id), checkpoint_of(connection, run_id).sha256
    rows = []
    for number, row in enumerate(errors):
        overlay = f"{run.folder}/gradcam/{number}.png"
        path = study.artifacts / overlay
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (700, 440), (200, 30 * number, 40)).save(path)
        about = {"part": "test", "image_id": row.image_id, "explained_class": row.predicted}
        measured = {"iou": None, "energy_inside": None, "pointing_hit": None}
        rows.append(
            {**about, "threshold": 0.5, "layer": "bn2", "outcome": "FP", "overlay": overlay, **measured}
        )
    with writing(study.ledger) as connection:
        record_explanations(connection, run_id, sha256, rows, NOW + 95_000)
