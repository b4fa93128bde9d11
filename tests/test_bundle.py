"""A BagIt bag with RO-Crate metadata: anybody can check it, and every change in it is found."""

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
from contextlib import closing
from pathlib import Path

import bagit
import pytest
from conftest import Study
from full_ledger import full_ledger
from hypothesis import given, settings
from hypothesis import strategies as st
from rocrate.rocrate import ROCrate
from settled_ledger import settled_ledger

import boneexp
from boneexp.exports import verify
from boneexp.exports.bag import make_bag
from boneexp.exports.payload import seal_rules
from boneexp.exports.withheld import grid_without_paths, without_images
from boneexp.ledger import sealed_rows, seals
from boneexp.ledger.slice import MAY_NAME_A_MACHINE, WITHHELD_DETAILS
from boneexp.ledger.upgrading import upgrade
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


def unpacked(archive, folder):
    """Unpack a bundle; return the bag."""
    with zipfile.ZipFile(archive) as source:
        source.extractall(folder)
    return folder / "study"


def checked(bag, *, isolated=True):
    """Run the verifier as a reader would; return its exit code and its lines."""
    command = [sys.executable, *(["-I", "-S"] if isolated else []), verify.__file__, str(bag / "data")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def checksums_hold(bag):
    """Check the payload as a reader would, with nothing of ours."""
    command = ["sha256sum", "--quiet", "--strict", "-c", "manifest-sha256.txt"]
    return subprocess.run(command, cwd=bag, check=False, capture_output=True).returncode == 0


def is_valid(bag):
    """Whether the reference implementation of BagIt finds the bag complete and unchanged."""
    try:
        return bagit.Bag(str(bag)).is_valid()
    except (bagit.BagError, OSError):
        return False


def wrong(bag):
    return [name for name, _, holds in verify.checked(bag / "data") if not holds]


def members(path):
    """Return the files of a bundle by their path in the bag."""
    with zipfile.ZipFile(path) as archive:
        return {name.removeprefix("study/"): archive.read(name) for name in archive.namelist()}


def payload(path):
    """Return the files of a bundle's payload by their path in it."""
    return {name[5:]: content for name, content in members(path).items() if name.startswith("data/")}


def forged(bag, **changed):
    """Change files of the payload, and make every checksum agree with them."""
    for name, content in changed.items():
        (bag / "data" / name.replace("__", ".")).write_bytes(content)
    make_bag(bag, {})
    return bag


def changed_ledger(bag, *statements):
    """Change rows in the ledger of a bag behind its seals, and make every checksum agree."""
    with closing(sqlite3.connect(bag / "data" / "ledger.db")) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount > 0
    return forged(bag)


@pytest.fixture
def bag(made, tmp_path):
    return unpacked(made[1], tmp_path / "unpacked")


def test_a_bundle_is_checked_with_sha256sum_and_nothing_but_python(bag):
    assert checksums_hold(bag)
    code, lines = checked(bag)
    assert (code, lines[-1]) == (0, "every check holds")
    assert [line.split()[:2] for line in lines[:-1]] == [
        ["ok", name] for name in ("chain", "seals", "tables", "metrics")
    ]
    command = [sys.executable, "-I", "-S", "data/verify.py"]
    assert subprocess.run(command, cwd=bag, check=False, capture_output=True).returncode == 0


def test_the_reference_implementations_read_a_bundle(made, bag):
    found = bagit.Bag(str(bag))
    assert found.validate()
    assert found.version_info == (1, 0)
    assert found.algorithms == ["sha256"]
    assert found.info["External-Description"].startswith("Research use only, not for clinical use.")
    assert found.info["External-Identifier"] == made[0].json("export", "--bundle", "x/y.zip")["last_event"]
    crate = ROCrate(str(bag / "data"))
    assert crate.version == "1.2"
    files = {entity.id for entity in crate.data_entities}
    assert files == set(payload(made[1])) - {"ro-crate-metadata.json"}
    run = crate.dereference("#run-0003")
    assert (run.type, run["instrument"].id) == ("CreateAction", f"pkg:generic/boneexp@{boneexp.__version__}")
    assert {entity.id for entity in run["result"]} == {
        "checkpoints/run-0003.pt",
        "metrics.csv",
        "predictions.csv",
    }
    assert "configs/run-0003.json" in {entity.id for entity in run["object"]}
    assert run["startTime"] <= run["endTime"]
    assert {action.id for action in crate.root_dataset["mentions"]} == {
        *(f"#run-000{n}" for n in range(1, 5)),
        "#export",
    }
    assert crate.license["description"].startswith("Research use only, not for clinical use.")
    assert crate.dereference("verify.py")["license"]["name"] == "Apache License 2.0"
    assert crate.root_dataset["author"]["name"] == decided_by(made[0])
    assert "synthetic phantom" in crate.description


def decided_by(study):
    with closing(sqlite3.connect(study.ledger)) as connection:
        return connection.execute("SELECT DISTINCT decided_by FROM promotions").fetchone()[0]


def test_a_bundle_has_what_a_reader_needs(made):
    study, bundle = made
    assert set(members(bundle)) - {f"data/{name}" for name in payload(bundle)} == {
        "bag-info.txt",
        "bagit.txt",
        "manifest-sha256.txt",
        "tagmanifest-sha256.txt",
    }
    content = payload(bundle)
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
        "export.json",
        "ledger.db",
        "metrics.csv",
        "predictions.csv",
        "report.html",
        "ro-crate-metadata.json",
        "seals.json",
        "verify.py",
    }
    with sqlite3.connect(study.ledger) as connection:
        last = connection.execute("SELECT hash FROM events ORDER BY id DESC").fetchone()[0]
        fingerprint = connection.execute("SELECT fingerprint FROM datasets").fetchone()[0]
    about = json.loads(content["export.json"])
    assert about["last_event"]["hash"] == last
    assert about["missing"] == []
    assert fingerprint.encode() in content["ro-crate-metadata.json"]
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
    content = payload(bundle)
    for name, found in members(bundle).items():
        assert [text for text in machine if text.encode() in found] == [], name
        assert b"data:image/jpeg" not in found
        assert not name.endswith((".jpeg", ".jpg", ".png"))
    with sqlite3.connect(":memory:") as connection:
        connection.deserialize(content["ledger.db"])
        assert connection.execute("SELECT DISTINCT host, pid FROM attempts").fetchall() == [("withheld", 0)]
    assert b'root = "data"' in content["experiments.toml"]
    assert json.loads(content["configs/run-0001.json"])["settings"]["data"]["root"] == "data"
    assert json.loads(content["export.json"])["altered"] == ["experiments.toml", "report.html"]
    assert b"<svg></svg>" in content["report.html"]


