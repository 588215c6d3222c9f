"""Portraits of people who do not exist, drawn with a few strokes."""

from __future__ import annotations

import io
import random
from typing import Final

from PIL import Image, ImageDraw, ImageFilter

WIDTH: Final = 142
HEIGHT: Final = 198
_QUALITY: Final = 88
_GRAIN: Final = 8
_SKINS: Final = ((238, 205, 178), (229, 190, 160), (222, 180, 146), (244, 214, 190), (210, 168, 134))
_HAIRS: Final = ((24, 20, 18), (42, 32, 26), (60, 44, 34), (120, 120, 122), (190, 190, 192))
_CLOTHES: Final = ((40, 52, 88), (70, 70, 74), (120, 36, 44), (34, 92, 78), (220, 222, 226), (88, 64, 112))
_BACKGROUNDS: Final = ((255, 255, 255), (232, 240, 248), (214, 230, 244))
_LIPS: Final = (176, 92, 88)
_DARK: Final = (30, 26, 26)

Colour = tuple[int, int, int]


def draw_portrait(chance: random.Random, picture_format: str = "JPEG") -> bytes:
    """A picture of 142 × 198 pixels, twice the production size; about 4 KB as JPEG."""
    image = Image.new("RGB", (WIDTH, HEIGHT), chance.choice(_BACKGROUNDS))
    draw = ImageDraw.Draw(image)
    middle, eyes = WIDTH // 2, 88 + chance.randint(-5, 5)
    half, top, chin = chance.randint(34, 41), 38 + chance.randint(-4, 4), 148 + chance.randint(-6, 6)
    skin, hair = chance.choice(_SKINS), chance.choice(_HAIRS)
    _draw_shoulders(draw, chance, skin, chin)
    _draw_hair(draw, chance, hair, (middle - half, top, middle + half, chin))
    draw.ellipse((middle - half, top + 12, middle + half, chin), fill=skin)
    draw.chord((middle - half - 2, top, middle + half + 2, top + 62), 180, 360, fill=hair)
    _draw_features(draw, chance, eyes, chin)
    image = image.filter(ImageFilter.GaussianBlur(0.6))
    return _encode(_grain(image, chance), picture_format)


def _draw_shoulders(draw: ImageDraw.ImageDraw, chance: random.Random, skin: Colour, chin: int) -> None:
    middle, width = WIDTH // 2, chance.randint(56, 68)
    draw.rectangle((middle - 14, chin - 20, middle + 14, HEIGHT), fill=skin)
    draw.rounded_rectangle((middle - width, chin + 12, middle + width, HEIGHT + 40), 30, fill=chance.choice(_CLOTHES))
    draw.polygon([(middle - 18, chin + 11), (middle + 18, chin + 11), (middle, chin + 36)], fill=skin)


def _draw_hair(draw: ImageDraw.ImageDraw, chance: random.Random, hair: Colour, face: tuple[int, int, int, int]) -> None:
    left, top, right, chin = face
    length = chance.choice((0, 0, 20, 48))
    draw.rounded_rectangle((left - 5, top, right + 5, chin - 58 + length), 26, fill=hair)


def _draw_features(draw: ImageDraw.ImageDraw, chance: random.Random, eyes: int, chin: int) -> None:
    middle, apart = WIDTH // 2, chance.randint(15, 19)
    open_height, brow = chance.randint(2, 4), chance.randint(9, 13)
    for side in (-1, 1):
        x = middle + side * apart
        draw.ellipse((x - 6, eyes - open_height, x + 6, eyes + open_height), fill=(250, 250, 250))
        draw.ellipse((x - 3, eyes - 3, x + 3, eyes + 3), fill=_DARK)
        draw.arc((x - 9, eyes - brow, x + 9, eyes + 2), 200, 340, fill=_DARK, width=2)
    draw.line([(middle, eyes + 6), (middle - 4, eyes + 24), (middle + 3, eyes + 25)], fill=(150, 108, 90), width=2)
    smile = chance.randint(7, 13)
    draw.arc((middle - smile, chin - 36, middle + smile, chin - 22), 15, 165, fill=_LIPS, width=3)


def _grain(image: Image.Image, chance: random.Random) -> Image.Image:
    """The picture with a camera's grain, so that its size and statistics are those of a photograph."""
    noise = Image.frombytes("L", (WIDTH // 2, HEIGHT // 2), chance.randbytes(WIDTH // 2 * (HEIGHT // 2)))
    grain = noise.resize((WIDTH, HEIGHT)).point([value * _GRAIN // 256 for value in range(256)])
    return Image.composite(image, Image.new("RGB", image.size), grain.point([255 - value for value in range(256)]))


def _encode(image: Image.Image, picture_format: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, picture_format, quality=_QUALITY)
    return stream.getvalue()
