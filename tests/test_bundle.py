"""One archive that anybody can check with nothing but Python, and in which every change is found."""

import ast
import csv
import hashlib
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from conftest import Study
from full_ledger import full_ledger
from hypothesis import given, settings
from hypothesis import strategies as st
from settled_ledger import settled_ledger

from boneexp.exports import verify
from boneexp.exports.withheld import grid_without_paths, without_images
from boneexp.ledger import sealed_rows, seals
from boneexp.ledger.slice import MAY_NAME_A_MACHINE, WITHHELD_DETAILS
from boneexp.text.escaping import csv_text

PICTURE = "data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ=="


@pytest.fixture(scope="module")
def made(tmp_path_factory, finished_study):
    """A study that was really run, with documents, a page with a picture, and its bundle with checkpoints."""
    study = Study(shutil.copytree(finished_study.folder, tmp_path_factory.mktemp("bundle") / "study"))
    study("promote", "E1", "--yes", "--reason", "=the only one")
    page = f'<p>{study.artifacts}/experiments</p><img alt="x" src="{PICTURE}"><svg></svg>'
    (study.artifacts / "report.html").write_text(page)
    study("export", "--bundle", "out/study.zip", "--with-checkpoints")
    return study, study.folder / "out" / "study.zip"


def checked(path, *, isolated=True):
    """Run the verifier as a reader would; return its exit code and its lines."""
    command = [sys.executable, *(["-I", "-S"] if isolated else []), verify.__file__, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def wrong(path):
    return [name for name, _, holds in verify.checked(path) if not holds]


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(path, files, *, noted_anew=False):
    """Pack files into an archive; with `noted_anew` the manifest is made to agree with them."""
    if noted_anew:
        manifest = json.loads(files["manifest.json"])
        named = {name: files[name] for name in manifest["files"]}
        manifest["files"] = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
            for name, content in named.items()
        }
        text = json.dumps(manifest).encode()
        digest = hashlib.sha256(text).hexdigest()
        files = {**files, "manifest.json": text, "manifest.sha256": f"{digest}  manifest.json\n".encode()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = 0o100644 << 16
            archive.writestr(entry, content)
    return path


def changed_ledger(content, tmp_path, *statements):
    """Return the bytes of a ledger after somebody has changed rows in it."""
    path = tmp_path / "changed.db"
    path.write_bytes(content)
    with sqlite3.connect(path) as connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
    return path.read_bytes()


def test_a_bundle_verifies_with_nothing_but_python_packed_and_unpacked(made, tmp_path):
    bundle = made[1]
    code, lines = checked(bundle)
    assert (code, lines[-1]) == (0, "every check holds")
    assert [line.split()[:2] for line in lines[:-1]] == [["ok", name] for name in verify.CHECKS]
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "unpacked")
    assert checked(tmp_path / "unpacked")[0] == 0
    command = [sys.executable, "-I", "-S", "verify.py"]
    assert (
        subprocess.run(command, cwd=tmp_path / "unpacked", check=False, capture_output=True).returncode == 0
    )


def test_a_bundle_has_what_a_reader_needs(made):
    study, bundle = made
    content = members(bundle)
    (splits,) = [[name for name in content if name.startswith("splits/")]]
    assert len(splits) == 2
    assert set(content) - set(splits) == {
        "README.txt",
        *(f"checkpoints/run-000{run}.pt" for run in range(1, 5)),
        "comparison.csv",
        "comparison.json",
        *(f"configs/run-000{run}.json" for run in range(1, 5)),
        "docs/model_card.md",
        "docs/poc_report.md",
        "environment.json",
        "experiments.toml",
        "ledger.db",
        "manifest.json",
        "manifest.sha256",
        "metrics.csv",
        "predictions.csv",
        "report.html",
        "verify.py",
    }
    with sqlite3.connect(study.ledger) as connection:
        last = connection.execute("SELECT hash FROM events ORDER BY id DESC").fetchone()[0]
        fingerprint = connection.execute("SELECT fingerprint FROM datasets").fetchone()[0]
    manifest = json.loads(content["manifest.json"])
    assert manifest["last_event"]["hash"] == last
    assert [dataset["fingerprint"] for dataset in manifest["datasets"]] == [fingerprint]
    assert manifest["missing"] == []
    readme = content["README.txt"].decode()
    assert readme.startswith("Research use only, not for clinical use.")
    assert "synthetic phantom" in readme
    assert last in readme
    assert content["comparison.csv"] == study("compare", "--csv").stdout.encode()
    software = json.loads(content["environment.json"])
    assert software["attempts"][0]["software"]["torch"] == software["installed"]["torch"]