def test_the_ledger_of_a_bundle_can_be_read_by_boneexp_where_nothing_may_be_written(made, tmp_path):
    study, bundle = made
    (tmp_path / "given.db").write_bytes(payload(bundle)["ledger.db"])
    (tmp_path / "given.db").chmod(0o444)
    given = json.loads(study("status", "--json", "--ledger", str(tmp_path / "given.db")).stdout)
    own = study.json("status")
    assert [row["accuracy"] for row in given] == [row["accuracy"] for row in own]
    assert {row["worker"] for row in given} == {"withheld"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.db"]


def test_the_same_ledger_gives_the_same_bytes(made):
    study, bundle = made
    study("export", "--bundle", "again/study.zip", "--with-checkpoints")
    assert (study.folder / "again" / "study.zip").read_bytes() == bundle.read_bytes()
    study("export", "--bundle", "other.zip", "--with-checkpoints")  # unpacks into a folder of its own name
    with zipfile.ZipFile(study.folder / "other.zip") as archive:
        assert {name.partition("/")[0] for name in archive.namelist()} == {"other"}
        assert {name.partition("/")[2]: archive.read(name) for name in archive.namelist()} == members(bundle)


def protected(bundle):
    """Return the files of a bundle that one of its manifests names."""
    return {name: content for name, content in members(bundle).items() if name != "tagmanifest-sha256.txt"}


def test_one_byte_changed_in_any_file_is_found(made, bag):
    for name, good in protected(made[1]).items():
        for place in (0, len(good) // 2, len(good) - 1):
            bad = bytearray(good)
            bad[place] ^= 1
            (bag / name).write_bytes(bad)
            assert not is_valid(bag), f"byte {place} of {name}"
            assert not name.startswith("data/") or not checksums_hold(bag), f"byte {place} of {name}"
        (bag / name).write_bytes(good)
    assert is_valid(bag)


def test_a_file_removed_or_added_is_found(made, bag):
    for name, good in protected(made[1]).items():
        (bag / name).unlink()
        assert not is_valid(bag), name
        (bag / name).write_bytes(good)
    (bag / "data" / "more").mkdir()
    (bag / "data" / "more" / "extra.txt").write_text("x")
    assert not is_valid(bag)


@pytest.mark.parametrize("name", ["ledger.db", "metrics.csv", "predictions.csv", "export.json", "seals.json"])
def test_the_verifier_reads_through_no_link_and_waits_for_no_pipe(bag, tmp_path, name):
    target = bag / "data" / name
    target.rename(tmp_path / name)
    assert wrong(bag)
    target.symlink_to(tmp_path / name)
    assert wrong(bag)
    target.unlink()
    os.mkfifo(target)  # whoever opens it waits for ever
    code, lines = checked(bag)
    assert code == 1
    assert f"{name} is missing, or no plain file" in "".join(lines)


def swapped(text):
    """Return predictions.csv with the probabilities of its first two images exchanged."""
    header, one, two, *rest = csv.reader(io.StringIO(text))
    one[6:], two[6:] = two[6:], one[6:]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([header, one, two, *rest])
    return out.getvalue()


def test_two_predictions_swapped_are_found_even_where_checksums_were_made_to_agree(made, bag):
    table = swapped(payload(made[1])["predictions.csv"].decode()).encode()
    assert wrong(forged(bag, predictions__csv=table)) == ["tables"]
    assert is_valid(bag)
    assert checksums_hold(bag)
    images = """SELECT image_id FROM predictions WHERE run_id = 1 AND part = 'test'
                ORDER BY image_id LIMIT 2"""
    swap = f"""UPDATE predictions AS p SET (p_normal, p_benign, p_malignant) =
                 (SELECT q.p_normal, q.p_benign, q.p_malignant FROM predictions q
                  WHERE q.run_id = 1 AND q.part = 'test' AND q.image_id <> p.image_id
                        AND q.image_id IN ({images}))
               WHERE run_id = 1 AND part = 'test' AND image_id IN ({images})"""
    assert {"seals", "tables"} <= set(wrong(changed_ledger(bag, swap)))


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b",test,", b",val,", 1),
        lambda text: text.replace(b"IMG", b"IMH", 1),
        lambda text: text.replace(b"p_benign,p_malignant", b"p_malignant,p_benign", 1),
        lambda text: text[: text.rindex(b"\n", 0, -1) + 1],
        lambda text: text + text[text.rindex(b"\n", 0, -1) + 1 :],
        lambda text: text.replace(b"\n", b",0.5\n", 2).replace(b",0.5\n", b"\n", 1),
        lambda text: text.replace(b"0.", b"00.", 1),
    ],
    ids=["part", "image", "header", "row less", "row more", "cell more", "number"],
)
def test_a_forged_table_of_predictions_is_found(made, bag, change):
    good = payload(made[1])["predictions.csv"]
    assert change(good) != good
    assert wrong(forged(bag, predictions__csv=change(good))) == ["tables"]


