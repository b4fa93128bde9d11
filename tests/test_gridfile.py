import os
from pathlib import Path

import pytest

from boneexp.errors import GridInvalid
from boneexp.study.grid import load_grid, promotion_policy, write_study_grid
from boneexp.study.settings import CenterHoldoutSettings, StratifiedSettings
from boneexp.study.toml import key_lines
from boneexp.text.nearest import nearest

SHIPPED = Path(__file__).parents[1] / "experiments.toml"
SMALL = '[data]\nroot = "D"\n\n[experiments.E1]\nmodel.dropout = 0.3\n'


def grid_of(tmp_path, text):
    path = tmp_path / "grid.toml"
    path.write_text(text)
    return path


def refusal(path, *overrides):
    with pytest.raises(GridInvalid) as caught:
        load_grid(path, overrides)
    return str(caught.value)


def test_the_shipped_grid_is_the_table_of_the_study():
    grid = load_grid(SHIPPED)
    table = {
        key: (
            value.name,
            value.model.backbone,
            value.model.attn_layer,
            value.data.image_size,
            value.training.batch_size,
            value.model.dropout,
            value.training.annotations,
        )
        for key, value in grid.experiments.items()
    }
    assert table == {
        "E1": ("b0_baseline", "efficientnet_b0", "", 224, 32, 0.2, False),
        "E2": ("b0_annotated", "efficientnet_b0", "", 224, 32, 0.2, True),
        "E3": ("b3_annotated", "efficientnet_b3", "", 300, 16, 0.3, True),
        "E4": ("resnet50_cbam", "resnet50", "cbam", 224, 16, 0.3, True),
    }
    recipe = grid.experiments["E4"].training
    assert (recipe.epochs, recipe.learning_rate, recipe.weight_decay, recipe.warmup_epochs) == (
        80,
        3e-4,
        1e-4,
        3,
    )
    assert (recipe.label_smoothing, recipe.patience, recipe.dim_factor) == (0.1, 15, 0.5)
    assert (recipe.flip_probability, recipe.rotation_degrees, recipe.class_weights) == (0.5, 15, True)
    assert [split.name for split in grid.splits] == ["stratified", "center_holdout"]
    assert grid.splits[0].settings == StratifiedSettings(ratios=(0.70, 0.15, 0.15))
    assert grid.splits[1].settings == CenterHoldoutSettings(
        train_centers=(1,), test_centers=(2, 3), ratios=(0.85, 0.15)
    )
    assert grid.seeds == (42,)
    assert grid.targets.figures["stratified_accuracy"] == 0.75
    assert grid.baseline.figures["center_holdout_accuracy"] == 0.472
    assert (grid.baseline.comparable_to, grid.targets.comparable_to) == ("BTXRD", "BTXRD")
    assert grid.baseline.sizes == {
        "stratified_accuracy": 564,
        "stratified_malignant_sensitivity": 51,
        "stratified_malignant_specificity": 513,
        "center_holdout_accuracy": 808,
        "center_holdout_malignant_sensitivity": 107,
        "center_holdout_malignant_specificity": 701,
    }


def test_the_shipped_grid_spells_out_the_defaults(tmp_path):
    """What the file says and what a key left out means must not drift apart.

    Decoding is apart by intent: left out it means what it meant before there was a choice, and the hashes of
    runs from then rest on that.
    """
    bare = load_grid(grid_of(tmp_path, '[experiments.E1]\nname = "b0_baseline"\n'))
    shipped = load_grid(SHIPPED)
    assert shipped.experiments["E1"].data.decoding == "scaled"
    changes = {"root": "same", "decoding": "same"}
    mine = bare.experiments["E1"].data.model_copy(update=changes)
    theirs = shipped.experiments["E1"].data.model_copy(update=changes)
    assert mine == theirs
    assert bare.experiments["E1"].training == shipped.experiments["E1"].training
    assert bare.experiments["E1"].model == shipped.experiments["E1"].model
    assert (bare.splits, bare.seeds, bare.selection) == (shipped.splits, shipped.seeds, shipped.selection)
    assert bare.promotion == shipped.promotion


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_key(tmp_path):
    path = grid_of(tmp_path, "[experiments.E1]\nmodel.droput = 0.3\n")
    assert refusal(path) == (
        f"{path}, line 2: unknown key 'experiments.E1.model.droput'; did you mean 'dropout'?"
    )


