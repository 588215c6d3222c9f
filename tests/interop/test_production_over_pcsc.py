"""A production centre end to end: keys in a token, SAM chips and blanks in readers, through the real PC/SC service.

The chips are simulated, behind pcscd and vpcd; nothing between the reader's name and the centre's report knows that.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from permitcard.blanks import make_blank
from permitcard.centre import Centre
from permitcard.operator_login import system_user
from permitcard.products import boot
from permitcard.sams import deliver_chip
from permitcard.specimen import published_keys
from personalization.keys.file_store import FileKeyStore
from personalization.keys.hsm.making import Maker, create_hsm_store
from personalization.keys.hsm.token import TokenPlace
from personalization.keys.keystore import KeyName
from personalization.keys.passphrase import PassphraseSource
from personalization.production.stock import NewBlank
from reader_bridge.connection import CardConnection, Interface
from reader_bridge.pcscd import CLIENT_VARIABLE, PcscService
from reader_bridge.simulated import SimulatedCard, open_card
from reader_bridge.stack import Wrapper
from reader_bridge.vpcd import VirtualReader
from tests.console.command_line import CommandLine
from tests.doubles.softhsm import OFFICER_PIN, USER_PIN, fresh_token
from tests.interop.test_pcsc_stack import line, start

READER: Final = "Acme Line"
SAM: Final = f"pcsc:{READER} 00 00"
OTHER_SAM: Final = f"pcsc:{READER} 00 01"
CARDS: Final = 3
ROLES: Final = '["receive", "prepare", "run", "inspect", "release", "keys"]'
INSERTED_SECONDS: Final = 60.0


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


@pytest.fixture
def production(tmp_path: Path) -> Iterator[Production]:
    """A token with known keys, SAM chips and blanks of a vendor who has the same, all in their readers."""
    vendor = published_keys("a chip vendor's and a ceremony's: ")
    hsm, label = fresh_token()
    token = tmp_path / "pins"
    token.mkdir()
    for name, pin in (("user", USER_PIN), ("officer", OFFICER_PIN)):
        (token / name).write_text(pin)
    place = TokenPlace(hsm.module, label)
    pins = (PassphraseSource.file(token / "user"), PassphraseSource.file(token / "officer"))
    create_hsm_store(Maker(place, *pins), production=True, given=vendor._symmetric)
    centre = Centre(tmp_path / "centre")
    centre.make_root()
    centre.name_token(place)
    centre.operators.write_text(f'[operators.li]\nsystem_user = "{system_user()}"\nroles = {ROLES}\n', "utf-8")
    with ExitStack() as held:
        service = held.enter_context(PcscService(reader_name=READER, slots=2 * (CARDS + 1)))
        variables = {**hsm.variables, "PERMITCARD_PKCS11_TOKEN": label, CLIENT_VARIABLE: service.socket_path}
        made = Production(CommandLine(tmp_path, variables), centre, service, vendor)
        readers = [sam_reader(held, tmp_path, made)]
        blanks: list[NewBlank] = []
        for number in range(1, CARDS + 1):
            card = blank_card(held, tmp_path / f"{number}.card", vendor, number, blanks)
            ports = service.ports[2 * number : 2 * number + 2]
            both = [card.connect(interface) for interface in (Interface.CONTACT, Interface.CONTACTLESS)]
            readers.append(held.enter_context(VirtualReader(both, ports)))
        for reader in readers:
            reader.wait_until_inserted(INSERTED_SECONDS)
        rows = [f"{blank.card_number.hex()},{blank.location}" for blank in blanks]
        (tmp_path / "acme.csv").write_text("\n".join(("card_number,reader", *rows)), "utf-8")
        made("stock", "receive", "--list", "acme.csv")
        yield made
        assert [reader.failure for reader in readers] == [None] * len(readers)


def sam_reader(held: ExitStack, folder: Path, production: Production) -> VirtualReader:
    """A reader with two SAM chips, as they were delivered."""
    for name in ("sam-a", "sam-b"):
        deliver_chip(folder / name, production.vendor)
        chip = held.enter_context(open_card(folder / name, boot))
        production.sams.append(Watched(chip.connect(Interface.CONTACT)))
    reader = held.enter_context(VirtualReader(production.sams, production.service.ports[:2], one_card=False))
    for slot, sam in zip(reader.slots, production.sams, strict=True):
        sam.pull = slot.remove_card
    production.put_back = lambda: put_back(reader)
    return reader


def put_back(reader: VirtualReader) -> None:
    for slot in reader.slots:
        slot.insert_card()
        assert slot.wait_until_inserted(INSERTED_SECONDS)


def blank_card(held: ExitStack, path: Path, vendor: FileKeyStore, number: int, blanks: list[NewBlank]) -> SimulatedCard:
    image, card_number = make_blank(path, vendor, 0x0A00, number, dt.date(2026, 11, 1))
    blanks.append(NewBlank(card_number, f"pcsc:{READER} {number} 00"))
    return held.enter_context(SimulatedCard(image, boot, str(path)))


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
