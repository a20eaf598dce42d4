"""A canvas: what is written on it and where, how it lies on a desk, its light, and the camera."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont


class Canvas:
    """Pixels, float32 [height, width, 3] from 0 to 255, and the corners of the digits on it, in reading order."""

    def __init__(self, width: float, height: float, colour=255):
        self.pixels = np.empty((max(1, round(height)), max(1, round(width)), 3), np.float32)
        self.pixels[:] = colour
        self.digits: list[tuple[int, np.ndarray, np.ndarray]] = []  # label, mark, corners float64 [4, 2] of (x, y)
        self.encoding = ("png", 85, False)

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    def write(self, mark: np.ndarray, left: float, top: float, colour=0, label: int | None = None) -> None:
        """Put a mark on the canvas; what reaches beyond is lost. With a label, it is a digit of the answer."""
        left, top = round(left), round(top)
        height, width = mark.shape
        y0, x0 = max(0, -top), max(0, -left)
        y1, x1 = min(height, self.height - top), min(width, self.width - left)
        if y1 > y0 and x1 > x0:
            region = self.pixels[top + y0 : top + y1, left + x0 : left + x1]
            region += mark[y0:y1, x0:x1, None] * (np.asarray(colour, np.float32) - region)
        if label is not None:
            corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
            self.digits.append((label, mark, np.array(corners, float)))

    def centred(self, mark: np.ndarray, colour=0, label: int | None = None, x: float = 0.5, y: float = 0.5) -> None:
        """Put a mark so that its middle is at these shares of the width and height."""
        self.write(mark, x * self.width - mark.shape[1] / 2, y * self.height - mark.shape[0] / 2, colour, label)

    def draw(self, paint, smooth: bool = False) -> None:
        """Call `paint` with an `ImageDraw.ImageDraw`, and with `smooth` soften the edges of what it changed."""
        picture = self.picture()
        paint(ImageDraw.Draw(picture))
        pixels = np.asarray(picture, np.float32)
        if smooth:
            changed = (np.abs(pixels - self.pixels).max(2) > 1).astype(np.uint8) * 255
            soft = np.asarray(Image.fromarray(changed).filter(ImageFilter.GaussianBlur(0.7)), np.float32)[..., None]
            blurred = np.asarray(picture.filter(ImageFilter.GaussianBlur(0.7)), np.float32)
            pixels = np.where(soft > 0, blurred, self.pixels)
        self.pixels = np.array(pixels, np.float32)

    def picture(self) -> Image.Image:
        return Image.fromarray((self.pixels + np.float32(0.5)).clip(0, 255).astype(np.uint8))

    def laid_on(self, desk: "Canvas", corners, shadow: float = 0.0) -> "Canvas":
        """Lay this canvas on a desk, with its corners (from the top left, clockwise) there; return the desk."""
        corners = np.asarray(corners, float)
        here = np.array([(0, 0), (self.width, 0), (self.width, self.height), (0, self.height)], float)
        low = np.floor(corners.min(0)).astype(int).clip(0) - 1
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + 2, (desk.width, desk.height))
        low = low.clip(0)
        size = tuple((high - low).tolist())
        wider = Canvas(1, 1)  # what lies just beyond the edge is like the edge, not black
        wider.pixels = np.pad(self.pixels, ((2, 2), (2, 2), (0, 0)), "edge")
        back = homography(corners - low, here + 2).ravel()[:8].tolist()
        warped = wider.picture().transform(size, Image.Transform.PERSPECTIVE, back, Image.Resampling.BILINEAR)
        outline = Image.new("L", (2 * size[0], 2 * size[1]))  # its edges half as wide as a pixel
        ImageDraw.Draw(outline).polygon([tuple(point) for point in (2 * (corners - low)).tolist()], fill=255)
        inside = outline.reduce(2)
        mask = np.asarray(inside, np.float32)[..., None] / 255
        if shadow:
            whole = Image.new("L", (desk.width // 4, desk.height // 4))
            whole.paste(inside.reduce(4), tuple((low // 4 + 1).tolist()))
            soft = np.asarray(whole.filter(ImageFilter.GaussianBlur(1.3)), np.float32) / 255
            desk.lit(1 - shadow * soft)
        region = desk.pixels[low[1] : high[1], low[0] : high[0]]
        region += mask * (np.asarray(warped, np.float32) - region)
        forth = homography(here, corners)
        desk.digits += [(label, mark, mapped(forth, points)) for label, mark, points in self.digits]
        return desk

    def turned(self, degrees: float, colour=255) -> "Canvas":
        """Return it turned counterclockwise on a canvas that holds all of it."""
        angle = np.radians(degrees)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = np.array([(0, 0), (self.width, 0), (self.width, self.height), (0, self.height)]) @ turn.T
        corners -= corners.min(0)
        width, height = corners.max(0)
        return self.laid_on(Canvas(width, height, colour), corners)

    def enlarged(self, factor: int) -> "Canvas":
        """Return it so many times as large."""
        large = Canvas(1, 1)
        size = (factor * self.width, factor * self.height)
        large.pixels = np.array(self.picture().resize(size, Image.Resampling.BICUBIC), np.float32)
        large.digits = [(label, mark, factor * corners) for label, mark, corners in self.digits]
        return large

    def grain(self, rng, amplitude: float, cells: int = 60) -> None:
        """Add a soft pattern of some levels, as paper has."""
        self.pixels += amplitude * soft_noise(rng, self.height, self.width, cells)[..., None]

    def lit(self, light: np.ndarray) -> None:
        """Multiply by a map of the light, float [h, w], of any size."""
        self.pixels *= stretched(light, self.height, self.width)[..., None]

    def photographed(self, rng, blur: float = 0.6, noise: float = 3.0, chroma: float = 0.0) -> None:
        """Blur by a box of this radius in pixels, then add noise to the light and, in blotches, to the colours."""
        if blur:
            self.pixels = np.array(self.picture().filter(ImageFilter.BoxBlur(blur)), np.float32)
        if noise:
            self.pixels += noise * rng.standard_normal((self.height, self.width, 1), dtype=np.float32)
        if chroma:
            small = rng.standard_normal((self.height // 3 + 1, self.width // 3 + 1, 3), dtype=np.float32)
            small = chroma * (small - small.mean(2, keepdims=True))
            self.pixels += np.repeat(np.repeat(small, 3, 0), 3, 1)[: self.height, : self.width]

    def saved_as(self, suffix: str, quality: int = 85, grey: bool = False) -> "Canvas":
        """Say how it is to be saved: png or jpg, with which quality, and whether with grey levels alone."""
        self.encoding = suffix, quality, grey
        return self

    def encoded(self) -> bytes:
        """Return the bytes of the picture's file."""
        suffix, quality, grey = self.encoding
        picture = self.picture().convert("L") if grey else self.picture()
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=quality) if suffix == "jpg" else picture.save(file, "PNG", compress_level=1)
        return file.getvalue()