def test_an_unknown_key_among_the_defaults_is_named_where_it_stands(tmp_path):
    path = grid_of(tmp_path, "[training]\nepoch = 3\n[experiments.E1]\n")
    assert refusal(path) == f"{path}, line 2: unknown key 'training.epoch'; did you mean 'epochs'?"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("enforced = true", "unknown key 'promotion.enforced'; did you mean 'enforce'?"),
        ('enforce = "yes"', "promotion.enforce: Input should be a valid boolean (it is 'yes')"),
        (
            'above_baseline = ["gradcam_iou"]',
            "promotion.above_baseline.0: Input should be 'stratified_accuracy'",
        ),
        (
            "least_accuracy = 50",
            "promotion.least_accuracy: Input should be less than or equal to 1 (it is 50)",
        ),
    ],
)
def test_a_mistake_in_the_conditions_of_promotion_is_named_with_its_line(tmp_path, line, said):
    path = grid_of(tmp_path, f"[experiments.E1]\n\n[promotion]\n{line}\n")
    for found in (refusal(path), policy_refusal(path)):
        assert found.startswith(f"{path}, line 4: {said}")


def policy_refusal(path):
    with pytest.raises(GridInvalid) as caught:
        promotion_policy(path)
    return str(caught.value)


def test_the_conditions_of_promotion_are_read_whatever_else_the_file_says(tmp_path):
    path = grid_of(tmp_path, "[trainning]\nepochs = 3\n[promotion]\nenforce = true\n")
    assert promotion_policy(path).enforce
    assert not promotion_policy(grid_of(tmp_path, "[experiments.E1]\n")).enforce
    path.write_text("promotion = 3\n")
    assert "line 1: promotion: Input should be a valid dictionary" in policy_refusal(path)


def test_an_unknown_table_is_named_with_its_line(tmp_path):
    path = grid_of(tmp_path, "[experiments.E1]\n\n[trainning]\nepochs = 3\n")
    assert refusal(path).startswith(f"{path}, line 3: unknown key 'trainning'; did you mean 'training'?")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("training.batch_size = 0", "greater than or equal to 1 (it is 0)"),
        ('training.batch_size = "8"', "valid integer (it is '8')"),
        ("model.dropout = 1.0", "less than 1 (it is 1.0)"),
        ("training.learning_rate = nan", "finite number"),
        ("data.image_size = 1000000", "less than or equal to 2048"),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_line(tmp_path, line, said):
    path = grid_of(tmp_path, f"[experiments.E1]\n{line}\n")
    message = refusal(path)
    assert message.startswith(f"{path}, line 2: experiments.E1.{line.split(' =')[0]}: ")
    assert said in message


def test_overrides_beat_the_defaults_and_the_experiments_own_values(tmp_path):
    path = grid_of(tmp_path, SMALL)
    settings = load_grid(path, ["model.dropout=0.1", "training.batch_size=8"]).experiments["E1"]
    assert (settings.model.dropout, settings.training.batch_size) == (0.1, 8)
    assert load_grid(path, ["experiments.E1.model.dropout=0.5"]).experiments["E1"].model.dropout == 0.5
    assert load_grid(path, ["seeds=[1,2,1]"]).seeds == (1, 2)
    assert load_grid(path, ["splits.seed=7"]).splits[0].seed == 7


GENERAL, OF_E1 = "training.epochs=1", "experiments.E1.training.epochs=3"


@pytest.mark.parametrize(
    "overrides",
    [
        [GENERAL, OF_E1],
        [OF_E1, GENERAL],
        ["training={epochs=1}", "experiments={E1={training={epochs=3}}}"],
        ["experiments.E1={training={epochs=3}}", "training={epochs=1, patience=2}"],
        ["experiments.E1.training={epochs=3}", GENERAL],
        [OF_E1.replace("3", "9"), GENERAL, OF_E1],
    ],
)
def test_an_override_of_one_experiment_beats_that_of_all_in_either_order(tmp_path, overrides):
    path = grid_of(tmp_path, f"{SMALL}\ntraining.epochs = 7\n[experiments.E2]\ntraining.epochs = 8\n")
    found = load_grid(path, overrides).experiments
    assert (found["E1"].training.epochs, found["E2"].training.epochs) == (3, 1)


