from pathlib import Path

import pytest

from boneexp.config import CenterHoldoutSettings, StratifiedSettings
from boneexp.errors import GridInvalid
from boneexp.gridfile import key_lines, load_grid

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
    assert grid.targets["stratified_accuracy"] == 0.75
    assert grid.baseline["center_holdout_accuracy"] == 0.472


def test_the_shipped_grid_spells_out_the_defaults(tmp_path):
    """What the file says and what a key left out means must not drift apart."""
    bare = load_grid(grid_of(tmp_path, '[experiments.E1]\nname = "b0_baseline"\n'))
    shipped = load_grid(SHIPPED)
    changes = {"root": "same"}
    mine = bare.experiments["E1"].data.model_copy(update=changes)
    theirs = shipped.experiments["E1"].data.model_copy(update=changes)
    assert mine == theirs
    assert bare.experiments["E1"].training == shipped.experiments["E1"].training
    assert bare.experiments["E1"].model == shipped.experiments["E1"].model
    assert (bare.splits, bare.seeds, bare.selection) == (shipped.splits, shipped.seeds, shipped.selection)


def test_an_unknown_key_is_named_with_its_line_and_the_nearest_key(tmp_path):
    path = grid_of(tmp_path, "[experiments.E1]\nmodel.droput = 0.3\n")
    assert refusal(path) == (
        f"{path}, line 2: unknown key 'experiments.E1.model.droput'; did you mean 'dropout'?"
    )


def test_an_unknown_key_among_the_defaults_is_named_where_it_stands(tmp_path):
    path = grid_of(tmp_path, "[training]\nepoch = 3\n[experiments.E1]\n")
    assert refusal(path) == f"{path}, line 2: unknown key 'training.epoch'; did you mean 'epochs'?"


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
