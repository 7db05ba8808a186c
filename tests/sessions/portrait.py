"""The picture: a portrait whose mouth corners, head and presence follow a few numbers per frame.

Only additions, multiplications, comparisons and roundings of doubles reach a pixel (no vectorised sine or
exponential, whose last bit may differ between processors), so equal inputs give equal bytes on any machine.
"""

import hashlib
import math

import numpy as np
from PIL import Image

PICTURE_SHA256 = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"

# Places in the picture (512 x 512), from the landmark model.
FACE_CENTRE = (224.0, 122.0)
NECK = (224.0, 190.0)
LEFT_CORNER = (201.8, 139.2)
RIGHT_CORNER = (245.0, 141.0)
MOUTH_CENTRE = (223.4, 143.5)
CORNER_REACH = 22.0  # how far the pull at a corner of the mouth is felt
LIPS_REACH = (24.0, 15.0)

# The picture smiles; relaxed corners lie inwards and lower, and the lips closer together.
RELAXED_INWARDS = 4.4
RELAXED_DOWN = 2.2
RELAXED_CLOSED = 2.4

BLANK = (96, 128, 128)  # Y, U, V of a frame without a face


def load_picture(path):
    with open(path, "rb") as f:
        data = f.read()
    if hashlib.sha256(data).hexdigest() != PICTURE_SHA256:
        raise SystemExit(f"{path} is not the pinned picture; install requirements.lock")
    return np.asarray(Image.open(path).convert("RGB")).astype(np.float64)


def bump(square):
    """1 at 0, 0 from 1 on, smooth in between, of a squared relative distance."""
    inside = np.maximum(0.0, 1.0 - square)
    return inside * inside


class Portrait:
    """Frames of `width` x `height` that show `shown_width` pixels of the picture around the face."""

    def __init__(self, picture, width, height, shown_width):
        self.picture = picture
        self.width, self.height = width, height
        self.scale = shown_width / width
        self.cache = {}

    def frame(self, smile, turn, present):
        """Planar YUV 4:2:0 bytes. smile: 0 relaxed, 1 the picture's own smile; turn: -1..1, 0 straight."""
        key = (round(smile, 4), round(turn, 4)) if present else None
        if key not in self.cache:
            if len(self.cache) > 64:
                self.cache.clear()
            self.cache[key] = yuv420(self.render(*key)) if present else self.blank()
        return self.cache[key]

    def blank(self):
        y, u, v = BLANK
        pixels = self.width * self.height
        return bytes([y]) * pixels + bytes([u]) * (pixels // 4) + bytes([v]) * (pixels // 4)

    def render(self, smile, turn):
        v, u = np.mgrid[0 : self.height, 0 : self.width].astype(np.float64)
        x = FACE_CENTRE[0] + (u + 0.5 - self.width / 2) * self.scale
        y = FACE_CENTRE[1] + (v + 0.5 - self.height / 2) * self.scale
        if turn != 0.0:
            x, y = self.unturn(x, y, turn)
        x, y = self.unpull(x, y, 1.0 - smile)
        return sample(self.picture, x, y)

    @staticmethod
    def unturn(x, y, turn):
        """Where a pixel comes from when the head is tilted about the neck and seen a little from the side."""
        angle = 0.24 * turn
        cos, sin = math.cos(angle), math.sin(angle)
        dx, dy = x - NECK[0], y - NECK[1]
        x, y = NECK[0] + cos * dx + sin * dy, NECK[1] - sin * dx + cos * dy
        narrow = 1.0 + 0.18 * abs(turn)
        return FACE_CENTRE[0] + (x - FACE_CENTRE[0]) * narrow, y

    @staticmethod
    def unpull(x, y, relaxed):
        """Where a pixel comes from when the mouth is relaxed by 0 (the picture) to 1, or below 0 (wider)."""
        if relaxed == 0.0:
            return x, y
        from_x, from_y = x, y
        for (cx, cy), inwards in ((LEFT_CORNER, 1.0), (RIGHT_CORNER, -1.0)):
            by_x, by_y = inwards * RELAXED_INWARDS * relaxed, RELAXED_DOWN * relaxed
            dx, dy = x - (cx + by_x), y - (cy + by_y)
            near = bump((dx * dx + dy * dy) / (CORNER_REACH * CORNER_REACH))
            from_x, from_y = from_x - by_x * near, from_y - by_y * near
        if relaxed > 0.0:
            dx, dy = (x - MOUTH_CENTRE[0]) / LIPS_REACH[0], (y - MOUTH_CENTRE[1]) / LIPS_REACH[1]
            stretch = RELAXED_CLOSED * relaxed * bump(dx * dx + dy * dy)
            from_y = from_y + stretch * dy
        return from_x, from_y


def sample(picture, x, y):
    """Bilinear, edges repeated; coordinates on a grid of 1/256 pixel."""
    height, width = picture.shape[:2]
    x = np.clip(np.rint(x * 256), 0, (width - 1) * 256).astype(np.int64)
    y = np.clip(np.rint(y * 256), 0, (height - 1) * 256).astype(np.int64)
    x0, y0 = x >> 8, y >> 8
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    fx, fy = ((x & 255) / 256.0)[..., None], ((y & 255) / 256.0)[..., None]
    top = picture[y0, x0] * (1 - fx) + picture[y0, x1] * fx
    bottom = picture[y1, x0] * (1 - fx) + picture[y1, x1] * fx
    return top * (1 - fy) + bottom * fy


def yuv420(rgb):
    """Planar 4:2:0, BT.601, studio range; chroma is the mean of four pixels."""
    r, g, b = (np.rint(rgb[..., k]).astype(np.int64) for k in range(3))
    y = (66 * r + 129 * g + 25 * b + 128 >> 8) + 16

    def quarter(p):
        return (p[0::2, 0::2] + p[0::2, 1::2] + p[1::2, 0::2] + p[1::2, 1::2] + 2) >> 2

    r, g, b = quarter(r), quarter(g), quarter(b)
    u = (-38 * r - 74 * g + 112 * b + 128 >> 8) + 128
    v = (112 * r - 94 * g - 18 * b + 128 >> 8) + 128
    return b"".join(p.astype(np.uint8).tobytes() for p in (y, u, v))


def rgb_from_yuv420(data, width, height):
    """The way back, as a decoder's user sees it (chroma repeated)."""
    planes = np.frombuffer(data, np.uint8)
    pixels = width * height
    y = planes[:pixels].reshape(height, width).astype(np.float64)

    def full(part):
        return part.reshape(height // 2, width // 2).repeat(2, 0).repeat(2, 1).astype(np.float64) - 128

    u, v = full(planes[pixels : pixels * 5 // 4]), full(planes[pixels * 5 // 4 : pixels * 3 // 2])
    y = 1.164383 * (y - 16)
    rgb = np.stack([y + 1.596027 * v, y - 0.391762 * u - 0.812968 * v, y + 2.017232 * u], -1)
    return np.clip(np.rint(rgb), 0, 255).astype(np.uint8)
