"""Key rotation is one safe act: stopped anywhere, it can be finished or undone, and the card has one set that opens it.

Stopped between any two commands, before or after the card did what it was told, and by a cut of power at every
programming unit of the card.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from card_os.card import Card
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import KeyType as CardKeyType
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.secure_channel import Protocol as CardProtocol
from card_os.hardware.image import NvmImage
from card_os.hardware.power import CutMoment
from card_os.hardware.randomness import SeededRandomness
from card_os.manufacture import manufacture
from card_os.port import PortMute
from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import ISSUER_DOMAIN_AID
from personalization.globalplatform.guard_ledger import GuardLedger
from personalization.globalplatform.guarded_session import CardGuard
from personalization.globalplatform.key_loading import KeyType
from personalization.globalplatform.key_rotation import KeyRotation, KeySetOfCards, Rotated, Step
from personalization.globalplatform.rotation_journal import RotationJournal, RotationPlan
from personalization.globalplatform.scp03 import StaticKeys
from personalization.globalplatform.session import SecureSession
from reader_bridge.connection import ReaderError
from tests.doubles.issuer_card import FACTORY, PRODUCTION, NotebookApplet, PortConnection, boot, issuer_image

NOW = dt.datetime(2026, 11, 26, 3, 0, tzinfo=dt.UTC)
OLD = StaticKeys(0x20, bytes(range(0x20, 0x30)), bytes(range(0x30, 0x40)), bytes(range(0x40, 0x50)))
NEW = StaticKeys(0x21, bytes(range(0x60, 0x70)), bytes(range(0x70, 0x80)), bytes(range(0x80, 0x90)))
Act = Callable[[PortConnection], Rotated]


@pytest.fixture(autouse=True)
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests stop programs and cards, not machines: nothing has to wait for the disk."""
    monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


def of_cards(name: str, keys: StaticKeys, kind: KeyType = KeyType.AES) -> KeySetOfCards:
    return KeySetOfCards(name, keys.version, lambda _: keys, kind)


def rotation(folder: Path) -> KeyRotation:
    """As a new process makes it: what it knows lies in the folder."""
    guard = CardGuard(GuardLedger(folder / "guard.json"), now=lambda: NOW, randomness=SeededRandomness(b"host").bytes)
    return KeyRotation(guard, RotationJournal(folder / "rotations"), ISSUER_DOMAIN_AID, lambda: NOW)


def rotate(folder: Path, connection: PortConnection, old: StaticKeys) -> Rotated:
    return rotation(folder).rotate(connection, of_cards("old", old), of_cards("new", NEW))


def finish(folder: Path, connection: PortConnection, old: StaticKeys) -> Rotated:
    return rotation(folder).finish(connection, of_cards("old", old), of_cards("new", NEW))


def undo(folder: Path, connection: PortConnection, old: StaticKeys) -> Rotated:
    return rotation(folder).undo(connection, of_cards("old", old), of_cards("new", NEW))


def opens(card: Card, keys: StaticKeys) -> bool:
    """True when the set opens a session, and the card has it at all."""
    connection = PortConnection(card.contact)
    connection.power_on()
    try:
        SecureSession.open(connection, keys)
    except PersonalizationError:
        return False
    return True


STARTS = [pytest.param(OLD, id="of the field"), pytest.param(FACTORY, id="factory")]


# ---- undisturbed


def test_a_rotation(tmp_path: Path) -> None:
    card = boot(issuer_image(OLD))
    with PortConnection(card.contact) as connection:
        assert rotate(tmp_path, connection, OLD)[1:] == (NEW.version, (Step.PUT, Step.PROVED, Step.DELETED))
        with pytest.raises(PersonalizationError, match="rotation-none"):
            finish(tmp_path, connection, OLD)
    assert opens(card, NEW)
    assert not opens(card, OLD)
    assert list((tmp_path / "rotations").iterdir()) == []


def test_factory_keys_give_way_to_one_put_key(tmp_path: Path) -> None:
    card = boot(issuer_image())
    with PortConnection(card.contact) as connection:
        assert rotate(tmp_path, connection, FACTORY).steps == (Step.PUT, Step.PROVED)
        assert [command[1] for command in connection.sent].count(0xD8) == 1
    assert opens(card, NEW)
    assert not opens(card, FACTORY)


def test_keys_of_scp02(tmp_path: Path) -> None:
    policy = ChannelPolicy(((CardProtocol.SCP02, 0x75),))
    with contextlib.closing(NvmImage.create()) as image:
        keys = KeySet(OLD.version, OLD.enc, OLD.mac, OLD.dek, CardKeyType.DES)
        manufacture(image.nvm(), PRODUCTION, keys, channel_policy=policy)
        card = Card(image.nvm(), [NotebookApplet], randomness=SeededRandomness(b"scp02"))
        with PortConnection(card.contact) as connection:
            old, new = of_cards("old", OLD, KeyType.DES), of_cards("new", NEW, KeyType.DES)
            assert rotation(tmp_path).rotate(connection, old, new).key_version == NEW.version
            assert SecureSession.open(connection, NEW, level=0x03).protocol == 2
            with pytest.raises(PersonalizationError, match="card-refused"):
                SecureSession.open(connection, OLD, level=0x03)


