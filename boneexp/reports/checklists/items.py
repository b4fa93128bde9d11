"""The items of two reporting checklists, their topics paraphrased.

CLAIM is the Checklist for Artificial Intelligence in Medical Imaging, 2024 update: 44 items. Tejani et al.,
Radiology: Artificial Intelligence 2024, doi 10.1148/ryai.240300.

TRIPOD+AI is for reporting prediction models by regression or machine learning: 27 items, 52 with their parts.
Collins et al., BMJ 2024;385:e078378, doi 10.1136/bmj-2023-078378.
"""

from boneexp.reports.checklists.rules import (
    calibrated,
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
SAMPLE_SIZE = ("Sample size",)
DISCUSSION = ("Discussion",)
FUNDING = ("Funding",)
AVAILABILITY = ("Availability of data, code and model",)
PROTOCOL = ("Protocol and registration",)
USE = ("Intended use",)
FAIRNESS = ("Health inequalities and fairness",)

SUMMARY = report("Summary")
SUMMARY_OF_MODEL = report("Summary", described)
METHODS = report("Methods")
METHODS_OF_GRID = report("Methods", has_grid)
METHODS_OF_MODEL = report("Methods", described)
LEVEL_OF_SETS = report("Methods", level_of_sets)
BTXRD = card("Training data", of_btxrd)
MODEL_DETAILS = card("Model details", described)
METRICS = card("Metrics")
PAIRED_TESTS = report("Differences between experiments", paired_tests)
POWER = report("Differences between experiments", smallest_difference)
SUBGROUPS = report("Subgroups and other centres", in_subgroups)
INTERVALS = card("Quantitative analyses", has_intervals)
ANALYSES = card("Quantitative analyses", described)
NUMBERS_OF_IMAGES = card("Evaluation data", images_not_patients)

CLAIM = (
    item("1", "Title or abstract identifies the study as AI, with the kind of AI", SUMMARY),
    item("2", "Structured summary of design, methods, results and conclusions", SUMMARY_OF_MODEL),
    item("3", "Scientific and clinical background, intended use and role of the AI", own=BACKGROUND),
    item("4", "Aims and hypotheses", own=BACKGROUND),
    item("5", "Prospective or retrospective design", report("Summary", of_images_at_hand)),
    item("6", "Goal of the study, such as developing or comparing models", SUMMARY),
    item("7", "Data sources", BTXRD, own=COLLECTION),
    item("8", "Inclusion and exclusion criteria", own=COLLECTION),
    item("9", "Image preprocessing", METHODS_OF_GRID),
    item("10", "Selection of data subsets, such as crops", METHODS),
    item("11", "De-identification", own=COLLECTION),
    item("12", "Handling of missing data", METHODS),
    item("13", "Image acquisition protocol", own=COLLECTION),
    item("14", "Definition of the reference standard, in replicable detail", own=REFERENCE),
    item("15", "Rationale for the reference standard", own=REFERENCE),
    item("16", "Annotators and their qualifications", own=REFERENCE),
    item("17", "Annotation of the test set", own=REFERENCE),
    item("18", "Inter- and intra-rater agreement", own=REFERENCE),
    item("19", "Assignment of images to training, validation and test sets", METHODS_OF_MODEL),
    item("20", "Level at which the sets are disjoint", LEVEL_OF_SETS),
    item("21", "Intended sample size and how it was determined", POWER, own=SAMPLE_SIZE),
    item("22", "Detailed description of the model: inputs, outputs, layers", MODEL_DETAILS),
    item("23", "Software with versions", card("Model details", software_known)),
    item("24", "Initialisation of the model", MODEL_DETAILS),
    item("25", "Training: augmentation, hyperparameters, stopping rule", METHODS_OF_GRID),
    item("26", "Selection of the final model", METHODS_OF_MODEL, report("Decision", described)),
    item("27", "Ensembling", METHODS),
    item("28", "Performance metrics", METRICS),
    item("29", "Statistical uncertainty and significance", card("Metrics", has_intervals), PAIRED_TESTS),
    item("30", "Robustness or sensitivity analysis", report("Results", several_seeds), SUBGROUPS),
    item(
        "31",
        "Explainability methods and their validation",
        report("Grad-CAM overlap with annotated lesions", heat_maps_measured),
    ),
    item("32", "Internal testing", ANALYSES),
    item("33", "External testing, or why not", card("Quantitative analyses", other_centres)),
    item("34", "Clinical trial registration", own=PROTOCOL),
    item("35", "Numbers included and excluded", report("Methods", images_not_patients)),
    item(
        "36",
        "Demographic and clinical characteristics of each set",
        card("Quantitative analyses", demographics),
        own=COLLECTION,
    ),
    item("37", "Performance and uncertainty on each set", INTERVALS),
    item("38", "Diagnostic performance and its precision", INTERVALS),
    item("39", "Misclassified cases", card("Quantitative analyses", misclassified_counted)),
    item("40", "Limitations", report("Limitations")),
    item("41", "Implications for practice", own=DISCUSSION),
    item("42", "Access to the full protocol or technical details", report("Provenance", described)),
    item("43", "Availability of software, model and data", own=AVAILABILITY),
    item("44", "Funding and role of the funders", own=FUNDING),
)

TRIPOD_AI = (
    item("1", "Title identifies development or evaluation, population and outcome"),
    item("2", "Abstract according to TRIPOD+AI for Abstracts"),
    item("3a", "Healthcare context, rationale, existing models", own=BACKGROUND),
    item("3b", "Target population, purpose and users of the model", own=USE),
    item("3c", "Known health inequalities between sociodemographic groups", own=FAIRNESS),
    item("4", "Objectives: development, evaluation or both", SUMMARY),
    item("5a", "Data sources for development and evaluation, and their representativeness", own=COLLECTION),
    item("5b", "Dates of data collection", own=COLLECTION),
    item("6a", "Study setting: number and location of centres", BTXRD, own=COLLECTION),
    item("6b", "Eligibility criteria", own=COLLECTION),
    item("6c", "Treatments received", own=COLLECTION),
    item("7", "Data preprocessing and quality checks", METHODS_OF_GRID),
    item("8a", "Outcome: definition, time horizon, method of assessment", own=REFERENCE),
    item("8b", "Outcome assessors and their qualifications", own=REFERENCE),
    item("8c", "Blinding of outcome assessment", own=REFERENCE),
    item("9a", "Choice of predictors", METHODS),
    item("9b", "Definition of the predictors", METHODS),
    item("9c", "Assessors of predictors that need interpretation", METHODS),
    item("10", "Sample size and its justification", POWER, own=SAMPLE_SIZE),
    item("11", "Handling of missing data", METHODS),
    item("12a", "Use and partitioning of the data", LEVEL_OF_SETS),
    item("12b", "Handling and transformation of predictors", METHODS_OF_GRID),
    item(
        "12c",
        "Type of model, model-building steps, internal validation",
        report("Experiments", has_grid),
        METHODS_OF_GRID,
    ),
    item("12d", "Handling of heterogeneity between clusters such as hospitals", card("Factors", described)),
    item("12e", "Performance metrics and comparison of models", METRICS, PAIRED_TESTS),
    item("12f", "Model updating after evaluation", METHODS),
    item("12g", "Computation of predictions", METRICS),
    item("13", "Class imbalance", METHODS_OF_GRID, report("Experiments", has_grid)),
    item("14", "Approaches to fairness and their rationale", own=FAIRNESS),
    item(
        "15",
        "Model output and classification thresholds",
        METRICS,
        report("Calibration and operating points", calibrated),
    ),
    item("16", "Differences between development and evaluation data", NUMBERS_OF_IMAGES),
    item("17", "Ethics approval and consent", own=("Ethics approval and consent",)),
    item("18a", "Funding", own=FUNDING),
    item("18b", "Conflicts of interest", own=("Conflicts of interest",)),
    item("18c", "Protocol", own=PROTOCOL),
    item("18d", "Registration", own=PROTOCOL),
    item("18e", "Data availability", BTXRD, own=AVAILABILITY),
    item("18f", "Code availability", own=AVAILABILITY),
    item("19", "Patient and public involvement", own=("Patient and public involvement",)),
    item("20a", "Flow of participants, with and without the outcome", NUMBERS_OF_IMAGES),
    item(
        "20b",
        "Characteristics of the participants, by source",
        report("Subgroups and other centres", demographics),
        own=COLLECTION,
    ),
    item("20c", "Distribution of predictors and outcome, evaluation vs development", NUMBERS_OF_IMAGES),
    item("21", "Numbers of participants and outcomes in each analysis", NUMBERS_OF_IMAGES),
    item("22", "Full model, usable by others for prediction and evaluation", MODEL_DETAILS),
    item("23a", "Performance with intervals, including subgroups", INTERVALS, SUBGROUPS),
    item("23b", "Heterogeneity of performance between clusters", ANALYSES),
    item("24", "Results of model updating", METHODS),
    item("25", "Interpretation, including fairness", own=DISCUSSION),
    item("26", "Limitations and their effects", report("Limitations")),
    item("27a", "Handling of poor or missing input", own=USE),
    item("27b", "User interaction and required expertise", own=USE),
    item("27c", "Next steps", report("Next steps")),
)
