"""What a lesion does to the bone around it: takes attenuation away, and puts some in its place.

Positions are in half widths of the host bone: `along` runs from the joint to the mid-shaft, `across` from one
side of the bone to the other, so that |across| = 1 is its outer edge. `side` says where the lesion's bulk
points to in this view: 1 or -1 is in profile, near 0 is towards the observer.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.floating[Any]]  # (height, width), float32 wherever speed counts


def clouds(rng: np.random.Generator, shape: tuple[int, int], size_px: float) -> Picture:
    """Return smooth noise of about unit spread whose blobs are about `size_px` wide."""
    size_px = max(size_px, 1.0)
    height, width = (int(side / size_px) + 2 for side in shape)
    coarse = rng.standard_normal((height, width), dtype=np.float32)
    fine = cv2.resize(coarse, None, fx=size_px, fy=size_px, interpolation=cv2.INTER_CUBIC)
    return np.asarray(1.25 * fine[: shape[0], : shape[1]], dtype=np.float32)


def blurred(picture: Picture, sigma_px: float) -> Picture:
    """Return the picture under a Gaussian blur; a wide one is made on a small copy, which is quicker."""
    step = max(int(sigma_px / 6), 1)
    height, width = picture.shape
    small = picture if step == 1 else cv2.resize(picture, (max(width // step, 2), max(height // step, 2)))
    soft = cv2.GaussianBlur(small, (0, 0), sigma_px / step)
    return np.asarray(soft if step == 1 else cv2.resize(soft, (width, height)), dtype=np.float32)


def ramp(values: Picture, zero_at: float, one_at: float) -> Picture:
    """Return 0 up to `zero_at`, 1 from `one_at` on, and a smooth step between (either may be the larger)."""
    share = np.clip((values - zero_at) / (one_at - zero_at), 0, 1)
    return np.asarray(share * share * (3 - 2 * share), dtype=np.float32)


def _egg(place: "Place", center: tuple[float, float], radii: tuple[float, float]) -> Picture:
    """Return 0 at `center`, 1 on the ellipse of `radii` (both along, across), and so on outwards."""
    along = (place.along - center[0]) / radii[0]
    return np.asarray(np.hypot(along, (place.across - center[1]) / radii[1]))


def _lumpy(egg: Picture, place: "Place", rng: np.random.Generator, lump: float) -> Picture:
    return np.asarray(egg * (1 + lump * clouds(rng, egg.shape, 0.9 * place.half_width_px)), dtype=np.float32)


def _ring(egg: Picture, width: float) -> Picture:
    return np.asarray(np.exp(-(((egg - 1) / width) ** 2)))


def _geographic(place: "Place", rng: np.random.Generator, egg: Picture, rim: tuple[float, float]) -> "Change":
    """A lucency with a sharp edge and a bright rim of (brightness, width)."""
    inside = ramp(egg, 1.0, 0.9)
    keep = 1 - rng.uniform(0.8, 0.95) * inside
    return Change(keep, rim[0] * place.strength * _ring(egg, rim[1]))


def simple_bone_cyst(place: "Place", rng: np.random.Generator) -> "Change":
    """A long central lucency that thins and slightly widens the shaft."""
    radii = (rng.uniform(1.6, 2.5), rng.uniform(1.0, 1.35))
    egg = _lumpy(_egg(place, (0.3, 0.0), radii), place, rng, 0.05)
    return _geographic(place, rng, egg, (rng.uniform(0.6, 0.9), 0.08))


def giant_cell_tumor(place: "Place", rng: np.random.Generator) -> "Change":
    """An eccentric lucency at the bone's end, crossed by thin septa, with a thin shell."""
    radii = (rng.uniform(1.1, 1.5), rng.uniform(0.9, 1.2))
    egg = _lumpy(_egg(place, (0.2, 0.4 * place.side), radii), place, rng, 0.07)
    change = _geographic(place, rng, egg, (rng.uniform(0.4, 0.6), 0.07))
    walls = np.exp(-((clouds(rng, egg.shape, 0.55 * place.half_width_px) / 0.16) ** 2)) * ramp(egg, 1.0, 0.85)
    return Change(change.keep, change.add + 0.3 * place.strength * walls)


def osteofibroma(place: "Place", rng: np.random.Generator) -> "Change":
    """A bubbly lucency in one wall of the shaft, with a thick rim."""
    radii = (rng.uniform(1.4, 2.0), rng.uniform(0.6, 0.8))
    egg = _lumpy(_egg(place, (0.0, 0.6 * place.side), radii), place, rng, 0.12)
    return _geographic(place, rng, egg, (rng.uniform(0.6, 0.85), 0.16))


