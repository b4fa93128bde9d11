"""From bones in space to what the X-rays lose on their way through: attenuation, pixel by pixel.

A bone is a tube: the length of the ray inside its wall, taken twice, makes the bright edges and the darker
middle by themselves. A lesion changes this map, and its outline is where the map was changed.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from boneexp.data.phantom.anatomy import Bone, Point, Scene
from boneexp.data.phantom.lesions import KINDS, Picture, Place, blurred, clouds, ramp

Window = tuple[slice, slice]
Outline = NDArray[np.float64]  # (points, 2): x, y in pixels

SOFT_TISSUE = 0.3  # attenuation of the thickest soft tissue; bones are about 0.3 to 0.7


def canvas(pose: "Pose") -> "Canvas":
    """Return the map from the pixels of an image to the scene."""
    height, width = pose.shape_px
    cosine, sine = np.cos(np.radians(pose.tilt_deg)), np.sin(np.radians(pose.tilt_deg))
    turn_px = pose.zoom * height * np.array([[cosine, -sine], [sine, cosine]])
    middle_px = (
        np.array([width / 2, height / 2]) + np.array(pose.shift) * height - turn_px @ _seen(pose.focus, pose)
    )
    x_px = np.arange(width, dtype=np.float32)[None, :] - np.float32(middle_px[0])
    y_px = np.arange(height, dtype=np.float32)[:, None] - np.float32(middle_px[1])
    (a, b), (c, d) = np.linalg.inv(turn_px).astype(np.float32)
    return Canvas(a * x_px + b * y_px, c * x_px + d * y_px, turn_px, middle_px)


def expose(
    scene: Scene, findings: tuple["Finding", ...], pose: "Pose", rng: np.random.Generator
) -> "Exposure":
    """Draw a scene in a pose, with its lesions or without any.

    The numbers drawn from `rng` do not depend on `findings`, so that a patient can be drawn healthy, too.
    """
    area, height_px = canvas(pose), pose.shape_px[0]
    for direction in (area.right, area.down):  # nobody is made of straight tubes
        direction += 0.004 / pose.zoom * clouds(rng, pose.shape_px, 0.16 * height_px)
    spongy = clouds(rng, pose.shape_px, 0.006 * height_px)
    spongy = np.asarray(cv2.GaussianBlur(spongy, (0, 0), 0.0015 * height_px, sigmaY=0.006 * height_px))
    density = 0.36 / max(scene.bones[bone].half_width for bone, _ in scene.hosts)
    empty = np.zeros(pose.shape_px, np.float32)
    layers = Layers(empty.copy(), empty.copy(), spongy, density)
    for bone in scene.bones:
        _add_bone(area, bone, pose, layers)
    layers.bones[:] = 0.9 * (1 - np.exp(-layers.bones / 0.9))  # bone behind bone shows less
    muscle = 1 + 0.05 * clouds(rng, pose.shape_px, 0.07 * height_px)
    layers.soft[:] = SOFT_TISSUE * muscle * blurred(layers.soft, 0.012 * height_px)
    outlines: list[Outline] = []
    for finding in findings:
        outlines += _change(area, scene, finding, pose, layers.bones)
    return Exposure(layers.bones + layers.soft, tuple(outlines))


def _seen(point: Point, pose: "Pose") -> NDArray[np.float64]:
    """Return where a point of the scene is seen from the pose's side: (2,) right, down."""
    right = point[0] * np.cos(pose.view_rad) + point[2] * np.sin(pose.view_rad)
    return np.array([-right if pose.mirrored else right, point[1]])


def _half_widths(bone: Bone, length: float, distance: Picture) -> tuple[Picture, Picture]:
    """Return the half width at each distance from the start, and how near (0 to 1) that is to a wide end."""
    reach = 2.6 * bone.half_width
    start = np.exp(-((distance / reach) ** 2))
    end = np.exp(-(((length - distance) / reach) ** 2))
    flared = bone.half_width * (1 + (bone.flares[0] - 1) * start + (bone.flares[1] - 1) * end)
    is_blob = length < 3 * bone.half_width
    round_over = length / 2 if is_blob else 0.6 * bone.half_width * max(bone.flares)
    cap = 1 - np.clip(np.minimum(distance, length - distance) / round_over, 0, 1)
    return flared * np.sqrt(1 - cap**2), np.maximum(start, end)


