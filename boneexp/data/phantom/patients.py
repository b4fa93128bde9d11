"""Who is in a phantom dataset: invented patients, their lesions, and how often each is filmed.

The order is BTXRD's: tumours first, then normals, and a patient's pictures in a row. Every patient comes from
a stream of random numbers of its own, keyed by the seed and the index; what the index alone decides are
BTXRD's quirks, which a set of any size should have.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from boneexp.data.phantom.anatomy import SCENES
from boneexp.data.phantom.drawing import Finding
from boneexp.data.phantom.lesions import KINDS
from boneexp.errors import DataInvalid

FEWEST_IMAGES = 12
FEWEST_FOR_DUPLICATES = 48
# Shares of the images by class and center: like BTXRD's, but with more malignant ones to learn from.
SHARES = {
    ("Normal", 1): 0.27, ("Normal", 2): 0.11, ("Normal", 3): 0.04,
    ("Benign", 1): 0.21, ("Benign", 2): 0.08, ("Benign", 3): 0.07,
    ("Malignant", 1): 0.12, ("Malignant", 2): 0.06, ("Malignant", 3): 0.04,
}  # fmt: skip
AGES = {"Normal": (2, 86), "Benign": (5, 50), "Malignant": (8, 75)}  # from, and below


def plan(images: int, seed: int) -> tuple["Patient", ...]:
    """Return the patients in the order of the table: tumours first, then normals.

    From 48 images on, one benign and one normal picture come a second time, half a block on, as if of another
    patient: BTXRD holds such exact duplicates, and a split must keep them together.

    Raises:
        DataInvalid: `images` is less than 12, or the seed is negative.
    """
    if images < FEWEST_IMAGES:
        raise DataInvalid(f"a phantom dataset needs {FEWEST_IMAGES} images or more, not {images}")
    if seed < 0:
        raise DataInvalid(f"the seed of a phantom dataset is 0 or more, not {seed}")
    rng = np.random.default_rng(seed)
    doubled = {("Benign", 1), ("Normal", 1)} if images >= FEWEST_FOR_DUPLICATES else set()
    tumours: list[tuple[str, int, int]] = []
    normals: list[tuple[str, int, int]] = []
    for cell, count in _counts(images).items():
        block = normals if cell[0] == "Normal" else tumours
        block += [(*cell, size) for size in _sizes(count - (cell in doubled), rng)]
    patients: list[Patient] = []
    for block in (tumours, normals):
        first = max((patient.index + 1 for patient in patients), default=0)
        shuffled = [block[place] for place in rng.permutation(len(block))]
        drawn = [_patient(first + place, seed, *who) for place, who in enumerate(shuffled)]
        patients += _with_echoes(drawn, doubled)
    return tuple(patients)


def _counts(images: int) -> dict[tuple[str, int], int]:
    """Share the images out to class and centre: each at least one, the largest remainders first."""
    exact = {cell: share * (images - len(SHARES)) for cell, share in SHARES.items()}
    counts = {cell: 1 + int(value) for cell, value in exact.items()}
    by_remainder = sorted(exact, key=lambda cell: int(exact[cell]) - exact[cell])
    for cell in by_remainder[: images - sum(counts.values())]:
        counts[cell] += 1
    return counts


def _sizes(images: int, rng: np.random.Generator) -> list[int]:
    """Split a number of images into patients with 1 to 3 pictures each."""
    sizes: list[int] = []
    while (left := images - sum(sizes)) > 0:
        sizes.append(min(left, int(rng.choice((1, 2, 3), p=(0.4, 0.4, 0.2)))))
    return sizes


def _patient(index: int, seed: int, label: str, center: int, size: int) -> "Patient":
    """Invent a patient who is filmed `size` times."""
    rng = np.random.default_rng([seed, index + 1, 1, 1])
    # A normal is filmed as if for some tumour: the body part must not give the class away.
    subtypes = [name for name, kind in KINDS.items() if label in ("Normal", kind.label)]
    subtype = _choice(rng, subtypes, [KINDS[name].weight for name in subtypes])
    names = KINDS[subtype].scenes or tuple(SCENES)
    scene = _choice(rng, names, [SCENES[name].weight for name in names])
    findings = _findings(subtype, scene, (seed, index + 1, 3))
    host = SCENES[scene].bones[findings[0].host[0]]
    age, gender = int(rng.integers(*AGES[label])), str(rng.choice(("M", "F")))
    return Patient(
        index=index,
        label=label,
        center=center,
        subtype="" if label == "Normal" else subtype,
        scene=scene,
        age=None if index % 17 == 5 else age,
        gender="" if index % 23 == 7 else gender,
        mirrored=bool(rng.integers(2)),
        zoom=float(np.clip(rng.uniform(0.08, 0.115) / host.half_width, 1.2, 2.4)),
        focus=findings[0],
        findings=() if label == "Normal" else findings,
        pictures=_pictures(size, index % 9 == 4, rng),
    )


def _pictures(size: int, can_be_double: bool, rng: np.random.Generator) -> tuple[tuple[str, ...], ...]:
    """Return the views on each of a patient's pictures: one, or two side by side on the only picture."""
    if size == 1 and can_be_double:
        return (("frontal", "lateral"),)
    if size == 1:
        return ((_choice(rng, ("frontal", "lateral", "oblique"), (0.6, 0.3, 0.1)),),)
    return (("frontal",), ("lateral",), ("oblique",))[:size]


