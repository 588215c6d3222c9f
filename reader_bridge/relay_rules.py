"""Rules of a relay: which commands are changed, answered, dropped or delayed on their way; a TOML file.

```toml
[[rule]]
action = "answer"               # pass, change, answer, drop, delay
ins = "B0"                      # hexadecimal; ? stands for any half byte; also cla, p1, p2
response = "6982"               # data and status word

[[rule]]
action = "change"
cla = "0?"
ins = "A4"
data = "F05A*"                  # the data field; * at its end stands for anything behind
send = "00A4040007F05A4A4A5A0101"   # another command instead; or command-data for another data field only
answer-data = "6F00"            # another data field of the response
status = "6283"                 # another status word

[[rule]]
action = "delay"
interface = "contactless"       # without: both
after = 2                       # lets two pass
count = 3                       # then three times; 0 = from then on always
milliseconds = 200
```

| action | what it does | own keys | count |
|---|---|---|---|
| pass | nothing, and no later rule is asked | | 0 |
| change | sends another command, gives another response, or both | send or command-data, answer-data, status | 0 |
| answer | answers; the card is not asked | response | 0 |
| drop | the host gets no answer; with ``execute = true`` the card executes the command first | execute | 1 |
| delay | waits, by the wall clock, then goes on as usual | milliseconds | 0 |

The first rule that fits a command acts, and no other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from reader_bridge.connection import Interface
from reader_bridge.toml_rows import RowFile, check_keys, choice, interface, number

_HEADER_NAMES: Final = ("cla", "ins", "p1", "p2")
_HEADER: Final = 4
_STATUS_LENGTH: Final = 2
_BYTE: Final = re.compile(r"[0-9A-Fa-f?]{2}")
_PATTERN: Final = re.compile(r"(?:[0-9A-Fa-f?]{2})*\*?")
_LONGEST_DELAY: Final = 600_000


class Action(StrEnum):
    """What a rule does."""

    PASS = "pass"  # noqa: S105 - a word of the file
    CHANGE = "change"
    ANSWER = "answer"
    DROP = "drop"
    DELAY = "delay"


_EVERY: Final[Mapping[str, type]] = {
    "action": str,
    "interface": str,
    "after": int,
    "count": int,
    "data": str,
    **dict.fromkeys(_HEADER_NAMES, str),
}
_KEYS: Final[Mapping[Action, Mapping[str, type]]] = {
    Action.PASS: {},
    Action.CHANGE: {"send": str, "command-data": str, "answer-data": str, "status": str},
    Action.ANSWER: {"response": str},
    Action.DROP: {"execute": bool},
    Action.DELAY: {"milliseconds": int},
}
_NEEDED: Final[Mapping[Action, frozenset[str]]] = {
    Action.ANSWER: frozenset({"response"}),
    Action.DELAY: frozenset({"milliseconds"}),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; see the module for what the keys mean.

    Attributes:
        action: what it does.
        header: patterns of CLA, INS, P1 and P2; empty for any.
        data: pattern of the data field; None for any.
        interface: None for both.
        after: how many commands that fit pass first.
        count: how often it acts then, 0 = always.
        send: another command, empty for none.
        command_data: another data field, None for none.
        response: what `Action.ANSWER` answers.
        answer_data: another data field of the response, None for none.
        status: another status word, empty for none.
        execute: a dropped command is executed first.
        milliseconds: how long.
    """

    action: Action
    header: tuple[str, ...] = ("", "", "", "")
    data: re.Pattern[str] | None = field(default=None, repr=False)
    interface: Interface | None = None
    after: int = 0
    count: int = 0
    send: bytes = field(default=b"", repr=False)
    command_data: bytes | None = field(default=None, repr=False)
    response: bytes = field(default=b"", repr=False)
    answer_data: bytes | None = field(default=None, repr=False)
    status: bytes = b""
    execute: bool = False
    milliseconds: int = 0

    def fits(self, command: bytes) -> bool:
        """True when header and data field are what the rule is about."""
        if len(command) < _HEADER:
            return False
        digits = command[:_HEADER].hex()
        for at, pattern in enumerate(self.header):
            if pattern and not all(
                wanted in {"?", found} for wanted, found in zip(pattern, digits[2 * at : 2 * at + 2], strict=True)
            ):
                return False
        return self.data is None or self.data.fullmatch(data_field(command).hex()) is not None


