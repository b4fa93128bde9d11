"""The body parts a phantom radiograph can show: bones as tubes in space.

Lengths are shares of the image height. A point is (right, down, front) with (0, 0, 0) in the middle of a
frontal image; turned by 90 degrees, `front` is seen where `right` was, and that is the lateral view.
"""

import math
from dataclasses import dataclass

Point = tuple[float, float, float]


def _blob(right: float, down: float, front: float, half_width: float) -> "Bone":
    """Return a bone about as long as wide: a carpal, a patella."""
    reach = 1.05 * half_width
    start, end = (right, down - reach, front), (right, down + reach, front)
    return Bone(start, end, half_width, soft=half_width + 0.035, cortex=0.14)


def _row(count: int, down: float, width: float, half_width: float) -> tuple["Bone", ...]:
    """Return small bones in a row: carpals or tarsals."""
    places = [(place / (count - 1) - 0.5) * width for place in range(count)]
    return tuple(_blob(right, down + 1.2 * right**2, 0.2 * right, half_width) for right in places)


def _ray(right: float, down: float, lean: float, lengths: tuple[float, ...]) -> tuple["Bone", ...]:
    """Return the bones of one finger or toe, from its base upwards; `lean` is its way right per way up."""
    bones: list[Bone] = []
    for place, length in enumerate(lengths):
        half_width = 0.021 * 0.87**place
        tip = (right + lean * length, down - length, 0.3 * (right + lean * length))
        soft = 0.03 if place else 0.055
        bones.append(Bone((right, down, 0.3 * right), tip, half_width, (1.4, 1.4), soft, 0.34))
        right, down = tip[0] + 0.014 * lean, tip[1] - 0.014
    return tuple(bones)


def _rays(down: float, width: float, thumb_lean: float, *lengths: tuple[float, ...]) -> tuple["Bone", ...]:
    """Return five fingers or toes side by side on a palm or sole of `width`, the thumb or big toe first."""
    bones = _ray(-0.5 * width, down + 0.03, thumb_lean, lengths[0])
    for place, of_finger in enumerate(lengths[1:], start=1):
        across = place / 4 - 0.5
        bones += _ray(width * across, down + 0.1 * across**2, 0.42 * across, of_finger)
    return bones


@dataclass(frozen=True)
class Bone:
    """A tube from `start` to `end`, its ends widened by `flares`: a compact wall around a spongy inside."""

    start: Point
    end: Point
    half_width: float
    flares: tuple[float, float] = (1.0, 1.0)
    soft: float = 0.0  # half width of the soft tissue around it
    cortex: float = 0.3  # thickness of the wall at mid-shaft, as a share of half_width
    depth: float = 1.0  # below 1 the bone is flatter than a tube: ilium, scapula


@dataclass(frozen=True)
class Scene:
    """A body part as it is filmed: its columns in the table, its bones, and where a lesion may sit.

    `hosts` are (bone, end) pairs: the bone's place in `bones`, and 0 or 1 for its end that is in view.
    """

    sites: tuple[str, ...]
    limb: str
    bones: tuple[Bone, ...]
    hosts: tuple[tuple[int, int], ...]
    aspect: tuple[float, float] = (0.58, 0.78)  # image width over height, from and to
    weight: float = 1.0  # how often it is filmed

    def spot(self, host: tuple[int, int], distance: float) -> Point:
        """Return the point `distance` half widths of a host's end away from it, within 0.6 of the bone."""
        bone, end = self.bones[host[0]], host[1]
        joint, far = (bone.end, bone.start) if end else (bone.start, bone.end)
        share = min(distance * bone.half_width * bone.flares[end] / math.dist(joint, far), 0.6)
        right, down, front = (near + share * (there - near) for near, there in zip(joint, far, strict=True))
        return right, down, front


