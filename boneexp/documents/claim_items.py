"""CLAIM, the Checklist for Artificial Intelligence in Medical Imaging, 2024 update: its 44 items.

Tejani et al., Radiology: Artificial Intelligence 2024, doi 10.1148/ryai.240300. Topics are in our words.
"""

from boneexp.documents.checklists import (
    Item,
    card,
    described,
    has_grid,
    has_intervals,
    heat_maps_measured,
    images_not_patients,
    level_of_parts,
    of_btxrd,
    of_images_at_hand,
    other_centres,
    report,
    several_seeds,
    software_known,
    wrong_calls,
)

BACKGROUND = ("Background and question",)
COLLECTION = ("Data collection",)
REFERENCE = ("Reference standard",)
AVAILABILITY = ("Availability of data, code and model",)
PROTOCOL = ("Protocol and registration",)

CLAIM = (
    Item("1", "Title or abstract names the study as one of AI, and the kind of AI", report("Summary")),
    Item("2", "Summary of design, methods, results and conclusions", report("Summary"), described),
    Item("3", "Scientific and clinical background, intended use and role of the AI", own=BACKGROUND),
    Item("4", "Aims and hypotheses", own=BACKGROUND),
    Item("5", "Prospective or retrospective", report("Summary"), of_images_at_hand),
    Item("6", "Goal of the study, such as building or comparing models", report("Summary")),
    Item("7", "Sources of the data", card("Training data"), of_btxrd, COLLECTION),
    Item("8", "Who or what was included and left out", own=COLLECTION),
    Item("9", "Preprocessing of the images", report("Methods"), has_grid),
    Item("10", "Choice of parts of the data, such as crops", report("Methods")),
    Item("11", "De-identification", own=COLLECTION),
    Item("12", "Missing data", report("Methods")),
    Item("13", "How the images were acquired", own=COLLECTION),
    Item("14", "What the reference standard is, so that it could be repeated", own=REFERENCE),
    Item("15", "Why that reference standard", own=REFERENCE),
    Item("16", "Who annotated, with which qualifications", own=REFERENCE),
    Item("17", "How the test part was annotated", own=REFERENCE),
    Item("18", "Agreement between and within annotators", own=REFERENCE),
    Item("19", "How images were dealt out to the parts", report("Methods"), described),
    Item("20", "Level at which the parts share nothing", report("Methods"), level_of_parts),
    Item("21", "Intended sample size, and how it was decided", own=("Sample size",)),
    Item("22", "Model in detail: inputs, outputs, layers", card("Model details"), described),
    Item("23", "Software with versions", card("Model details"), software_known),
    Item("24", "Weights at the start", card("Model details"), described),
    Item("25", "Training in detail: augmentation, settings, when it stops", report("Methods"), has_grid),
    Item("26", "How the final model was chosen", report("Methods", "Decision"), described),
    Item("27", "Combination of several models", report("Methods")),
    Item("28", "Measures of performance", card("Metrics")),
    Item("29", "Uncertainty and significance", card("Metrics"), has_intervals),
    Item("30", "Robustness or sensitivity analysis", report("Results"), several_seeds),
    Item(
        "31",
        "Explainability, and how it was checked",
        report("Grad-CAM overlap with annotated lesions"),
        heat_maps_measured,
    ),
    Item("32", "Testing on internal data", card("Quantitative analyses"), described),
    Item("33", "Testing on external data, or why not", card("Quantitative analyses"), other_centres),
    Item("34", "Registration of a clinical trial", own=PROTOCOL),
    Item("35", "Numbers included and left out", report("Methods"), images_not_patients),
    Item("36", "Demographic and clinical characteristics of each part", own=COLLECTION),
    Item("37", "Performance and its uncertainty on each part", card("Quantitative analyses"), has_intervals),
    Item("38", "Diagnostic performance and its precision", card("Quantitative analyses"), has_intervals),
    Item("39", "Wrongly classified cases", card("Quantitative analyses"), wrong_calls),
    Item("40", "Limitations", report("Limitations")),
    Item("41", "What it means for practice", own=("Discussion",)),
    Item("42", "Where the full protocol or more technical detail is", report("Provenance"), described),
    Item("43", "Whether software, model and data can be had", own=AVAILABILITY),
    Item("44", "Funding, and the role of the funders", own=("Funding",)),
)
