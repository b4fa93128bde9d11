"""From attenuation to an image as a centre hands it on: exposure, film curve, frame, letters, inversion.

The three centres differ as BTXRD's do, a hospital archive and two teaching collections: who learns on the
first alone meets other sizes, contrasts, frames and inverted images at the others.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from boneexp.data.phantom.lesions import Picture, blurred, clouds

Range = tuple[float, float]
Film = NDArray[np.uint8]  # (height, width)


def develop(attenuation: Picture, look: "Look", rng: np.random.Generator) -> Film:
    """Return the film of an attenuation map: (height, width) grey levels, bones bright or inverted."""
    received = _exposed(attenuation, look, rng)
    low, high = (float(level) for level in np.percentile(received, (1.0, 99.9)))
    grey = np.clip((received - low) / (high - low), 0, 1) ** rng.uniform(*look.gamma)
    if look.sharpening:
        grey = grey + look.sharpening * (grey - blurred(grey, 0.012 * grey.shape[0]))
    darkest, brightest = look.greys
    film = np.round(255 * (darkest + (brightest - darkest) * np.clip(grey, 0, 1))).astype(np.uint8)
    inverted = rng.uniform() < look.inverted
    _burn_in_letter(film, look, rng)
    film = _framed(255 - film if inverted else film, look, rng)
    _burn_in_box(film, look, rng)
    return film


def _exposed(attenuation: Picture, look: "Look", rng: np.random.Generator) -> Picture:
    """Add what exposing adds: an uneven field, scattered rays, the noise of few photons, a soft focus."""
    height, width = attenuation.shape
    slope = rng.uniform(-look.gradient, look.gradient, 2).astype(np.float32)
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :]
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None]
    field = (
        1 + slope[0] * x + slope[1] * y + 0.3 * look.gradient * clouds(rng, attenuation.shape, 0.4 * height)
    )
    scattered = blurred(attenuation, 0.08 * height)
    received = attenuation * field + 0.25 * scattered + 0.2 * (field - 1)
    # Behind dense bone few photons arrive, so their count is less certain: spread grows with attenuation.
    spread = look.noise * rng.uniform(0.7, 1.4) * np.exp(0.8 * attenuation)
    received = received + spread * rng.standard_normal(attenuation.shape, dtype=np.float32)
    return blurred(received, rng.uniform(*look.blur_px))


def _burn_in_letter(film: Film, look: "Look", rng: np.random.Generator) -> None:
    """Write the side, L or R, into the film, in place."""
    height, width = film.shape
    letter, size = ("L", "R")[rng.integers(2)], height / 420
    corner = (int(rng.choice((0.08, 0.84)) * width), int(rng.uniform(0.1, 0.2) * height))
    if rng.uniform() < look.letters:
        thickness = max(1, round(2 * size))
        cv2.putText(film, letter, corner, cv2.FONT_HERSHEY_SIMPLEX, size, 255, thickness, cv2.LINE_AA)


def _burn_in_box(film: Film, look: "Look", rng: np.random.Generator) -> None:
    """Write a box with words onto the film, in place, as teaching collections do."""
    height, width = film.shape
    top, number = int(rng.choice((0.02, 0.92)) * height), rng.integers(100, 999)
    if rng.uniform() < look.boxes:
        cv2.rectangle(film, (0, top), (int(0.4 * width), top + int(0.06 * height)), look.box_grey, -1)
        words, corner = f"PHANTOM {number}", (4, top + int(0.045 * height))
        grey, size = 255 - look.box_grey, height / 840
        cv2.putText(film, words, corner, cv2.FONT_HERSHEY_SIMPLEX, size, grey, 1, cv2.LINE_AA)


def _framed(film: Film, look: "Look", rng: np.random.Generator) -> Film:
    """Return the film with its collimation edges or its frame, in one of the centre's greys."""
    if rng.uniform() >= look.frames:
        return film
    height, width = film.shape
    framed = np.full_like(film, rng.choice(look.frame_greys))
    left, right = (int(rng.uniform(0.01, 0.07) * width) for _ in range(2))
    top, bottom = (int(rng.uniform(0.01, 0.05) * height) for _ in range(2))
    inside = (slice(top, height - bottom), slice(left, width - right))
    framed[inside] = film[inside]
    return framed


@dataclass(frozen=True)
class Look:
    """What a centre's images have in common; shares are of its images, ranges are from and to."""

    height_px: tuple[int, int]
    tilt_deg: float
    gamma: Range
    greys: Range  # darkest and brightest grey level
    noise: float
    blur_px: Range
    gradient: float
    sharpening: float
    inverted: float
    letters: float
    boxes: float
    box_grey: int
    frames: float
    frame_greys: tuple[int, ...]
    jpeg_quality: int


LOOKS = {
    1: Look(
        height_px=(520, 680), tilt_deg=5, gamma=(0.9, 1.15), greys=(0.0, 1.0), noise=0.012,
        blur_px=(0.5, 0.9), gradient=0.15, sharpening=0.0, inverted=0.0, letters=0.8, boxes=0.0, box_grey=0,
        frames=0.45, frame_greys=(0,), jpeg_quality=92,
    ),
    2: Look(
        height_px=(420, 600), tilt_deg=8, gamma=(0.55, 0.8), greys=(0.04, 1.0), noise=0.02,
        blur_px=(0.6, 1.0), gradient=0.2, sharpening=0.7, inverted=0.12, letters=0.5, boxes=0.35, box_grey=0,
        frames=0.6, frame_greys=(0, 255), jpeg_quality=75,
    ),
    3: Look(
        height_px=(330, 460), tilt_deg=13, gamma=(1.1, 1.6), greys=(0.15, 0.85), noise=0.032,
        blur_px=(0.9, 1.4), gradient=0.5, sharpening=0.0, inverted=0.55, letters=0.3, boxes=0.6, box_grey=255,
        frames=0.7, frame_greys=(242, 12), jpeg_quality=60,
    ),
}  # fmt: skip
