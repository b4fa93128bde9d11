"""TRIPOD+AI, reporting of prediction models by regression or machine learning: 27 items, 52 with their parts.

Collins et al., BMJ 2024;385:e078378, doi 10.1136/bmj-2023-078378. Topics are paraphrased.
"""

from boneexp.reports.checklists.claim import AVAILABILITY, BACKGROUND, COLLECTION, PROTOCOL, REFERENCE
from boneexp.reports.checklists.rules import (
    calibrated,
    card,
    demographics,
    described,
    has_grid,
    has_intervals,
    images_not_patients,
    in_subgroups,
    item,
    level_of_sets,
    of_btxrd,
    paired_tests,
    report,
    smallest_difference,
)

USE = ("Intended use",)
FAIRNESS = ("Health inequalities and fairness",)

TRIPOD_AI = (
    item("1", "Title identifies development or evaluation, population and outcome"),
    item("2", "Abstract according to TRIPOD+AI for Abstracts"),
    item("3a", "Healthcare context, rationale, existing models", own=BACKGROUND),
    item("3b", "Target population, purpose and users of the model", own=USE),
    item("3c", "Known health inequalities between sociodemographic groups", own=FAIRNESS),
    item("4", "Objectives: development, evaluation or both", report("Summary")),
    item("5a", "Data sources for development and evaluation, and their representativeness", own=COLLECTION),
    item("5b", "Dates of data collection", own=COLLECTION),
    item(
        "6a", "Study setting: number and location of centres", card("Training data", of_btxrd), own=COLLECTION
    ),
    item("6b", "Eligibility criteria", own=COLLECTION),
    item("6c", "Treatments received", own=COLLECTION),
    item("7", "Data preprocessing and quality checks", report("Methods", has_grid)),
    item("8a", "Outcome: definition, time horizon, method of assessment", own=REFERENCE),
    item("8b", "Outcome assessors and their qualifications", own=REFERENCE),
    item("8c", "Blinding of outcome assessment", own=REFERENCE),
    item("9a", "Choice of predictors", report("Methods")),
    item("9b", "Definition of the predictors", report("Methods")),
    item("9c", "Assessors of predictors that need interpretation", report("Methods")),
    item(
        "10",
        "Sample size and its justification",
        report("Differences between experiments", smallest_difference),
        own=("Sample size",),
    ),
    item("11", "Handling of missing data", report("Methods")),
    item("12a", "Use and partitioning of the data", report("Methods", level_of_sets)),
    item("12b", "Handling and transformation of predictors", report("Methods", has_grid)),
    item(
        "12c",
        "Type of model, model-building steps, internal validation",
        report("Experiments", has_grid),
        report("Methods", has_grid),
    ),
    item("12d", "Handling of heterogeneity between clusters such as hospitals", card("Factors", described)),
    item(
        "12e",
        "Performance metrics and comparison of models",
        card("Metrics"),
        report("Differences between experiments", paired_tests),
    ),
    item("12f", "Model updating after evaluation", report("Methods")),
    item("12g", "Computation of predictions", card("Metrics")),
    item("13", "Class imbalance", report("Methods", has_grid), report("Experiments", has_grid)),
    item("14", "Approaches to fairness and their rationale", own=FAIRNESS),
    item(
        "15",
        "Model output and classification thresholds",
        card("Metrics"),
        report("Calibration and operating points", calibrated),
    ),
    item(
        "16",
        "Differences between development and evaluation data",
        card("Evaluation data", images_not_patients),
    ),
    item("17", "Ethics approval and consent", own=("Ethics approval and consent",)),
    item("18a", "Funding", own=("Funding",)),
    item("18b", "Conflicts of interest", own=("Conflicts of interest",)),
    item("18c", "Protocol", own=PROTOCOL),
    item("18d", "Registration", own=PROTOCOL),
    item("18e", "Data availability", card("Training data", of_btxrd), own=AVAILABILITY),
    item("18f", "Code availability", own=AVAILABILITY),
    item("19", "Patient and public involvement", own=("Patient and public involvement",)),
    item(
        "20a",
        "Flow of participants, with and without the outcome",
        card("Evaluation data", images_not_patients),
    ),
    item(
        "20b",
        "Characteristics of the participants, by source",
        report("Subgroups and other centres", demographics),
        own=COLLECTION,
    ),
    item(
        "20c",
        "Distribution of predictors and outcome, evaluation vs development",
        card("Evaluation data", images_not_patients),
    ),
    item(
        "21",
        "Numbers of participants and outcomes in each analysis",
        card("Evaluation data", images_not_patients),
    ),
    item(
        "22", "Full model, usable by others for prediction and evaluation", card("Model details", described)
    ),
    item(
        "23a",
        "Performance with intervals, including subgroups",
        card("Quantitative analyses", has_intervals),
        report("Subgroups and other centres", in_subgroups),
    ),
    item("23b", "Heterogeneity of performance between clusters", card("Quantitative analyses", described)),
    item("24", "Results of model updating", report("Methods")),
    item("25", "Interpretation, including fairness", own=("Discussion",)),
    item("26", "Limitations and their effects", report("Limitations")),
    item("27a", "Handling of poor or missing input", own=USE),
    item("27b", "User interaction and required expertise", own=USE),
    item("27c", "Next steps", report("Next steps")),
)