_DISTAL_FEMUR = Scene(
    ("femur",),
    "lower limb",
    (
        Bone((0.0, -0.8, 0.0), (0.01, 0.3, 0.0), 0.058, (1.0, 2.0), 0.19),
        Bone((0.0, 0.33, 0.0), (0.0, 1.2, -0.02), 0.052, (2.1, 1.0), 0.16),
        _blob(0.0, 0.22, 0.14, 0.04),
    ),
    ((0, 1),),
    weight=2.0,
)
_KNEE = Scene(
    ("tibia", "fibula", "femur", "knee-joint"),
    "lower limb",
    (
        Bone((0.0, -1.0, 0.02), (0.0, -0.03, 0.0), 0.06, (1.0, 2.0), 0.18),
        Bone((0.0, 0.005, 0.0), (-0.02, 1.1, -0.02), 0.055, (2.1, 1.0), 0.16),
        Bone((0.1, 0.1, -0.06), (0.075, 1.1, -0.05), 0.02, (1.6, 1.0), 0.1),
        _blob(0.0, -0.1, 0.14, 0.043),
    ),
    ((0, 1), (1, 0)),
    weight=2.0,
)
_LOWER_LEG = Scene(
    ("tibia", "fibula"),
    "lower limb",
    (
        Bone((-0.01, -0.36, 0.0), (-0.01, 0.95, -0.03), 0.05, (1.9, 1.4), 0.14),
        Bone((0.085, -0.28, -0.06), (0.07, 0.95, -0.05), 0.019, (1.6, 1.4), 0.1),
        Bone((-0.01, -1.1, 0.03), (-0.01, -0.39, 0.0), 0.05, (1.0, 1.9), 0.14),
    ),
    ((0, 0), (1, 0)),
    weight=2.0,
)
_ANKLE = Scene(
    ("tibia", "fibula", "ankle-joint"),
    "lower limb",
    (
        Bone((-0.01, -1.0, 0.0), (-0.01, 0.1, 0.0), 0.046, (1.0, 1.55), 0.11),
        Bone((0.075, -1.0, -0.02), (0.08, 0.18, -0.03), 0.018, (1.0, 1.6), 0.07),
        Bone((-0.01, 0.13, -0.02), (-0.01, 0.22, 0.05), 0.055, soft=0.1, cortex=0.12),
        Bone((0.0, 0.2, -0.01), (0.01, 0.33, -0.17), 0.05, (1.0, 1.2), 0.09, 0.12),
        Bone((-0.01, 0.24, 0.07), (-0.02, 0.42, 0.5), 0.04, soft=0.09, cortex=0.16),
    ),
    ((0, 1), (1, 1)),
)
_SHOULDER = Scene(
    ("humerus", "shoulder-joint"),
    "upper limb",
    (
        Bone((0.06, -0.26, 0.0), (0.12, 0.9, 0.02), 0.05, (1.9, 1.0), 0.12),
        Bone((-0.1, -0.26, -0.05), (-0.17, 0.32, -0.09), 0.1, (1.0, 0.3), 0.2, 0.08, 0.4),
        Bone((-0.7, -0.36, 0.05), (0.03, -0.34, 0.0), 0.024, (1.0, 1.4), 0.08),
    ),
    ((0, 0),),
    (0.74, 0.95),
)
_HUMERUS = Scene(
    ("humerus",),
    "upper limb",
    (
        Bone((-0.01, -0.38, 0.0), (0.01, 0.36, 0.0), 0.04, (1.9, 1.6), 0.12),
        Bone((0.045, 0.35, -0.03), (0.06, 1.0, 0.0), 0.028, (1.6, 1.0), 0.09),
        Bone((-0.04, 0.385, 0.02), (-0.04, 1.0, 0.0), 0.024, (1.5, 1.0), 0.09),
        Bone((-0.16, -0.36, -0.05), (-0.2, 0.05, -0.05), 0.07, soft=0.12, cortex=0.1, depth=0.4),
    ),
    ((0, 0), (0, 1)),
)
_FOREARM = Scene(
    ("ulna", "radius"),
    "upper limb",
    (
        Bone((0.05, -0.38, -0.03), (0.06, 0.31, 0.0), 0.027, (1.8, 1.1), 0.09),
        Bone((-0.05, -0.32, 0.02), (-0.05, 0.33, 0.0), 0.027, (1.2, 1.9), 0.09),
        Bone((0.0, -1.0, 0.0), (0.0, -0.37, 0.0), 0.042, (1.0, 1.9), 0.12),
        *_row(4, 0.385, 0.15, 0.027),
        *_row(4, 0.43, 0.16, 0.027),
    ),
    ((0, 0), (1, 1)),
)
_WRIST = Scene(
    ("ulna", "radius", "wrist-joint"),
    "upper limb",
    (
        Bone((0.075, -1.0, 0.0), (0.07, 0.0, -0.01), 0.034, (1.0, 1.25), 0.1),
        Bone((-0.06, -1.0, 0.0), (-0.055, 0.03, 0.0), 0.042, (1.0, 1.8), 0.1),
        *_row(4, 0.08, 0.19, 0.036),
        *_row(4, 0.14, 0.21, 0.036),
        *(
            Bone((0.06 * ray, 0.2, 0.0), (0.1 * ray, 0.7, 0.0), 0.026, (1.4, 1.3), 0.06)
            for ray in (-2, -1, 0, 1, 2)
        ),
    ),
    ((1, 1), (0, 1)),
)
_ELBOW = Scene(
    ("ulna", "radius", "humerus", "elbow-joint"),
    "upper limb",
    (
        Bone((0.0, -1.0, 0.0), (0.0, -0.03, 0.0), 0.052, (1.0, 1.9), 0.14),
        Bone((0.045, -0.05, -0.05), (0.07, 1.0, 0.0), 0.036, (1.6, 1.0), 0.11),
        Bone((-0.06, 0.01, 0.02), (-0.05, 1.0, 0.02), 0.031, (1.4, 1.0), 0.11),
    ),
    ((0, 1), (1, 0)),
)
_HAND = Scene(
    ("hand",),
    "upper limb",
    (
        *_rays(
            0.13,
            0.2,
            -0.75,
            (0.12, 0.09, 0.07),
            (0.2, 0.12, 0.08, 0.05),
            (0.21, 0.13, 0.09, 0.06),
            (0.19, 0.12, 0.09, 0.05),
            (0.17, 0.1, 0.07, 0.05),
        ),
        *_row(4, 0.175, 0.17, 0.03),
        *_row(4, 0.225, 0.15, 0.03),
        Bone((-0.04, 0.27, 0.0), (-0.05, 1.0, 0.0), 0.036, (1.7, 1.0), 0.08),
        Bone((0.06, 0.28, 0.0), (0.06, 1.0, 0.0), 0.03, (1.3, 1.0), 0.08),
    ),
    ((3, 1), (7, 1), (11, 1), (4, 0), (8, 0), (0, 1)),
    (0.68, 0.85),
    weight=0.4,
)
_FOOT = Scene(
    ("foot",),
    "lower limb",
    (
        *_rays(
            0.12,
            0.2,
            0.05,
            (0.22, 0.12, 0.08),
            (0.26, 0.08, 0.04, 0.03),
            (0.25, 0.07, 0.04, 0.03),
            (0.24, 0.07, 0.03, 0.03),
            (0.22, 0.06, 0.03, 0.03),
        ),
        *_row(4, 0.17, 0.18, 0.038),
        *_row(2, 0.24, 0.09, 0.055),
        Bone((0.02, 0.27, -0.02), (0.03, 0.42, -0.06), 0.06, (1.0, 1.2), 0.09, 0.14),
    ),
    ((3, 1), (7, 1), (11, 1), (0, 1), (0, 0)),
    (0.6, 0.78),
    weight=0.4,
)
_HIP = Scene(
    ("femur", "hip-joint"),
    "lower limb",
    (
        Bone((0.13, -0.02, 0.0), (0.09, 1.0, 0.0), 0.056, (1.5, 1.0), 0.19),
        Bone((0.13, 0.05, 0.0), (-0.03, -0.13, 0.02), 0.046, (1.3, 1.3), 0.1, 0.2),
        _blob(-0.035, -0.14, 0.02, 0.072),
        Bone((-0.1, -0.75, -0.02), (-0.07, -0.12, 0.0), 0.16, (1.2, 0.7), 0.3, 0.06, 0.3),
        Bone((-0.08, -0.13, -0.02), (-0.15, 0.2, -0.03), 0.05, (1.3, 1.2), 0.2, 0.14, 0.6),
    ),
    ((0, 0),),
    (0.75, 0.95),
)
_PELVIS = Scene(
    ("hip bone",),
    "pelvis",
    (
        Bone((-0.38, -0.4, 0.05), (-0.22, 0.08, 0.0), 0.13, (1.4, 0.6), 0.27, 0.07, 0.35),
        Bone((0.38, -0.4, 0.05), (0.22, 0.08, 0.0), 0.13, (1.4, 0.6), 0.27, 0.07, 0.35),
        Bone((0.0, -0.45, -0.05), (0.0, 0.02, -0.1), 0.11, (1.0, 0.6), 0.25, 0.1, 0.45),
        Bone((-0.24, 0.12, 0.0), (-0.03, 0.2, 0.08), 0.032, (1.4, 1.2), 0.2),
        Bone((0.24, 0.12, 0.0), (0.03, 0.2, 0.08), 0.032, (1.4, 1.2), 0.2),
        Bone((-0.22, 0.12, -0.02), (-0.1, 0.36, 0.0), 0.036, (1.4, 1.2), 0.2),
        Bone((0.22, 0.12, -0.02), (0.1, 0.36, 0.0), 0.036, (1.4, 1.2), 0.2),
        Bone((-0.42, 0.22, 0.0), (-0.4, 1.1, 0.0), 0.055, (1.5, 1.0), 0.16),
        Bone((0.42, 0.22, 0.0), (0.4, 1.1, 0.0), 0.055, (1.5, 1.0), 0.16),
        Bone((-0.42, 0.26, 0.0), (-0.28, 0.1, 0.0), 0.045, (1.2, 1.4), 0.1, 0.2),
        Bone((0.42, 0.26, 0.0), (0.28, 0.1, 0.0), 0.045, (1.2, 1.4), 0.1, 0.2),
    ),
    ((0, 1), (1, 1), (5, 1)),
    (1.05, 1.25),
    weight=0.4,
)

SCENES = {
    "distal femur": _DISTAL_FEMUR,
    "knee": _KNEE,
    "lower leg": _LOWER_LEG,
    "ankle": _ANKLE,
    "shoulder": _SHOULDER,
    "humerus": _HUMERUS,
    "forearm": _FOREARM,
    "wrist": _WRIST,
    "elbow": _ELBOW,
    "hand": _HAND,
    "foot": _FOOT,
    "hip": _HIP,
    "pelvis": _PELVIS,
}
