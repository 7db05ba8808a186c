"""Face landmarks and the mouth/eye ratio, for measuring a made session.

An own implementation, in tracking mode, of the pipeline that the engine uses (short-range detector, then the
478-point attention landmark model on a rotated crop that follows the previous frame). It only measures: nothing
of it reaches the bytes of a session.
"""

import math

import numpy as np
import onnxruntime

ALPHA = 6.0
DETECTION_THRESHOLD = 0.5
FACE_FLAG_THRESHOLD = 0.5
NMS_OVERLAP = 0.3
CROP_SCALE = 1.5

# Mesh points whose x, y the refined outputs replace, in the order of those outputs.
LIPS = (
    "61 146 91 181 84 17 314 405 321 375 291 185 40 39 37 0 267 269 270 409 78 95 88 178 87 14 317 402 318 324 308 "
    "191 80 81 82 13 312 311 310 415 76 77 90 180 85 16 315 404 320 307 306 184 74 73 72 11 302 303 304 408 62 96 "
    "89 179 86 15 316 403 319 325 292 183 42 41 38 12 268 271 272 407"
)
LEFT_EYE = (
    "33 7 163 144 145 153 154 155 133 246 161 160 159 158 157 173 130 25 110 24 23 22 26 112 243 247 30 29 27 28 56 "
    "190 226 31 228 229 230 231 232 233 244 113 225 224 223 222 221 189 35 124 46 53 52 65 143 111 117 118 119 120 "
    "121 128 245 156 70 63 105 66 107 55 193"
)
RIGHT_EYE = (
    "263 249 390 373 374 380 381 382 362 466 388 387 386 385 384 398 359 255 339 254 253 252 256 341 463 467 260 259 "
    "257 258 286 414 446 261 448 449 450 451 452 453 464 342 445 444 443 442 441 413 265 353 276 283 282 295 372 340 "
    "346 347 348 349 350 357 465 383 300 293 334 296 336 285 417"
)
LIPS, LEFT_EYE, RIGHT_EYE = ([int(i) for i in text.split()] for text in (LIPS, LEFT_EYE, RIGHT_EYE))
EYE_CONTOUR = 16  # the first points of an eye list, whose mean depth the iris takes


def anchors():
    points = []
    for cells, per_cell in ((16, 2), (8, 6)):
        for y in range(cells):
            for x in range(cells):
                points += [((x + 0.5) / cells, (y + 0.5) / cells)] * per_cell
    return np.array(points)


ANCHORS = anchors()


def crop(image, roi, size, replicate):
    """The rotated rectangle `roi` = (cx, cy, side, rotation) as size x size, 1/32 px fixed-point bilinear."""
    cx, cy, side, rotation = roi
    cos, sin = math.cos(rotation), math.sin(rotation)
    v, u = np.mgrid[0:size, 0:size] / size - 0.5
    x = np.rint((cx + side * (u * cos - v * sin)) * 32).astype(np.int64)
    y = np.rint((cy + side * (u * sin + v * cos)) * 32).astype(np.int64)
    x0, y0, fx, fy = x >> 5, y >> 5, (x & 31)[..., None], (y & 31)[..., None]
    height, width = image.shape[:2]

    def pixel(py, px):
        value = image[np.clip(py, 0, height - 1), np.clip(px, 0, width - 1)].astype(np.int64)
        if replicate:
            return value
        return value * ((px >= 0) & (px < width) & (py >= 0) & (py < height))[..., None]

    top = pixel(y0, x0) * (32 - fx) + pixel(y0, x0 + 1) * fx
    bottom = pixel(y0 + 1, x0) * (32 - fx) + pixel(y0 + 1, x0 + 1) * fx
    return ((top * (32 - fy) + bottom * fy + 512) >> 10).astype(np.float32)