def test_nothing_in_a_bundle_names_the_machine_and_no_image_is_in_it(made, phantom):
    study, bundle = made
    with sqlite3.connect(study.ledger) as connection:
        named = connection.execute("SELECT DISTINCT worker FROM attempts UNION SELECT boot_id FROM attempts")
        machine = [str(study.folder), str(study.folder.parent), str(phantom), *(row[0] for row in named)]
    content = members(bundle)
    for name, found in content.items():
        assert [text for text in machine if text.encode() in found] == [], name
        assert b"data:image/jpeg" not in found
        assert not name.endswith((".jpeg", ".jpg", ".png"))
    with sqlite3.connect(":memory:") as connection:
        connection.deserialize(content["ledger.db"])
        assert connection.execute("SELECT DISTINCT host, pid FROM attempts").fetchall() == [("withheld", 0)]
    assert b'root = "data"' in content["experiments.toml"]
    assert json.loads(content["configs/run-0001.json"])["settings"]["data"]["root"] == "data"
    assert json.loads(content["manifest.json"])["altered"] == ["experiments.toml", "report.html"]
    assert b"<svg></svg>" in content["report.html"]


def test_the_ledger_of_a_bundle_can_be_read_by_boneexp_where_nothing_may_be_written(made, tmp_path):
    study, bundle = made
    (tmp_path / "given.db").write_bytes(members(bundle)["ledger.db"])
    (tmp_path / "given.db").chmod(0o444)
    given = json.loads(study("status", "--json", "--ledger", str(tmp_path / "given.db")).stdout)
    own = study.json("status")
    assert [row["accuracy"] for row in given] == [row["accuracy"] for row in own]
    assert {row["worker"] for row in given} == {"withheld"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.db"]


def test_the_same_ledger_gives_the_same_bytes(made):
    study, bundle = made
    study("export", "--bundle", "again.zip", "--with-checkpoints")
    assert (study.folder / "again.zip").read_bytes() == bundle.read_bytes()


def test_one_byte_changed_in_any_member_is_found(made, tmp_path):
    content = members(made[1])
    for name, good in content.items():
        for place in (0, len(good) // 2, len(good) - 1):
            bad = bytearray(good)
            bad[place] ^= 1
            path = packed(tmp_path / "bad.zip", {**content, name: bytes(bad)})
            assert wrong(path), f"byte {place} of {name}"


def test_one_byte_changed_in_the_archive_itself_is_found(made, tmp_path):
    bundle = made[1]
    with zipfile.ZipFile(bundle) as archive:
        entries = archive.infolist()
    for entry in entries:
        bad = bytearray(bundle.read_bytes())
        bad[entry.header_offset + 30 + len(entry.filename) + 60] ^= 0x55  # inside what is packed
        (tmp_path / "bad.zip").write_bytes(bad)
        assert wrong(tmp_path / "bad.zip"), entry.filename


def test_a_file_removed_or_added_is_found(made, tmp_path):
    content = members(made[1])
    for name in content:
        path = packed(tmp_path / "bad.zip", {key: value for key, value in content.items() if key != name})
        assert wrong(path), name
    assert wrong(packed(tmp_path / "bad.zip", {**content, "extra.txt": b"x"})) == ["files"]
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(made[1]) as archive:
        archive.extractall(unpacked)
    (unpacked / "more").mkdir()
    (unpacked / "more" / "extra.txt").write_text("x")
    assert wrong(unpacked) == ["files"]
    shutil.rmtree(unpacked / "more")
    target = unpacked / "metrics.csv"
    target.rename(tmp_path / "metrics.csv")
    target.symlink_to(tmp_path / "metrics.csv")
    assert wrong(unpacked) == ["files", "digests", "metrics"]
    target.unlink()
    os.mkfifo(target)  # whoever opens it waits for ever
    assert wrong(unpacked) == ["files", "digests", "metrics"]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_member_that_is_there_twice_or_leads_out_is_found(made, tmp_path):
    content = members(made[1])
    path = packed(tmp_path / "bad.zip", content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("metrics.csv", content["metrics.csv"])
    assert "files" in wrong(path)
    manifest = json.loads(content["manifest.json"])
    manifest["files"]["../x"] = manifest["files"]["README.txt"]
    outside = {**content, "../x": content["README.txt"], "manifest.json": json.dumps(manifest).encode()}
    assert wrong(packed(tmp_path / "bad.zip", outside, noted_anew=True)) == ["files"]


def swapped(text):
    """Return predictions.csv with the probabilities of its first two images exchanged."""
    header, one, two, *rest = csv.reader(io.StringIO(text))
    one[6:], two[6:] = two[6:], one[6:]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, one, two, *rest])
    return out.getvalue()


def test_two_predictions_swapped_are_found_even_where_digests_were_made_to_agree(made, tmp_path):
    content = members(made[1])
    table = {"predictions.csv": swapped(content["predictions.csv"].decode()).encode()}
    assert wrong(packed(tmp_path / "bad.zip", {**content, **table}, noted_anew=True)) == ["predictions"]
    images = """SELECT image_id FROM predictions WHERE run_id = 1 AND part = 'test'
                ORDER BY image_id LIMIT 2"""
    swap = f"""UPDATE predictions AS p SET (p_normal, p_benign, p_malignant) =
                 (SELECT q.p_normal, q.p_benign, q.p_malignant FROM predictions q
                  WHERE q.run_id = 1 AND q.part = 'test' AND q.image_id <> p.image_id
                        AND q.image_id IN ({images}))
               WHERE run_id = 1 AND part = 'test' AND image_id IN ({images})"""
    ledger = {"ledger.db": changed_ledger(content["ledger.db"], tmp_path, swap)}
    assert {"seals", "predictions"} <= set(
        wrong(packed(tmp_path / "bad.zip", {**content, **ledger}, noted_anew=True))
    )


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("UPDATE events SET at = at + 1 WHERE id = 2", "chain"),
        ("UPDATE events SET details_json = '{\"withheld\":true}' WHERE kind = 'succeeded'", "chain"),
        ("DELETE FROM events WHERE id = (SELECT MAX(id) FROM events)", "chain"),
        ("UPDATE metrics SET value = value + 0.01 WHERE metric = 'accuracy'", "figures"),
        ("UPDATE metrics SET value = NULL WHERE metric = 'auroc'", "figures"),
        ("UPDATE metrics SET high = 1 WHERE metric = 'log_loss'", "seals"),
        ("UPDATE epochs SET val_loss = 0", "seals"),
        ("UPDATE run_summaries SET accuracy = 0.99 WHERE run_id = 2", "metrics"),
        ("UPDATE run_summaries SET macro_auroc_low = NULL", "metrics"),
        ("DELETE FROM run_summaries WHERE run_id = 1", "metrics"),
        ("UPDATE promotions SET reason = 'another'", "seals"),
        ("UPDATE runs SET config_hash = 'x' || substr(config_hash, 2)", "configs"),
        ("UPDATE runs SET seed = 43", "configs"),
        ("UPDATE datasets SET fingerprint = 'x' || substr(fingerprint, 2)", "ledger"),
    ],
)
def test_rows_changed_behind_the_digests_are_found(made, tmp_path, statement, check):
    content = members(made[1])
    ledger = changed_ledger(content["ledger.db"], tmp_path, statement)
    path = packed(tmp_path / "bad.zip", {**content, "ledger.db": ledger}, noted_anew=True)
    if statement.startswith(
        "UPDATE runs SET seed"
    ):  # settings are sealed and hashed; this column only sealed
        assert "seals" not in wrong(path)  # `runs` names the machine's data folder, so it cannot be checked
        return
    assert check in wrong(path)


