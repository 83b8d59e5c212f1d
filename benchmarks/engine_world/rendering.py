"""Draws scenes: numpy and Pillow, 96 x 96 pixels, the same pixels for the same scene and seed."""

import numpy as np
from PIL import Image, ImageDraw

from benchmarks.engine_world.scenes import SIDE_PX, Item, Scene, Truth, truth_of
from benchmarks.engine_world.tags import ACTIONS, COLOURS, SCENES, THINGS

GRID = 2
"""Objects are drawn so many times larger and averaged down."""
SHADE = 0.38
"""Brightness of a texture's dark parts, against the colour's."""
NOISE = 7.0
"""Standard deviation of the pixel noise, of 255."""
_PALETTE = np.array(list(COLOURS.values()), np.float32)
_ACTIONS = tuple(ACTIONS)


def render(scene: Scene, generator: np.random.Generator) -> tuple[np.ndarray, Truth]:
    """Return pixels uint8 [96, 96, 3] and the truth."""
    picture = background(SCENES[scene.scene], generator)
    owner = np.full((SIDE_PX, SIDE_PX), -1)
    full = np.zeros(len(scene.items))
    contrast = np.zeros(len(scene.items))
    for at, item in enumerate(scene.items):
        rows, columns = _around(item, 0.75, margin=5)
        below = picture[rows, columns]
        cover, pixels = draw_item(item, rows, columns, generator)
        inside = cover > 0.5
        full[at] = max(1.0, float(inside.sum()))
        if inside.any() and not inside.all():
            distance = np.linalg.norm(pixels[inside].mean(0) - below[~inside].mean(0))
            contrast[at] = min(1.0, float(distance) / 180.0)
        picture[rows, columns] = below * (1 - cover[..., None]) + pixels * cover[..., None]
        owner[rows, columns][inside] = at
        if item.action is not None:
            rows, columns = _around(item, 1.3, margin=3)
            below = picture[rows, columns]
            picture[rows, columns] = draw_action(below, _ACTIONS[item.action], item, rows, columns)
    visible = np.bincount(owner[owner >= 0], minlength=len(scene.items)).astype(np.float64)
    noisy = picture + generator.standard_normal(picture.shape, np.float32) * NOISE
    return np.clip(noisy, 0, 255).astype(np.uint8), truth_of(scene, visible, full, contrast)


def _around(item: Item, reach: float, *, margin: int) -> tuple[slice, slice]:
    """Return rows and columns of the picture within `reach` sizes of an object's centre."""
    half = reach * item.size + margin
    top, left = (max(0, int(v - half)) for v in (item.y, item.x))
    bottom, right = (min(SIDE_PX, int(v + half) + 1) for v in (item.y, item.x))
    return slice(top, bottom), slice(left, right)


