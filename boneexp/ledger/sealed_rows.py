"""Which rows and columns a seal covers: one set of queries for each rule by which seals were ever made.

A seal is held against the rows by the rule that it was made by. Each later rule covers more; a column that
came after a rule stands in it only with the value that the migration gave it, so that it cannot be changed
quietly under an old seal either. docs/ledger.md lists every column that is left out, and why.
"""

from collections.abc import Mapping

FIRST_RULE = "boneexp-seal-1"  # of seals that name no rule
RULE = "boneexp-seal-2"  # what is sealed today
Queries = Mapping[str, Mapping[str, str]]  # kind of subject -> table -> its rows

# What changes of a settled run: which settings are current, names, and where the data lie. A run that has
# not succeeded may be queued again after its data have moved, so its spec is sealed only on success.
RUN = {
    "runs": """SELECT id, experiment_ref, split, seed, config_hash, split_digest,
                      CASE state WHEN 'succeeded' THEN spec_json END, folder, state, failure_kind, failure,
                      attempt, micro_batch, best_epoch, checkpoint, checkpoint_sha256, queued_at, settled_at
               FROM runs WHERE id = ?""",
    "experiments": """SELECT id, experiment, config_digest, backbone, image_size, batch_size, annotations,
                             json_remove(settings_json, '$.name', '$.notes', '$.data.root', '$.data.name',
                                         '$.model.pretrained'),
                             data_fingerprint, queued_at
                      FROM experiments WHERE id = (SELECT experiment_ref FROM runs WHERE id = ?)""",
    "attempts": """SELECT run_id, number, worker, host, pid, boot_id, process_started, device, versions_json,
                          batch_size, micro_batch, started_at, renewed_at, ended_at, outcome, failure_kind,
                          failure, traceback
                   FROM attempts WHERE run_id = ? ORDER BY number""",
    "epochs": """SELECT run_id, epoch, attempt, train_loss, val_loss, val_accuracy, val_macro_auroc,
                        learning_rate, duration_s, ended_at
                 FROM epochs WHERE run_id = ? ORDER BY epoch, attempt""",
    "metrics": """SELECT run_id, part, metric, class_name, value, low, high, interval_method
                  FROM metrics WHERE run_id = ? ORDER BY part, metric, class_name""",
    "run_summaries": """SELECT run_id, part, accuracy, accuracy_low, accuracy_high, balanced_accuracy,
                               macro_auroc, macro_auroc_low, macro_auroc_high, macro_f1,
                               malignant_sensitivity, malignant_sensitivity_low, malignant_sensitivity_high,
                               malignant_specificity, malignant_specificity_low, malignant_specificity_high,
                               only_class
                        FROM run_summaries WHERE run_id = ? ORDER BY part""",
    "predictions": """SELECT run_id, part, image_id, group_id, center, label, p_normal, p_benign, p_malignant
                      FROM predictions WHERE run_id = ? ORDER BY part, image_id""",
    "files": """SELECT path, run_id, kind, sha256, size_bytes, written_at
                FROM files WHERE run_id = ? ORDER BY path""",
}
PROMOTION = {
    "promotions": """SELECT id, action, experiment, stratified_run_id, center_run_id, reason, decided_by,
                            decided_at, evidence_json, undoes_id
                     FROM promotions WHERE id = ?""",
}
EXPLANATIONS = {
    "explanations": """SELECT run_id, part, image_id, explained_class, threshold, purpose, checkpoint_sha256,
                              layer, outcome, overlay, iou, energy_inside, pointing_hit, explained_at, lesion
                       FROM explanations WHERE run_id = ?
                       ORDER BY part, image_id, explained_class, threshold, purpose""",
}
LATE_RESULT = {
    "late_results": """SELECT run_id, attempt, part, metric, class_name, value, low, high, interval_method,
                              recorded_at
                       FROM late_results WHERE run_id = ? AND attempt = ?
                       ORDER BY part, metric, class_name""",
}
DATASET = {
    "datasets": """SELECT fingerprint, name, kind, images, counts_json, notes_json, recorded_at,
                          contradicting_images
                   FROM datasets WHERE fingerprint = ?""",
    "image_attributes": """SELECT data_fingerprint, image_id, attribute, value FROM image_attributes
                           WHERE data_fingerprint = ? ORDER BY image_id, attribute, value""",
    "split_overlaps": """SELECT data_fingerprint, split_digest, first_part, second_part, images,
                                images_of_shared_groups, images_of_shared_pictures, images_without_group
                         FROM split_overlaps WHERE data_fingerprint = ?
                         ORDER BY split_digest, first_part, second_part""",
}
STUDY = {  # as the grid file said at the last `queue`
    "selection_keys": "SELECT position, figure, part FROM selection_keys ORDER BY position",
    "study_figures": """SELECT kind, figure, value, images, comparable_to FROM study_figures
                        ORDER BY kind, figure""",
}
GRID = {  # what `queue` may change of runs that are there
    "runs": "SELECT id, is_current FROM runs ORDER BY id",
    "experiments": """SELECT id, name, json_extract(settings_json, '$.name', '$.notes', '$.data.name')
                      FROM experiments ORDER BY id""",
}
SECOND: Queries = {
    "run": RUN,
    "promotion": PROMOTION,
    "explanations": EXPLANATIONS,
    "late result": LATE_RESULT,
    "dataset": DATASET,
    "study": STUDY,
    "grid": GRID,
}
FIRST: Queries = {
    "run": {
        **{table: query for table, query in RUN.items() if table != "run_summaries"},
        "metrics": """SELECT run_id, CASE interval_method WHEN 'percentile' THEN part END, metric, class_name,
                             value, low, high
                      FROM metrics WHERE run_id = ? ORDER BY part, metric, class_name""",
    },
    "promotion": PROMOTION,
    "explanations": {
        "explanations": """SELECT run_id, CASE WHEN purpose = 'measured' AND lesion = 'union' THEN part END,
                                  image_id, explained_class, threshold, checkpoint_sha256, layer, outcome,
                                  overlay, iou, energy_inside, pointing_hit, explained_at
                           FROM explanations WHERE run_id = ?
                           ORDER BY part, image_id, explained_class, threshold""",
    },
    "late result": {
        "late_results": """SELECT run_id, attempt, CASE interval_method WHEN 'percentile' THEN part END,
                                  metric, class_name, value, low, high, recorded_at
                           FROM late_results WHERE run_id = ? AND attempt = ?
                           ORDER BY part, metric, class_name""",
    },
    "dataset": {
        "datasets": """SELECT CASE WHEN contradicting_images IS NULL THEN fingerprint END, kind, images,
                              counts_json, notes_json, recorded_at
                       FROM datasets WHERE fingerprint = ?""",
        "image_attributes": DATASET["image_attributes"],
    },
}
RULES: Mapping[str, Queries] = {FIRST_RULE: FIRST, RULE: SECOND}