def test_another_deal_or_other_settings_are_found(made, tmp_path):
    content = members(made[1])
    split = next(name for name in content if name.startswith("splits/stratified"))
    dealt = content[split].replace(b",train,", b",unused,", 1)
    assert wrong(packed(tmp_path / "bad.zip", {**content, split: dealt}, noted_anew=True)) == ["splits"]
    config = content["configs/run-0001.json"].replace(b'"dropout": 0.1', b'"dropout": 0.2')
    other = {**content, "configs/run-0001.json": config}
    assert wrong(packed(tmp_path / "bad.zip", other, noted_anew=True)) == ["configs"]


def test_the_verifier_says_what_is_wrong_with_files_that_are_no_bundle(tmp_path):
    (tmp_path / "text.zip").write_text("hello")
    for path in (tmp_path / "text.zip", tmp_path / "none.zip", tmp_path):
        code, lines = checked(path)
        assert code == 1
        assert lines[0].startswith("WRONG manifest")
    assert subprocess.run([sys.executable, verify.__file__, "a", "b"], check=False).returncode == 2


def test_the_verifier_is_python_3_8_and_needs_the_standard_library_alone():
    text = Path(verify.__file__).read_text(encoding="utf-8")
    tree = ast.parse(text, feature_version=(3, 8))
    imported = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
        )
    }
    assert imported <= sys.stdlib_module_names
    assert "from __future__ import annotations" in text
    methods = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not methods & {"removeprefix", "removesuffix", "file_digest", "pairwise", "is_relative_to"}


