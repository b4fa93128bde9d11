"""Before the first run: is the device there, which software will run, how much disk space is needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from boneexp.errors import GridInvalid
from boneexp.results import Computing
from boneexp.study.settings import ExperimentSettings

SMALL_FILES_BYTES = 16_000_000  # pictures, tables, log, rows of the ledger: a generous estimate
# While a run works: weights and two moments twice (a file is written beside the one it replaces), the best
# weights twice. When it is done: weights as the best and as the last checkpoint.
PEAK_WEIGHTS, KEPT_WEIGHTS = 8, 2


@dataclass(frozen=True)
class Waiting:
    """Runs that wait and share their settings and data."""

    settings_json: str
    fingerprint: str
    images: int
    runs: int


@dataclass(frozen=True)
class Readiness:
    """What the runs will find; `next_bytes` is what the largest of them needs, `all_bytes` all together."""

    device: str
    versions: dict[str, str]
    next_bytes: int
    all_bytes: int


def readiness(computing: Computing, waiting: Sequence[Waiting], artifacts: Path, report: object) -> Readiness:
    """Return device, software and the disk space that the waiting networks need.

    Raises:
        DeviceUnavailable: this machine has no such device.
    """
    from boneexp.learning.devices import resolved_device, software  # loads torch

    found = resolved_device(computing.device)
    peaks, kept, caches = [0], 0, {}
    for each in waiting:
        settings = ExperimentSettings.model_validate_json(each.settings_json)
        weights = _weight_bytes(settings)
        place, cache_bytes = _cache(settings, each, artifacts)
        caches[place] = cache_bytes
        peaks.append(cache_bytes + PEAK_WEIGHTS * weights + SMALL_FILES_BYTES)
        kept += each.runs * (KEPT_WEIGHTS * weights + SMALL_FILES_BYTES)
    together = sum(caches.values()) + kept + max(peaks)
    return Readiness(str(found), software(found, computing.kernels), max(peaks), together)


def _weight_bytes(settings: ExperimentSettings) -> int:
    from boneexp.learning.models import weight_bytes

    try:
        return weight_bytes(settings.model, settings.data.image_size)
    except GridInvalid:  # this timm does not have it: the run itself will fail with the reason
        return 0


def _cache(settings: ExperimentSettings, waiting: Waiting, artifacts: Path) -> tuple[Path, int]:
    """Return the folder of the prepared images, and the bytes that it lacks if every image has a lesion."""
    from boneexp.data.prepared import cache_folder, recipe_of

    place = cache_folder(artifacts / "cache" / "prepared", waiting.fingerprint, recipe_of(settings.data))
    return place, 0 if place.is_dir() else 2 * waiting.images * settings.data.image_size**2
