"""Points of named elliptic curves, by the system's OpenSSL 3.

`cryptography` signs and agrees on keys but adds no points; SM2 and PACE need that. This is the one module that calls
libcrypto; everything in it works on bytes, and nothing of OpenSSL's memory lives longer than a call, except the
constants of a curve.

The library is looked for at the first use, so that importing this costs nothing and needs nothing.

Source: SEC 1 v2.0, clauses 2.2 (points) and 2.3.3 (uncompressed form); OpenSSL 3 manual pages EC_GROUP_new(3),
EC_POINT_add(3), BN_bin2bn(3).
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from typing import Any, Final

from card_os.iso7816.errors import FunctionNotSupported

_NAMES: Final = ("libcrypto.so.3", "libcrypto.3.dylib", "libcrypto-3-x64.dll")
_MIN_VERSION: Final = 0x3000_0000
_UNCOMPRESSED_FORM: Final = 4
_UNCOMPRESSED_PREFIX: Final = b"\x04"
_BITS: Final = 8

_POINTER: Final = ctypes.c_void_p
_INT: Final = ctypes.c_int
_SIZE: Final = ctypes.c_size_t
_BYTES: Final = ctypes.c_char_p

_FUNCTIONS: Final[tuple[tuple[str, Any, tuple[Any, ...]], ...]] = (
    ("OpenSSL_version_num", ctypes.c_ulong, ()),
    ("ERR_clear_error", None, ()),
    ("OBJ_txt2nid", _INT, (_BYTES,)),
    ("BN_bin2bn", _POINTER, (_BYTES, _INT, _POINTER)),
    ("BN_bn2binpad", _INT, (_POINTER, _BYTES, _INT)),
    ("BN_clear_free", None, (_POINTER,)),
    ("EC_GROUP_new_by_curve_name", _POINTER, (_INT,)),
    ("EC_GROUP_get0_order", _POINTER, (_POINTER,)),
    ("EC_GROUP_get0_field", _POINTER, (_POINTER,)),
    ("EC_GROUP_get_degree", _INT, (_POINTER,)),
    ("EC_POINT_new", _POINTER, (_POINTER,)),
    ("EC_POINT_clear_free", None, (_POINTER,)),
    ("EC_POINT_oct2point", _INT, (_POINTER, _POINTER, _BYTES, _SIZE, _POINTER)),
    ("EC_POINT_point2oct", _SIZE, (_POINTER, _POINTER, _INT, _BYTES, _SIZE, _POINTER)),
    ("EC_POINT_is_at_infinity", _INT, (_POINTER, _POINTER)),
    ("EC_POINT_mul", _INT, (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER, _POINTER)),
    ("EC_POINT_add", _INT, (_POINTER, _POINTER, _POINTER, _POINTER, _POINTER)),
)
"""Name, result and arguments of each function in use; none of them is deprecated in OpenSSL 3."""


class LibcryptoMissing(FunctionNotSupported):
    """6A81: the system has no OpenSSL 3 whose libcrypto can be loaded, or it does not know a curve."""


class CurveName(StrEnum):
    """Curves in use, by OpenSSL's names."""

    P256 = "prime256v1"
    P384 = "secp384r1"
    BRAINPOOL_P256R1 = "brainpoolP256r1"
    SM2 = "SM2"


@cache
def _library() -> Mapping[str, Callable[..., Any]]:
    """The library's functions by name, with their types, which the library itself would forget."""
    for name in _NAMES:
        try:
            library = ctypes.CDLL(name)
            functions = {function: library[function] for function, _, _ in _FUNCTIONS}
        except (OSError, AttributeError):
            continue
        for function, result, arguments in _FUNCTIONS:
            functions[function].restype, functions[function].argtypes = result, arguments
        if functions["OpenSSL_version_num"]() >= _MIN_VERSION:
            return MappingProxyType(functions)
    raise LibcryptoMissing("OpenSSL 3 (libcrypto) is not installed")


