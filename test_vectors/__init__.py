"""Published and self-made vectors, with their schema and sources.

A vector file is JSON after `schema/vectors.schema.json`; `SOURCES.md` says where each file comes from. The files travel
in the wheel, so they are opened through the package and never by a path of the source tree.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

SCHEMA: Final = "schema/vectors.schema.json"
_ABOUT: Final = frozenset({"id", "comment", "result", "flags"})


@dataclass(frozen=True, slots=True)
class Vector:
    """One test.

    Attributes:
        id: unique in its file.
        comment: what is special about it.
        valid: False when the operation has to refuse it.
        flags: what is wrong with one that is not valid.
        values: the algorithm's fields; byte strings as hexadecimal digits, numbers as numbers.
    """

    id: str
    comment: str
    valid: bool
    flags: tuple[str, ...]
    values: Mapping[str, str | int]

    def bytes(self, name: str) -> bytes:
        """The field ``name`` as bytes.

        Raises:
            KeyError: no such field.
        """
        return bytes.fromhex(str(self.values[name]))

    def number(self, name: str) -> int:
        """The field ``name`` as a number.

        Raises:
            KeyError: no such field.
        """
        return int(self.values[name])

    def __str__(self) -> str:
        return self.id


def root() -> Traversable:
    """The folder of the vector files."""
    return files(__name__)


def read(path: str) -> dict[str, Any]:
    """The JSON document at ``path``, such as ``crypto/aes_cmac.json``."""
    document: dict[str, Any] = json.loads(root().joinpath(path).read_text(encoding="utf-8"))
    return document


def load(path: str) -> list[Vector]:
    """The tests of one vector file, in order."""
    return [
        Vector(
            test["id"],
            test["comment"],
            test["result"] == "valid",
            tuple(test.get("flags", ())),
            {name: value for name, value in test.items() if name not in _ABOUT},
        )
        for test in read(path)["tests"]
    ]


def paths() -> Iterator[str]:
    """The paths of all vector files, sorted; schemas are not among them."""
    for folder in sorted(root().iterdir(), key=lambda item: item.name):
        if folder.is_dir() and folder.name != "schema":
            names = sorted(item.name for item in folder.iterdir() if item.name.endswith(".json"))
            yield from (f"{folder.name}/{name}" for name in names)
