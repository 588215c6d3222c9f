"""A production centre end to end: keys in a token, SAM chips and blanks in readers, through the real PC/SC service.

The chips are simulated, behind pcscd and vpcd; nothing between the reader's name and the centre's report knows that.
"""

from __future__ import annotations

import datetime as dt
import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from permitcard.blanks import make_blank
from permitcard.centre import Centre
from permitcard.products import boot
from permitcard.sams import deliver_chip
from permitcard.specimen import published_keys
from permitcard.system_accounts import system_user
from personalization.keys.file_store import FileKeyStore
from personalization.keys.hsm.making import Maker, create_hsm_store
from personalization.keys.hsm.token import TokenPlace
from personalization.keys.keystore import KeyName
from personalization.keys.passphrase import PassphraseSource
from reader_bridge.connection import CardConnection, Interface
from reader_bridge.pcscd import CLIENT_VARIABLE, PcscService
from reader_bridge.simulated import SimulatedCard, open_card
from reader_bridge.stack import Wrapper
from reader_bridge.vpcd import VirtualReader
from tests.console.command_line import CommandLine
from tests.doubles.softhsm import OFFICER_PIN, USER_PIN, fresh_token
from tests.interop.test_pcsc_stack import PROGRAMS, line, start, wait_until_missed

READER: Final = "Acme Line"
SAM: Final = f"pcsc:{READER} 00 00"
OTHER_SAM: Final = f"pcsc:{READER} 00 01"
CARDS: Final = 3
ROLES: Final = '["receive", "prepare", "run", "inspect", "release", "keys"]'
INSERTED_SECONDS: Final = 60.0
T0_ONLY: Final = bytes.fromhex("3B021450")  # pcscd 2.5 finds no protocol in one without historical bytes


class Watched(Wrapper):
    """A chip on whose wire somebody listens, and which somebody pulls out."""

    __slots__ = ("heard", "pull", "spared")

    def __init__(self, inner: CardConnection) -> None:
        super().__init__(inner)
        self.heard = bytearray()
        self.spared = 0
        self.pull: Callable[[], None] = lambda: None

    def transmit(self, command: bytes) -> bytes:
        answer = self.inner.transmit(command)
        self.heard += command + b"|" + answer + b"|"
        self.spared -= 1
        if not self.spared:
            self.pull()
        return answer


@dataclass
class Production:
    """A production centre with its readers.

    Attributes:
        command: its command line.
        centre: its folder.
        service: the PC/SC service.
        sams: SAM chips, one in each slot of the first reader.
        vendor: what the vendor of the chips holds, and a key ceremony has brought into the token.
        put_back: puts SAMs that were pulled out back into their slots.
    """

    command: CommandLine
    centre: Centre
    service: PcscService
    vendor: FileKeyStore
    sams: list[Watched] = field(default_factory=list[Watched])
    put_back: Callable[[], None] = lambda: None

    def __call__(self, *words: str | Path, code: int = 0) -> Any:
        """A command on this centre with ``--json``: its document, or its error."""
        outcome = self.command(*words, "--centre", "centre", "--json", code=code)
        return outcome.error if outcome.err.startswith("{") else outcome.document


def production_centre(held: ExitStack, folder: Path, slots: int, *, atr: bytes | None = None) -> Production:
    """A token with known keys, a PC/SC service, and a reader with two SAM chips of a vendor who has the same keys.

    Args:
        held: closes all.
        folder: for everything.
        slots: of readers for cards, behind the two of the SAMs.
        atr: what the SAMs show instead of their own.
    """
    vendor = published_keys("a chip vendor's and a ceremony's: ")
    hsm, label = fresh_token()
    for name, pin in (("user", USER_PIN), ("officer", OFFICER_PIN)):
        (folder / name).write_text(pin)
    place = TokenPlace(hsm.module, label)
    pins = (PassphraseSource.file(folder / "user"), PassphraseSource.file(folder / "officer"))
    create_hsm_store(Maker(place, *pins), production=True, given=vendor._symmetric)
    centre = Centre(folder / "centre")
    centre.make_root()
    centre.name_token(place)
    centre.operators.write_text(f'[operators.li]\nsystem_user = "{system_user()}"\nroles = {ROLES}\n', "utf-8")
    service = held.enter_context(PcscService(reader_name=READER, slots=2 + slots))
    variables = {**hsm.variables, "PERMITCARD_PKCS11_TOKEN": label, CLIENT_VARIABLE: service.socket_path}
    production = Production(CommandLine(folder, variables), centre, service, vendor)
    for name in ("sam-a", "sam-b"):
        deliver_chip(folder / name, vendor)
        chip = held.enter_context(open_card(folder / name, boot))
        production.sams.append(Watched(chip.connect(Interface.CONTACT)))
    reader = VirtualReader(production.sams, service.ports[:2], one_card=False, atr=atr)
    held.enter_context(reader)
    reader.wait_until_inserted(INSERTED_SECONDS)
    for slot, sam in zip(reader.slots, production.sams, strict=True):
        sam.pull = slot.remove_card
    production.put_back = lambda: put_back(reader)
    return production


