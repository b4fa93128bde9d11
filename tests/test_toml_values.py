"""What boneexp writes into a grid file is read back as it was, whatever characters it holds."""

import tomllib

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from boneexp.errors import GridInvalid
from boneexp.study.grid import load_grid, write_study_grid
from boneexp.study.promoted_table import with_promoted
from boneexp.study.toml import toml_item

AWKWARD = "a\"b'c\\d\n\r\t\0\x07\x1b\x1f\x7f\x80\x85\u2028\u2029\ufeff\u202e\U0001f600\U0010ffff"
SEPARATORS = "\v\f\x1c\x1d\x1e\x85\u2028\u2029"  # where Python ends a line, and TOML does not

tried = settings(max_examples=150, derandomize=True, database=None, deadline=None)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("toml")


@tried
@given(st.text() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
@example(AWKWARD)
@example("\U0001f600")
@example("\x7f")
@example("")
def test_a_value_is_read_back_as_it_was_written(value):
    text = toml_item(value).as_string()
    assert len(text.split("\n")) == 1
    (found,) = tomllib.loads(text.join(("x = ", "\n"))).values()
    assert (found, type(found)) == (value, type(value))
    text.encode("utf-8")


@pytest.mark.parametrize("text", ["\ud83d", "a\udcffb", "\udfff\ud800"])
def test_half_a_character_is_refused(text):
    with pytest.raises(GridInvalid, match="is not UTF-8, and so cannot stand in a grid file"):
        toml_item(text)


@tried
@given(st.text(min_size=1))
@example(AWKWARD)
@example("radiographs-\U0001f9b4")
def test_a_data_root_of_any_characters_can_begin_a_study(folder, root):
    path = folder / "begun.toml"
    path.unlink(missing_ok=True)
    write_study_grid(path, root)
    assert tomllib.loads(path.read_text(encoding="utf-8"))["data"]["root"] == root


def test_a_grid_that_was_begun_with_such_a_root_can_be_loaded(tmp_path):
    write_study_grid(tmp_path / "g.toml", "bones-\U0001f9b4")
    assert load_grid(tmp_path / "g.toml").experiments["E1"].data.root == str(tmp_path / "bones-\U0001f9b4")


GRIDS = (
    "a = 1\n\n[promoted]  # mine\n# keep\nexperiment = 'E1'\n\n[z]\nb = 2\n",
    "# one\u2028[promoted]\u2029# line\x85\na = '\u2028'\n",
    "a = 1\r\n[promoted]\r\n",
    "",
)


@tried
@given(st.text(), st.text(), st.sampled_from(GRIDS))
@example(AWKWARD, SEPARATORS, GRIDS[0])
@example("a\u2028# no comment", "\u2028[z]", GRIDS[0])
@example("artifacts-\U0001f600/best.pt", "E1", GRIDS[1])
def test_the_promoted_table_holds_any_text_and_can_be_rewritten_again(folder, first, second, grid):
    path = folder / "promoted.toml"
    path.write_bytes(grid.encode())
    before = tomllib.loads(grid.replace("\r\n", "\n"))
    for checkpoint in (first, second, "plain"):
        values = {"experiment": "E2", "checkpoint": checkpoint, "dropout": 0.3, "image_size": 32}
        path.write_bytes(with_promoted(path, values).encode())
        found = tomllib.loads(path.read_bytes().decode().replace("\r\n", "\n"))
        assert found.pop("promoted") == values
        assert found == {key: value for key, value in before.items() if key != "promoted"}
    kept = [line for line in grid.split("\n") if line.strip() and "E1" not in line]
    assert [line for line in path.read_bytes().decode().split("\n") if line in kept] == kept


ODD_FILES = {
    '["promoted"] # mine\nexperiment = "E1"\n': '["promoted"] # mine\nexperiment = "E2"\n',
    "[promoted]\nexperiment = 'E1'   # the best\nbackbone = ''\n\n# of z\n[z]\na=1": (
        '[promoted]\nexperiment = "E2"   # the best\n\n# of z\n[z]\na=1\n'
    ),
    "a   =   1 # odd\n b.c= {d=1,e =[2,\n 3]}": (
        'a   =   1 # odd\n b.c= {d=1,e =[2,\n 3]}\n\n[promoted]\nexperiment = "E2"\n'
    ),
    "a = 1\r\n[z]\r\nb=2": 'a = 1\r\n[z]\r\nb=2\r\n\r\n[promoted]\r\nexperiment = "E2"\r\n',
    "[a.b]\nx=1\n[promoted]\n[a.c]\ny=2\n": '[a.b]\nx=1\n[promoted]\nexperiment = "E2"\n[a.c]\ny=2\n',
    "promoted = {experiment = 'E1'}\nseeds = [1]\n": 'seeds = [1]\n\n[promoted]\nexperiment = "E2"\n',
    "z.a = 1\npromoted.experiment = 'E1'\n": 'z.a = 1\n[promoted]\nexperiment = "E2"\n',
}


@pytest.mark.parametrize("before", ODD_FILES)
def test_the_promoted_table_of_an_odd_file_is_rewritten_and_the_rest_is_byte_for_byte_what_it_was(
    tmp_path, before
):
    path = tmp_path / "g.toml"
    path.write_bytes(before.encode())
    changed = with_promoted(path, {"experiment": "E2"})
    assert changed == ODD_FILES[before]
    path.write_bytes(changed.encode())
    assert with_promoted(path, {"experiment": "E2"}) == changed


def test_a_promoted_table_that_cannot_be_rewritten_is_refused_in_one_sentence(tmp_path):
    path = tmp_path / "g.toml"
    for text in ("[promoted]\n[promoted.x]\ny = 1\n", "[[promoted]]\n", "promoted = 3\n"):
        path.write_text(text)
        with pytest.raises(GridInvalid, match="write the default model as a plain .promoted. table"):
            with_promoted(path, {"experiment": "E2"})
    path.write_bytes(b"\xef\xbb\xbf[promoted]\n")
    with pytest.raises(GridInvalid, match="cannot be rewritten"):
        with_promoted(path, {"experiment": "E2"})
    path.write_text("[promoted]\n")
    with pytest.raises(GridInvalid, match="is not UTF-8"):
        with_promoted(path, {"checkpoint": "artifacts\udcff/best.pt"})
    assert path.read_text() == "[promoted]\n"