def test_a_forged_table_of_metrics_is_found(made, bag):
    header, first, *rest = payload(made[1])["metrics.csv"].decode().splitlines()
    forgery = "\n".join([header, first.replace(",0.", ",0.9", 1), *rest, ""])
    assert wrong(forged(bag, metrics__csv=forgery.encode())) == ["tables"]


@pytest.mark.parametrize(
    ("statement", "check"),
    [
        ("UPDATE events SET at = at + 1 WHERE id = 2", "chain"),
        ("UPDATE events SET details_json = '{\"withheld\":true}' WHERE kind = 'succeeded'", "chain"),
        ("DELETE FROM events WHERE id = (SELECT MAX(id) FROM events)", "chain"),
        ("DELETE FROM events WHERE id = 3", "chain"),
        ("UPDATE metrics SET value = value + 0.01 WHERE metric = 'accuracy'", "metrics"),
        ("UPDATE metrics SET value = value + 0.01 WHERE metric = 'auroc'", "metrics"),
        ("UPDATE metrics SET value = NULL WHERE metric = 'auroc'", "metrics"),
        ("DELETE FROM metrics WHERE metric = 'specificity'", "metrics"),
        ("UPDATE predictions SET p_normal = 1, p_benign = 0, p_malignant = 0", "metrics"),
        ("UPDATE metrics SET high = 1 WHERE metric = 'log_loss'", "seals"),
        ("UPDATE epochs SET val_loss = 0", "seals"),
        ("UPDATE run_summaries SET accuracy = 0.99 WHERE run_id = 2", "seals"),
        ("UPDATE run_summaries SET macro_auroc_low = NULL", "seals"),
        ("DELETE FROM run_summaries WHERE run_id = 1", "seals"),
        ("UPDATE promotions SET reason = 'another'", "seals"),
        ("UPDATE datasets SET fingerprint = 'x' || substr(fingerprint, 2)", "seals"),
        ("UPDATE experiments SET batch_size = 99", "seals"),
    ],
)
def test_rows_changed_behind_the_checksums_are_found(bag, statement, check):
    changed_ledger(bag, statement)
    assert is_valid(bag)
    assert check in wrong(bag)
    code, lines = checked(bag)
    assert code == 1
    assert f"{len(wrong(bag))} of the checks do not hold" == lines[-1]
    assert all(len(line.split()) > 4 for line in lines if line.startswith("WRONG"))


