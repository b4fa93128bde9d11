"""Every family of timm: does `queue` take its smallest network, does it train, and where does Grad-CAM look?

    OMP_NUM_THREADS=1 nice python benchmarks/timm_families.py

writes benchmarks/results/timm_families.md. A family is a module of timm and the letters that its networks'
names begin with. Each is tried with random weights, at 96 pixels and, where `queue` refuses that, at timm's
own size; where a small map does not tell whether it follows the picture, at 224 pixels too. What `queue`
takes is then trained for a real step on the CPU and asked for heat maps; what it refuses has failed on the
CPU, with the error that its sentence names. Each network has a process of its own, so that one which ends
its process has its row too. Names given as arguments are tried instead of the families.
"""

import math
import re
import sys
import time
import types
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from boneexp.errors import GridInvalid, NoHeatMaps, WeightsUnavailable
from boneexp.learning.batches import normalised
from boneexp.learning.gradcam import heatmaps
from boneexp.learning.last_map import LastMap, last_map
from boneexp.learning.models import _last_layers, build, on_device, own_size
from boneexp.learning.trial import check_network
from boneexp.study.settings import DataSettings, ModelSettings

SMALL_PX = 96
USUAL_PX = 224
NOT_FOLLOWED = "the map does not follow the picture"
SIZES = (  # as names tell them, the smallest first
    *("test", "atto", "femto", "pico", "nano", "zepto", "xxt", "xxs", "xs", "tiny", "t_", "mini"),
    *("small", "s", "little", "medium", "m_", "base", "b_", "large", "l_", "so", "xlarge", "xl"),
    *("huge", "giant", "g_"),
)
RESULT = Path(__file__).parent / "results" / "timm_families.md"


@dataclass(frozen=True)
class Row:
    """What came out for one network at one size."""

    family: str
    network: str
    size_px: int
    queue: str  # "" where it is taken, else the sentence
    trained: str  # "" where a step and two predictions went well, else what went wrong
    layer: str
    cells: int
    gradcam: str  # "" where the maps are right, else the sentence
    wrong: str  # "" unless something is wrong
    untold: bool = False  # the map is too small to tell whether it follows the picture: see the next row

    @property
    def verdict(self) -> str:
        """In which of four sorts the row is."""
        if self.wrong:
            return "WRONG"
        if self.untold:
            return "map too small to tell"
        if self.queue:
            return "refused by queue"
        return "trains, refused by gradcam" if self.gradcam else "trains, heat maps right"


def smallest_of_families() -> dict[str, str]:
    """Return of each family the network whose name sounds smallest: one of each module first."""
    found: dict[str, list[str]] = {}
    for module in timm.list_modules():
        for name in timm.list_models(module=module):
            letters = re.match(r"[a-z]+", name)
            found.setdefault(f"{module}: {letters[0] if letters else name}", []).append(name)
    smallest = {family: min(names, key=_by_name) for family, names in found.items()}
    first = {family.split(":")[0]: family for family in reversed(smallest)}
    ordered = [*sorted(first.values()), *sorted(smallest.keys() - set(first.values()))]
    return {family: smallest[family] for family in ordered}


