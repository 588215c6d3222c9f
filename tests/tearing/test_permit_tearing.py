"""Power cut at every programming unit of the permit's and the SAM's writing commands: old or new, never between.

Try counters are the exception that the standard asks for: a cut may leave a try spent.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from card_os.hardware.power import CutMoment
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import CardTorn
from card_os.port import PortMute
from card_os.security.cryptography import derive
from card_os.storage.store import ObjectKind
from personalization.terminal.authentication import MutualAuthentication
from personalization.terminal.channel import CardRefused, PlainChannel
from personalization.terminal.holder import HolderSession
from personalization.terminal.sam import PreparedAuthentication
from personalization.terminal.secure_messaging import SessionKeys
from personalization.terminal.session import TerminalSession, select
from reader_bridge.connection import Interface
from tests.doubles.cut_points import cut_points
from tests.unit.applet.workbench import (
    HOLDER_PIN,
    MASTERS,
    PERMIT,
    SAM,
    UNBLOCKING_PIN,
    Bench,
    blank,
    new_permit,
    new_sam,
    nonces,
    open_sam,
    permit_groupings,
    pin_block,
    sam_groupings,
    signed_bound,
    store,
)

COUNTED = {ObjectKind.KEY, ObjectKind.PIN}
MAX_UNITS = 2_000
State = dict[tuple[int, int], bytes]
Action = Callable[[], object]


class LaboratoryKeys:
    """Role keys derived outside a SAM: quicker to set up for each cut."""

    def __init__(self, bench: Bench, role: str) -> None:
        self._number = bench.card_number
        self._master = MASTERS[role]
        self._run: MutualAuthentication | None = None

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        key = derive(self._master, "ROLE", self._number, 32)
        self._run = MutualAuthentication(key, reference, challenge, nonces())
        return PreparedAuthentication(self._number, self._run.command())

    def complete(self, response: bytes) -> SessionKeys:
        assert self._run is not None
        return self._run.complete(response)


def session(bench: Bench, role: str) -> TerminalSession:
    return TerminalSession.open(bench.on(Interface.CONTACT), LaboratoryKeys(bench, role), PERMIT, role)


def holder(bench: Bench) -> HolderSession:
    bench.contact.power_on()
    return HolderSession.open(bench.contact, PERMIT)


def state(bench: Bench) -> State:
    platform = bench.card.platform
    items = platform.store.owned(bench.application.owner)
    content = {(int(item.kind), item.identifier): platform.store.read(item) for item in items}
    content[0, 0] = bytes((bench.application.life_cycle,))
    return content


def same_but_for_tries(left: State, right: State) -> bool:
    if left.keys() != right.keys():
        return False
    return all(
        value == right[key] or (key[0] in COUNTED and value[1:] == right[key][1:]) for key, value in left.items()
    )


def sweep(base: Bench, prepare: Callable[[Bench], Action]) -> int:
    """Cut at every unit of what ``prepare`` returns; gives the number of cuts."""
    whole = base.fork()
    action = prepare(whole)
    before = state(whole)
    first = whole.power.count
    action()
    units = whole.power.count - first
    after = state(whole.fork())
    assert 0 < units < MAX_UNITS
    cuts = 0
    for unit, moment in cut_points(units):
        torn = base.fork()
        action = prepare(torn)
        torn.power.arm(unit, moment)
        try:
            action()
        except (PortMute, CardTorn):
            cuts += 1
        left = state(torn.fork())
        assert same_but_for_tries(left, before) or same_but_for_tries(left, after), (unit, moment)
    return cuts


@pytest.fixture(scope="module")
def permit() -> Bench:
    return new_permit()


def update_status(bench: Bench) -> Action:
    desk = session(bench, "service_desk")
    return lambda: desk.files.update(PERMIT.file_named("EF.STATUS"), b"\x02" + b"20280101" + b"20260601")


def append(bench: Bench) -> Action:
    desk = session(bench, "service_desk")
    return lambda: desk.files.append_record(PERMIT.file_named("EF.ENDORSEMENTS"), b"20260601" * 4)


def suspend(bench: Bench) -> Action:
    """The told date and the status it makes are one change."""
    desk = session(bench, "service_desk")
    return lambda: desk.channel.exchange(CommandApdu(0, 0xDA, 0xDF, 0x22, b"20280101"))


def move_bound(bench: Bench) -> Action:
    desk = session(bench, "service_desk")
    data = signed_bound(b"21001231")
    return lambda: desk.channel.exchange(CommandApdu(0, 0xDA, 0xDF, 0x27, data))


def correct_date(bench: Bench) -> Action:
    issuer = session(bench, "issuer")
    return lambda: issuer.channel.exchange(CommandApdu(0, 0xDA, 0xDF, 0x26, b"20260102"))


def change_files(bench: Bench) -> Action:
    """An endorsement: a record and a status, one change."""
    desk = session(bench, "service_desk")
    record = bytes.fromhex("0202000020") + b"20260601" * 4
    status = bytes.fromhex("0203000117") + b"20280101" + b"20260601" + b"330381" + b"\x00"
    return lambda: desk.channel.exchange(CommandApdu(0, 0xDA, 0xDF, 0x25, record + status))


def write_identity(bench: Bench) -> Action:
    issuer = session(bench, "issuer")
    return lambda: issuer.files.update(PERMIT.file_named("EF.IDENTITY"), b"\x55" * 116)


def verify(bench: Bench) -> Action:
    person = holder(bench)
    return lambda: person.verify(HOLDER_PIN)


def change_pin(bench: Bench) -> Action:
    person = holder(bench)
    return lambda: person.change(HOLDER_PIN, "97531")


def unblock(bench: Bench) -> Action:
    person = holder(bench)
    return lambda: person.unblock(UNBLOCKING_PIN, "97531")


def authenticate(bench: Bench) -> Action:
    bench.contact.power_on()
    return lambda: session(bench, "inspection")


@pytest.mark.parametrize(
    "prepare",
    [
        update_status,
        append,
        suspend,
        move_bound,
        correct_date,
        change_files,
        write_identity,
        verify,
        change_pin,
        unblock,
        authenticate,
    ],
)
def test_a_writing_command_is_whole(permit: Bench, prepare: Callable[[Bench], Action]) -> None:
    assert sweep(permit, prepare) > 0


@pytest.mark.parametrize("identifier", [0x0062, 0x0203, 0x8102, 0x8000, 0x8010, 0x8101, 0x9F01])
def test_a_data_grouping_is_whole(identifier: int) -> None:
    """Law 3 for personalization: a torn STORE DATA is as if it had not come, and can come again."""
    base = blank(PERMIT)
    groupings = permit_groupings(base.card_number)
    for number, value in groupings:
        if number == identifier:
            break
        store(base, number, value)
    value = dict(groupings)[identifier]
    last = identifier == 0x9F01
    assert sweep(base, lambda bench: lambda: store(bench, identifier, value, last=last)) > 0


def test_sam_keys_come_whole() -> None:
    base = blank(SAM)
    identifier, value = sam_groupings(base.card_number)[0]
    assert sweep(base, lambda bench: lambda: store(bench, identifier, value)) > 0


def test_a_cut_at_the_answer_of_a_wrong_pin_gives_no_try_back(permit: Bench) -> None:
    """The try is spent before the compare: tearing buys no guesses."""
    wrong = CommandApdu(0, 0x20, 0, 0x81, pin_block("111111"))
    whole = permit.fork()
    person = holder(whole)
    first = whole.power.count
    person._channel.exchange(wrong)
    units = whole.power.count - first
    for unit in range(1, units + 1):
        torn = permit.fork()
        person = holder(torn)
        torn.power.arm(unit, CutMoment.AFTER)
        with contextlib.suppress(PortMute):
            person._channel.exchange(wrong)
        tries = holder(torn.fork()).tries_left()
        assert tries == 2 or (unit < units and tries == 3)


def test_a_torn_module_never_gains_an_authentication() -> None:
    """One is spent with the number, and a wrong card with its answer: tearing gives neither back."""
    module = new_sam()
    channel = PlainChannel(new_permit().on(Interface.CONTACT))
    select(channel, PERMIT.application.instance)
    concealed = channel.exchange(CommandApdu(0, 0xCA, 0xDF, 0x20, b"", 256)).data
    left = [open_sam(module.fork()).uses_left()]
    for unit, moment in cut_points(16):
        torn = module.fork()
        sam = open_sam(torn)
        torn.power.arm(unit, moment)
        with contextlib.suppress(PortMute, CardRefused):
            sam.prepare(concealed, 0x81, bytes(16))
            sam.complete(bytes(64))
        left.append(open_sam(torn.fork()).uses_left())
    assert max(authentications for authentications, _ in left) == 1_000_000
    assert max(wrong for _, wrong in left) == 1_000
    assert min(authentications for authentications, _ in left) == 1_000_000 - 16
    assert min(wrong for _, wrong in left) == 999
