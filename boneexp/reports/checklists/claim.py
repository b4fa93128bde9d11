"""CLAIM, the Checklist for Artificial Intelligence in Medical Imaging, 2024 update: its 44 items.

Tejani et al., Radiology: Artificial Intelligence 2024, doi 10.1148/ryai.240300. Topics are in our words.
"""

from boneexp.reports.checklists.rules import (
    card,
    demographics,
    described,
    has_grid,
    has_intervals,
    heat_maps_measured,
    images_not_patients,
    in_subgroups,
    item,
    level_of_parts,
    of_btxrd,
    of_images_at_hand,
    other_centres,
    paired_tests,
    report,
    several_seeds,
    smallest_difference,
    software_known,
    wrong_calls,
)

BACKGROUND = ("Background and question",)
COLLECTION = ("Data collection",)
REFERENCE = ("Reference standard",)
AVAILABILITY = ("Availability of data, code and model",)
PROTOCOL = ("Protocol and registration",)

CLAIM = (
    item("1", "Title or abstract names the study as one of AI, and the kind of AI", report("Summary")),
    item("2", "Summary of design, methods, results and conclusions", report("Summary", described)),
    item("3", "Scientific and clinical background, intended use and role of the AI", own=BACKGROUND),
    item("4", "Aims and hypotheses", own=BACKGROUND),
    item("5", "Prospective or retrospective", report("Summary", of_images_at_hand)),
    item("6", "Goal of the study, such as building or comparing models", report("Summary")),
    item("7", "Sources of the data", card("Training data", of_btxrd), own=COLLECTION),
    item("8", "Who or what was included and left out", own=COLLECTION),
    item("9", "Preprocessing of the images", report("Methods", has_grid)),
    item("10", "Choice of parts of the data, such as crops", report("Methods")),
    item("11", "De-identification", own=COLLECTION),
    item("12", "Missing data", report("Methods")),
    item("13", "How the images were acquired", own=COLLECTION),
    item("14", "What the reference standard is, so that it could be repeated", own=REFERENCE),
    item("15", "Why that reference standard", own=REFERENCE),
    item("16", "Who annotated, with which qualifications", own=REFERENCE),
    item("17", "How the test part was annotated", own=REFERENCE),
    item("18", "Agreement between and within annotators", own=REFERENCE),
    item("19", "How images were dealt out to the parts", report("Methods", described)),
    item("20", "Level at which the parts share nothing", report("Methods", level_of_parts)),
    item(
        "21",
        "Intended sample size, and how it was decided",
        report("Which differences are real", smallest_difference),
        own=("Sample size",),
    ),
    item("22", "Model in detail: inputs, outputs, layers", card("Model details", described)),
    item("23", "Software with versions", card("Model details", software_known)),
    item("24", "Weights at the start", card("Model details", described)),
    item("25", "Training in detail: augmentation, settings, when it stops", report("Methods", has_grid)),
    item("26", "How the final model was chosen", report("Methods", described), report("Decision", described)),
    item("27", "Combination of several models", report("Methods")),
    item("28", "Measures of performance", card("Metrics")),
    item(
        "29",
        "Uncertainty and significance",
        card("Metrics", has_intervals),
        report("Which differences are real", paired_tests),
    ),
    item(
        "30",
        "Robustness or sensitivity analysis",
        report("Results", several_seeds),
        report("Subgroups and other centres", in_subgroups),
    ),
    item(
        "31",
        "Explainability, and how it was checked",
        report("Grad-CAM overlap with annotated lesions", heat_maps_measured),
    ),
    item("32", "Testing on internal data", card("Quantitative analyses", described)),
    item("33", "Testing on external data, or why not", card("Quantitative analyses", other_centres)),
    item("34", "Registration of a clinical trial", own=PROTOCOL),
    item("35", "Numbers included and left out", report("Methods", images_not_patients)),
    item(
        "36",
        "Demographic and clinical characteristics of each part",
        card("Quantitative analyses", demographics),
        own=COLLECTION,
    ),
    item("37", "Performance and its uncertainty on each part", card("Quantitative analyses", has_intervals)),
    item("38", "Diagnostic performance and its precision", card("Quantitative analyses", has_intervals)),
    item("39", "Wrongly classified cases", card("Quantitative analyses", wrong_calls)),
    item("40", "Limitations", report("Limitations")),
    item("41", "What it means for practice", own=("Discussion",)),
    item("42", "Where the full protocol or more technical detail is", report("Provenance", described)),
    item("43", "Whether software, model and data can be had", own=AVAILABILITY),
    item("44", "Funding, and the role of the funders", own=("Funding",)),
)