def test_the_verifier_seals_and_withholds_as_boneexp_does():
    def plain(queries):
        return {
            kind: {table: " ".join(query.split()) for table, query in tables.items()}
            for kind, tables in queries.items()
        }

    assert (verify.RULE, verify.FIRST_RULE) == (sealed_rows.RULE, sealed_rows.FIRST_RULE)
    for rule, queries in sealed_rows.RULES.items():
        known = {kind: verify.queries_of(rule, kind) for kind in queries}
        assert plain(known) == plain(queries)
    assert verify.SEALS.keys() == sealed_rows.RULES[sealed_rows.RULE].keys()
    assert seals.SEALED_BY == verify.SEALED_BY
    assert set(MAY_NAME_A_MACHINE) == verify.MAY_BE_WITHHELD
    assert WITHHELD_DETAILS == verify.WITHHELD


@settings(max_examples=200, deadline=None)
@given(
    st.text()
    | st.integers()
    | st.none()
    | st.sampled_from(["=1+1", "-3", " @x", "\t=", "-1e5", "'", "\u202e"])
)
def test_the_verifier_writes_cells_as_boneexp_does(value):
    written = next(csv.reader(io.StringIO(csv_text(["x", "y"], [{"x": value, "y": ""}]).partition("\n")[2])))
    assert written[0] == verify.cell(value)


def test_hostile_ids_and_every_kind_of_event_make_a_bundle_that_verifies(tmp_path):
    study = Study(tmp_path)
    full_ledger(study.ledger)
    study("export", "--bundle", "study.zip")
    code, lines = checked(tmp_path / "study.zip")
    assert code == 0, lines
    assert "missing" not in lines[1] or "none missing" in lines[1]


def test_a_changed_ledger_is_not_exported(tmp_path):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",))
    with sqlite3.connect(study.ledger) as connection:
        connection.execute("UPDATE metrics SET value = 0.99 WHERE metric = 'accuracy'")
    result = study("export", "--bundle", "study.zip", code=7)
    assert "run 1: table metrics is not as event" in result.output
    other = settled_ledger(tmp_path / "other.db", experiments=("E1",))
    with sqlite3.connect(other) as connection:
        connection.execute("UPDATE run_summaries SET accuracy = 0.99 WHERE run_id = 2")
    result = study("export", "--bundle", "study.zip", "--ledger", "other.db", code=7)
    assert "run 2: table run_summaries is not as event" in result.output
    assert sorted(path.name for path in tmp_path.iterdir() if "zip" in path.name) == []


def test_what_the_verifier_would_find_wrong_is_not_given_out(tmp_path, monkeypatch):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",))
    with sqlite3.connect(study.ledger) as connection:
        digest = connection.execute("SELECT split_digest FROM runs").fetchone()[0]
    folder = study.artifacts / "splits"
    folder.mkdir(parents=True)
    (folder / f"stratified-{digest[:12]}.csv").write_text("image_id,part,center,label\nx,test,1,Normal\n")
    result = study("export", "--bundle", "study.zip", code=7)
    assert "its own check fails (splits: " in result.output
    assert not (tmp_path / "study.zip").exists()


def test_a_file_that_is_there_is_replaced_only_when_that_is_said(tmp_path):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",))
    (tmp_path / "study.zip").write_text("mine")
    assert "is there already" in study("export", "--bundle", "study.zip", code=1).output
    assert (tmp_path / "study.zip").read_text() == "mine"
    said = study.json("export", "--bundle", "study.zip", "--yes")
    assert said["sha256"] == hashlib.sha256((tmp_path / "study.zip").read_bytes()).hexdigest()
    assert "is a folder" in study("export", "--bundle", ".", code=1).output
    (tmp_path / "link.zip").symlink_to(tmp_path / "study.zip")
    assert "is a symbolic link" in study("export", "--bundle", "link.zip", "--yes", code=7).output


