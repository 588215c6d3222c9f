"""What a card shows to its holder and to a terminal."""

from __future__ import annotations

import json

import pytest

from card_os.iso7816.status import SW
from card_os.iso7816.tlv import encode
from personalization.card_view import CardView, ShownFile, view_card
from personalization.profile_rows import FileRow
from personalization.terminal.channel import CardRefused
from personalization.terminal.holder import HolderSession
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import CONTENT, HOLDER_PIN, PERMIT, Bench, new_permit, new_sam, open_permit


@pytest.fixture(scope="module")
def made() -> tuple[Bench, Bench]:
    return new_permit(), new_sam()


class Contents:
    """Files as given; all others are empty."""

    def __init__(self, contents: dict[str, bytes], records: list[bytes] | None = None) -> None:
        self._contents = contents
        self._records = records or []

    def read(self, name: str) -> bytes:
        return self._contents.get(name, bytes(PERMIT.file_named(name).size or 4))

    def read_records(self, name: str) -> list[bytes]:
        return self._records


def values(shown: ShownFile, record: int = 0) -> dict[str, str]:
    return {item.name: item.value for item in shown.records[record]}


def view(contents: dict[str, bytes], records: list[bytes] | None = None) -> CardView:
    return view_card(PERMIT, Contents(contents, records), "issuer")


def test_an_inspection_terminal_sees_identity_and_service_but_no_account(made: tuple[Bench, Bench]) -> None:
    permit, module = made[0].fork(), made[1].fork()
    shown = view_card(PERMIT, open_permit(permit, module, "inspection", Interface.CONTACTLESS), "inspection")
    identity = values(shown.file("EF.IDENTITY"))
    assert identity["name"] == "欧阳·𠮷子"
    assert identity["birth_date"] == "1990-01-01"
    assert identity["permit_number"] == "330381202600000001"
    assert shown.file("EF.BANK").refused == "6982 security status not satisfied"
    assert shown.file("EF.BANK").records == ()
    assert values(shown.file("EF.STATUS")) == {
        "status": "01",
        "due_date": "2027-01-01",
        "status_date": "2026-01-01",
        "area_code": "330381",
    }
    assert shown.file("EF.RESIDENCE").records == ()
    assert values(shown.file("EF.GA490")) == {"name": "欧阳"}


def test_the_holder_sees_the_account_too(made: tuple[Bench, Bench]) -> None:
    permit = made[0].fork()
    permit.contact.power_on()
    session = HolderSession.open(permit.contact, PERMIT)
    assert all(item.refused for item in view_card(PERMIT, session, "holder").files)
    session.verify(HOLDER_PIN)
    shown = view_card(PERMIT, session, "holder")
    assert not any(item.refused or item.problem for item in shown.files)
    bank = shown.file("EF.BANK").records[0]
    assert {item.name: item.value for item in bank}["account_number"] == "6228480000000000001"
    activation = next(item for item in bank if item.name == "activation")
    assert activation.meaning is not None
    assert activation.meaning.en == "inactive"


def test_coded_values_have_a_meaning_in_both_languages() -> None:
    shown = view({"EF.STATUS": b"\x02" + CONTENT[0x0203][1:]}).file("EF.STATUS").records[0][0]
    assert shown.meaning is not None
    assert (shown.value, shown.meaning.en, shown.meaning.zh) == ("02", "suspended", "中止")


def test_records_are_shown_one_by_one() -> None:
    records = [
        b"2026060120270601330381DESK0001".ljust(32, b"\x00"),
        b"2027060120280601330381DESK0002".ljust(32, b"\x00"),
    ]
    shown = view({}, records).file("EF.ENDORSEMENTS")
    assert [values(shown, number)["endorsement_date"] for number in (0, 1)] == ["2026-06-01", "2027-06-01"]
    assert values(shown, 1)["desk"] == "DESK0002"


def test_unknown_objects_are_shown_as_they_are() -> None:
    shown = view({"EF.LINKED": encode(0x7F04, encode(0xDF31, b"Z12345678"), encode(0xDF77, b"\x01\x02"))})
    assert values(shown.file("EF.LINKED")) == {"citizen_card_number": "Z12345678", "DF77": "0102"}


@pytest.mark.parametrize(
    "content",
    [
        b"\x7f\x01\x05\x5f\x20",
        encode(0x7F02, encode(0xDF11, b"x")),
        encode(0x7F01, encode(0x5F20, b"\xff\xfe")),
        encode(0x7F01, b"\x5f\x20\x09x"),
    ],
)
def test_content_that_cannot_be_decoded_is_a_problem_and_no_crash(content: bytes) -> None:
    shown = view({"EF.IDENTITY": content}).file("EF.IDENTITY")
    assert shown.problem
    assert shown.content == content
    assert shown.records == ()


def test_a_signature_is_taken_apart() -> None:
    hashes = b"".join(encode(0x83, fid.to_bytes(2, "big"), bytes(32)) for fid in (0x0101, 0x0999))
    signed = encode(0x7F21, encode(0x80, b"\x01"), encode(0x81, b"\x01"), encode(0xA2, hashes), encode(0x99, b"x"))
    shown = values(view({"EF.SIGNATURE": signed + encode(0x5F37, bytes(64))}).file("EF.SIGNATURE"))
    assert shown["signature_version"] == "01"
    assert shown["hash_algorithm"] == "SHA-256"
    assert shown["hash_0101"] == shown["hash_0999"] == "00" * 32
    assert shown["signature"] == "00" * 64
    assert shown["99"] == "78"
    broken = view({"EF.SIGNATURE": encode(0x7F4E, b"no certificate")}).file("EF.SIGNATURE")
    assert broken.problem


def test_the_plain_form_is_json_and_holds_no_bytes() -> None:
    shown = view({"EF.IDENTITY": CONTENT[0x0101], "EF.PORTRAIT": CONTENT[0x0103]})
    plain = json.loads(json.dumps(shown.to_plain(), ensure_ascii=False))
    assert plain["seen_by"] == "issuer"
    assert plain["profile"] == "residence-permit 1.0"
    portrait = next(item for item in plain["files"] if item["name"] == "EF.PORTRAIT")
    assert portrait["length"] == 4096
    assert portrait["records"][0][0]["value"] == "4096"


def test_a_repr_shows_nothing_personal() -> None:
    shown = view({"EF.IDENTITY": CONTENT[0x0101]})
    assert "330381199001010027" not in repr(shown)


def test_a_refusal_of_records_is_shown() -> None:
    class Refusing(Contents):
        def read_records(self, name: str) -> list[bytes]:
            raise CardRefused("READ RECORD", SW.SECURITY_STATUS_NOT_SATISFIED)

    shown = view_card(PERMIT, Refusing({}), "bank_branch")
    assert shown.file("EF.ENDORSEMENTS").refused == "6982 security status not satisfied"


def test_a_file_that_the_profile_does_not_have_is_not_found() -> None:
    with pytest.raises(KeyError):
        view({}).file("EF.NONE")
    assert isinstance(PERMIT.files[0], FileRow)