def background(name: str, generator: np.random.Generator) -> np.ndarray:
    """Return float32 [96, 96, 3]: the place, a little different every time."""
    y = np.arange(SIDE_PX, dtype=np.float32)[:, None]
    x = np.arange(SIDE_PX, dtype=np.float32)[None, :]
    shift = generator.uniform(0, 20, 2)
    horizon = generator.uniform(35, 60)
    below = (y > horizon)[..., None]
    match name:
        case "beach":
            picture = np.where(below, (222, 200, 150), (130, 190, 230))
        case "forest":
            stems = (((x + shift[0]) % 14) < 4)[..., None]
            picture = np.where(stems, (78, 62, 44), (44, 92, 52))
        case "kitchen":
            tiles = ((((x + shift[0]) // 12) + ((y + shift[1]) // 12)) % 2)[..., None]
            picture = np.where(tiles > 0, (214, 214, 206), (176, 184, 190))
        case "street":
            dashes = ((((x + shift[0]) % 24) < 12) & (abs(y - horizon - 18) < 2))[..., None]
            picture = np.where(below, (92, 92, 96), (168, 160, 156))
            picture = np.where(dashes, (236, 232, 180), picture)
        case "desert":
            dunes = np.sin((x + shift[0]) / 9) * 6 + horizon
            picture = np.where((y > dunes)[..., None], (214, 150, 84), (238, 206, 170))
        case "bedroom":
            stripes = (((x + shift[0]) % 16) < 8)[..., None]
            picture = np.where(stripes, (206, 160, 176), (226, 190, 200))
        case "field":
            blades = (((x * 3 + y * 5 + shift[0] * 7) % 13) < 4)[..., None]
            picture = np.where(blades, (108, 150, 62), (140, 178, 84))
        case _:
            far = np.hypot(x - 48 + shift[0] / 2 - 5, y - horizon)[..., None]
            picture = np.where(far < 30, (92, 86, 88), (52, 48, 56))
    light = generator.uniform(0.85, 1.1)
    whole = np.broadcast_to(picture, (SIDE_PX, SIDE_PX, 3))
    return (whole * light).astype(np.float32)


def draw_item(
    item: Item, rows: slice, columns: slice, generator: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return cover float32 [h, w], 0..1, and colours float32 [h, w, 3] of an object."""
    thing = THINGS[item.thing]
    height, width = rows.stop - rows.start, columns.stop - columns.start
    mask = Image.new("L", (width * GRID, height * GRID), 0)
    angle = generator.uniform(-0.25, 0.25)
    lying = item.action is not None and _ACTIONS[item.action] == "sleeping"
    if lying:
        angle += np.pi / 2
    draw = ImageDraw.Draw(mask)
    for points, value in outline(thing.shape):
        placed = [_place(p, item, angle, rows.start, columns.start) for p in points]
        draw.polygon(placed, fill=value)
    cover = np.asarray(mask.resize((width, height), Image.Resampling.BOX), np.float32) / 255
    dark = texture(thing.texture, item, angle, rows, columns)
    colour = _PALETTE[item.colour] + generator.normal(0, 9, 3).astype(np.float32)
    # black things have light marks, or a texture could not be seen
    mark = colour * SHADE if colour.mean() > 60 else colour + 95
    return cover, np.where(dark[..., None], mark, colour).astype(np.float32)


def _place(
    point: tuple[float, float], item: Item, angle: float, top: int, left: int
) -> tuple[float, float]:
    x, y = point
    half, cos, sin = item.size / 2, np.cos(angle), np.sin(angle)
    across = item.x - left + half * (x * cos - y * sin)
    down = item.y - top + half * (x * sin + y * cos)
    return float(across * GRID), float(down * GRID)


def outline(shape: str) -> list[tuple[list[tuple[float, float]], int]]:
    """Return polygons in -1..1 with their fill; a later one with 0 cuts a hole."""

    def ring(count: int, radius: float = 1.0, turn: float = 0.0) -> list[tuple[float, float]]:
        angles = np.arange(count) * 2 * np.pi / count + turn - np.pi / 2
        return [(float(radius * np.cos(a)), float(radius * np.sin(a))) for a in angles]

    match shape:
        case "circle":
            return [(ring(32), 255)]
        case "square":
            return [([(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)], 255)]
        case "triangle":
            return [(ring(3), 255)]
        case "diamond":
            return [([(0, -1), (0.7, 0), (0, 1), (-0.7, 0)], 255)]
        case "star":
            far, near = ring(5), ring(5, 0.45, np.pi / 5)
            return [([p for pair in zip(far, near, strict=True) for p in pair], 255)]
        case "ellipse":
            return [([(x, 0.55 * y) for x, y in ring(32)], 255)]
        case "hexagon":
            return [(ring(6), 255)]
        case "half":
            return [([p for p in ring(32) if p[1] <= 0.05], 255)]
        case "tall":
            return [([(-0.35, -1), (0.35, -1), (0.5, 1), (-0.5, 1)], 255)]
        case "cross":
            a, b = 0.33, 1.0
            right = [(a, -b), (a, -a), (b, -a), (b, a), (a, a), (a, b)]
            return [([*right, *[(-x, -y) for x, y in right]], 255)]
        case "arrow":
            return [
                ([(0, -1), (0.8, 0.3), (-0.8, 0.3)], 255),
                ([(-0.2, 0.3), (0.2, 0.3), (0.2, 1), (-0.2, 1)], 255),
            ]
        case "ladder":
            holes = [
                ([(-0.3, y), (0.3, y), (0.3, y + 0.4), (-0.3, y + 0.4)], 0)
                for y in (-0.8, -0.2, 0.4)
            ]
            return [([(-0.55, -1), (0.55, -1), (0.55, 1), (-0.55, 1)], 255), *holes]
        case "boat":
            return [
                ([(-1, 0.2), (1, 0.2), (0.6, 0.9), (-0.6, 0.9)], 255),
                ([(0, -1), (0.6, 0.1), (0, 0.1)], 255),
            ]
        case _:
            return [(ring(32), 255), (ring(32, 0.5), 0)]


def texture(name: str, item: Item, angle: float, rows: slice, columns: slice) -> np.ndarray:
    """Return bool [h, w]: where the object is dark. Marks scale with the object."""
    y = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
    x = np.arange(columns.start, columns.stop, dtype=np.float32)[None, :]
    half, cos, sin = item.size / 2, np.cos(angle), np.sin(angle)
    u = ((x - item.x) * cos + (y - item.y) * sin) / half
    v = (-(x - item.x) * sin + (y - item.y) * cos) / half
    match name:
        case "bars":
            return (u * 2.2) % 1 < 0.45
        case "layers":
            return (v * 2.2) % 1 < 0.45
        case "checks":
            return (np.floor(u * 2) + np.floor(v * 2)) % 2 == 0
        case "dots":
            return np.hypot((u * 1.8) % 1 - 0.5, (v * 1.8) % 1 - 0.5) < 0.3
        case "rings":
            return (np.hypot(u, v) * 2.2) % 1 < 0.4
        case _:
            return np.zeros((y.shape[0], x.shape[1]), bool)


def draw_action(
    picture: np.ndarray, action: str, item: Item, rows: slice, columns: slice
) -> np.ndarray:
    """Return the part of the picture with the sign of an action around the object."""
    image = Image.fromarray(np.clip(picture, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(image)
    x, y, half = item.x - columns.start, item.y - rows.start, item.size / 2
    width = max(1, round(item.size / 14))
    match action:
        case "running":
            for dy in (-0.5, 0.0, 0.5):
                level = y + dy * half
                draw.line((x - 1.9 * half, level, x - 1.1 * half, level), "#f4f4f4", width)
        case "jumping":
            level = y + 1.45 * half
            box = (x - 0.8 * half, level - 0.15 * half, x + 0.8 * half, level + 0.15 * half)
            draw.ellipse(box, "#202020")
        case "flying":
            for side in (-1, 1):
                tip = (x + side * 1.7 * half, y - 0.9 * half)
                ends = [(x + side * 0.8 * half, y), tip, (x + side * 1.5 * half, y + 0.2 * half)]
                draw.polygon(ends, "#e8e8f4")
        case "swimming":
            steps = np.linspace(-1.4, 1.4, 15)
            points = [(x + s * half, y + 0.55 * half + 0.15 * half * np.sin(s * 9)) for s in steps]
            draw.line(points, "#48c8f0", width + 1)
        case "sleeping":
            for k in (1, 2):
                left, top, side = (
                    x + (0.5 + 0.4 * k) * half,
                    y - (0.8 + 0.4 * k) * half,
                    0.35 * half,
                )
                ends = [
                    (left, top),
                    (left + side, top),
                    (left, top + side),
                    (left + side, top + side),
                ]
                draw.line(ends, "#101030", width)
        case "dancing":
            for side, start in ((-1, 100), (1, -80)):
                box = (
                    x + side * half - half * 0.7,
                    y - half * 1.1,
                    x + side * half + half * 0.7,
                    y + half * 1.1,
                )
                draw.arc(box, start, start + 160, "#f070c0", width + 1)
        case "burning":
            for dx in (-0.6, 0.0, 0.6):
                foot, tip = y - 0.6 * half, y - 1.6 * half
                ends = [(x + (dx - 0.3) * half, foot), (x + dx * half, tip)]
                draw.polygon([*ends, (x + (dx + 0.3) * half, foot)], "#ff8c1a")
        case _:
            for k in range(3):
                cx, cy, r = x + 0.3 * k * half, y - (1.1 + 0.45 * k) * half, (0.2 + 0.08 * k) * half
                draw.ellipse((cx - r, cy - r, cx + r, cy + r), "#9a9a9a")
    return np.asarray(image, np.float32)