def test_in_the_file_too_the_more_specific_counts_wherever_it_stands(tmp_path):
    path = grid_of(
        tmp_path, "[experiments.E1]\ntraining.epochs = 7\n[experiments.E2]\n[training]\nepochs = 5\n"
    )
    found = load_grid(path).experiments
    assert (found["E1"].training.epochs, found["E2"].training.epochs) == (7, 5)
    found = load_grid(path, ["experiments.E2.training.epochs=2"]).experiments
    assert (found["E1"].training.epochs, found["E2"].training.epochs) == (7, 2)


def test_tables_given_as_overrides_are_laid_over_key_by_key(tmp_path):
    path = grid_of(tmp_path, SMALL)
    found = load_grid(path, ["training={epochs=2}", "training.patience=4"]).experiments["E1"].training
    assert (found.epochs, found.patience) == (2, 4)
    found = load_grid(path, ["training.patience=4", "training={epochs=2}"]).experiments["E1"].training
    assert (found.epochs, found.patience) == (2, 4)
    assert load_grid(path, ["experiments.E9.training.epochs=2"]).experiments["E9"].training.epochs == 2
    assert "'experiments.E1'" not in refusal(path, "experiments={E1=5}")
    assert "valid dictionary (it is 5)" in refusal(path, "experiments={E1=5}")


def test_paths_of_one_experiment_count_from_where_one_is_when_they_are_overridden(tmp_path, monkeypatch):
    (tmp_path / "study").mkdir()
    path = grid_of(tmp_path / "study", f"{SMALL}\n[experiments.E2]\n")
    monkeypatch.chdir(tmp_path)
    found = load_grid(path, ["experiments.E1.data.root=D"]).experiments
    assert found["E1"].data.root == str(tmp_path / "D")
    assert found["E2"].data.root == str(tmp_path / "study" / "D")


def test_a_wrong_override_is_named_as_such(tmp_path):
    path = grid_of(tmp_path, SMALL)
    assert refusal(path, "training.batch_szie=8").startswith("--set training.batch_szie: unknown key")
    assert "did you mean 'batch_size'?" in refusal(path, "training.batch_szie=8")
    assert refusal(path, "traning.epochs=8").startswith("--set traning.epochs: unknown key 'traning'")
    assert "not KEY=VALUE" in refusal(path, "training.batch_size")
    assert "a value, not a table" in refusal(path, "experiments.E1.model.dropout.x=1")


def test_a_relative_data_root_is_relative_to_the_file_and_an_override_to_the_folder_one_is_in(
    tmp_path, monkeypatch
):
    inside = tmp_path / "study"
    inside.mkdir()
    path = grid_of(inside, SMALL)
    monkeypatch.chdir(tmp_path)
    assert load_grid(path).experiments["E1"].data.root == str(inside / "D")
    assert load_grid(path, ["data.root=D"]).experiments["E1"].data.root == str(tmp_path / "D")
    assert load_grid(path, ["data.root=2024-01-01"]).experiments["E1"].data.root == str(
        tmp_path / "2024-01-01"
    )


def test_a_file_that_is_no_grid_gets_one_sentence(tmp_path):
    assert "is not valid TOML" in refusal(grid_of(tmp_path, "[experiments.E1\n"))
    assert "at line 1" in refusal(grid_of(tmp_path, "[experiments.E1\n"))
    assert "there is no grid file" in refusal(tmp_path / "none.toml")
    assert "cannot be read" in refusal(tmp_path)
    assert "'experiments' is missing" in refusal(grid_of(tmp_path, ""))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as a text file" in refusal(tmp_path / "binary.toml")
    deep = grid_of(tmp_path, "a = " + "[" * 20_000 + "]" * 20_000)
    assert "nested too deeply" in refusal(deep) or "not valid TOML" in refusal(deep)