def test_an_empty_ledger_or_none_is_said_in_a_sentence(tmp_path):
    study = Study(tmp_path)
    assert "there is no ledger" in study("export", "--bundle", "study.zip", code=1).output
    settled_ledger(study.ledger, settle=False)
    assert "no run has finished yet" in study("export", "--bundle", "study.zip", code=4).output
    assert "say where to" in study("export", code=2).output
    assert sorted(path.name for path in tmp_path.glob("*.zip*")) == []


def test_a_full_disk_and_a_place_that_cannot_be_written_leave_nothing(tmp_path, monkeypatch):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",))
    (tmp_path / "file").write_text("x")
    assert "cannot be written" in study("export", "--bundle", "file/study.zip", code=1).output

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("boneexp.exports.bundle._write_archive", full)
    result = study("export", "--bundle", "study.zip", code=1)
    assert "study.zip cannot be written (No space left on device); free space there" in result.output
    assert sorted(path.name for path in tmp_path.glob("*.zip*")) == []


@pytest.mark.parametrize("place", ["splits", "report.html", "experiments"])
def test_nothing_is_read_through_a_link_out_of_the_artifacts(made, tmp_path, place):
    study = Study(shutil.copytree(made[0].folder, tmp_path / "study"))
    away = tmp_path / "elsewhere"
    (study.artifacts / place).rename(away)
    (study.artifacts / place).symlink_to(away)
    result = study("export", "--bundle", "new.zip", "--with-checkpoints", code=7)
    assert f"{place} is a symbolic link" in result.output
    assert not (study.folder / "new.zip").exists()


def test_a_document_that_is_a_link_and_a_checkpoint_that_was_changed_are_refused(made, tmp_path):
    study = Study(shutil.copytree(made[0].folder, tmp_path / "study"))
    checkpoint = study.artifacts / "experiments" / "E1" / "stratified" / "best.pt"
    checkpoint.write_bytes(b"another")
    result = study("export", "--bundle", "new.zip", "--with-checkpoints", code=7)
    assert "the checkpoint of run" in result.output
    card = study.folder / "docs" / "model_card.md"
    card.unlink()
    card.symlink_to(tmp_path / "secret")
    assert "is a symbolic link" in study("export", "--bundle", "new.zip", code=7).output


def test_paths_and_pictures_are_taken_out_of_texts():
    grid = "data.root = '/home/me/BTXRD' # mine\nmodel.pretrained = \"~/w.pt\"\nx = 'a/b'\n"
    assert grid_without_paths(grid, []) == (
        "data.root = 'BTXRD' # mine\nmodel.pretrained = \"w.pt\"\nx = 'a/b'\n"
    )
    page = f"<img src='{PICTURE}'> url(data:image/PNG;base64,iVBORw0KGgo=) data:image/svg+xml,%3Csvg%3E"
    kept = without_images(page)
    assert "/9j/" not in kept
    assert "iVBOR" not in kept
    assert kept.endswith("data:image/svg+xml,%3Csvg%3E")


@pytest.mark.parametrize("lesion", ["outline", "union", None])
@pytest.mark.parametrize("annotations", [True, False])
@pytest.mark.parametrize("decoding", ["full", "scaled"])
@pytest.mark.parametrize("weights_sha256", ["", "5" * 64])
def test_the_verifier_names_an_outcome_as_boneexp_does(decoding, annotations, lesion, weights_sha256):
    """`lesion` is None for a spec from before it was a setting."""
    from settled_ledger import specs

    data = {"decoding": decoding, "lesion": lesion or "union", "accept": ["damaged:images/IMG000001.jpeg"]}
    training = {"annotations": annotations, "time_limit_hours": 2.5}
    design = {"E1": {"name": "plain", "data": data, "training": training}}
    for spec in specs(design, (42, 43), ("stratified", "center_holdout"), "f" * 64):
        weighted = spec.model_copy(update={"weights_sha256": weights_sha256})
        kept = json.loads(weighted.model_dump_json())
        if lesion is None:
            del kept["settings"]["data"]["lesion"]
        assert verify.config_hash(kept) == weighted.config_hash