def region(low, high, left, right):
    """The square to look at next: 1.5 times the box (pixels), turned along the line from `left` to `right`."""
    rotation = math.atan2(right[1] - left[1], right[0] - left[0])
    side = CROP_SCALE * max(high[0] - low[0], high[1] - low[1])
    return ((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, side, rotation)


class FaceTracker:
    def __init__(self, models):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1

        def session(name):
            return onnxruntime.InferenceSession(
                str(models / name), options, providers=["CPUExecutionProvider"]
            )

        self.detector = session("face_detection_short_range.onnx")
        self.landmarker = session("face_landmark_with_attention.onnx")
        self.roi = None
        self.detections = 0

    def track(self, image):
        """Landmarks [478, 3] of an RGB image, x and y by width and height, or None without a face."""
        roi = self.roi or self.detect(image)
        self.roi = None
        if roi is None:
            return None
        points, flag = self.landmarks(image, roi)
        if flag <= FACE_FLAG_THRESHOLD:
            return None
        size = np.array([image.shape[1], image.shape[0]])
        pixels = points[:, :2] * size
        self.roi = region(pixels.min(0), pixels.max(0), pixels[33], pixels[263])
        return points

    def detect(self, image):
        """The region of the best face, or None."""
        self.detections += 1
        height, width = image.shape[:2]
        side = max(width, height)
        square = crop(image, (width / 2, height / 2, side, 0.0), 128, replicate=False)
        boxes, logits = self.detector.run(
            ["regressors", "classificators"], {"input": (square / 127.5 - 1)[None].astype(np.float32)}
        )
        boxes = boxes[0].astype(np.float64)
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0].astype(np.float64), -100, 100)))
        if scores.max() < DETECTION_THRESHOLD:
            return None
        centre, extent = boxes[:, 0:2] / 128 + ANCHORS, boxes[:, 2:4] / 128
        keypoints = boxes[:, 4:].reshape(-1, 6, 2) / 128 + ANCHORS[:, None]
        low, high = centre - extent / 2, centre + extent / 2

        best = int(scores.argmax())
        kept = np.flatnonzero(scores >= DETECTION_THRESHOLD)
        overlap = np.maximum(0, np.minimum(high[kept], high[best]) - np.maximum(low[kept], low[best])).prod(1)
        union = extent[kept].prod(1) + extent[best].prod() - overlap
        same = kept[overlap / union > NMS_OVERLAP]
        weight = scores[same] / scores[same].sum()

        def mean(values):
            unit = np.tensordot(weight, values[same], 1)
            return unit * side - np.array([(side - width) / 2, (side - height) / 2])

        points = mean(keypoints)
        return region(mean(low), mean(high), points[0], points[1])

    def landmarks(self, image, roi):
        height, width = image.shape[:2]
        face = crop(image, roi, 192, replicate=True) / np.float32(255)
        names = ["output_mesh_identity", "output_lips", "output_left_eye", "output_right_eye"]
        names += ["output_left_iris", "output_right_iris", "conv_faceflag"]
        out = dict(zip(names, self.landmarker.run(names, {"input_1": face[None]})))
        flag = 1 / (1 + math.exp(-float(out["conv_faceflag"].ravel()[0])))

        def pairs(name):
            return out[name].reshape(-1, 2).astype(np.float64) / 192

        points = np.zeros((478, 3))
        points[:468] = out["output_mesh_identity"].reshape(468, 3).astype(np.float64) / 192
        points[LIPS, :2] = pairs("output_lips")
        points[LEFT_EYE, :2] = pairs("output_left_eye")
        points[RIGHT_EYE, :2] = pairs("output_right_eye")
        points[468:473, :2] = pairs("output_left_iris")
        points[473:478, :2] = pairs("output_right_iris")
        points[468:473, 2] = points[LEFT_EYE[:EYE_CONTOUR], 2].mean()
        points[473:478, 2] = points[RIGHT_EYE[:EYE_CONTOUR], 2].mean()

        cx, cy, side, rotation = roi
        cos, sin = math.cos(rotation), math.sin(rotation)
        u, v = points[:, 0] - 0.5, points[:, 1] - 0.5
        x = (cx + side * (u * cos - v * sin)) / width
        y = (cy + side * (u * sin + v * cos)) / height
        return np.stack([x, y, points[:, 2] * side / width], 1), flag


def mouth_eye_ratio(points):
    """Mouth width by the distance of the eye centres, three-dimensional; None without geometry."""
    left, right = (points[33] + points[133]) / 2, (points[362] + points[263]) / 2
    eyes = np.linalg.norm(right - left)
    return None if eyes < 1e-6 else float(np.linalg.norm(points[291] - points[61]) / eyes)


def bounded_intensity(ratio, neutral):
    return math.tanh(ALPHA * max(0.0, ratio - neutral))


def percentile(values, p):
    """Linear percentile of an unsorted list."""
    x = sorted(values)
    h = (len(x) - 1) * p / 100
    i = math.floor(h)
    a, b, t = x[i], x[min(i + 1, len(x) - 1)], h - i
    return a + (b - a) * t if t < 0.5 else b - (b - a) * (1 - t)