def _chord(half_width: Picture, across: Picture) -> Picture:
    """Return the length of the ray inside a round tube."""
    return np.asarray(2 * np.sqrt(np.maximum(half_width**2 - across**2, 0)))


def _add_bone(area: "Canvas", bone: Bone, pose: "Pose", layers: "Layers") -> None:
    """Add a bone and the soft tissue around it to the layers, in place."""
    start, end = _seen(bone.start, pose), _seen(bone.end, pose)
    window = area.window((start, end), max(bone.soft, bone.half_width * max(bone.flares)) * 1.1)
    length, along, across = _tube_frame(area, start, end, window)
    across_narrow = across / float(1 - 0.12 * np.sin(pose.view_rad) ** 2)
    half_width, near_end = _half_widths(bone, length, along)
    wall = bone.cortex * bone.half_width * (1 - 0.8 * near_end) + 0.06 * bone.half_width
    hollow = _chord(np.maximum(half_width - wall, 0), across_narrow)
    marrow = (0.2 + 0.24 * near_end) * (1 + 0.2 * layers.spongy[window]) * hollow
    wall_and_marrow = _chord(half_width, across_narrow) - hollow + marrow
    layers.bones[window] += bone.depth * layers.density * wall_and_marrow
    if bone.soft:
        beyond = np.maximum(np.maximum(-along, along - length), 0)
        share = np.hypot(across, beyond) / bone.soft
        thickness = np.sqrt(np.clip(1 - share**2, 0, 1)) * (0.45 + 0.55 * min(bone.soft / 0.16, 1))
        layers.soft[window] = np.maximum(layers.soft[window], thickness)


def _tube_frame(
    area: "Canvas", start: NDArray[np.float64], end: NDArray[np.float64], window: Window
) -> tuple[float, Picture, Picture]:
    """Return the tube's length as seen, and each pixel's distance along and across its axis."""
    length = max(float(np.hypot(*(end - start))), 1e-3)
    ahead = ((end - start) / length).astype(np.float32)
    right, down = area.right[window] - np.float32(start[0]), area.down[window] - np.float32(start[1])
    return length, right * ahead[0] + down * ahead[1], down * ahead[0] - right * ahead[1]


def _change(area: "Canvas", scene: Scene, finding: "Finding", pose: "Pose", bones: Picture) -> list[Outline]:
    """Draw a lesion into the bones, in place; return outlines of what it changed, none if out of sight."""
    if not area.shows(_seen(scene.spot(finding.host, finding.distance), pose)):
        return []
    place, window = _place(area, scene, finding, pose, bones)
    change = KINDS[finding.subtype].draw(place, np.random.default_rng(finding.seed))
    # A window's edge must not show: everything fades out before it.
    fade = ramp(np.hypot(place.along, place.across), 4.4, 3.6)
    keep, add = 1 - fade * (1 - change.keep), fade * change.add
    difference = np.abs(bones[window] * (keep - 1) + add)
    bones[window] = bones[window] * keep + add
    return _outlines(difference / place.strength, window, pose.shape_px[0])