def test_the_rules_of_the_seals_cannot_be_changed_in_the_bag(made, bag):
    rules = payload(made[1])["seals.json"].replace(b"SELECT run_id, epoch, attempt, ", b"SELECT run_id, ")
    assert wrong(forged(bag, seals__json=rules)) == ["chain", "seals", "tables", "metrics"]


def test_what_may_not_be_withheld_is_found_even_where_export_json_names_it(made, bag):
    about = json.loads(payload(made[1])["export.json"])
    about["withheld"] += [["run 1", "epochs"], ["run 1", "metrics"]]
    forged(bag, export__json=json.dumps(about).encode())
    assert wrong(bag) == []
    assert wrong(changed_ledger(bag, "UPDATE epochs SET val_loss = 0")) == ["seals"]


def test_the_verifier_says_what_is_wrong_with_files_that_are_no_bundle(tmp_path):
    (tmp_path / "text").write_text("hello")
    for path in (tmp_path / "text", tmp_path / "none", tmp_path):
        code, lines = checked(path)
        assert code == 1
        assert lines[0].startswith("WRONG chain    seals.json is missing, or no plain file")


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


def test_the_verifier_seals_and_withholds_as_boneexp_does(made):
    rules = seal_rules()
    assert payload(made[1])["seals.json"].decode() == rules
    assert hashlib.sha256(rules.encode()).hexdigest() == verify.SEALS_SHA256
    found = json.loads(rules)
    assert found["rules"].keys() == sealed_rows.RULES.keys()
    for rule, kinds in sealed_rows.RULES.items():
        plain = {
            kind: {table: " ".join(query.split()) for table, query in tables.items()}
            for kind, tables in kinds.items()
        }
        assert found["rules"][rule] == plain
    assert found["sealed_by"] == seals.SEALED_BY
    assert found["may_be_withheld"] == [[kind, WITHHELD_DETAILS] for kind in MAY_NAME_A_MACHINE]


