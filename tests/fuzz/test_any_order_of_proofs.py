"""Whatever is proved in whatever order, on both interfaces and two channels of each: files open by their rules only.

A small model of the card specification says what each step must answer: a role opens files under the secure messaging
that it opened itself, and the holder where the PIN was given; nothing survives the end of its layer, and nothing is
shared between channels, interfaces or selections.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from card_os.iso7816.apdu import CommandApdu
from card_os.port import Port
from card_os.security.cryptography import cmac, derive
from personalization.terminal.authentication import MutualAuthentication
from personalization.terminal.secure_messaging import TerminalSecureMessaging
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import HOLDER_PIN, MASTERS, PERMIT, Bench, new_permit, nonces, pin_block

ROLES: Final = {"inspection": 0x81, "service_desk": 0x82, "bank_branch": 0x83, "issuer": 0x84}
READERS: Final = {0x01: {"inspection", "service_desk", "issuer"}, 0x15: {"bank_branch", "issuer"}}
"""Roles that read EF.IDENTITY and EF.BANK, by short identifier."""
DENIED: Final = 0x6982
NO_LAYER: Final = 0x6882

Place = tuple[Interface, int]
"""An interface and a logical channel of it."""


@cache
def made() -> Bench:
    return new_permit()


@dataclass
class Line:
    """One place: how it is spoken to, and what the model says that it has proved.

    Attributes:
        selected: the permit is selected; nothing works otherwise.
        layer: secure messaging as the terminal has it.
        role: role that opened the layer.
        holder: the PIN was given in plain.
        holder_in_layer: the PIN was given under the layer.
    """

    port: Port
    interface: Interface
    number: int
    card_number: bytes
    layer: TerminalSecureMessaging | None = None
    role: str = ""
    holder: bool = False
    holder_in_layer: bool = False
    challenge: bytes = field(default=b"", repr=False)

    def plain(self, ins: int, p1: int, p2: int, data: bytes = b"", ne: int = 0) -> tuple[bytes, int]:
        """Send a plain command, which ends the layer."""
        self.end()
        answer = self.port.process(CommandApdu(self.number, ins, p1, p2, data, ne).encode())
        return answer[:-2], int.from_bytes(answer[-2:], "big")

    def end(self) -> None:
        self.layer, self.role, self.holder_in_layer = None, "", False

    def forget(self) -> None:
        self.end()
        self.holder = False
        self.challenge = b""

    def protected(self, ins: int, p1: int, p2: int, data: bytes = b"", ne: int = 0) -> int:
        """Send a command under the layer, or what looks like one when there is none."""
        command = CommandApdu(self.number, ins, p1, p2, data, ne)
        if self.layer is None:
            answer = self.port.process(bytes((0x0C | self.number, ins, p1, p2, 10)) + b"\x8e\x08" + bytes(8))
            return int.from_bytes(answer[-2:], "big")
        return self.layer.open(self.port.process(self.layer.protect(command))).sw

    def key(self, role: str) -> bytes:
        return derive(MASTERS[role], "ROLE", self.card_number, 32)

    def reads(self, sfi: int, *, protected: bool) -> bool:
        """What the rules of the file say."""
        if protected and self.role in READERS[sfi]:
            return True
        if not protected:
            return self.holder and self.interface is Interface.CONTACT
        return self.holder or self.holder_in_layer


def select(line: Line) -> None:
    assert line.plain(0xA4, 4, 0x0C, bytes(PERMIT.application.instance))[1] == 0x9000
    line.forget()


def take_challenge(line: Line) -> None:
    line.challenge, status = line.plain(0x84, 0, 0, b"", 16)
    assert status == 0x9000


def external(line: Line, role: str) -> None:
    """In plain it is good for nothing here; under a layer it is refused and the layer goes on."""
    reference = ROLES[role]
    challenge, line.challenge = line.challenge, b""
    data = cmac(line.key(role)[16:], bytes((3, reference)) + challenge)
    assert line.plain(0x82, 0, reference, data)[1] == (0x9000 if challenge else 0x6984)


def external_inside(line: Line, role: str) -> None:
    reference = ROLES[role]
    if line.layer is None:
        return
    line.challenge = b""
    assert line.protected(0x82, 0, reference, bytes(16)) == 0x6985


def mutual(line: Line, role: str) -> None:
    take_challenge(line)
    run = MutualAuthentication(line.key(role), ROLES[role], line.challenge, nonces())
    line.challenge = b""
    answer, status = line.plain(0x82, 0, ROLES[role], run.command(), 64)
    assert status == 0x9000
    line.layer, line.role = TerminalSecureMessaging(run.complete(answer)), role


def verify(line: Line) -> None:
    status = line.plain(0x20, 0, 0x81, pin_block(HOLDER_PIN))[1]
    contact = line.interface is Interface.CONTACT
    assert status == (0x9000 if contact else DENIED)
    line.holder = line.holder or contact


def verify_inside(line: Line) -> None:
    status = line.protected(0x20, 0, 0x81, pin_block(HOLDER_PIN))
    assert status == (0x9000 if line.layer else NO_LAYER)
    if line.layer is not None:
        # A new VERIFY takes the place of an older one, and ends with the layer that it came in.
        line.holder, line.holder_in_layer = False, True


def log_out(line: Line) -> None:
    status = line.plain(0x20, 0xFF, 0x81)[1]
    contact = line.interface is Interface.CONTACT
    assert status == (0x9000 if contact else DENIED)
    if contact:
        line.holder = False


def wrong_mac(line: Line) -> None:
    answer = line.port.process(bytes((0x0C | line.number, 0xB0, 0x81, 0, 10)) + b"\x8e\x08" + bytes(8))
    assert int.from_bytes(answer, "big") == (0x6988 if line.layer else NO_LAYER)
    line.end()


STEPS: Final = (select, take_challenge, verify, verify_inside, log_out, wrong_mac)
ROLE_STEPS: Final = (external, external_inside, mutual)
PLACES: Final = [(interface, number) for interface in Interface for number in (0, 1)]
STEP: Final = st.tuples(
    st.sampled_from(PLACES),
    st.one_of(st.tuples(st.sampled_from(STEPS)), st.tuples(st.sampled_from(ROLE_STEPS), st.sampled_from(list(ROLES)))),
)


def open_lines(bench: Bench) -> dict[Place, Line]:
    lines: dict[Place, Line] = {}
    for interface, number in PLACES:
        port = bench.card.contact if interface is Interface.CONTACT else bench.card.contactless
        if number == 0:
            port.power_on()
        else:
            assert port.process(bytes((0x00, 0x70, 0x00, number))) == b"\x90\x00"
        line = Line(port, interface, number, bench.card_number)
        select(line)
        lines[interface, number] = line
    return lines


def check(line: Line) -> None:
    """Under the layer first, for the plain reading ends it."""
    for sfi in READERS:
        status = line.protected(0xB0, 0x80 | sfi, 0, b"", 1)
        expected = NO_LAYER if line.layer is None else 0x9000 if line.reads(sfi, protected=True) else DENIED
        assert status == expected, (line, sfi)
    writes = line.protected(0xD6, 0x80 | 0x0D, 1, b"2")
    assert writes == (NO_LAYER if line.layer is None else 0x9000 if line.role == "service_desk" else DENIED), line


def check_in_plain(line: Line) -> None:
    for sfi in READERS:
        assert line.plain(0xB0, 0x80 | sfi, 0, b"", 1)[1] == (0x9000 if line.reads(sfi, protected=False) else DENIED)
    assert line.plain(0xD6, 0x80 | 0x0D, 1, b"2")[1] == DENIED


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(STEP, min_size=1, max_size=14), st.sampled_from(PLACES))
def test_files_open_by_their_rules_only(steps: list[tuple[Place, tuple[object, ...]]], reset: Place) -> None:
    bench = made().fork()
    lines = open_lines(bench)
    for place, (step, *arguments) in steps:
        assert callable(step)
        step(lines[place], *arguments)
        check(lines[place])
    for line in lines.values():
        check(line)
        check_in_plain(line)
    lines[reset].port.reset()
    for (interface, number), line in lines.items():
        if interface is not reset[0]:
            check_in_plain(line)
        elif number == 0:
            select(line)
            check_in_plain(line)
    assert bench.card.faults == 0