@pytest.mark.parametrize("name", ['"../E1"', '"E 1"', '""', '"' + "x" * 80 + '"'])
def test_an_experiment_id_must_be_a_plain_name(tmp_path, name):
    assert "experiments" in refusal(grid_of(tmp_path, f"[experiments.{name}]\n"))


def test_ratios_and_centres_are_checked(tmp_path):
    path = grid_of(tmp_path, SMALL)
    assert "add up to 1.5" in refusal(path, "splits.stratified.ratios=[0.5,0.5,0.5]")
    assert "centre 2 is in train_centers and in test_centers" in refusal(
        path, "splits.center_holdout.train_centers=[1,2]"
    )


def test_unknown_figures_in_targets_and_baseline_are_errors(tmp_path):
    path = grid_of(tmp_path, f"{SMALL}\n[targets]\nstratified_acuracy = 0.7\n")
    assert refusal(path).endswith("'targets.stratified_acuracy'; did you mean 'stratified_accuracy'?")
    assert "line 8" in refusal(path)


def test_key_lines_knows_tables_dotted_keys_and_quotes():
    lines = key_lines('a = 1\n[b."c"]\nd.e = 2\n# f = 3\n')
    assert lines[("a",)] == 1
    assert lines[("b", "c")] == 2
    assert lines[("b", "c", "d", "e")] == 3
    assert ("b", "c", "f") not in lines


# Grids that mean harm

E1 = "[experiments.E1]\n"
PARTS = ".".join("a" * 10_000)
HARM = {
    "arrays in arrays": ("x = " + "[" * 50_000 + "]" * 50_000, "nested too deeply"),
    "tables in tables": ("x = " + "{a=" * 50_000 + "1" + "}" * 50_000, "nested too deeply"),
    "tables eleven deep": (E1 + "model.a = " + "{a=" * 9 + "1" + "}" * 9, "nested too deeply"),
    "a key of 10,000 parts": (f"{PARTS} = 1\n{E1}", "line 1: a key of 10,000 parts"),
    "in an experiment": (f"{E1}{PARTS} = 1\n", "line 2: a key of 10,000 parts"),
    "in a header": (f"{E1}[experiments.E2.{PARTS}]\n", "line 2: a key of 10,002 parts"),
    "in quotes": (f"""{E1}{PARTS.replace("a", "'a'")} = 1\n""", "line 2: a key of 10,000 parts"),
    "in an inline table": (f"{E1}x = [\n{{{PARTS} = 1}}]\n", "line 3: a key of 10,000 parts"),
    "behind a string": (
        f'{E1}notes = """\n\\""" " \' # \n"""\n{PARTS} = 1\n',
        "line 5: a key of 10,000 parts",
    ),
    "10,000 digits": (f"{E1}training.epochs = {'9' * 10_000}\n", "not valid TOML"),
    "10,000 hex digits": (f"{E1}training.epochs = 0x{'f' * 10_000}\n", "(it is a number without end)"),
    "digits for a name": (f"{E1}name = 0x{'f' * 10_000}\n", "valid string (it is a number without end)"),
    "patience without end": (f"{E1}training.patience = 0x{'f' * 10_000}\n", "less than or equal to 100000"),
    "a centre without end": (
        f"splits.center_holdout.train_centers = [0x{'f' * 10_000}]\n{E1}",
        "less than or equal to 1000000",
    ),
    "a date": (f"{E1}name = 1979-05-27\n", "line 2: experiments.E1.name: Input should be a valid string"),
    "a date for a folder": (f"data.root = 1979-05-27T07:32:00Z\n{E1}", "line 1: data.root: Input should be"),
    "infinite": (f"{E1}training.learning_rate = 1e999\n", "finite number (it is inf)"),
    "a NUL in a path": (f'data.root = "a\\u0000b"\n{E1}', "line 1: data.root: 'a\\x00b' is no path"),
    "nobody's home": (
        f'{E1}model.pretrained = "~nobody-here/x"\n',
        "line 2: experiments.E1.model.pretrained: ",
    ),
    "a long path": (f'data.root = "{"x" * 5_000}"\n{E1}', "at most 4096 characters"),
    "a long name": (
        f'data.name = "{"x" * 100_000}"\n{E1}',
        "line 1: data.name: String should have at most 100",
    ),
    "a list": ("experiments = [1]\n", "valid dictionary (it is [1])"),
    "a value for a table": (f"model = 5\n{E1}", "line 1: model: Input should be a valid dictionary"),
    "a value for a section": (f"{E1}model = 5\n", "line 2: experiments.E1.model: Input should be"),
    "20,000 unknown keys": ("".join(f"k{n} = 1\n" for n in range(20_000)) + E1, "(and 19990 more)"),
    "20,000 wrong ids": ("".join(f'["{n} x"]\n' for n in range(20_000)) + E1, "(and 19990 more)"),
}