class Curve:
    """Arithmetic on one named curve; points are uncompressed: 04 ‖ x ‖ y, each coordinate ``length`` bytes big-endian.

    Use `curve` instead of the constructor: it keeps the constants of a curve.

    Args:
        name: which one.

    Raises:
        LibcryptoMissing: no OpenSSL 3, or it was built without this curve.

    Attributes:
        name: which one.
        length: bytes of a coordinate.
        order: number of points, n.
        field: the prime p.
        generator: the base point G.
    """

    __slots__ = ("_group", "_library", "field", "generator", "length", "name", "order")

    def __init__(self, name: CurveName) -> None:
        library = _library()
        group = library["EC_GROUP_new_by_curve_name"](library["OBJ_txt2nid"](name.encode("ascii")))
        if not group:
            library["ERR_clear_error"]()
            raise LibcryptoMissing(f"the installed OpenSSL has no curve {name}")
        self.name = name
        self._library = library
        self._group = group
        self.length = (int(library["EC_GROUP_get_degree"](group)) + _BITS - 1) // _BITS
        self.order = self._number(library["EC_GROUP_get0_order"](group))
        self.field = self._number(library["EC_GROUP_get0_field"](group))
        self.generator = self.public_point(1)

    def check(self, point: bytes) -> None:
        """See that a point is in uncompressed form and on the curve.

        Raises:
            ValueError: it is not, or it is the point at infinity.
        """
        with self._decoded(point):
            return

    def public_point(self, scalar: int) -> bytes:
        """``scalar`` times the generator.

        Raises:
            ValueError: ``scalar`` is outside 1 .. n − 1.
        """
        with self._empty() as result, self._scalar(scalar) as number:
            self._run("EC_POINT_mul", result, number, None, None, None)
            return self._encoded(result)

    def multiply(self, scalar: int, point: bytes) -> bytes:
        """``scalar`` times ``point``.

        Raises:
            ValueError: ``scalar`` is outside 1 .. n − 1, or the point is not on the curve.
        """
        with self._empty() as result, self._scalar(scalar) as number, self._decoded(point) as other:
            self._run("EC_POINT_mul", result, None, other, number, None)
            return self._encoded(result)

    def combine(self, generator_scalar: int, point_scalar: int, point: bytes) -> bytes:
        """``generator_scalar`` times the generator plus ``point_scalar`` times ``point``; not for secret scalars.

        Raises:
            ValueError: a scalar is outside 1 .. n − 1, the point is not on the curve, or the sum is at infinity.
        """
        with (
            self._empty() as result,
            self._scalar(generator_scalar) as left,
            self._scalar(point_scalar) as right,
            self._decoded(point) as other,
        ):
            self._run("EC_POINT_mul", result, left, other, right, None)
            return self._encoded(result)

    def add(self, left: bytes, right: bytes) -> bytes:
        """The sum of two points.

        Raises:
            ValueError: a point is not on the curve, or the sum is at infinity.
        """
        with self._empty() as result, self._decoded(left) as first, self._decoded(right) as second:
            self._run("EC_POINT_add", result, first, second, None)
            return self._encoded(result)

    def _run(self, function: str, *arguments: int | bytes | None) -> None:
        """Call a function of the group that answers 1.

        Raises:
            ValueError: it answered something else.
        """
        if self._library[function](self._group, *arguments) != 1:
            self._library["ERR_clear_error"]()
            raise ValueError(f"no result on curve {self.name}")

    @contextmanager
    def _empty(self) -> Generator[int]:
        point = self._library["EC_POINT_new"](self._group)
        if not point:
            raise MemoryError
        try:
            yield point
        finally:
            self._library["EC_POINT_clear_free"](point)

    @contextmanager
    def _decoded(self, encoded: bytes) -> Generator[int]:
        if len(encoded) != 1 + 2 * self.length or encoded[:1] != _UNCOMPRESSED_PREFIX:
            raise ValueError(f"no uncompressed point of curve {self.name}")
        with self._empty() as point:
            self._run("EC_POINT_oct2point", point, encoded, len(encoded), None)
            yield point

    @contextmanager
    def _scalar(self, value: int) -> Generator[int]:
        if not 0 < value < self.order:
            raise ValueError(f"no scalar of curve {self.name}")
        raw = value.to_bytes(self.length, "big")
        number = self._library["BN_bin2bn"](raw, len(raw), None)
        if not number:
            raise MemoryError
        try:
            yield number
        finally:
            self._library["BN_clear_free"](number)

    def _encoded(self, point: int) -> bytes:
        if self._library["EC_POINT_is_at_infinity"](self._group, point):
            raise ValueError(f"the point at infinity of curve {self.name}")
        size = 1 + 2 * self.length
        out = ctypes.create_string_buffer(size)
        written = self._library["EC_POINT_point2oct"](self._group, point, _UNCOMPRESSED_FORM, out, size, None)
        if written != size:
            self._library["ERR_clear_error"]()
            raise ValueError(f"no result on curve {self.name}")
        return out.raw

    def _number(self, number: int) -> int:
        out = ctypes.create_string_buffer(self.length)
        self._library["BN_bn2binpad"](number, out, self.length)
        return int.from_bytes(out.raw, "big")


@cache
def curve(name: CurveName) -> Curve:
    """The arithmetic of a curve; its constants are set up once.

    Raises:
        LibcryptoMissing: no OpenSSL 3, or it was built without this curve.
    """
    return Curve(name)
