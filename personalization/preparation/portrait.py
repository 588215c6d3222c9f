"""From any delivered picture to the card's portrait: JPEG, 71 × 99 pixels, 3 to 5 KB where the picture allows it.

A picture that already is what production wants goes to the card unchanged, for a second compression would only lose;
one that carries more than the picture (camera data, a thumbnail, a place) is compressed anew, so that none of it
reaches the card.

Source: field practice of the province's permits (71 × 99 pixels); ISO/IEC 10918-1, annex B (markers).
"""

from __future__ import annotations

import io
import struct
from enum import IntEnum
from typing import Final

from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from personalization.errors import PersonalizationError

WIDTH: Final = 71
HEIGHT: Final = 99
PREFERRED_LEAST: Final = 3 * 1024
PREFERRED_MOST: Final = 5 * 1024
LARGEST: Final = 20_480

_FORMATS: Final = ("JPEG", "PNG", "BMP")
_LARGEST_SIDE: Final = 4096
_REDUCING_GAP: Final = 2.0
_PLAIN_MODES: Final = frozenset({"RGB", "L"})
_TRANSPARENT_MODES: Final = frozenset({"RGBA", "LA", "PA"})
_BACKGROUND: Final = (255, 255, 255)
# What a JPEG may carry besides the picture and still pass: a JFIF header without thumbnail. Progressive coding shows
# among the entries too, and simple decoders cannot read it.
_HARMLESS_ENTRIES: Final = frozenset({"jfif", "jfif_version", "jfif_unit", "jfif_density", "dpi"})
_JFIF_SEGMENT: Final = "APP0"
_JFIF_LENGTH: Final = 14
_LEAD: Final = 0xFF
_SEGMENT: Final = struct.Struct(">BBH")
_FRAME: Final = struct.Struct(">BHHB")
_COMPONENTS: Final = {3: "RGB", 1: "L"}
_START_OF_IMAGE: Final = b"\xff\xd8"
_END_OF_IMAGE: Final = b"\xff\xd9"
_QUALITIES: Final = (30, 40, 50, 60, 70, 78, 84, 88, 91, 93, 95)
_FIRST_TRY: Final = 9
_SUBSAMPLED: Final = 2
_FULL: Final = 0


class _Marker(IntEnum):
    """Second byte of the markers of a plain baseline file. Source: ISO/IEC 10918-1, table B.1."""

    BASELINE = 0xC0
    HUFFMAN = 0xC4
    SCAN = 0xDA
    QUANTIZATION = 0xDB
    RESTART_INTERVAL = 0xDD
    JFIF = 0xE0


_PLAIN_MARKERS: Final = frozenset(int(marker) for marker in _Marker)
_BASELINE, _SCAN, _JFIF = int(_Marker.BASELINE), int(_Marker.SCAN), int(_Marker.JFIF)


def make_portrait(delivered: bytes, *, row: int) -> bytes:
    """The portrait for the card.

    Args:
        delivered: JPEG, PNG or BMP file.
        row: row of the batch, for the message.

    Returns:
        A JPEG of 71 × 99 pixels and at most 20,480 bytes.

    Raises:
        PersonalizationError: "portrait-unreadable" or "portrait-too-large", with the row.
    """
    try:
        picture = Image.open(io.BytesIO(delivered), formats=_FORMATS)
        if max(picture.size) <= _LARGEST_SIDE:
            return portrait_of(picture, delivered)
    except (OSError, ValueError, SyntaxError, OverflowError, EOFError, Image.DecompressionBombError):
        # Pillow's plug-ins report a broken file by any of these; what they say may quote the file.
        raise PersonalizationError("portrait-unreadable", row=row) from None
    raise PersonalizationError("portrait-too-large", row=row, limit=_LARGEST_SIDE)


def is_production_picture(delivered: bytes) -> bool:
    """Whether a file is a baseline JPEG of the card's size with nothing beside the picture, and decodes whole.

    The short way for deliveries that are as production wants them: the markers are looked at here, and only the picture
    itself is decoded. False means that `make_portrait` has to look.

    Source: ISO/IEC 10918-1, B.1.1.4 (marker segments), B.2.2 (frame header).
    """
    mode = _baseline_mode(delivered)
    if mode is None:
        return False
    try:
        Image.frombytes(mode, (WIDTH, HEIGHT), delivered, "jpeg", mode, "")
    except (ValueError, OSError):
        return False
    return True


