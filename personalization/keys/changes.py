"""Changes of single keys, as two operators name them to each other before one is made."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final, NamedTuple, Self

from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName

_USAGE: Final = 2
_SUBJECT: Final = re.compile(r"(?P<change>\w+)/(?P<key>\w+)(?:/(?P<check_value>[0-9A-Fa-f]{6}))?", re.ASCII)


class KeyChange(StrEnum):
    """What is done to a key."""

    ROTATE = "rotate"
    EXPORT = "export"
    IMPORT = "import"
    DESTROY = "destroy"


BY_CHECK_VALUE: Final = frozenset({KeyChange.IMPORT, KeyChange.DESTROY})
"""Changes that concern one key of several with a name: which one, its check value says."""


class KeyAct(NamedTuple):
    """One change of one key: ``rotate/KEY``, ``export/KEY``, ``import/KEY/CHECK_VALUE``, ``destroy/KEY/CHECK_VALUE``.

    Attributes:
        change: what is done.
        key: the key.
        check_value: of the key that comes or goes; empty where the name alone says which.
    """

    change: KeyChange
    key: KeyName
    check_value: bytes = b""

    @classmethod
    def parse(cls, subject: str) -> Self:
        """Read what an operator typed.

        Raises:
            PersonalizationError: exit 2: "key-unknown", "key-act-malformed".
        """
        named = _SUBJECT.fullmatch(subject)
        if named is None or named["change"] not in set(KeyChange):
            raise PersonalizationError("key-act-malformed", exit_code=_USAGE, subject=subject)
        change, key = KeyChange(named["change"]), named["key"]
        if key not in set(KeyName):
            raise PersonalizationError("key-unknown", exit_code=_USAGE, key=key)
        if (named["check_value"] is not None) is not (change in BY_CHECK_VALUE):
            raise PersonalizationError("key-act-malformed", exit_code=_USAGE, subject=subject)
        return cls(change, KeyName(key), bytes.fromhex(named["check_value"] or ""))

    @property
    def destroys(self) -> bool:
        """Whether a key goes and none comes."""
        return self.change is KeyChange.DESTROY

    def __str__(self) -> str:
        """As an operator types it."""
        return "/".join(filter(None, (self.change.value, self.key.value, self.check_value.hex().upper())))