def _by_name(name: str) -> tuple[int, list[int], str]:
    words = [place for place, word in enumerate(SIZES) if re.search(rf"(^|[_\d]){word}", name)]
    return (
        min(words, default=len(SIZES) // 2),
        [int(each) for each in re.findall(r"\d+", name)] or [10**6],
        name,
    )


def rows_of(family: str, name: str) -> Iterator[Row]:
    """Yield a network's rows, computed in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("fork")) as alone:
        try:
            yield from alone.submit(_rows_here, family, name).result()
        except BrokenProcessPool as error:
            yield Row(family, name, SMALL_PX, "", "", "", 0, "", f"its process ended: {error}")


def _rows_here(family: str, name: str) -> list[Row]:
    return list(_sizes(family, name))


def _sizes(family: str, name: str) -> Iterator[Row]:
    """Yield what comes out at 96 pixels, at timm's own size where that is refused, and at 224 for small maps.

    A map of 3 x 3 or 4 x 4 cells, each of which sees the whole picture, may not tell where a change was.
    """
    for size in dict.fromkeys((SMALL_PX, own_size(name))):
        row = row_of(family, name, size)
        if row.wrong == NOT_FOLLOWED and row.cells <= 4 and size < USUAL_PX:
            yield replace(row, wrong="", untold=True)
            row = row_of(family, name, USUAL_PX)
        yield row
        if not row.queue:
            return


def row_of(family: str, name: str, size: int) -> Row:
    """Ask `queue`, then find out the truth."""
    settings = ModelSettings(backbone=name, pretrained=False)
    try:
        noted = check_network(settings, size, 2)
    except (GridInvalid, WeightsUnavailable) as error:
        return Row(family, name, size, str(error), "", "", 0, "", "")
    model = on_device(build(settings, 1, size), "cpu")
    trained = _trained(model, size)
    try:
        seen = last_map(model, size)
    except NoHeatMaps as error:
        wrong = trained or ("" if noted else "queue said nothing of Grad-CAM")
        return Row(family, name, size, "", trained, "", 0, str(error), wrong)
    wrong = (
        trained or ("queue refuses Grad-CAM wrongly" if noted else "") or _maps_are_wrong(model, size, seen)
    )
    return Row(family, name, size, "", trained, seen.layer, seen.cells, "", wrong)


def _trained(model: nn.Module, size: int) -> str:
    """Predict one image and two, and take a step on two; return what went wrong."""
    images = _pictures(size, 2)
    try:
        model.eval()
        with torch.inference_mode():
            start = [model(images[:count]) for count in (1, 2)]
        if [tuple(each.shape) for each in start] != [(1, 3), (2, 3)]:
            return f"shapes {[tuple(each.shape) for each in start]}"
        if any(each.abs().max() > 1e-6 for each in start):
            return "does not start from equal probabilities"
        model.train()
        loss = cross_entropy(model(images), torch.tensor([0, 1]))
        loss.backward()
        torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True).step()
        return "" if math.isfinite(loss.item()) else "the loss is not finite"
    except Exception as error:  # noqa: BLE001 - the table says what it was
        return f"{type(error).__name__}: {str(error).splitlines()[0][:120]}"


def _maps_are_wrong(model: nn.Module, size: int, seen: LastMap) -> str:
    """Return what is wrong with the maps of a random head: zero, or not where the picture is."""
    prepared: Any = types.SimpleNamespace(pixels=_grey(size, 1))
    asked = (prepared, np.zeros(3, int), np.arange(3), DataSettings(image_size=size))
    try:
        heads = (_random_head(model, sign) for sign in (1, -1))  # what speaks against a class has no map
        if not any(each.any() for head in heads for each in heatmaps(head, *asked)):
            return "every heat map is zero"
        return _turned_axes(model, size, seen)
    except Exception as error:  # noqa: BLE001 - as above
        return f"gradcam: {type(error).__name__}: {str(error).splitlines()[0][:120]}"


def _random_head(model: nn.Module, sign: int) -> nn.Module:
    for layer in _last_layers(model, ""):
        generator = torch.Generator().manual_seed(1)
        nn.init.normal_(layer.weight, std=0.1, generator=generator)  # type: ignore[arg-type]
        layer.weight.data *= sign  # type: ignore[operator, union-attr]
    return model


def _turned_axes(model: nn.Module, size: int, seen: LastMap) -> str:
    """Blacken the picture's upper right and its lower left: where the map changes must tell which it was.

    Random weights may drown a change; so BatchNorm's means are taken as built and as the pictures have them,
    and the one under which the two changes differ more is asked.
    """
    grey = _grey(size, 8 if size <= 128 else 2)
    leanings = [_leaning(model, grey, seen)]
    if _measured_normalisation(model, grey):
        leanings.append(_leaning(model, grey, seen))
    leaning = max(leanings, key=lambda each: float(np.abs(each).max()))
    if np.abs(leaning).max() < 0.05 / leaning.size:
        return ""  # with random weights its attention mixes all cells alike, and nothing can be told
    cells = np.arange(len(leaning))
    right_side = np.sign(cells[None, :] - cells[:, None])  # +1 above the diagonal, -1 below
    agreeing = float((leaning * right_side).sum() / np.abs(leaning).sum())  # -1 if the axes are mixed up
    return "" if agreeing > 0.5 else NOT_FOLLOWED


def _leaning(model: nn.Module, grey: np.ndarray, seen: LastMap) -> np.ndarray:
    """Return, per cell, the share of the change by the upper right less that by the lower left."""
    settings, third = DataSettings(image_size=grey.shape[1]), grey.shape[1] // 3
    upper, lower = grey.copy(), grey.copy()
    upper[:, :third, -third:] = 0
    lower[:, -third:, :third] = 0
    with torch.no_grad():
        found, above, below = (
            seen.channels_first(model.forward_features(images))  # type: ignore[operator]
            for images in (normalised(torch.from_numpy(each), settings) for each in (grey, upper, lower))
        )
    moved = [(found - other).abs().mean((0, 1)).numpy() for other in (above, below)]
    return moved[0] / moved[0].sum() - moved[1] / moved[1].sum()


def _measured_normalisation(model: nn.Module, grey: np.ndarray) -> bool:
    """Set the running means of BatchNorm to the pictures' own; False where there are none."""
    norms = [each for each in model.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm)]
    for each in norms:
        each.momentum = None  # a plain mean of what comes
        each.reset_running_stats()
    if norms:
        with torch.no_grad():
            model.train()(normalised(torch.from_numpy(grey), DataSettings(image_size=grey.shape[1])))
        model.eval()
    return bool(norms)