def _choice(rng: np.random.Generator, names: Sequence[str], weights: Sequence[float]) -> str:
    return names[int(rng.choice(len(names), p=np.array(weights) / sum(weights)))]


def _findings(subtype: str, scene: str, seed: tuple[int, ...]) -> tuple[Finding, ...]:
    """Place a patient's lesions on the bones of the scene, each on another bone or further on."""
    rng = np.random.default_rng([*seed, 1])
    kind, hosts = KINDS[subtype], SCENES[scene].hosts
    count = int(rng.integers(kind.lesions[0], kind.lesions[1] + 1))
    first, quarter = int(rng.integers(len(hosts))), int(rng.integers(4))
    findings = []
    for place in range(count):
        # Never straight towards the front or the side, so that both views show something of it.
        azimuth = np.pi / 2 * (quarter + 2 * place) + rng.uniform(0.4, 1.1)
        host = hosts[(first + place) % len(hosts)]
        distance = rng.uniform(*kind.distances)
        findings.append(Finding(subtype, host, distance, float(azimuth), (*seed, place + 2)))
    return tuple(findings)


def _with_echoes(block: list["Patient"], doubled: set[tuple[str, int]]) -> list["Patient"]:
    """Let one patient of each (class, center) in `doubled` come again half a block on, with one picture."""
    patients = list(block)
    for cell in sorted(doubled):
        place = next((place for place, who in enumerate(block) if (who.label, who.center) == cell), None)
        if place is not None:
            echo = replace(block[place], pictures=block[place].pictures[:1])
            patients.insert((place + len(block) // 2) % len(block), echo)
    return patients


@dataclass(frozen=True)
class Patient:
    """An invented patient and how often it is filmed; each picture is a tuple of the views on it."""

    index: int
    label: str
    center: int
    subtype: str  # "" for a normal
    scene: str
    age: int | None
    gender: str
    mirrored: bool
    zoom: float
    focus: Finding  # where the pictures are centred, whether there is a lesion or not
    findings: tuple[Finding, ...]
    pictures: tuple[tuple[str, ...], ...]

    @property
    def is_rgb(self) -> bool:
        """Whether the JPEGs have three channels, all alike."""
        return self.center == 2 or self.index % 5 == 0

    @property
    def is_cut(self) -> bool:
        """Whether the lesion's outline leaves the image."""
        return self.index % 11 == 3
