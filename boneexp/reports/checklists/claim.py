"""CLAIM, the Checklist for Artificial Intelligence in Medical Imaging, 2024 update: its 44 items.

Tejani et al., Radiology: Artificial Intelligence 2024, doi 10.1148/ryai.240300. Topics are paraphrased.
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
    level_of_sets,
    misclassified_counted,
    of_btxrd,
    of_images_at_hand,
    other_centres,
    paired_tests,
    report,
    several_seeds,
    smallest_difference,
    software_known,
)

BACKGROUND = ("Background and question",)
COLLECTION = ("Data collection",)
REFERENCE = ("Reference standard",)
AVAILABILITY = ("Availability of data, code and model",)
PROTOCOL = ("Protocol and registration",)

CLAIM = (
    item("1", "Title or abstract identifies the study as AI, with the kind of AI", report("Summary")),
    item("2", "Structured summary of design, methods, results and conclusions", report("Summary", described)),
    item("3", "Scientific and clinical background, intended use and role of the AI", own=BACKGROUND),
    item("4", "Aims and hypotheses", own=BACKGROUND),
    item("5", "Prospective or retrospective design", report("Summary", of_images_at_hand)),
    item("6", "Goal of the study, such as developing or comparing models", report("Summary")),
    item("7", "Data sources", card("Training data", of_btxrd), own=COLLECTION),
    item("8", "Inclusion and exclusion criteria", own=COLLECTION),
    item("9", "Image preprocessing", report("Methods", has_grid)),
    item("10", "Selection of data subsets, such as crops", report("Methods")),
    item("11", "De-identification", own=COLLECTION),
    item("12", "Handling of missing data", report("Methods")),
    item("13", "Image acquisition protocol", own=COLLECTION),
    item("14", "Definition of the reference standard, in replicable detail", own=REFERENCE),
    item("15", "Rationale for the reference standard", own=REFERENCE),
    item("16", "Annotators and their qualifications", own=REFERENCE),
    item("17", "Annotation of the test set", own=REFERENCE),
    item("18", "Inter- and intra-rater agreement", own=REFERENCE),
    item("19", "Assignment of images to training, validation and test sets", report("Methods", described)),
    item("20", "Level at which the sets are disjoint", report("Methods", level_of_sets)),
    item(
        "21",
        "Intended sample size and how it was determined",
        report("Differences between experiments", smallest_difference),
        own=("Sample size",),
    ),
    item(
        "22", "Detailed description of the model: inputs, outputs, layers", card("Model details", described)
    ),
    item("23", "Software with versions", card("Model details", software_known)),
    item("24", "Initialisation of the model", card("Model details", described)),
    item("25", "Training: augmentation, hyperparameters, stopping rule", report("Methods", has_grid)),
    item("26", "Selection of the final model", report("Methods", described), report("Decision", described)),
    item("27", "Ensembling", report("Methods")),
    item("28", "Performance metrics", card("Metrics")),
    item(
        "29",
        "Statistical uncertainty and significance",
        card("Metrics", has_intervals),
        report("Differences between experiments", paired_tests),
    ),
    item(
        "30",
        "Robustness or sensitivity analysis",
        report("Results", several_seeds),
        report("Subgroups and other centres", in_subgroups),
    ),
    item(
        "31",
        "Explainability methods and their validation",
        report("Grad-CAM overlap with annotated lesions", heat_maps_measured),
    ),
    item("32", "Internal testing", card("Quantitative analyses", described)),
    item("33", "External testing, or why not", card("Quantitative analyses", other_centres)),
    item("34", "Clinical trial registration", own=PROTOCOL),
    item("35", "Numbers included and excluded", report("Methods", images_not_patients)),
    item(
        "36",
        "Demographic and clinical characteristics of each set",
        card("Quantitative analyses", demographics),
        own=COLLECTION,
    ),
    item("37", "Performance and uncertainty on each set", card("Quantitative analyses", has_intervals)),
    item("38", "Diagnostic performance and its precision", card("Quantitative analyses", has_intervals)),
    item("39", "Misclassified cases", card("Quantitative analyses", misclassified_counted)),
    item("40", "Limitations", report("Limitations")),
    item("41", "Implications for practice", own=("Discussion",)),
    item("42", "Access to the full protocol or technical details", report("Provenance", described)),
    item("43", "Availability of software, model and data", own=AVAILABILITY),
    item("44", "Funding and role of the funders", own=("Funding",)),
)