# ---- refusals before anything is changed


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (OLD, StaticKeys(0x20, NEW.enc, NEW.mac, NEW.dek), "rotation-version-wrong"),
        (OLD, StaticKeys(0x00, NEW.enc, NEW.mac, NEW.dek), "rotation-version-wrong"),
        (OLD, StaticKeys(0x80, NEW.enc, NEW.mac, NEW.dek), "rotation-version-wrong"),
        (FACTORY, NEW, "rotation-set-missing"),
        (StaticKeys(0x20, NEW.enc, NEW.mac, NEW.dek), NEW, "no-key-set-fits"),
    ],
)
def test_what_is_not_begun(tmp_path: Path, old: StaticKeys, new: StaticKeys, code: str) -> None:
    card = boot(issuer_image(OLD))
    with PortConnection(card.contact) as connection:
        with pytest.raises(PersonalizationError, match=code):
            rotation(tmp_path).rotate(connection, of_cards("old", old), of_cards("new", new))
        assert 0xD8 not in [command[1] for command in connection.sent]
    assert not (tmp_path / "rotations").exists()


def test_a_version_that_the_card_has(tmp_path: Path) -> None:
    card = boot(issuer_image(OLD))
    with PortConnection(card.contact) as connection:
        SecureSession.open(connection, OLD).put_keys(NEW, replace=0)
        with pytest.raises(PersonalizationError, match="rotation-version-taken"):
            rotate(tmp_path, connection, OLD)


def test_a_card_that_does_not_tell_its_keys(tmp_path: Path) -> None:
    class Silent(PortConnection):
        def transmit(self, command: bytes) -> bytes:
            return b"\x6a\x88" if command[1] == 0xCA else super().transmit(command)

    with (
        Silent(boot(issuer_image(OLD)).contact) as connection,
        pytest.raises(PersonalizationError, match="rotation-blind"),
    ):
        rotate(tmp_path, connection, OLD)


# ---- stopped between two commands


class Stopping(PortConnection):
    """Breaks at the ``at``-th command, before or after the card has done it."""

    def __init__(self, card: Card, at: int, *, after: bool) -> None:
        super().__init__(card.contact)
        self._at = at
        self._after = after

    def transmit(self, command: bytes) -> bytes:
        self._at -= 1
        if self._at == 0:
            if self._after:
                super().transmit(command)
            raise ReaderError("card-removed", reader="test")
        return super().transmit(command)


def commands_of_a_rotation(start: StaticKeys, folder: Path) -> int:
    with PortConnection(boot(issuer_image(start)).contact) as connection:
        rotate(folder, connection, start)
        return len(connection.sent)


def begun(folder: Path) -> bool:
    return any((folder / "rotations").glob("*.json"))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("after", [False, True], ids=["before the card", "after the card"])
@pytest.mark.parametrize("then", ["finish", "undo"])
def test_stopped_between_any_two_commands(tmp_path: Path, start: StaticKeys, then: str, *, after: bool) -> None:
    number = commands_of_a_rotation(start, tmp_path / "whole")
    ends: set[str] = set()
    for at in range(1, number + 1):
        folder = tmp_path / str(at)
        card = boot(issuer_image(start))
        with Stopping(card, at, after=after) as connection, contextlib.suppress(ReaderError):
            rotate(folder, connection, start)
        ends.add(settle(folder, card, start, then))
    assert ends <= {"not begun", "new", "old", "past return"}
    assert "not begun" in ends
    assert ("old" in ends) is (then == "undo" and not (after and start is FACTORY))
    assert ("new" in ends) is (then == "finish")
    assert ("past return" in ends) is (then == "undo" and (after or start is FACTORY))


def settle(folder: Path, card: Card, start: StaticKeys, then: str) -> str:
    """Finish or undo what was stopped, as another process does, and judge the card."""
    if not begun(folder):
        assert opens(card, start) != opens(card, NEW)
        return "not begun" if opens(card, start) else "new"
    with PortConnection(card.contact) as connection:
        with pytest.raises(PersonalizationError, match=r"rotation-open|no-key|rotation-set-missing"):
            rotate(folder, connection, start)
        connection.reset()
        if then == "finish":
            assert finish(folder, connection, start).key_version == NEW.version
            end = "new"
        else:
            end = undone(folder, connection, start)
    assert opens(card, NEW) is (end != "old")
    assert opens(card, start) is (end == "old")
    assert not begun(folder)
    return end


def undone(folder: Path, connection: PortConnection, start: StaticKeys) -> str:
    """``old`` when there was a way back; else the rotation is finished, which is what the error says."""
    if opens_now(connection, start):
        assert undo(folder, connection, start).key_version == start.version
        return "old"
    connection.reset()
    with pytest.raises(PersonalizationError, match="rotation-past-return"):
        undo(folder, connection, start)
    finish(folder, connection, start)
    return "past return"


