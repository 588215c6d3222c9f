"""Whatever comes in whatever order: a secure channel session manages nothing without its proof, and outlives nothing.

A small model says what each command must answer on two logical channels of a card with a set of AES keys and one of DES
keys: GET STATUS is granted while a session is open and the command carries what its level demands; a command that does
not aborts the session; a new session, SELECT, a closed channel and a reset end it (GPC 2.3.1, E.1.6; Amendment D, 5.6).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from card_os.card import Card
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import DomainKey, KeyComponent, KeyType
from card_os.globalplatform.keys import KeySet, store_keys
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.manufacture import manufacture
from tests.doubles.channel_hosts import AES_KEYS, DES_KEYS, Scp02Host, Scp03Host
from tests.doubles.issuer_card import PRODUCTION, boot

GET_STATUS: Final = "80F28002024F0000"
FREE: Final = bytes.fromhex("80CA00E000")
SELECT: Final = bytes.fromhex("00A4040000")
VERSIONS: Final = {3: 0x30, 2: 0x20}


class Stage(Enum):
    """Where the session of a line is."""

    NONE = "none"
    BEGUN = "begun"
    OPEN = "open"
    ABORTED = "aborted"


@cache
def image() -> NvmImage:
    """A card with both kinds of keys and no limit of tries."""
    image = NvmImage.create()
    policy = ChannelPolicy(((Protocol.SCP03, 0x70), (Protocol.SCP02, 0x75)), try_limit=0)
    manufacture(image.nvm(), PRODUCTION, KeySet(VERSIONS[3], *AES_KEYS), channel_policy=policy)
    card = boot(image)
    des = [DomainKey(VERSIONS[2], at, (KeyComponent(KeyType.DES, key),)) for at, key in enumerate(DES_KEYS, 1)]
    store_keys(card.platform.store, ISSUER_DOMAIN, des)
    return image


@dataclass
class Line:
    """One logical channel: how it is spoken to, and what the model says of it."""

    card: Card
    number: int
    stage: Stage = Stage.NONE
    host: Scp02Host | Scp03Host | None = None
    last: bytes = b""

    def send(self, raw: bytes) -> bytes:
        answer = self.card.contact.process(bytes((raw[0] | self.number,)) + raw[1:])
        if answer[0] == 0x61 and len(answer) == 2:
            answer = self.card.contact.process(bytes((self.number, 0xC0, 0, 0, answer[1])))
        return answer

    @property
    def protects(self) -> bool:
        return self.host is not None and bool(self.host.level & 0x01)

    def initialize(self, protocol: int) -> None:
        make = Scp03Host if protocol == 3 else Scp02Host
        self.host = make(self.send, version=VERSIONS[protocol])
        assert self.host.sw.hex() == "9000"
        self.host.level, self.last, self.stage = 0, b"", Stage.BEGUN

    def authenticate(self, level: int, *, right: bool) -> None:
        """Right only in the stage that INITIALIZE UPDATE leaves."""
        host = self.host
        if host is None:
            return
        if not right:
            host.cryptogram = bytes(len(host.cryptogram))
        stage, protects = self.stage, self.protects
        answer = host.open(level).hex()
        host.level = level
        if stage is Stage.BEGUN:
            assert answer == ("9000" if right else "6300")
            self.stage = Stage.OPEN if right else Stage.NONE
        elif stage is Stage.OPEN:
            # A second EXTERNAL AUTHENTICATE is a command like others, and its MAC is none of this session.
            assert answer == ("6982" if protects else "6985")
            self.stage = Stage.ABORTED if protects else Stage.NONE
        else:
            assert answer == ("6982" if stage is Stage.ABORTED else "6985")

    def plain(self) -> None:
        """GET STATUS as it is, which a session without C-MAC takes."""
        answer = self.send(bytes.fromhex(GET_STATUS))
        granted = self.stage is Stage.OPEN and not self.protects
        assert (answer[-2:].hex() == "9000") is granted
        if granted and self.host is not None:
            self.host.wrap(GET_STATUS)
            assert self.host.unwrap(answer).endswith("9000")
            return
        assert answer.hex() == "6982"
        self.stage = Stage.ABORTED if self.stage in {Stage.OPEN, Stage.ABORTED} else Stage.NONE

    def protected(self) -> None:
        """GET STATUS as the host protects it, whose session may be over."""
        if self.host is None or not self.protects:
            return
        self.last = self.host.wrap(GET_STATUS)
        answer = self.send(self.last)
        if self.stage is Stage.OPEN:
            assert self.host.unwrap(answer).endswith("9000")
            return
        self.refused(answer)

    def replay(self) -> None:
        """The last protected command once more."""
        if self.last and self.protects:
            self.refused(self.send(self.last))

    def refused(self, answer: bytes) -> None:
        assert answer.hex() in {"6982", "6882", "6985"}
        self.stage = Stage.ABORTED if self.stage in {Stage.OPEN, Stage.ABORTED} else Stage.NONE

    def free(self) -> None:
        """A command that needs no session, but is refused in one that demands protection, and in an aborted one."""
        answer = self.send(FREE)
        refused = self.stage is Stage.ABORTED or (self.stage is Stage.OPEN and self.protects)
        assert (answer[-2:].hex() == "6982") is refused
        if refused:
            self.stage = Stage.ABORTED
        elif self.stage is Stage.OPEN and self.host is not None:
            self.host.wrap(FREE.hex())
            self.host.unwrap(answer)
        else:
            self.stage = Stage.NONE

    def select(self) -> None:
        assert self.send(SELECT)[-2:].hex() == "9000"
        self.stage = Stage.NONE


LEVELS: Final = {2: (0x00, 0x01, 0x03, 0x10, 0x11, 0x13), 3: (0x00, 0x01, 0x03, 0x11, 0x13, 0x33)}
STEPS: Final = ("initialize", "right", "wrong", "plain", "protected", "replay", "free", "select", "reset", "close")


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(STEPS), st.integers(0, 1), st.sampled_from((2, 3)), st.integers(0, 5)),
        min_size=4,
        max_size=30,
    )
)
def test_any_order_of_sessions(steps: list[tuple[str, int, int, int]]) -> None:
    fork = image().fork()
    try:
        walk(boot(fork), steps)
    finally:
        fork.close()


def walk(card: Card, steps: list[tuple[str, int, int, int]]) -> None:
    """Take the steps on one card; both lines are looked at after each."""
    card.contact.power_on()
    lines = open_lines(card)
    for step, number, protocol, choice in steps:
        line = lines[number]
        match step:
            case "initialize":
                line.initialize(protocol)
            case "right" | "wrong":
                kind = 3 if isinstance(line.host, Scp03Host) else 2
                line.authenticate(LEVELS[kind][choice], right=step == "right")
            case "reset":
                card.contact.reset()
                fresh = open_lines(card)
                lines = [keep_host(new, old) for new, old in zip(fresh, lines, strict=True)]
            case "close":
                card.contact.process(bytes.fromhex("00708001"))
                card.contact.process(bytes.fromhex("00700001"))
                lines[1] = keep_host(Line(card, 1), lines[1])
                if lines[0].stage is Stage.BEGUN:
                    lines[0].stage = Stage.NONE
            case _:
                {
                    "plain": line.plain,
                    "protected": line.protected,
                    "replay": line.replay,
                    "free": line.free,
                    "select": line.select,
                }[step]()
    assert card.faults == 0


def open_lines(card: Card) -> list[Line]:
    assert card.contact.process(bytes.fromhex("00700001")).hex() == "9000"
    return [Line(card, 0), Line(card, 1)]


def keep_host(new: Line, old: Line) -> Line:
    """A line whose session is over, with a host that does not know it."""
    new.host, new.last = old.host, old.last
    if new.host is not None:
        new.host.send = new.send
    return new


def test_every_step_is_reached() -> None:
    """The walk that the random ones vary: each step, granted and refused."""
    fork = image().fork()
    try:
        card = boot(fork)
        for protocol in (2, 3):
            for choice in range(6):
                for number in (0, 1):
                    start = [("initialize", number, protocol, 0), ("right", number, protocol, choice)]
                    for end in STEPS[3:]:
                        tail = [("protected", number, protocol, 0), (end, number, protocol, 0)]
                        after = [("free", number, protocol, 0), ("protected", number, protocol, 0)]
                        walk(card, [*start, *tail, *after])
    finally:
        fork.close()