def other_benign(place: "Place", rng: np.random.Generator) -> "Change":
    """A small round lucency with a thick rim, or with calcified popcorn inside, or a dense island."""
    radius = rng.uniform(0.6, 0.95)
    egg = _lumpy(_egg(place, (0.0, 0.25 * place.side), (1.3 * radius, radius)), place, rng, 0.06)
    kind = rng.integers(3)
    if kind == 2:
        return Change(np.ones_like(egg), 0.9 * place.strength * ramp(egg, 1.05, 0.9))
    change = _geographic(place, rng, egg, (rng.uniform(0.55, 0.8), 0.15))
    popcorn = ramp(clouds(rng, egg.shape, 0.14 * place.half_width_px), 0.6, 1.1) * ramp(egg, 0.95, 0.7)
    return Change(change.keep, change.add + kind * 0.7 * place.strength * popcorn)


def osteochondroma(place: "Place", rng: np.random.Generator) -> "Change":
    """A bony outgrowth on a stalk, away from the joint, with a lumpy cap."""
    base, tip = (0.0, 0.7 * place.profile), (rng.uniform(0.7, 1.5), rng.uniform(2.0, 2.7) * place.profile)
    stem = np.array(tip) - base
    share = ((place.along - base[0]) * stem[0] + (place.across - base[1]) * stem[1]) / float(stem @ stem)
    share = np.clip(share, 0, 1)
    aside = np.hypot(place.along - base[0] - share * stem[0], place.across - base[1] - share * stem[1])
    radius = rng.uniform(0.4, 0.6) + rng.uniform(0.2, 0.5) * share**2
    egg = _lumpy(aside / radius, place, rng, 0.1)
    bulk = np.sqrt(np.clip(1 - egg**2, 0, 1))
    cap = ramp(share, 0.6, 0.9) * ramp(clouds(rng, egg.shape, 0.16 * place.half_width_px), 0.2, 0.8) * bulk
    shell = ramp(egg, 1.08, 0.98) * ramp(egg, 0.7, 0.95)
    outside = 0.45 + 0.55 * ramp(np.abs(place.across), 0.7, 1.1)
    return Change(np.ones_like(egg), place.strength * outside * (0.75 * bulk + 0.55 * shell + 0.35 * cap))


def synovial_osteochondroma(place: "Place", rng: np.random.Generator) -> "Change":
    """Many round calcified bodies, alike in size, in and around the joint."""
    add = np.zeros_like(place.along)
    size = rng.uniform(0.16, 0.24)
    for _ in range(rng.integers(7, 15)):
        center = (rng.uniform(-1.7, 0.2), rng.uniform(-1.5, 1.5))
        radius = size * rng.uniform(0.75, 1.3)
        egg = _egg(place, center, (radius, radius * rng.uniform(0.8, 1.1)))
        add += np.sqrt(np.clip(1 - egg**2, 0, 1)) * 0.5 + 0.35 * ramp(egg, 1.05, 0.95) * ramp(egg, 0.5, 0.9)
    return Change(np.ones_like(add), place.strength * np.minimum(add, 1.0))


def _moth_eaten(place: "Place", rng: np.random.Generator, reach: Picture) -> Picture:
    """Return what is left of the bone: many small holes, closer together in the middle, no edge anywhere."""
    holes = 0.8 * clouds(rng, reach.shape, 0.13 * place.half_width_px)
    holes += 0.7 * clouds(rng, reach.shape, 0.35 * place.half_width_px)
    eaten = ramp(holes + 2.2 * reach, 0.9, 2.6) * ramp(reach, 0.05, 0.6)
    return 1 - 0.85 * eaten


def _broken_wall(place: "Place", rng: np.random.Generator, length: float) -> Picture:
    """Return how much of the wall on the lesion's side is gone, with a ragged edge."""
    egg = _egg(place, (0.0, 0.95 * place.profile), (length, 0.42))
    return ramp(_lumpy(egg, place, rng, 0.25), 1.1, 0.6)


def _spicules(place: "Place", rng: np.random.Generator, length: float) -> Picture:
    """Return a sunburst: fine rays from the wall into the soft tissue."""
    along, out = place.along, np.sign(place.side) * place.across - 0.4
    angle = np.arctan2(along, np.maximum(out, 1e-3))
    rays = np.cos(rng.uniform(22, 30) * angle + 0.8 * clouds(rng, along.shape, 1.2 * place.half_width_px))
    fan = ramp(np.abs(angle), 1.25, 0.9) * ramp(out, 0.4, 0.6)
    return ramp(rays, 0.2, 0.8) * fan * ramp(np.hypot(along, out), length, 0.6 * length)


def _lifted_periosteum(place: "Place", length: float, layers: int) -> Picture:
    """Return thin lines beside the wall: one rises to Codman's triangle, several make onion skin."""
    out = np.sign(place.side) * place.across
    lines = np.zeros_like(out)
    for layer in range(layers):
        height = 1.02 + 0.17 * layer + 0.3 * ramp(np.abs(place.along), length, 0.5 * length)
        lines += np.exp(-(((out - height) / 0.06) ** 2))
    return np.asarray(lines * ramp(np.abs(place.along), 1.15 * length, 0.95 * length))