def _baseline_mode(delivered: bytes) -> str | None:
    """RGB or L when all segments before the scan are what a plain file of the card's size has, else None."""
    if len(delivered) > LARGEST or not delivered.endswith(_END_OF_IMAGE) or delivered.count(_START_OF_IMAGE) != 1:
        return None
    at, mode = len(_START_OF_IMAGE), None
    while len(delivered) - at > _SEGMENT.size:
        lead, marker, length = _SEGMENT.unpack_from(delivered, at)
        if lead != _LEAD or marker not in _PLAIN_MARKERS:
            return None
        if marker == _JFIF and length != _JFIF_LENGTH + 2:
            return None
        if marker == _BASELINE:
            if at + _SEGMENT.size + _FRAME.size > len(delivered):
                return None
            precision, height, width, components = _FRAME.unpack_from(delivered, at + _SEGMENT.size)
            if (precision, width, height) != (8, WIDTH, HEIGHT):
                return None
            mode = _COMPONENTS.get(components)
        if marker == _SCAN:
            return mode if at + 2 + length < len(delivered) else None
        at += 2 + length
    return None


def portrait_of(picture: Image.Image, delivered: bytes) -> bytes:
    """The portrait for the card from a picture that is open and not decoded yet; it is decoded whole.

    Args:
        picture: with a size that was found harmless.
        delivered: the file that it was opened from.

    Raises:
        OSError: the picture is broken; Pillow has other errors for that too, see `make_portrait`.
    """
    ready = _is_ready(picture, delivered)
    if not ready and picture.format == "JPEG":
        # The decoder halves as often as the size allows, in the transform itself: no finer and far faster.
        picture.draft(None, (WIDTH, HEIGHT))
    picture.load()
    return delivered if ready else _compress(_normalise(picture))


def _is_ready(picture: Image.Image, delivered: bytes) -> bool:
    """True for a baseline JPEG of the right size with nothing before, beside or behind the picture."""
    return (
        isinstance(picture, JpegImageFile)
        and picture.size == (WIDTH, HEIGHT)
        and picture.mode in _PLAIN_MODES
        and len(delivered) <= LARGEST
        and _HARMLESS_ENTRIES.issuperset(picture.info)
        and all(name == _JFIF_SEGMENT and len(data) == _JFIF_LENGTH for name, data in picture.applist)
        and delivered.endswith(_END_OF_IMAGE)
        and delivered.count(_START_OF_IMAGE) == 1
    )


def _normalise(picture: Image.Image) -> Image.Image:
    """Upright, in colour or grey, on white, cut to the card's proportions around its centre."""
    upright = ImageOps.exif_transpose(picture)
    if upright.mode in _TRANSPARENT_MODES or "transparency" in upright.info:
        layer = upright.convert("RGBA")
        upright = Image.new("RGB", layer.size, _BACKGROUND)
        upright.paste(layer, mask=layer.getchannel("A"))
    elif upright.mode not in _PLAIN_MODES:
        upright = upright.convert("RGB")
    fitted = _fit(upright)
    fitted.info.clear()  # comments and profiles travel along and would be written
    return fitted


def _fit(picture: Image.Image) -> Image.Image:
    """Cut the larger side equally at both ends, and scale."""
    width, height = picture.size
    used_width, used_height = min(width, height * WIDTH / HEIGHT), min(height, width * HEIGHT / WIDTH)
    left, top = (width - used_width) / 2, (height - used_height) / 2
    box = (left, top, left + used_width, top + used_height)
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box, _REDUCING_GAP)


def _compress(picture: Image.Image) -> bytes:
    """The highest quality that stays in the preferred size; full colour resolution where there is room."""
    low, high, at = 0, len(_QUALITIES) - 1, _FIRST_TRY
    best = b""
    while low <= high:
        encoded = _encode(picture, _QUALITIES[at], _SUBSAMPLED)
        if len(encoded) > PREFERRED_MOST:
            high = at - 1
        else:
            best = encoded
            if len(encoded) >= PREFERRED_LEAST:
                return best
            low = at + 1
        at = (low + high + 1) // 2
    if best and len(best) < PREFERRED_LEAST:
        richer = _encode(picture, _QUALITIES[-1], _FULL)
        return richer if len(richer) <= PREFERRED_MOST else best
    return best or _encode(picture, _QUALITIES[0], _SUBSAMPLED)


def _encode(picture: Image.Image, quality: int, subsampling: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=quality, subsampling=subsampling)
    return stream.getvalue()