def data_field(command: bytes) -> bytes:
    """The data field of a command APDU, empty when it has none or its length field makes no sense."""
    start, end = data_place(command)
    return command[start:end]


def data_place(command: bytes) -> tuple[int, int]:
    """Where the data field of a command stands: first byte, and one past the last."""
    if len(command) <= _HEADER + 1:
        return len(command), len(command)
    start, length = _HEADER + 1, command[_HEADER]
    if not length and len(command) > _HEADER + 3:
        start, length = _HEADER + 3, command[_HEADER + 1] << 8 | command[_HEADER + 2]
    return start, min(start + length, len(command))


@dataclass(frozen=True, slots=True)
class RelayRules:
    """All rules of a file, in their order; none lets everything pass."""

    rules: tuple[Rule, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a file.

        Raises:
            ReaderError: "relay-rules-unreadable", or "relay-rules-invalid" with the rule and the reason.
        """
        return cls.parse(_FILE.text(path), str(path))

    @classmethod
    def parse(cls, text: str, name: str = "rules") -> Self:
        """Read the text of a file; ``name`` is for messages.

        Raises:
            ReaderError: "relay-rules-invalid".
        """
        rules, _ = _FILE.parse(text, name, _rule)
        return cls(rules)


_FILE: Final = RowFile("rule", "relay-rules-unreadable", "relay-rules-invalid")


def _rule(row: Mapping[str, object]) -> Rule:
    action = choice(row, "action", Action)
    check_keys(
        row,
        action.value,
        {**_EVERY, **_KEYS[action]},
        _NEEDED.get(action, frozenset()),
        lambda _key: _LONGEST_DELAY,
    )
    if action is Action.CHANGE and not row.keys() & _KEYS[action].keys():
        raise ValueError("a change needs send, command-data, answer-data or status")
    if "send" in row and "command-data" in row:
        raise ValueError("either send or command-data")
    return Rule(
        action,
        header=tuple(_byte(row, name) for name in _HEADER_NAMES),
        data=_data(row),
        interface=interface(row),
        after=number(row, "after", 0),
        count=number(row, "count", 1 if action is Action.DROP else 0),
        send=_octets(row, "send", _HEADER) or b"",
        command_data=_octets(row, "command-data"),
        response=_octets(row, "response", _STATUS_LENGTH) or b"",
        answer_data=_octets(row, "answer-data"),
        status=_status(row),
        execute=row.get("execute") is True,
        milliseconds=number(row, "milliseconds", 0),
    )


def _byte(row: Mapping[str, object], name: str) -> str:
    text = str(row.get(name, ""))
    if text and not _BYTE.fullmatch(text):
        raise ValueError(f"{name} is two hexadecimal digits, or ? for any")
    return text.lower()


def _data(row: Mapping[str, object]) -> re.Pattern[str] | None:
    if "data" not in row:
        return None
    text = "".join(str(row["data"]).split())
    if not _PATTERN.fullmatch(text):
        raise ValueError("data is hexadecimal digits, ? for any, * at the end for anything behind")
    return re.compile(text.lower().replace("?", "[0-9a-f]").replace("*", ".*"))


def _octets(row: Mapping[str, object], name: str, least: int = 0) -> bytes | None:
    if name not in row:
        return None
    try:
        value = bytes.fromhex(str(row[name]))
    except ValueError as error:
        raise ValueError(f"{name} is not hexadecimal") from error
    if len(value) < least:
        raise ValueError(f"{name} has at least {least} bytes")
    return value


def _status(row: Mapping[str, object]) -> bytes:
    value = _octets(row, "status") or b""
    if value and len(value) != _STATUS_LENGTH:
        raise ValueError("status has two bytes")
    return value