@settings(max_examples=200, deadline=None)
@given(
    st.text() | st.integers() | st.none() | st.floats(allow_nan=False) | st.sampled_from(["=1+1", " @x", "'"])
)
def test_the_verifier_reads_cells_as_boneexp_writes_them(value):
    written = next(csv.reader(io.StringIO(csv_text(["x", "y"], [{"x": value, "y": ""}]).partition("\n")[2])))
    assert written[0] == verify.cell(value, written[0])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.0, 0.2, 0.2000001, 0.5, 1.0]), st.booleans()), min_size=1))
def test_the_verifier_computes_the_auroc_with_ties(scored):
    from sklearn.metrics import roc_auc_score

    scores, positive = zip(*scored, strict=True)
    expected = roc_auc_score(positive, scores) if len(set(positive)) == 2 else None
    assert verify.auroc(scored) == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize(
    "old", sorted((Path(__file__).parent / "ledgers").glob("*.db")), ids=lambda path: path.stem
)
def test_the_bundle_of_a_ledger_of_an_earlier_schema_verifies(tmp_path, old):
    study = Study(tmp_path)
    shutil.copyfile(old, study.ledger)
    upgrade(study.ledger, now=0)
    study("export", "--bundle", "study.zip")
    bag = unpacked(tmp_path / "study.zip", tmp_path / "unpacked")
    assert (is_valid(bag), wrong(bag)) == (True, [])


def test_hostile_ids_and_every_kind_of_event_make_a_bundle_that_verifies(tmp_path):
    study = Study(tmp_path)
    full_ledger(study.ledger)
    study("export", "--bundle", "study.zip")
    bag = unpacked(tmp_path / "study.zip", tmp_path / "unpacked")
    code, lines = checked(bag)
    assert code == 0, lines
    assert is_valid(bag)
    assert ROCrate(str(bag / "data")).version == "1.2"


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
    monkeypatch.setattr(verify, "metrics_of", lambda images: {("accuracy", ""): 2.0})
    result = study("export", "--bundle", "study.zip", code=7)
    assert "its own check fails (metrics: run 1, test: accuracy is " in result.output
    assert not (tmp_path / "study.zip").exists()


def test_a_split_that_its_runs_did_not_have_is_not_given_out(tmp_path):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",))
    with sqlite3.connect(study.ledger) as connection:
        digest = connection.execute("SELECT split_digest FROM runs").fetchone()[0]
    folder = study.artifacts / "splits"
    folder.mkdir(parents=True)
    (folder / f"stratified-{digest[:12]}.csv").write_text("image_id,part,center,label\nx,test,1,Normal\n")
    result = study("export", "--bundle", "study.zip", code=7)
    assert "is not the split that its runs had" in result.output
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
    assert "choose one: --bundle FILE or --mlflow" in study("export", code=2).output
    assert sorted(path.name for path in tmp_path.glob("*.zip*")) == []


def test_a_full_disk_and_a_place_that_cannot_be_written_leave_nothing(tmp_path, monkeypatch):
    study = Study(tmp_path)
    settled_ledger(study.ledger, experiments=("E1",), splits=("stratified",))
    (tmp_path / "file").write_text("x")
    assert "cannot be written" in study("export", "--bundle", "file/study.zip", code=1).output

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("boneexp.exports.bundle.write_archive", full)
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
