"""The command line: one command per verb. Each reads, calls one room, and prints.

Research use only, not for clinical use.
"""

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import boneexp
from boneexp import screen
from boneexp.errors import BoneexpError, Busy, Damaged, NothingToDo, RunNotFinished
from boneexp.ledger import views
from boneexp.ledger.database import BUSY_TIMEOUT_S, open_ledger, reading, upgrade, writing
from boneexp.ledger.network import network_file_system
from boneexp.options import (
    ARTIFACTS,
    DOCS,
    GRID,
    LEDGER,
    ArtifactsPath,
    Command,
    Commands,
    Csv,
    Device,
    DocsPath,
    DryRun,
    GridPath,
    Json,
    Kernels,
    LedgerPath,
    Markdown,
    Part,
    Root,
    Yes,
    require_agreement,
)

if TYPE_CHECKING:
    from boneexp.comparing import Answer, Compared

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help as plain text: drawing it with rich doubles the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run, compare and defend a grid of bone-radiograph classifiers; every fact in one SQLite ledger.\n\n"
    "Research use only, not for clinical use.",
)
data_app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Datasets: write a phantom to try things on.",
)
app.add_typer(data_app, name="data")


@app.callback(invoke_without_command=True)
def _main(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        screen.data(f"boneexp {boneexp.__version__}")
        raise typer.Exit


@app.command(cls=Command)
def init(
    grid: GridPath = GRID,
    root: Annotated[
        str, typer.Option("--root", help="Folder of the dataset, written into the file as data.root.")
    ] = "",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
) -> None:
    """Write the study's commented grid file, to begin with; a file that is there stays as it is."""
    from boneexp.gridfile import write_study_grid

    write_study_grid(grid, root)
    first = "look through it" if root else "set data.root in it"
    screen.data(f"{grid} written; {first}, then: boneexp queue --grid {grid}")


@app.command(cls=Command)
def queue(
    *,
    grid: GridPath = GRID,
    only: Annotated[str, typer.Option(help="Just these experiments: E1,E2.")] = "",
    split: Annotated[str, typer.Option(help="Just this split: stratified or center_holdout.")] = "",
    seeds: Annotated[str, typer.Option(help="These seeds instead of the grid's: 42,43.")] = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="Override a key: training.batch_size=8. Repeatable.")
    ] = None,
    root: Annotated[
        str, typer.Option("--root", help="Folder of the dataset, in place of data.root of the grid file.")
    ] = "",
    max_attempts: Annotated[
        int, typer.Option(min=1, help="Deaths in a row without an epoch after which a new run is given up.")
    ] = 3,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Put every new combination of the grid in the queue; what is there already stays as it is."""
    from boneexp.progress import counting
    from boneexp.queueing import check_networks, planned, put_in_queue, with_root

    chosen = (_names(only), _names(split), _seeds(seeds))
    _require_given_once(set_ or [], {"seeds": seeds, "data.root": root})
    overrides = with_root(set_ or [], root)
    if not dry_run and ledger.is_file():
        _finish_cut_short((ledger, artifacts, grid, DOCS))
    with counting("checking the images") as progress:
        made = planned(grid, overrides, chosen, None if dry_run else artifacts, progress)
    known = _known_hashes(ledger)
    for note in check_networks(made, known):
        screen.talk(f"Note: {note}")
    if notes := made.noted(ledger):
        screen.talk(notes)
    if dry_run:
        rows = [{**row, "new": row["config_hash"] not in known} for row in made.rows()]
        return screen.as_json(rows) if json else screen.show(screen.plan_table(rows))
    if not ledger.is_file():
        _warn_of_network(ledger)
    done = put_in_queue(made, open_ledger(ledger), artifacts, time.time(), max_attempts)
    if json:
        return screen.as_json(
            {
                "queued": list(done.added),
                "known": done.known,
                "outdated": list(done.outdated),
                "notes": made.notes(),
            }
        )
    screen.data(f"{len(done.added)} queued, {done.known} already in {ledger}")
    if done.outdated:
        numbers = " ".join(map(str, done.outdated))
        screen.talk(f"Runs of earlier settings still wait; take them out with: boneexp cancel {numbers}")
    return None


@app.command(cls=Command)
def run(
    *,
    run_id: Annotated[int | None, typer.Argument(metavar="[RUN]", help="Just this run.")] = None,
    next_: Annotated[bool, typer.Option("--next", help="The next run that waits.")] = False,
    all_: Annotated[bool, typer.Option("--all", help="Every run that waits.")] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Runs side by side (with --all).")] = 1,
    device: Device = "auto",
    kernels: Kernels = "deterministic",
    lease: Annotated[
        float,
        typer.Option(
            min=1,
            max=1800,  # far below what the queue takes for a lease that a wrong clock gave
            envvar="BONEEXP_LEASE",
            help="Seconds after which a silent worker loses its run.",
        ),
    ] = 120,
    root: Root = "",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Work through the queue on this machine; Ctrl-C once saves and puts the run back, twice ends at once."""
    from dataclasses import asdict

    from boneexp.engines.processes import free_dead_runs_here

    if (run_id is not None) + next_ + all_ != 1:
        raise typer.BadParameter("say which: --next, --all, or the number of a run (RUN)")
    if workers > 1 and not all_:
        raise typer.BadParameter("--workers goes with --all")
    _finish_cut_short((ledger, artifacts, GRID, DOCS))
    free_dead_runs_here(ledger, time.time())  # what was cancelled ends with its process, and does not wait
    _require_waiting(ledger, run_id)
    _require_own_folders(ledger, artifacts)
    _warn_of_network(ledger)
    from boneexp.computing import Computing
    from boneexp.engines.attempt import Workplace
    from boneexp.engines.local import run_local
    from boneexp.progress import run_progress

    with run_progress() as announce:
        computing = Computing(device, kernels)
        place = Workplace(ledger, artifacts, computing, announce, lease_s=lease, root=_absolute(root))
        limit = None if all_ else 1
        tally = run_local(place, workers=workers, limit=limit, run_id=run_id)
    if json:
        screen.as_json(asdict(tally))
    screen.talk(f"{tally.sentence()}; see them with: boneexp status")
    if not tally.succeeded + tally.failed + tally.cancelled and not tally.stopped_by:
        _say_who_holds(ledger, run_id)
    raise typer.Exit(_exit_code(tally.stopped_by, tally.failed, tally.succeeded))