def _mass(place: "Place", rng: np.random.Generator, radii: tuple[float, float]) -> Picture:
    """Return a lump beside the bone, mostly in the soft tissue: 1 where it is thickest, 0 outside."""
    egg = _lumpy(_egg(place, (0.0, 1.1 * place.profile), radii), place, rng, 0.12)
    return np.asarray(np.sqrt(np.clip(1 - egg**2, 0, 1)))


def osteosarcoma(place: "Place", rng: np.random.Generator) -> "Change":
    """Moth-eaten destruction through a broken wall, cloudy new bone, sunburst, a mass in the soft tissue."""
    length = rng.uniform(1.6, 2.3)
    clouded, rayed, lifted = rng.uniform(0, 1, 3)
    reach = np.exp(-(_egg(place, (0.1, 0.25 * place.profile), (length, 1.1)) ** 2))
    keep = _moth_eaten(place, rng, reach) * (1 - 0.85 * _broken_wall(place, rng, 0.6 * length))
    mass = _mass(place, rng, (1.1 * length, rng.uniform(1.4, 2.0)))
    cloud = ramp(clouds(rng, mass.shape, 0.45 * place.half_width_px), -0.3, 1.3) * np.maximum(mass, reach)
    add = 0.4 * mass + (0.3 + 0.6 * clouded) * cloud
    add = add + (0.15 + 0.45 * rayed) * _spicules(place, rng, rng.uniform(1.3, 1.9))
    add = add + (0.5 if lifted < 0.6 else 0.0) * _lifted_periosteum(place, 1.2 * length, 1)
    return Change(keep, place.strength * add)


def other_malignant(place: "Place", rng: np.random.Generator) -> "Change":
    """Permeative destruction along the shaft, onion skin, a large mass and no new bone in it."""
    length = rng.uniform(2.0, 2.6)
    reach = np.exp(-(_egg(place, (0.2, 0.0), (length, 1.3)) ** 2))
    keep = _moth_eaten(place, rng, reach) * (1 - 0.8 * _broken_wall(place, rng, 0.4 * length))
    add = 0.6 * _mass(place, rng, (length, rng.uniform(1.6, 2.2)))
    return Change(keep, place.strength * (add + 0.4 * _lifted_periosteum(place, length, 3)))


@dataclass(frozen=True)
class Place:
    """Where a lesion sits in a picture: (height, width) positions in half widths of the host bone."""

    along: Picture
    across: Picture
    side: float
    strength: float  # mean attenuation of the healthy bone there
    half_width_px: float

    @property
    def profile(self) -> float:
        """`side`, but at least 0.5 to one side: a lesion towards the observer still reaches over the edge."""
        return float(np.copysign(max(abs(self.side), 0.5), self.side))


@dataclass(frozen=True)
class Change:
    """The share of the bone that is kept (0 to 1) and the attenuation that is added, each (height, width)."""

    keep: Picture
    add: Picture


@dataclass(frozen=True)
class Kind:
    """A subtype: its class, how it is drawn, how often it is met, and how far from the joint it sits.

    `distances` are in half widths of the bone's end; `lesions` are the fewest and the most at once.
    """

    label: str
    draw: Callable[[Place, np.random.Generator], Change]
    weight: float
    distances: tuple[float, float]
    lesions: tuple[int, int] = (1, 1)
    scenes: tuple[str, ...] = ()  # where it is met; anywhere if empty


KINDS = {
    "osteochondroma": Kind("Benign", osteochondroma, 0.35, (1.2, 2.4)),
    "multiple osteochondromas": Kind("Benign", osteochondroma, 0.12, (0.9, 3.0), (2, 3)),
    "simple bone cyst": Kind("Benign", simple_bone_cyst, 0.22, (1.6, 2.8)),
    "giant cell tumor": Kind("Benign", giant_cell_tumor, 0.13, (0.8, 1.2)),
    "osteofibroma": Kind("Benign", osteofibroma, 0.06, (2.2, 3.2), scenes=("lower leg", "knee")),
    "synovial osteochondroma": Kind(
        "Benign",
        synovial_osteochondroma,
        0.04,
        (0.2, 0.4),
        scenes=("knee", "elbow", "shoulder", "ankle", "hip"),
    ),
    "other bt": Kind("Benign", other_benign, 0.08, (1.0, 2.2)),
    "osteosarcoma": Kind("Malignant", osteosarcoma, 0.8, (1.4, 2.4)),
    "other mt": Kind("Malignant", other_malignant, 0.2, (2.0, 3.2)),
}
