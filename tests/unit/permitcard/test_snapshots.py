"""Snapshots: saved, brought back, forked; what differs between two cards, without a secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.apdu import CommandApdu
from permitcard.products import boot, open_simulated, permit_profile
from permitcard.snapshots import CardSnapshots
from permitcard.specimen import HOLDER_PIN, make_blank_specimen, make_specimen, specimen_keys
from permitcard.testing.laboratory_sam import LaboratorySam
from personalization.errors import PersonalizationError
from personalization.terminal.holder import HolderSession
from personalization.terminal.session import TerminalSession
from reader_bridge.card_comparison import Difference, DifferenceKind, compare_cards
from reader_bridge.connection import Interface, ReaderError

PERMIT = "F05A4A4A5A0101"


@pytest.fixture
def card(tmp_path: Path) -> Path:
    path = tmp_path / "permit.card"
    make_specimen(path)[0].close()
    return path


def change_pin(path: Path, old: str, new: str) -> None:
    with open_simulated(path) as simulated, simulated.connect() as connection:
        HolderSession.open(connection, permit_profile()).change(old, new)


def desk(path: Path, *commands: CommandApdu) -> None:
    with open_simulated(path) as simulated, simulated.connect() as connection:
        session = TerminalSession.open(connection, LaboratorySam(specimen_keys()), permit_profile(), "service_desk")
        for command in commands:
            assert session.channel.exchange(command).sw.ok


def test_saved_and_loaded_is_the_same_to_the_byte(card: Path) -> None:
    snapshots = CardSnapshots(card)
    first = card.read_bytes()
    saved = snapshots.save("new")
    assert saved.path.read_bytes() == first
    assert saved.path.stat().st_mode & 0o077 == 0
    change_pin(card, HOLDER_PIN, "135790")
    assert card.read_bytes() != first
    snapshots.load("new")
    assert card.read_bytes() == first


def test_step_back_goes_one_state_back_each_time(card: Path) -> None:
    snapshots = CardSnapshots(card)
    states = [card.read_bytes()]
    snapshots.save()
    for old, new in ((HOLDER_PIN, "11223344"), ("11223344", "55667788")):
        change_pin(card, old, new)
        states.append(card.read_bytes())
        snapshots.save()
    change_pin(card, "55667788", "99990000")
    assert [item.name for item in snapshots.list()] == ["1", "2", "3"]
    for expected in reversed(states):
        snapshots.step_back()
        assert card.read_bytes() == expected
    with pytest.raises(PersonalizationError, match="snapshot-none"):
        snapshots.step_back()
    assert card.read_bytes() == states[0]


def test_a_fork_goes_its_own_way(card: Path, tmp_path: Path) -> None:
    snapshots = CardSnapshots(card)
    snapshots.save("start")
    other = tmp_path / "other.card"
    snapshots.fork("start", other)
    change_pin(other, HOLDER_PIN, "135790")
    assert card.read_bytes() == snapshots.find("start").path.read_bytes()
    with pytest.raises(ReaderError, match="image-exists"):
        snapshots.fork("start", other)


def test_a_card_in_use_is_neither_saved_nor_replaced(card: Path) -> None:
    snapshots = CardSnapshots(card)
    snapshots.save("free")
    before = card.read_bytes()
    with open_simulated(card):
        for action in (snapshots.save, snapshots.step_back, lambda: snapshots.load("free")):
            with pytest.raises(ReaderError, match="image-in-use"):
                action()
    assert card.read_bytes() == before


def test_a_damaged_snapshot_leaves_the_card(card: Path) -> None:
    snapshots = CardSnapshots(card)
    path = snapshots.save("bad").path
    path.write_bytes(path.read_bytes()[:1000])
    before = card.read_bytes()
    with pytest.raises(ReaderError, match="image-damaged"):
        snapshots.load("bad")
    assert card.read_bytes() == before


@pytest.mark.parametrize("name", ["", "../up", "a/b", "x" * 41, ".hidden"])
def test_names_cannot_lead_elsewhere(card: Path, name: str) -> None:
    with pytest.raises(PersonalizationError, match="snapshot-name"):
        CardSnapshots(card).save(name)


def test_one_name_is_one_snapshot(card: Path) -> None:
    snapshots = CardSnapshots(card)
    snapshots.save("once")
    with pytest.raises(PersonalizationError, match="snapshot-exists"):
        snapshots.save("once")
    with pytest.raises(PersonalizationError, match="snapshot-missing"):
        snapshots.load("twice")


def test_a_comparison_names_file_record_counter_and_bytes(card: Path) -> None:
    snapshots = CardSnapshots(card)
    snapshots.save("before")
    record = b"20260601" + b"20270601" + b"330381" + b"DESK0001" + b"\x00\x00"
    desk(
        card,
        CommandApdu(0, 0xE2, 0, 0x0C << 3, record),
        CommandApdu(0, 0xD6, 0x8D, 0, b"\x02"),
    )
    with open_simulated(card) as simulated, simulated.connect() as connection:
        holder = HolderSession.open(connection, permit_profile())
        with pytest.raises(PersonalizationError, match="pin-wrong"):
            holder.verify("000000")
    found = [item for item in snapshots.compare("before") if item.kind is not DifferenceKind.HEADER]
    assert found == [
        Difference(PERMIT, "file", 0x0202, DifferenceKind.RECORDS, "1"),
        Difference(PERMIT, "file", 0x0203, DifferenceKind.BYTES, "0"),
        Difference(PERMIT, "pin", 0x81, DifferenceKind.COUNTER, "3 -> 2"),
    ]


def test_a_comparison_shows_no_secret(card: Path) -> None:
    snapshots = CardSnapshots(card)
    snapshots.save("before")
    change_pin(card, HOLDER_PIN, "97531")
    found = snapshots.compare("before")
    assert found == (Difference(PERMIT, "pin", 0x81, DifferenceKind.CONTENT),)
    assert "97531" not in str([item.document() for item in found]) + repr(found)


def test_a_comparison_names_what_was_added_and_the_life_cycles() -> None:
    permit, blank = make_specimen()[0].image, make_blank_specimen()[0].image
    kinds = {(item.application, item.item, item.identifier): item for item in compare_cards(blank, permit)}
    assert kinds["", "card", 1].kind is DifferenceKind.LIFE_CYCLE
    assert kinds["", "card", 1].detail == "07 -> 0F"
    assert kinds[PERMIT, "file", 0x0103].kind is DifferenceKind.ADDED
    assert kinds["A000000151000000", "key", 0xFF01].kind is DifferenceKind.REMOVED
    assert kinds["A000000151000000", "key", 0x0101].kind is DifferenceKind.ADDED


def test_a_card_does_not_differ_from_itself() -> None:
    image = make_specimen()[0].image
    assert compare_cards(image, image) == []


def answers(image: NvmImage, randomness: SeededRandomness, rounds: int) -> list[bytes]:
    """Random bytes, a failed authentication and a PIN: what the card draws, writes and says."""
    card = boot(image.nvm(), randomness)
    found = [card.contact.power_on()]
    for _ in range(rounds):
        found += [
            card.contact.process(bytes.fromhex(command))
            for command in (
                "00A4040007F05A4A4A5A010100",
                "0084000010",
                "00CADF2000",
                "002000810826111111FFFFFFFF",
                "002000810826246802FFFFFFFF",
            )
        ]
    card.contact.power_off()
    return found


def test_the_same_seed_gives_the_same_bytes_also_across_a_snapshot() -> None:
    """Law 4: same seed and same bytes in, same bytes out and same image; the position belongs to the snapshot."""
    start = make_specimen()[0].image
    whole, parts = start.fork(), start.fork()
    expected = answers(whole, SeededRandomness(7), 2) + answers(whole, SeededRandomness(8), 1)
    source = SeededRandomness(7)
    found = answers(parts, source, 2)
    saved = NvmImage.from_snapshot(parts.snapshot())
    found += answers(saved, SeededRandomness(8), 1)
    assert found == expected
    assert saved.snapshot() == whole.snapshot()
    again = SeededRandomness(7, source.position)
    assert again.bytes(16) == source.bytes(16)


def test_both_interfaces_still_work_after_loading(card: Path) -> None:
    snapshots = CardSnapshots(card)
    snapshots.save("start")
    snapshots.load("start")
    for interface in Interface:
        with open_simulated(card) as simulated, simulated.connect(interface) as connection:
            assert connection.power_on()