@app.command(cls=Command)
def status(
    *,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    watch: Annotated[bool, typer.Option("--watch", help="Show it anew every two seconds.")] = False,
    json: Json = False,
    csv: Csv = False,
    md: Markdown = False,
) -> None:
    """Show every run: its state, how far it is, and what came out. Changes nothing."""
    if watch:
        from boneexp.progress import watch as watch_table

        return watch_table(lambda: _status_now(ledger), every_s=2)
    every = json or csv or md
    with reading(ledger) as connection:
        rows = views.run_rows(connection) if every else views.status_rows(connection, screen.MOST_RUNS)
        counts = views.state_counts(connection)
        _mention_cut_short(connection)
    if every:
        return _machine_readable([_with_place(row, artifacts) for row in rows], json, csv)
    screen.show(*screen.status_parts(rows, time.time(), sum(counts.values()), screen.console().width))
    if waiting := counts.get("queued"):
        screen.talk(f"{waiting} waiting; run them with: boneexp run --all")
    return None


@app.command(cls=Command)
def show(
    run_id: Annotated[int, typer.Argument(metavar="RUN")],
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Show one run in detail: settings, attempts, epochs, metrics, files, and the traceback of a failure."""
    from json import loads

    with reading(ledger) as connection:
        row = _with_place(views.run_row(connection, run_id), artifacts)
        attempts = views.attempt_rows(connection, run_id)
        metrics, files = views.metric_rows(connection, run_id), views.file_rows(connection, run_id)
        more = {
            "epochs": views.epoch_rows(connection, run_id),
            "events": views.event_rows(connection, run_id),
            "late_results": views.late_rows(connection, run_id),
        }
        spec = loads(views.spec_json(connection, run_id))
        _mention_cut_short(connection)
    if json:
        tables = {"attempts": attempts, "metrics": metrics, "files": files, **more}
        return screen.as_json({**row, **tables, "spec": spec})
    parts = screen.run_detail(row, spec["settings"], attempts, more["epochs"])
    return screen.show(*parts, *screen.outcome_parts(attempts, metrics, files))


@app.command(cls=Command)
def compare(
    *,
    paired: Annotated[bool, typer.Option("--paired", help="Test every pair on the same images.")] = False,
    subgroups: Annotated[
        bool, typer.Option("--subgroups", help="By centre, site, sex, age band and so on.")
    ] = False,
    seeds: Annotated[bool, typer.Option("--seeds", help="Spread over seeds and over experiments.")] = False,
    calibration: Annotated[
        bool, typer.Option("--calibration", help="Calibration, net benefit, PPV and NPV.")
    ] = False,
    prevalence: Annotated[
        float | None, typer.Option(help="With --calibration: malignant images per image where it is used.")
    ] = None,
    metric: Annotated[
        str,
        typer.Option(help="Of one figure: log_loss, malignant_auroc, benign_sensitivity and so on."),
    ] = "",
    part: Part = "test",
    intervals: Annotated[
        str,
        typer.Option(help="stored, or computed from the predictions: analytic, percentile or bca."),
    ] = "stored",
    only: Annotated[
        str, typer.Option(help="With --paired, --subgroups or --calibration: just these, E1,E2.")
    ] = "",
    sql: Annotated[bool, typer.Option("--sql", help="Print the queries instead of what they find.")] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
    csv: Csv = False,
    md: Markdown = False,
) -> None:
    """Compare the experiments, name the best by the study's rule, and write comparison.csv and .json."""
    kinds = {"paired": paired, "subgroups": subgroups, "seeds": seeds, "calibration": calibration}
    asked = [kind for kind, wanted in kinds.items() if wanted]
    _require_one_of("part", part, ("test", "val"))
    _require_one_of("intervals", intervals, ("stored", "analytic", "percentile", "bca"))
    if prevalence is not None and not 0 < prevalence < 1:
        raise typer.BadParameter("--prevalence lies between 0 and 1")
    from boneexp import comparing
    from boneexp.ledger.evidence import one_moment
    from boneexp.ledger.quarantine import refuse

    kind = asked[0] if asked else "figure" if metric else ""
    request = comparing.Request(kind, metric, part, intervals, tuple(_names(only)), prevalence)
    queries: list[str] = []
    with reading(ledger) as connection, one_moment(connection):
        struck_out = comparing.quarantine(connection, request)
        connection.set_trace_callback(queries.append if sql else None)
        done = comparing.compare_as_asked(connection, request, struck_out)
        connection.set_trace_callback(None)
        _mention_cut_short(connection)
    if sql:
        return screen.data("\n".join(f"{query.strip()};" for query in dict.fromkeys(queries)))
    if done.answer is not None:
        _answered(done.answer, json, csv, md)
    else:  # the files keep what is stored, and all of it
        as_stored = part == "test" and intervals == "stored" and not struck_out
        said = _written_or_why_not(done, artifacts) if as_stored else ""
        _compared(done, said, json, csv, md)
    return refuse(why for reasons in struck_out.values() for why in reasons)


@app.command(cls=Command)
def promote(
    *,
    experiment: Annotated[
        str | None, typer.Argument(help="The experiment that becomes the default: E3.")
    ] = None,
    best: Annotated[bool, typer.Option("--best", help="The best by the study's rule.")] = False,
    keep_baseline: Annotated[
        bool, typer.Option("--keep-baseline", help="None of them; the baseline stays.")
    ] = False,
    rollback: Annotated[bool, typer.Option("--rollback", help="Undo the last promotion.")] = False,
    finish: Annotated[
        bool, typer.Option("--finish", help="Finish a promotion that was cut short, and no more.")
    ] = False,
    history: Annotated[bool, typer.Option("--history", help="Show every decision; changes nothing.")] = False,
    reason: Annotated[str, typer.Option(help="Why; stands in both documents.")] = "",
    override: Annotated[
        bool,
        typer.Option("--override", help="Go on although statistical conditions that bind are not met."),
    ] = False,
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
    csv: Csv = False,
    md: Markdown = False,
) -> None:
    """Make an experiment the default model: checkpoints, experiments.toml, model card and report."""
    if (experiment is not None) + best + keep_baseline + rollback + finish + history != 1:
        raise typer.BadParameter(
            "say which: an experiment such as E3, --best, --keep-baseline, --rollback, --finish or --history"
        )
    if override and not reason.strip():
        raise typer.BadParameter("--override needs --reason: every document will show it")
    if history:
        return _say_decisions(ledger, json, csv, md)
    if not finish and not dry_run:
        require_agreement(yes, "a promotion")
    from boneexp.deciding import Request
    from boneexp.promoted_files import Place
    from boneexp.promotion import finish_cut_short

    place = Place(ledger, artifacts, grid, docs)
    if finish:
        return _say_finished(finish_cut_short(place, time.time()), json)
    action = "rollback" if rollback else "keep-baseline" if keep_baseline else "promote"
    request = Request(action, experiment, reason, override)
    return _previewed(place, request, json) if dry_run else _carried_out(place, request, yes, json)


@app.command(cls=Command)
def gradcam(
    *,
    experiment: Annotated[str | None, typer.Option(help="Another experiment than the promoted.")] = None,
    split: Annotated[
        str, typer.Option(help="Which of its runs: stratified or center_holdout.")
    ] = "stratified",
    images: Annotated[str, typer.Option(help="Just these images: IMG000001.jpeg,IMG000002.jpeg.")] = "",
    count: Annotated[int, typer.Option(min=1, max=1000, help="Overlays per class and outcome.")] = 3,
    lesion: Annotated[
        str, typer.Option(help="Measure against the lesion's outline, box or union instead of as in the run.")
    ] = "",
    root: Root = "",
    device: Device = "auto",
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Draw where the promoted model looks, and measure the overlap with the annotated lesions."""
    _require_one_of("lesion", lesion, ("", "outline", "box", "union"))
    _finish_cut_short((ledger, artifacts, grid, docs), required=experiment is None)
    from boneexp import explaining, reporting
    from boneexp.progress import counting
    from boneexp.promoted_files import Place

    place = Place(ledger, artifacts, grid, docs)
    request = explaining.Request(experiment, split, _names(images), count, device, _absolute(root), lesion)
    with counting("Grad-CAM") as progress:
        done = explaining.explain_and_record(place, request, progress, time.time())
    if done.notice:
        screen.talk(f"Warning: {done.notice}")
    written = list(done.galleries)
    if experiment is None and not images:  # the promoted model: its documents show what was measured
        written += reporting.write_report(place, time.time(), with_page=False)
    if json:
        return screen.as_json(done.as_json())
    screen.show(*screen.overlap_parts(done.as_json()))
    return screen.talk("\n".join(["Written:", *(f"  {path}" for path in written)]))


@app.command(cls=Command)
def report(
    *,
    check: Annotated[
        bool,
        typer.Option("--check", help="Write nothing; fail where a file does not say what the ledger says."),
    ] = False,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Write model card, report, comparison and artifacts/report.html from the ledger; your own words stay."""
    from boneexp import reporting
    from boneexp.promoted_files import Place

    place = Place(ledger, artifacts, GRID, docs)
    if check:
        with reading(ledger) as connection:
            _mention_cut_short(connection)
        return _say_differences(reporting.check_report(place), json)
    _finish_cut_short((ledger, artifacts, GRID, docs), required=True)
    written = reporting.write_report(place, time.time(), with_page=True)
    if json:
        return screen.as_json({"written": [str(path) for path in written]})
    return screen.data("\n".join(map(str, written)))


@app.command(cls=Command)
def export(
    *,
    bundle: Annotated[
        Path | None, typer.Option("--bundle", metavar="FILE", help="Write one archive that checks itself.")
    ] = None,
    mlflow: Annotated[
        str, typer.Option("--mlflow", metavar="DIR-or-URI", help="Write every settled run into MLflow, once.")
    ] = "",
    with_checkpoints: Annotated[
        bool, typer.Option("--with-checkpoints", help="The best weights of each run, too.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Replace a file that is there.")] = False,
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Give the study to others: as one archive that can be checked anywhere, or as runs in MLflow."""
    if (bundle is None) == (not mlflow):
        raise typer.BadParameter("say where to: --bundle FILE or --mlflow DIR-or-URI")
    if bundle is None:
        from boneexp.exports.mlflow_runs import write_runs

        written = write_runs(ledger, artifacts, mlflow, with_checkpoints=with_checkpoints)
        if json:
            return screen.as_json(written.as_json())
        return screen.data(f"{written.sentence()}, in {written.store}")
    from boneexp.exports.bundle import write_bundle
    from boneexp.promoted_files import Place

    with reading(ledger) as connection:
        _mention_cut_short(connection)
    place = Place(ledger, artifacts, grid, docs)
    done = write_bundle(place, bundle, with_checkpoints=with_checkpoints, replace=yes)
    if json:
        return screen.as_json(done.as_json())
    screen.data(f"{done.sha256}  {done.path}")
    return screen.talk(done.sentence())


@app.command(cls=Command)
def reproduce(
    *,
    run_id: Annotated[int, typer.Argument(metavar="RUN", help="A run that has succeeded.")],
    device: Device = "auto",
    root: Root = "",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Run a finished run once more, in a folder of its own, and say whether it lies within its interval."""
    from boneexp.computing import Computing
    from boneexp.engines.attempt import Workplace
    from boneexp.progress import run_progress
    from boneexp.reproducing import reproduce as run_again

    with run_progress() as announce:
        found = run_again(Workplace(ledger, artifacts, Computing(device), announce), run_id, _absolute(root))
    if isinstance(found, str):
        raise typer.Exit(_exit_code(found, 0, 0))
    if json:
        screen.as_json(found.as_json())
    else:
        screen.show(*screen.reproduction_parts(found))
        screen.talk(f"Written: {artifacts / found.folder}")
    raise typer.Exit(0 if found.passed else 7)


@app.command(cls=Command)
def retry(
    run_ids: Annotated[list[int] | None, typer.Argument(metavar="[RUN]...")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Every failed run.")] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Queue failed or cancelled runs again; they go on from their last checkpoint, and history stays."""
    from boneexp.engines.processes import free_dead_runs_here
    from boneexp.ledger.queue import retry as queue_again

    _finish_cut_short((ledger, artifacts, GRID, DOCS))
    chosen = _chosen(ledger, run_ids, failed)
    free_dead_runs_here(ledger, time.time())
    with writing(ledger) as connection:
        for run_id in chosen:
            queue_again(connection, run_id, time.time())
    return screen.as_json({"queued": chosen}) if json else screen.data(f"{len(chosen)} queued again")


@app.command(cls=Command)
def cancel(
    run_ids: Annotated[list[int], typer.Argument(metavar="RUN...")],
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Take runs out of the queue; a run that is running is stopped by its worker."""
    from boneexp.engines.processes import free_dead_runs_here
    from boneexp.ledger.queue import cancel as take_out

    _finish_cut_short((ledger, artifacts, GRID, DOCS))
    free_dead_runs_here(ledger, time.time())
    with writing(ledger) as connection:
        done = {run_id: take_out(connection, run_id, time.time()) for run_id in dict.fromkeys(run_ids)}
    if json:
        return screen.as_json([{"run": run_id, "state": state} for run_id, state in done.items()])
    return screen.data("\n".join(f"run {run_id}: {state}" for run_id, state in done.items()))


@app.command("upgrade", cls=Command)
def upgrade_ledger(
    ledger: LedgerPath = LEDGER, artifacts: ArtifactsPath = ARTIFACTS, json: Json = False
) -> None:
    """Bring an old ledger to this version's schema; a backup is made first."""
    backup = upgrade(ledger, time.time())
    if json:
        return screen.as_json({"upgraded": backup is not None, "backup": str(backup) if backup else None})
    return screen.data(f"upgraded; the backup is {backup}" if backup else f"{ledger} is up to date")


@app.command(cls=Command)
def doctor(
    *,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended, each step named.")] = False,
    yes: Yes = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="With --fix: name the steps, and take none.")
    ] = False,
    quick: Annotated[bool, typer.Option("--quick", help="Of files, check presence and size alone.")] = False,
    backup: Annotated[
        Path | None,
        typer.Option("--backup", metavar="FILE", help="Copy the ledger to this new file instead."),
    ] = None,
    verify_resume: Annotated[
        bool,
        typer.Option(
            "--verify-resume", help="Train a small network twice instead, once killed, and compare the two."
        ),
    ] = False,
    device: Device = "auto",
    kernels: Kernels = "deterministic",
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    grid: GridPath = GRID,
    docs: DocsPath = DOCS,
    json: Json = False,
) -> None:
    """Check that ledger, history and files are as they were recorded; changes nothing without --fix."""
    if fix and not dry_run:
        require_agreement(yes, "doctor --fix")
    if backup is not None:
        return _backed_up(ledger, backup, json)
    if verify_resume:
        return _resume_verified(device, kernels, json)
    from boneexp.doctor.examination import examine
    from boneexp.doctor.findings import Examination, is_damaged
    from boneexp.doctor.mending import after_fix
    from boneexp.progress import counting
    from boneexp.promoted_files import Place

    with counting("checking the files") as progress:
        visit = Examination(Place(ledger, artifacts, grid, docs), time.time(), quick, progress)
        findings = examine(visit)
    steps: list[dict[str, Any]] = []
    if fix:
        steps = _mended(visit, findings, yes, dry_run)
        findings = findings if dry_run else after_fix(visit, findings, examine(visit))
    _say_findings(findings, steps, json)
    raise typer.Exit(7 if is_damaged(findings) else 0)


@data_app.command(cls=Command)
def phantom(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; new or empty, or see --yes.")],
    images: Annotated[int, typer.Option(help="How many radiographs.")] = 240,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same bytes.")] = 42,
    yes: Annotated[
        bool,
        typer.Option("--yes", "-y", help="Write into a folder that is not empty; replaces a phantom there."),
    ] = False,
    ledger: LedgerPath = LEDGER,
    artifacts: ArtifactsPath = ARTIFACTS,
    json: Json = False,
) -> None:
    """Write synthetic radiographs in BTXRD's layout, to try things on; they say nothing about tumours."""
    from boneexp.data.phantom import write_phantom

    taken = out.is_dir() and any(out.iterdir())
    if taken:
        require_agreement(yes, f"{out} is not empty; writing into it")
    if taken and not yes:
        typer.confirm(f"{out} is not empty; a phantom in it will be replaced. Go on?", abort=True, err=True)
    summary = write_phantom(out, images=images, seed=seed, replace=taken)
    if json:
        return screen.as_json({"folder": str(out), "images": summary.images, "patients": summary.patients})
    return screen.data(
        f"{summary.images} synthetic radiographs of {summary.patients} phantom patients in {out}"
    )


def main() -> None:
    """Start the program."""
    app()


def _compared(done: "Compared", said: str, json: bool, csv: bool, md: bool) -> None:
    from boneexp.compared_tables import comparison_parts
    from boneexp.documents import comparison as document

    found, verdict = done.comparison, done.verdict
    if json:
        return screen.as_json(document.as_json(found, verdict))
    if csv or md:
        return screen.data(document.as_csv(found) if csv else document.as_markdown(found))
    screen.show(*comparison_parts(found, verdict))
    return screen.talk(said) if said else None


def _written_or_why_not(done: "Compared", artifacts: Path) -> str:
    """Write the comparison's files; a place that cannot be written to is no reason to show nothing."""
    from boneexp.documents.comparison import write_comparison

    try:
        return "Written: {} and {}".format(*write_comparison(done.comparison, done.verdict, artifacts))
    except OSError as error:
        return f"comparison.csv and .json could not be written under {artifacts}: {error.strerror}"


def _backed_up(ledger: Path, backup: Path, json: bool) -> None:
    from boneexp.ledger.backup import back_up
    from boneexp.ledger.database import examining

    with examining(ledger) as connection:
        sha256 = back_up(connection, backup)
    if json:
        return screen.as_json({"backup": str(backup), "sha256": sha256})
    return screen.data(f"{sha256}  {backup}")


def _resume_verified(device: str, kernels: Kernels, json: bool) -> None:
    from boneexp.computing import Computing
    from boneexp.progress import run_progress
    from boneexp.resume_check import resume_check

    with run_progress() as announce:
        found = resume_check(Computing(device, kernels), announce)
    if json:
        screen.as_json(found.as_json())
    else:
        screen.data(found.sentence())
    raise typer.Exit(0 if found.passed else 7)


def _mended(visit: Any, findings: Any, yes: bool, dry_run: bool) -> list[dict[str, Any]]:
    """Name the steps that would mend what was found, and take them once the person has said yes."""
    from dataclasses import asdict

    from boneexp.doctor.mending import carry_out, steps

    todo = steps(visit, findings)
    screen.talk(
        "\n".join(["Steps:", *(f"  {step.what}" for step in todo)])
        if todo
        else "There is nothing that --fix can mend."
    )
    if dry_run or not todo:
        return [{"what": step.what, "outcome": "not taken", "succeeded": False} for step in todo]
    if not yes:
        typer.confirm("Take them?", abort=True, err=True)
    return [asdict(done) for done in carry_out(visit, todo, screen.talk)]


def _say_findings(findings: Any, steps: list[dict[str, Any]], json: bool) -> None:
    from dataclasses import asdict

    from boneexp.doctor.findings import is_damaged, is_unreadable

    sound = not is_damaged(findings)
    if json:
        listed = [asdict(finding) for finding in findings]
        return screen.as_json({"sound": sound, "findings": listed, "steps": steps})
    if is_unreadable(findings):
        raise Damaged(f"{findings[0].what}; {findings[0].mend}")
    screen.show(screen.findings_table(findings))
    return screen.talk("No damage found." if sound else "Damage was found: see the lines in red.")


def _say_differences(found: Any, json: bool) -> None:
    if json:
        screen.as_json({"agrees": not found, "differences": [each.as_json() for each in found]})
    elif found:
        screen.data("\n".join(each.shown() for each in found))
    screen.talk(
        "Files and ledger differ; write them anew with: boneexp report"
        if found
        else "Every document says what the ledger says."
    )
    raise typer.Exit(7 if found else 0)


def _finish_cut_short(where: tuple[Path, Path, Path, Path], *, required: bool = False) -> None:
    """Finish a promotion that was killed, and say so; what is `required` for the command must succeed."""
    with reading(where[0]) as connection:
        if views.promotion_cut_short(connection) is None:
            return
    from boneexp.promoted_files import Place
    from boneexp.promotion import finish_cut_short

    try:
        said = finish_cut_short(Place(*where), time.time(), BUSY_TIMEOUT_S if required else 0)
    except Busy:  # it was not killed, it is at work
        if required:
            raise
        return
    except (BoneexpError, OSError) as error:
        if required:
            raise
        said = f"a promotion was cut short and is not finished: {error}"
    if said:
        screen.talk(said)


def _mention_cut_short(connection: Any) -> None:
    found = views.promotion_cut_short(connection)
    if found is None:
        return
    what, left = "a promotion", "nothing has changed"
    if found["promotion"] is not None:
        what = f"promotion {found['promotion']} ({found['experiment'] or 'the baseline'})"
        left = "checkpoints, grid file and documents may not agree"
    screen.talk(f"{what} is at work or was cut short: {left}; finish it with: boneexp promote --finish")


def _previewed(place: Any, request: Any, json: bool) -> None:
    from boneexp.deciding import decide

    decision = decide(place, request)
    if json:
        screen.as_json({**decision.as_json(), "diff": decision.diff(place, time.time())})
    else:
        screen.data(decision.preview(place, time.time()))
    decision.require()
    decision.require_new()


def _carried_out(place: Any, request: Any, yes: bool, json: bool) -> None:
    from boneexp.deciding import decide
    from boneexp.promotion import carry_out

    _finish_cut_short((place.ledger, place.artifacts, place.grid, place.docs))
    decision = decide(place, request)
    decision.require()
    if decision.stands_already and json:
        screen.as_json({**decision.as_json(), "written": []})
    decision.require_new()
    for warning in decision.warnings():
        screen.talk(warning)
    if not yes:
        screen.talk(decision.sentence())
        typer.confirm("Go on?", abort=True, err=True)
        if decide(place, request) != decision:
            raise Busy("what it was decided by has changed since you were asked; look, and decide again")
    written = carry_out(place, decision, time.time())
    if json:
        return screen.as_json({**decision.as_json(), "written": [str(path) for path in written]})
    screen.data(decision.sentence())
    return screen.talk("\n".join(["Written:", *(f"  {path}" for path in written)]))


def _say_decisions(ledger: Path, json: bool, csv: bool, md: bool) -> None:
    with reading(ledger) as connection:
        rows = views.decision_rows(connection)
        _mention_cut_short(connection)
    if not rows:
        raise NothingToDo("nobody has decided yet; see what there is to decide with: boneexp compare")
    if json or csv or md:
        return _machine_readable(rows, json, csv)
    return screen.show(screen.decisions_table(rows))


def _say_finished(said: str | None, json: bool) -> None:
    if said is None:
        raise NothingToDo("no promotion was cut short; see what stands with: boneexp compare")
    if json:
        return screen.as_json({"finished": said})
    return screen.data(said)


def _with_place(row: dict[str, Any], artifacts: Path) -> dict[str, Any]:
    """Return the row with the checkpoint as a path from here; the ledger keeps it relative to artifacts."""
    return {**row, "checkpoint": str(artifacts / row["checkpoint"]) if row["checkpoint"] else None}


def _require_one_of(option: str, given: str, known: tuple[str, ...]) -> None:
    if given not in known:
        raise typer.BadParameter(f"--{option} {given}: it is one of {', '.join(known)}")


def _answered(answer: "Answer", json: bool, csv: bool, md: bool) -> None:
    if json:
        return screen.as_json(answer.as_json())
    if csv or md:
        return _machine_readable(answer.rows, json, csv)
    from boneexp.compared_tables import answer_parts

    return screen.show(*answer_parts(answer))


def _absolute(root: str) -> str:
    """Return the folder as every process finds it; "" where none is named."""
    return str(Path(root).expanduser().resolve()) if root else ""


def _require_given_once(overrides: list[str], options: dict[str, str]) -> None:
    """Refuse a key that an option of its own and --set both give."""
    keys = [each.partition("=")[0].strip() for each in overrides]
    for key, value in options.items():
        if value and key in keys:
            option = f"--{key.split('.')[-1]}"
            raise typer.BadParameter(f"{option} and --set {key} contradict each other; give one of them")


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _seeds(text: str) -> list[int]:
    try:
        return [int(name) for name in _names(text)]
    except ValueError:
        raise typer.BadParameter(f"--seeds {text}: seeds are whole numbers, such as 42,43") from None


def _known_hashes(ledger: Path) -> set[str]:
    if not ledger.is_file():
        return set()
    with reading(ledger) as connection:
        return views.known_hashes(connection)


def _warn_of_network(ledger: Path) -> None:
    found = network_file_system(ledger)
    if found is not None:
        screen.talk(
            f"Warning: {ledger} lies on a network file system ({found}), where SQLite may lose or damage it; "
            "put it on a disk of this machine with --ledger FILE (artifacts may stay); see docs/scale.md"
        )


def _require_waiting(ledger: Path, run_id: int | None) -> None:
    """Say so at once, before torch is loaded, when there is nothing to run."""
    with reading(ledger) as connection:
        rows = views.unfinished_rows(connection) if run_id is None else [views.run_row(connection, run_id)]
    if run_id is not None and rows[0]["state"] not in ("queued", "running"):
        state = rows[0]["state"]
        more = f"; queue it again with: boneexp retry {run_id}" if state in ("failed", "cancelled") else ""
        raise RunNotFinished(f"run {run_id} is {state}, not waiting{more}")
    if not rows:
        raise NothingToDo("no run waits; see what there is with: boneexp status")


def _require_own_folders(ledger: Path, artifacts: Path) -> None:
    """Refuse to begin while a run that waits would write out of the artifacts folder, through a link."""
    from boneexp.artifacts import inside

    with reading(ledger) as connection:
        waiting = views.unfinished_rows(connection)
    for relative in ("cache/prepared", "cache/images.json", *(f"{row['folder']}/run.log" for row in waiting)):
        inside(artifacts, relative)


def _say_who_holds(ledger: Path, run_id: int | None) -> None:
    with reading(ledger) as connection:
        rows = views.unfinished_rows(connection) if run_id is None else [views.run_row(connection, run_id)]
    held = [f"run {row['run']} by {row['worker']}" for row in rows if row["state"] == "running"]
    if held:
        raise Busy(f"what waits is held by other workers ({', '.join(held)}); watch it with: boneexp status")


def _exit_code(stopped_by: str, failed: int, succeeded: int) -> int:
    if stopped_by:
        return {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}[stopped_by]
    if failed:
        return 3
    return 0 if succeeded else 4


def _chosen(ledger: Path, run_ids: list[int] | None, failed: bool) -> list[int]:
    if bool(run_ids) == failed:
        raise typer.BadParameter("say which: run numbers, or --failed")
    if run_ids:
        return list(dict.fromkeys(run_ids))
    with reading(ledger) as connection:
        found = views.runs_in_state(connection, ("failed",))
    if not found:
        raise NothingToDo("no run has failed; see them with: boneexp status")
    return found


def _status_now(ledger: Path) -> tuple[Any, bool]:
    with reading(ledger) as connection:
        rows = views.status_rows(connection, screen.MOST_RUNS)
        counts = views.state_counts(connection)
    final = not counts.keys() & {"queued", "running"}
    parts = screen.status_parts(rows, time.time(), sum(counts.values()), screen.console().width)
    return screen.together(parts), final


def _machine_readable(rows: list[dict[str, Any]], json: bool, csv: bool) -> None:
    if json:
        screen.as_json(rows)
    elif csv:
        screen.as_csv(rows)
    else:
        screen.as_markdown(rows)


if __name__ == "__main__":
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    main()