def opens_now(connection: PortConnection, keys: StaticKeys) -> bool:
    try:
        SecureSession.open(connection, keys)
    except PersonalizationError:
        return False
    return True


# ---- torn by a cut of power, at every programming unit of the card


def units_of_a_rotation(start: StaticKeys, folder: Path) -> int:
    card = boot(issuer_image(start))
    with PortConnection(card.contact) as connection:
        before = card.nvm.power.count
        rotate(folder, connection, start)
        return card.nvm.power.count - before


EVERY_WRITE = [pytest.param(moment, 1, marks=pytest.mark.long, id=moment.value) for moment in CutMoment]
SOME_WRITES = [pytest.param(CutMoment.PROGRAMMING, 5, id="some")]
"""Torn words at every fifth unit: what runs each time, beside the whole sweep."""


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize(("moment", "stride"), [*SOME_WRITES, *EVERY_WRITE])
def test_torn_at_every_write(tmp_path: Path, start: StaticKeys, moment: CutMoment, stride: int) -> None:
    units = units_of_a_rotation(start, tmp_path / "whole")
    image = issuer_image(start)
    ends: set[str] = set()
    for unit in range(1, units + 1, stride):
        folder = tmp_path / str(unit)
        then = "finish" if unit % 2 else "undo"
        with contextlib.closing(image.fork()) as fork:
            card = boot(fork)
            with PortConnection(card.contact) as connection:
                card.nvm.power.arm(unit, moment)
                with contextlib.suppress(PortMute):
                    rotate(folder, connection, start)
            assert card.faults == 0
            ends.add(settle(folder, card, start, then))
    assert {"not begun", "new", "old"} <= ends


# ---- the plan


def test_other_keys_than_planned_are_refused(tmp_path: Path) -> None:
    card = boot(issuer_image(OLD))
    with Stopping(card, stop_at_put_key(tmp_path), after=False) as connection, pytest.raises(ReaderError):
        rotate(tmp_path, connection, OLD)
    other = StaticKeys(NEW.version, OLD.enc, NEW.mac, NEW.dek)
    with PortConnection(card.contact) as connection:
        with pytest.raises(PersonalizationError, match="rotation-other-keys"):
            rotation(tmp_path).finish(connection, of_cards("old", OLD), of_cards("new", other))
        with pytest.raises(PersonalizationError, match="rotation-other-keys"):
            rotation(tmp_path).finish(connection, of_cards("old", OLD), KeySetOfCards("new", 0x22, lambda _: other))
        assert 0xD8 not in [command[1] for command in connection.sent]
        assert finish(tmp_path, connection, OLD).steps == (Step.PUT, Step.PROVED, Step.DELETED)


def stop_at_put_key(folder: Path) -> int:
    with PortConnection(boot(issuer_image(OLD)).contact) as connection:
        rotate(folder / "whole", connection, OLD)
        return [command[1] for command in connection.sent].index(0xD8) + 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"format": "permitcard key rotation", "card": 1}'])
def test_a_damaged_plan_is_never_taken_for_none(tmp_path: Path, content: bytes) -> None:
    card = boot(issuer_image(OLD))
    with Stopping(card, stop_at_put_key(tmp_path), after=False) as connection, pytest.raises(ReaderError):
        rotate(tmp_path, connection, OLD)
    (plan,) = (tmp_path / "rotations").glob("*.json")
    plan.write_bytes(content)
    with PortConnection(card.contact) as connection, pytest.raises(PersonalizationError, match="journal-unreadable"):
        finish(tmp_path, connection, OLD)


def test_a_journal_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "rotations").write_text("a file")
    plan = RotationPlan("card 1", ISSUER_DOMAIN_AID, 1, b"", 2, b"", "now")
    with pytest.raises(PersonalizationError, match="rotation-journal-unwritable"):
        RotationJournal(tmp_path / "rotations").begin(plan)


def test_a_second_plan_for_a_card(tmp_path: Path) -> None:
    journal = RotationJournal(tmp_path)
    plan = RotationPlan("card 1", ISSUER_DOMAIN_AID, 1, b"\x01", 2, b"\x02", "now")
    journal.begin(plan)
    with pytest.raises(PersonalizationError, match="rotation-open"):
        journal.begin(plan)
    assert journal.plan("card 1", ISSUER_DOMAIN_AID) == plan
    assert journal.plan("card 2", ISSUER_DOMAIN_AID) is None
    journal.close(plan)
    assert journal.plan("card 1", ISSUER_DOMAIN_AID) is None


def test_the_plan_holds_no_key(tmp_path: Path) -> None:
    card = boot(issuer_image(OLD))
    with Stopping(card, stop_at_put_key(tmp_path), after=False) as connection, pytest.raises(ReaderError):
        rotate(tmp_path, connection, OLD)
    (plan,) = (tmp_path / "rotations").glob("*.json")
    text = plan.read_text() + "".join(path.read_text() for path in tmp_path.glob("guard.json"))
    for key in (OLD.enc, OLD.mac, OLD.dek, NEW.enc, NEW.mac, NEW.dek):
        assert key.hex() not in text.lower()