def _place(
    area: "Canvas", scene: Scene, finding: "Finding", pose: "Pose", bones: Picture
) -> tuple[Place, Window]:
    """Return a lesion's surroundings: 4.5 half widths of its bone to each side."""
    bone, end = scene.bones[finding.host[0]], finding.host[1]
    joint, far = _seen(bone.end if end else bone.start, pose), _seen(bone.start if end else bone.end, pose)
    middle = _seen(scene.spot(finding.host, finding.distance), pose)
    length = max(float(np.hypot(*(far - joint))), 1e-3)
    from_start = float(np.hypot(*(middle - _seen(bone.start, pose))))
    healthy, _ = _half_widths(bone, length, np.array([from_start], np.float32))
    half_width = float(np.clip(healthy[0], 0.026, 0.08))
    window = area.window((middle,), 4.5 * half_width)
    _, along, across = _tube_frame(area, middle, middle + (far - joint), window)
    along, across = along / half_width, across / half_width
    strength = float(np.mean(bones[window][(np.abs(across) < 0.9) & (np.abs(along) < 1)]))
    side = float(np.cos(finding.azimuth_rad - pose.view_rad)) * (-1 if pose.mirrored else 1)
    return Place(along, across, side, strength, half_width * area.scale_px), window


def _outlines(difference: Picture, window: Window, height_px: int) -> list[Outline]:
    """Trace, as a person would, where `difference` (in strengths of the bone) shows."""
    changed = blurred(difference, 0.006 * height_px) > 0.16
    brush = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * int(0.022 * height_px) + 1,) * 2)
    traced = cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_CLOSE, brush)
    traced = cv2.dilate(traced, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5)))
    found, _ = cv2.findContours(traced, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = max((cv2.contourArea(contour) for contour in found), default=0.0)
    corner = (window[1].start, window[0].start)
    return [
        cv2.approxPolyDP(contour, 0.003 * height_px, True)[:, 0].astype(np.float64) + corner
        for contour in found
        if cv2.contourArea(contour) >= max(0.15 * largest, 30)
    ]


@dataclass(frozen=True)
class Canvas:
    """Each pixel's place in the scene (right, down: both (height, width)), and the way back."""

    right: Picture
    down: Picture
    turn_px: NDArray[np.float64]  # (2, 2): scene to pixels, without the shift
    middle_px: NDArray[np.float64]

    @property
    def scale_px(self) -> float:
        """Pixels per unit of the scene."""
        return float(np.sqrt(np.linalg.det(self.turn_px)))

    def shows(self, point: NDArray[np.float64]) -> bool:
        """Return whether a point of the scene lies on the image, not at its very edge."""
        share = (self.turn_px @ point + self.middle_px) / self.right.shape[::-1]
        return bool(np.all((share > 0.05) & (share < 0.95)))

    def window(self, points: tuple[NDArray[np.float64], ...], reach: float) -> Window:
        """Return the part of the image within `reach` of the box around `points`, at least one pixel."""
        seen = np.array([self.turn_px @ point + self.middle_px for point in points])
        low, high = seen.min(0) - reach * self.scale_px, seen.max(0) + reach * self.scale_px
        height, width = self.right.shape
        left, top = (
            int(np.clip(place, 0, side - 1)) for place, side in zip(low, (width, height), strict=True)
        )
        right, bottom = (
            int(np.clip(place, 0, side)) for place, side in zip(high, (width, height), strict=True)
        )
        return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))


@dataclass(frozen=True)
class Pose:
    """How a body part lies on the film."""

    shape_px: tuple[int, int]  # height, width
    view_rad: float  # 0 frontal, pi / 2 lateral
    tilt_deg: float
    zoom: float
    focus: Point  # what is filmed, a point of the scene
    shift: tuple[float, float]  # of the focus from the image's middle: right, down, in image heights
    mirrored: bool


@dataclass(frozen=True)
class Finding:
    """A lesion of a patient: what, on which (bone, end) of the scene, how far from the end, towards where."""

    subtype: str
    host: tuple[int, int]
    distance: float  # in half widths of the bone's end
    azimuth_rad: float
    seed: tuple[int, ...]


@dataclass(frozen=True)
class Exposure:
    """Attenuation (height, width), and the outlines of the lesions in it."""

    attenuation: Picture
    outlines: tuple[Outline, ...]


@dataclass(frozen=True)
class Layers:
    """What a drawing is put together from: (height, width) each; `density` is attenuation per thickness."""

    bones: Picture
    soft: Picture
    spongy: Picture  # the grain of the bones' inside
    density: float