def card_reader(held: ExitStack, card: SimulatedCard, ports: Sequence[int]) -> VirtualReader:
    """A reader with both interfaces of a card."""
    both = [card.connect(interface) for interface in (Interface.CONTACT, Interface.CONTACTLESS)]
    return held.enter_context(VirtualReader(both, ports))


def receive(production: Production, rows: Sequence[str]) -> None:
    (production.command.folder / "acme.csv").write_text("\n".join(("card_number,reader,place", *rows)), "utf-8")
    assert production("stock", "receive", "--list", "acme.csv")["received"] == len(rows)


def blank_card(held: ExitStack, folder: Path, vendor: FileKeyStore, number: int) -> tuple[SimulatedCard, str]:
    """A blank in a file, and its number."""
    image, card_number = make_blank(folder / f"{number}.card", vendor, 0x0A00, number, dt.date(2026, 11, 1))
    return held.enter_context(SimulatedCard(image, boot, f"card {number}")), card_number.hex()


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Production]:
    """A centre with as many readers as there are cards."""
    with ExitStack() as held:
        made = production_centre(held, tmp_path, 2 * CARDS)
        rows: list[str] = []
        readers: list[VirtualReader] = []
        for number in range(1, CARDS + 1):
            card, card_number = blank_card(held, tmp_path, made.vendor, number)
            readers.append(card_reader(held, card, made.service.ports[2 * number : 2 * number + 2]))
            rows.append(f"{card_number},pcsc:{READER} {number} 00,")
        for reader in readers:
            reader.wait_until_inserted(INSERTED_SECONDS)
        receive(made, rows)
        yield made
        assert [reader.failure for reader in readers] == [None] * len(readers)


def put_back(reader: VirtualReader) -> None:
    for slot in reader.slots:
        slot.insert_card()
        assert slot.wait_until_inserted(INSERTED_SECONDS)


def test_a_batch_is_made_and_inspected_with_a_sam_in_a_reader(production: Production) -> None:
    delivered = production.command.folder / "delivered"
    production.command("sample", str(CARDS), "delivered", "--seed", "11")
    file = next(delivered.glob("*.zip"))

    assert production("batch", "run", file, code=2)["code"] == "sams-not-named"
    made = production("sam", "make", "--reader", SAM)
    assert made["found"] == "loaded"
    assert_no_key_on_the_wire(production, made["card_id"])

    station = ("--stations", "1", "--sam", SAM)
    production.sams[0].spared = 31  # its opening, one card, and half of the next
    gone = production("batch", "run", file, *station, code=3)
    assert (gone["code"], gone["parameters"]["reader"]) == ("sam-gone", SAM.removeprefix("pcsc:"))
    status = production("batch", "status")
    assert status["stock"]["spoiled"] == 0
    assert 0 < status["good"] < CARDS

    production.put_back()
    done = production("batch", "resume", *station)
    assert (done["good"], done["stock"]["good"], done["stock"]["spoiled"]) == (CARDS, CARDS, 0)


@pytest.mark.long
def test_two_stations_have_a_sam_each(production: Production) -> None:
    production.command("sample", str(CARDS), "delivered", "--seed", "12")
    file = next((production.command.folder / "delivered").glob("*.zip"))
    assert production("sam", "make", code=2)["code"] == "sam-reader-missing"
    assert production("sam", "make", "--reader", "sim:mine.card", code=2)["code"] == "production-keys-simulated-card"
    assert production("sam", "show", "--reader", SAM)["condition"] == "loaded"
    production("sam", "make", "--reader", SAM)
    assert production("sam", "make", "--reader", SAM, code=2)["code"] == "sam-made"
    named = ("--stations", "2", "--sam", SAM, "--sam", OTHER_SAM)
    alone = ("--stations", "1", "--sam", OTHER_SAM)
    assert production("batch", "run", file, *alone, code=3)["code"] == "sam-not-made"
    station = ("--stations", "1", "--sam", SAM)
    with start(production.service, "address_client.py", SAM.replace("pcsc", "pcsc,exclusive"), "WAIT") as other:
        assert line(other) == "waiting"
        assert production("batch", "resume", *station, code=3)["code"] == "no-sam-free"
        assert other.stdin
        other.stdin.close()
        assert other.wait(60) == 0
    production.sams[1].spared = 12  # power goes in the middle of making
    assert production("sam", "make", "--reader", OTHER_SAM, code=3)["code"] in {"card-removed", "transmission-failed"}
    production.put_back()
    assert production("sam", "list")["sams"][1]["state"] == "begun"
    assert production("sam", "make", "--reader", OTHER_SAM)["found"] in {"loaded", "half-made", "personalized"}
    assert production("batch", "resume", *named)["good"] == CARDS
    left = [production("sam", "show", "--reader", sam)["authentications_left"] for sam in (SAM, OTHER_SAM)]
    assert max(left) < 1_000_000
    number = production("sam", "list")["sams"][1]["card_id"]
    assert production("sam", "retire", number, "--reason", "end of trial", "--reader", OTHER_SAM)["terminated"] is True
    assert production("audit", "verify")["genuine"] is True


