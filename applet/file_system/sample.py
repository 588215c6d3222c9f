"""The default file system card: what is made in a new MF so that tools have something to show.

| path | what | read | update |
|---|---|---|---|
| 3F00/1001 | transparent, 32 bytes, text | always | always |
| 3F00/1002 | transparent, 64 bytes | holder PIN | holder PIN |
| 3F00/1003 | transparent, 4,096 bytes | always | always |
| 3F00/5000 | DF | | |
| 3F00/5000/5001 | 4 records of 16 bytes | always | always |
| 3F00/5000/5002 | up to 8 records of up to 32 bytes | always | always |
| 3F00/5000/5003 | ring of 4 records of 8 bytes | always | always |
| 3F00/5000/5100 | DF in the DF | | |
| 3F00/5000/5100/5101 | transparent, 16 bytes | always | never |
| 3F00/6000 | TLV structure, 128 bytes | always | always |
"""

from __future__ import annotations

from typing import Final, NamedTuple

from card_os.applet_api import ALWAYS, AccessRule, Proof
from card_os.applet_services import AccessMode, FileSpec, FileStructure, encode_rules
from card_os.iso7816.apdu import CommandApdu

_SELECT: Final = 0xA4
_CREATE: Final = 0xE0
_UPDATE_BINARY: Final = 0xD6
_APPEND_RECORD: Final = 0xE2
_PUT_DATA: Final = 0xDB
_FROM_MF: Final = 0x08
_NO_ANSWER: Final = 0x0C

_OPEN: Final = dict.fromkeys(AccessMode, ALWAYS)
_HOLDER: Final = AccessRule((int(Proof.pin(1) | Proof.CONTACT),))
MF_RULES: Final = encode_rules(_OPEN)
"""Install parameters of the sample: everybody may do everything in the MF. For try-outs only."""
HOLDER_PIN: Final = 0x81
"""Reference of the PIN that 1002 asks for, as PIN 1."""


class SampleFile(NamedTuple):
    """One file: the path of its DF, what it is, and what it holds at first, records one by one."""

    path: bytes
    spec: FileSpec
    initial: tuple[bytes, ...] = ()


_S: Final = FileStructure
_DF: Final = b"\x50\x00"
_INNER: Final = _DF + b"\x51\x00"
SAMPLE: Final = (
    SampleFile(b"", FileSpec(0x1001, _S.TRANSPARENT, 32, 2, rules=_OPEN), (b"Hello from the default card.",)),
    SampleFile(
        b"",
        FileSpec(0x1002, _S.TRANSPARENT, 64, 3, rules=dict.fromkeys((AccessMode.READ, AccessMode.UPDATE), _HOLDER)),
    ),
    SampleFile(b"", FileSpec(0x1003, _S.TRANSPARENT, 4096, 4, rules=_OPEN)),
    SampleFile(b"", FileSpec(0x5000, _S.DF, 64, rules=_OPEN)),
    SampleFile(_DF, FileSpec(0x5001, _S.LINEAR_FIXED, 64, 1, 16, 4, _OPEN), (b"first record    ", b"second record   ")),
    SampleFile(_DF, FileSpec(0x5002, _S.LINEAR_VARIABLE, 256, 2, 32, 8, _OPEN), (b"short", b"a longer record")),
    SampleFile(_DF, FileSpec(0x5003, _S.CYCLIC, 32, 3, 8, 4, _OPEN), (b"00000001", b"00000002")),
    SampleFile(_DF, FileSpec(0x5100, _S.DF, rules=_OPEN)),
    SampleFile(_INNER, FileSpec(0x5101, _S.TRANSPARENT, 16, 1, rules={AccessMode.READ: ALWAYS})),
    SampleFile(b"", FileSpec(0x6000, _S.TLV, 128, 5, rules=_OPEN), (b"\x50\x06SAMPLE",)),
)


def sample_commands() -> list[CommandApdu]:
    """The commands that make the sample in a new MF, with the file system selected."""
    commands: list[CommandApdu] = []
    for path, spec, initial in SAMPLE:
        if path:
            commands.append(CommandApdu(0, _SELECT, _FROM_MF, _NO_ANSWER, path))
        else:
            commands.append(CommandApdu(0, _SELECT, 0, _NO_ANSWER, b"\x3f\x00"))
        commands.append(CommandApdu(0, _CREATE, 0, 0, spec.encode()))
        ins = {_S.TRANSPARENT: _UPDATE_BINARY, _S.TLV: _PUT_DATA}.get(spec.structure, _APPEND_RECORD)
        commands.extend(CommandApdu(0, ins, 0, 0, part) for part in initial)
    return commands