def _grey(size: int, count: int) -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 255, (count, size, size))
    return noise.astype(np.uint8)


def _pictures(size: int, count: int) -> torch.Tensor:
    return normalised(torch.from_numpy(_grey(size, count)), DataSettings(image_size=size))


def main(names: list[str]) -> None:
    """Try every family, or the networks named, and write the table."""
    began_s = time.monotonic()
    asked = {name: name for name in names} or smallest_of_families()
    print(f"{len(asked)} networks found in {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    rows: list[Row] = []
    for family, name in asked.items():
        for row in rows_of(family, name):
            rows.append(row)
            print(f"{row.verdict}: {_line(row)}", file=sys.stderr, flush=True)
            if not names:
                RESULT.write_text(_page(rows))
    print(f"{time.monotonic() - began_s:.0f} s", Counter(row.verdict for row in rows), file=sys.stderr)


def _page(rows: list[Row]) -> str:
    last = {row.family: row for row in rows}
    counts = Counter(row.verdict for row in last.values())
    counted = "\n".join(f"| {verdict} | {count} |" for verdict, count in sorted(counts.items()))
    return f"""# The families of timm

Written by `benchmarks/timm_families.py`, which says what is tried; timm {timm.__version__}, torch
{torch.__version__}, on the CPU, random weights, batches of two. A network that is refused at {SMALL_PX}
pixels has a second row at timm's own size, and one whose map of at most 4 x 4 cells does not tell where a
change was has one at {USUAL_PX} pixels; the last row of a family is the one counted.

| verdict | families |
|---|---|
{counted}
| all | {len(last)} |

| family | network | px | queue | Grad-CAM: layer | cells | verdict |
|---|---|---|---|---|---|---|
{"".join(_line(row) + chr(10) for row in sorted(rows, key=lambda row: row.family))}"""


def _line(row: Row) -> str:
    queue = row.queue or "taken"
    layer = "" if row.queue else f"`{row.layer}`" if row.layer else row.gradcam
    cells = f"{row.cells} x {row.cells}" if row.cells else ""
    verdict = f"{row.verdict}: {row.wrong}" if row.wrong else row.verdict
    texts = (row.family, f"`{row.network}`", str(row.size_px), queue, layer, cells, verdict)
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


if __name__ == "__main__":
    main(sys.argv[1:])