def homography(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the projective map, float64 [3, 3], that takes four points to four others."""
    rows = []
    for (x, y), (u, v) in zip(source, target, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
    return np.append(np.linalg.solve(np.array(rows), target.ravel()), 1.0).reshape(3, 3)


def mapped(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    moved = np.c_[points, np.ones(len(points))] @ matrix.T
    return moved[:, :2] / moved[:, 2:]


def stretched(values: np.ndarray, height: int, width: int) -> np.ndarray:
    picture = Image.fromarray(np.asarray(values, np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))


def soft_noise(rng, height: int, width: int, cells: int) -> np.ndarray:
    """Return noise about 0, of standard deviation about 1, with `cells` cells along the longer side."""
    step = max(height, width) / cells
    small = rng.standard_normal((max(2, round(height / step)), max(2, round(width / step))), dtype=np.float32)
    return stretched(small, height, width)


def sheet_corners(rng, desk: Canvas, width: float, height: float, degrees: float, tilt: float = 0.0, stray=0.0):
    """Return the corners of a sheet near the middle of a desk, turned and seen from the side.

    `tilt` is by which share of its size each corner may be moved, `stray` how far the middle may be from the desk's, in
    shares of the room beside the sheet.
    """
    angle = np.radians(degrees)
    corners = np.array([(-width, -height), (width, -height), (width, height), (-width, height)]) / 2
    corners += rng.uniform(-tilt, tilt, (4, 2)) * (width, height)
    corners = corners @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    room = np.maximum((desk.width, desk.height) - np.ptp(corners, axis=0), 0)
    return corners + np.array([desk.width, desk.height]) / 2 + rng.uniform(-0.5, 0.5, 2) * room * stray


# ------------------------------------------------------------------------------------------------------------- desks


def dark(rng, width, height):
    desk = Canvas(width, height, np.array([70, 62, 55]) * rng.uniform(0.6, 1.3))
    desk.grain(rng, 5, 12)
    return desk


def light(rng, width, height):
    desk = Canvas(width, height, np.array([246, 245, 242]))
    desk.grain(rng, 2, 10)
    return desk


def wood(rng, width, height):
    colour = np.array([(156, 110, 68), (190, 150, 105), (110, 72, 46)][rng.integers(3)])
    desk = Canvas(width, height, colour)
    fibres = soft_noise(rng, round(height), 6, max(8, round(height / 5)))
    rings = np.sin(3 * soft_noise(rng, round(height), round(width), 3) + np.linspace(0, 30, round(height))[:, None])
    desk.pixels *= (1 + 0.09 * stretched(fibres, desk.height, desk.width) + 0.07 * rings)[..., None]
    return desk


def cloth(rng, width, height):
    desk = Canvas(width, height, np.array([(90, 100, 130), (130, 60, 60), (95, 115, 85)][rng.integers(3)]))
    y, x = np.mgrid[: desk.height, : desk.width].astype(np.float32)
    weave = np.sin(x * 1.1) * np.sin(y * 1.1)
    desk.pixels *= (1 + 0.1 * weave + 0.12 * soft_noise(rng, desk.height, desk.width, 40))[..., None]
    return desk


def two_tone(rng, width, height):
    desk = Canvas(width, height, (200, 170, 130))
    angle, shift = rng.uniform(0, 2 * np.pi), rng.uniform(-0.3, 0.3)
    y, x = np.mgrid[-1 : 1 : desk.height * 1j, -1 : 1 : desk.width * 1j]
    desk.pixels[x * np.cos(angle) + y * np.sin(angle) > shift] = (75, 80, 92)
    desk.grain(rng, 3, 30)
    return desk


def checked(rng, width, height):
    desk = Canvas(width, height, (225, 222, 215))
    step = rng.uniform(30, 60)
    y, x = np.arange(desk.height)[:, None], np.arange(desk.width)[None]
    both = (y % (2 * step) < step).astype(np.float32) + (x % (2 * step) < step)
    colour = np.array([(170, 40, 45), (40, 70, 140), (50, 110, 60)][rng.integers(3)], np.float32)
    desk.pixels += (both / 2)[..., None] * (colour - desk.pixels)
    return desk


def marble(rng, width, height):
    desk = Canvas(width, height, (150, 152, 156))
    veins = np.abs(soft_noise(rng, desk.height, desk.width, 6) + 0.3 * soft_noise(rng, desk.height, desk.width, 25))
    desk.pixels -= (60 * np.exp(-8 * veins))[..., None]
    desk.grain(rng, 8, 200)
    return desk


def planks(rng, width, height):
    desk = wood(rng, width, height)
    for y in range(int(rng.integers(20, 90)), desk.height, 110):
        desk.pixels[y : y + 4] *= 0.35
    return desk


def rug(rng, width, height):
    desk = Canvas(width, height, 100)
    colours = rng.uniform(40, 190, (9, 3))
    for i, x in enumerate(range(0, desk.width, 28)):
        desk.pixels[:, x : x + 28] = colours[i % 9]
    desk.pixels += 14 * rng.standard_normal((desk.height, desk.width, 1), dtype=np.float32)
    return desk


DESKS = (dark, light, wood, cloth, two_tone)
OTHER_DESKS = (checked, marble, planks, rug)


# ------------------------------------------------------------------------------------------------------------- light


def edge_shadow(rng, depth: float) -> np.ndarray:
    """A shadow with a rather sharp straight edge across."""
    y, x = np.mgrid[-1:1:96j, -1:1:96j]
    angle, shift, width = rng.uniform(0, 2 * np.pi), rng.uniform(-0.5, 0.5), rng.uniform(0.03, 0.15)
    along = (x * np.cos(angle) + y * np.sin(angle) - shift) / width
    return 1 - depth / (1 + np.exp(-4 * along))


def hand_shadow(rng, depth: float) -> np.ndarray:
    """The shadow of a hand with a phone: a round palm and fingers from one side."""
    shade = Image.new("L", (128, 128))
    draw = ImageDraw.Draw(shade)
    x, y = rng.uniform(20, 108), rng.uniform(70, 110)
    draw.ellipse([x - 34, y - 20, x + 34, y + 60], fill=255)
    for i in range(4):
        start = x - 26 + 17 * i
        draw.line([(start, y), (start + rng.uniform(-8, 8), y - rng.uniform(30, 55))], fill=255, width=12)
    shade = shade.rotate(float(rng.uniform(-40, 40))).filter(ImageFilter.GaussianBlur(float(rng.uniform(2, 5))))
    return 1 - depth * np.asarray(shade, np.float32) / 255


def vignette(rng, depth: float) -> np.ndarray:
    y, x = np.mgrid[-1:1:32j, -1:1:32j]
    x, y = x - rng.uniform(-0.3, 0.3), y - rng.uniform(-0.3, 0.3)
    return 1 - depth * ((x * x + y * y) / 2).clip(0, 1)


def lamp(rng, depth: float) -> np.ndarray:
    """A bright spot that falls off quickly."""
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    x, y = x - rng.uniform(-0.7, 0.7), y - rng.uniform(-0.7, 0.7)
    return 1 - depth + depth / (1 + 3 * (x * x + y * y))


def slope(rng, depth: float) -> np.ndarray:
    y, x = np.mgrid[-1:1:8j, -1:1:8j]
    angle = rng.uniform(0, 2 * np.pi)
    return 1 - depth * (1 + (x * np.cos(angle) + y * np.sin(angle)) / 1.42) / 2


# -------------------------------------------------------------------------------------------------------------- text


def font(size: float, name: str | None = None):
    """Return a font of this size: Pillow's own, or one of matplotlib's files."""
    return ImageFont.truetype(name, round(size)) if name else ImageFont.load_default(float(size))


def lettered(text: str, height: float, name: str | None = None) -> np.ndarray:
    """Return text as a mark of that height, cut to its ink."""
    face = font(max(height, 20) * 1.4, name)
    left, top, right, bottom = (int(v) for v in face.getbbox(text))
    picture = Image.new("L", (right - left + 8, bottom - top + 8))
    ImageDraw.Draw(picture).text((4 - left, 4 - top), text, fill=255, font=face)
    mark = np.asarray(picture, np.float32) / 255
    rows, columns = np.flatnonzero((mark > 0.1).any(1)), np.flatnonzero((mark > 0.1).any(0))
    mark = mark[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    width = max(1, round(mark.shape[1] * height / mark.shape[0]))
    resized = Image.fromarray(mark).resize((width, round(height)), Image.Resampling.BICUBIC)
    return np.asarray(resized).clip(0, 1)