def feed(
    folder: Path,
    service: PcscService,
    reader: VirtualReader,
    cards: Mapping[str, SimulatedCard],
    stop: threading.Event,
) -> None:
    """Plays the machine: puts the card of the wanted place into the reader."""
    while not stop.wait(0.05):
        wanted = (folder / "wanted").read_text()
        if wanted != (folder / "there").read_text():
            for slot in reader.slots:
                slot.remove_card()
            for number in range(len(reader.slots)):
                wait_until_missed(service, f"{READER} 1 00 {number:02}")
            for slot, interface in zip(reader.slots, (Interface.CONTACT, Interface.CONTACTLESS), strict=True):
                slot.insert_card(cards[wanted].connect(interface))
                assert slot.wait_until_inserted(INSERTED_SECONDS)
            (folder / "there").write_text(wanted)


@pytest.mark.long
@pytest.mark.clause(
    "ISO/IEC 7816-3, 12.2: a SAM that speaks T=0 only, and one reader to which a feeder brings all cards"
)
def test_a_feeder_brings_the_cards_to_one_reader(tmp_path: Path) -> None:
    with ExitStack() as held:
        made = production_centre(held, tmp_path, 2, atr=T0_ONLY)
        cards, rows = dict[str, SimulatedCard](), list[str]()
        for number in range(1, CARDS + 1):
            place = f"tray 1/{number:03}"
            cards[place], card_number = blank_card(held, tmp_path, made.vendor, number)
            rows.append(f"{card_number},pcsc:{READER} 1 00,{place}")
        reader = card_reader(held, cards["tray 1/001"], made.service.ports[2:])
        reader.wait_until_inserted(INSERTED_SECONDS)
        receive(made, rows)
        made("sam", "make", "--reader", SAM)
        for name in ("wanted", "there"):
            (tmp_path / name).write_text("tray 1/001")
        command = [sys.executable, str(PROGRAMS / "feeder.py"), str(tmp_path)]
        made.centre.hooks.write_text(f"[position]\nbefore = {json.dumps(command)}\ntimeout_s = 90\n", "utf-8")
        stop = threading.Event()
        machine = threading.Thread(target=feed, args=(tmp_path, made.service, reader, cards, stop))
        machine.start()
        held.callback(machine.join)
        held.callback(stop.set)
        made.command("sample", str(CARDS), "delivered", "--seed", "13")
        file = next((tmp_path / "delivered").glob("*.zip"))
        done = made("batch", "run", file, "--stations", "1", "--sam", f"{SAM.replace('pcsc', 'pcsc,t0')}")
        assert (done["good"], done["stock"]["spoiled"]) == (CARDS, 0)
        assert reader.failure is None


def assert_no_key_on_the_wire(production: Production, card_id: str) -> None:
    keys, number, wire = production.vendor, bytes.fromhex(card_id), production.sams[0].heard
    secrets = {
        **{name.value: value for name, value in keys._symmetric.items()},
        "concealment of the generation": keys.derive(KeyName.CONCEALMENT, "CONCEAL", b"\x01", 32),
        "terminal": keys.derive(KeyName.TERMINAL, "ROLE", number, 32),
        **{
            f"{name.value} {use}": keys.derive(name, f"SCP03 {use}", number, 16)
            for name in (KeyName.FACTORY, KeyName.CARD)
            for use in ("ENC", "MAC", "DEK")
        },
    }
    assert len(wire) > 1_000
    found = [name for name, value in secrets.items() for half in (value[:16], value[16:]) if half and half in wire]
    assert found == []