@pytest.mark.parametrize(("text", "said"), HARM.values(), ids=HARM)
def test_a_grid_that_means_harm_is_refused_in_one_sentence(tmp_path, text, said):
    message = refusal(grid_of(tmp_path, text))
    assert said in message
    assert len(message) < 2_500


def test_a_grid_without_end_or_one_that_is_no_file_is_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.toml")
    assert "pipe.toml cannot be read as a text file: not a plain file" in refusal(tmp_path / "pipe.toml")
    (tmp_path / "zero.toml").symlink_to("/dev/zero")
    assert "not a plain file" in refusal(tmp_path / "zero.toml")
    (tmp_path / "huge.toml").touch()
    os.truncate(tmp_path / "huge.toml", 900_000_000_000)  # a hole: it takes no room
    assert "900,000,000,000 bytes, and 16,000,000 are the most" in refusal(tmp_path / "huge.toml")


@pytest.mark.parametrize(
    "inside",
    [
        "\n" + " " * 9_000 + "\n",
        "a " * 4_000,
        ". " * 4_000,
        "[a" + ".a" * 4_000 + "]\n",
        "a." * 4_000 + "b = 1",
    ],
)
def test_notes_may_look_like_anything(tmp_path, inside):
    grid = load_grid(grid_of(tmp_path, f'{E1}notes = """{inside}"""\ntraining.epochs = 3\n'))
    assert grid.experiments["E1"].training.epochs == 3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (f"{PARTS}=1", "is not KEY=VALUE"),
        (f"model.{PARTS}=1", "is not KEY=VALUE"),
        (f"training.epochs={'9' * 10_000}", "--set training.epochs: training.epochs: Input should be"),
        (f"training.epochs=0x{'f' * 10_000}", "(it is a number without end)"),
        (f"training.epochs={'[' * 10_000}", "Input should be a valid integer"),
        (f"training.epochs={{{PARTS}=1}}", "Input should be a valid integer"),
        ("data.root=~nobody-here/x", "--set data.root: data.root: '~nobody-here/x' is no path"),
        ("data.name=\udcff", "--set data.name: data.name: Input should be a valid string"),
        ("experiments=5", "--set experiments: experiments: Input should be a valid dictionary"),
        ("experiments.E1=5", "--set experiments.E1: experiments.E1: Input should be a valid dictionary"),
        ("data=5", "--set data: data: Input should be a valid dictionary"),
        ("promoted.image_size=0x" + "f" * 10_000, "less than or equal to 1000000"),
    ],
)
def test_an_override_that_means_harm_is_refused_in_one_sentence(tmp_path, override, said):
    message = refusal(grid_of(tmp_path, SMALL), override)
    assert said in message
    assert len(message) < 400 + len(str(tmp_path))


def test_a_hint_names_no_more_keys_than_one_reads():
    assert nearest("x", [f"E{number}" for number in range(10_000)]).count(",") == 12
    assert nearest("E1", ["E1x", "E2"]) == "did you mean 'E1x'?"


def test_a_study_grid_is_written_only_with_a_root_that_toml_can_hold(tmp_path):
    write_study_grid(tmp_path / "a.toml", 'a"b\n\\')
    assert load_grid(tmp_path / "a.toml").experiments["E1"].data.root == str(tmp_path / 'a"b\n\\')
    with pytest.raises(GridInvalid, match="'a.udcff' is not UTF-8"):
        write_study_grid(tmp_path / "b.toml", "a\udcff")
    assert not (tmp_path / "b.toml").exists()
