"""Inspection of simulated permits: a sound one passes, and each thing that is wrong shows.

Law: a card is compared with the source data, on both interfaces, and what has to be refused is tried.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Generator
from dataclasses import replace
from typing import Self

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from card_os.globalplatform.keys import KeySet, create_key_set
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.iso7816.status import StatusWord
from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import CardState, DataGrouping
from personalization.globalplatform.session import SecureSession
from personalization.inspection.checks import InspectionResult
from personalization.inspection.inspector import PermitInspector
from personalization.keys.keystore import KeyName
from personalization.preparation.card_keys import CardKeys, issuer_domain_keys
from personalization.preparation.record import PreparedRecord
from personalization.terminal.channel import CardRefused
from personalization.terminal.sam import PreparedAuthentication
from personalization.terminal.secure_messaging import SessionKeys
from reader_bridge.connection import CardConnection, ConnectionDescription, Interface
from reader_bridge.simulated import SimulatedCard
from tests.doubles.issuing_centre import PERMIT_PROFILE, TODAY, IssuingCentre, applicant, child, draw, firmware


@pytest.fixture(scope="module")
def centre(tmp_path_factory: pytest.TempPathFactory) -> Generator[IssuingCentre]:
    centre = IssuingCentre(tmp_path_factory.mktemp("centre"))
    yield centre
    centre.close()


@pytest.fixture(scope="module")
def inspector(centre: IssuingCentre) -> PermitInspector:
    return centre.inspector()


def look(inspector: PermitInspector, card: SimulatedCard, row: int) -> InspectionResult:
    return inspector.inspect(card.connect(Interface.CONTACT), card.connect(Interface.CONTACTLESS), row)


def failed(result: InspectionResult) -> set[str]:
    return {check.name for check in result.failures}


def replaced(record: PreparedRecord, fid: int, old: bytes, new: bytes) -> PreparedRecord:
    """The record with other bytes in one file."""
    count = sum(group.value.count(old) for group in record.groupings if group.identifier == fid)
    assert count == 1
    groupings = tuple(
        DataGrouping(group.identifier, group.value.replace(old, new)) if group.identifier == fid else group
        for group in record.groupings
    )
    return replace(record, groupings=groupings)


def test_a_sound_permit_passes_every_check(centre: IssuingCentre, inspector: PermitInspector) -> None:
    card = centre.permit(applicant())
    result = look(inspector, card, 2)
    assert result.failures == ()
    assert result.passed
    assert len(result.checks) > 150
    names = {(check.name, check.interface) for check in result.checks}
    for interface in ("contact", "contactless"):
        for row in PERMIT_PROFILE.files:
            assert (f"refused.read.{row.name}", interface) in names
            assert (f"read.{row.name}", interface) in names
        assert ("chip.genuine", interface) in names
    assert firmware(card).faults == 0


def test_a_permit_without_account_residence_and_links_passes(centre: IssuingCentre, inspector: PermitInspector) -> None:
    card = centre.permit(child())
    result = look(inspector, card, 3)
    assert result.failures == ()
    empty = {check.name for check in result.checks if check.name.startswith("empty.")}
    assert empty == {f"empty.EF.{name}" for name in ("RESIDENCE", "ENTITLEMENTS", "LINKED", "BANK", "ENDORSEMENTS")}


def test_a_station_without_contactless_reader_inspects_the_contacts(
    centre: IssuingCentre, inspector: PermitInspector
) -> None:
    card = centre.permit(applicant())
    result = inspector.inspect(card.connect(), None, 2)
    assert result.passed
    assert {check.interface for check in result.checks} == {"contact", ""}


def test_inspection_changes_nothing_and_spends_no_try(centre: IssuingCentre, inspector: PermitInspector) -> None:
    card = centre.permit(applicant())
    assert look(inspector, card, 2).passed
    assert look(inspector, card, 2).passed


def test_a_report_shows_no_value_in_clear(centre: IssuingCentre, inspector: PermitInspector) -> None:
    resident = applicant()
    card = centre.permit(resident)
    text = str(look(inspector, card, 2))
    assert resident.residence is not None
    for secret in (
        resident.name,
        resident.citizen_number,
        resident.permit_number,
        resident.registered_address,
        resident.bank_account,
        resident.citizen_card_account,
        resident.residence.current_address,
        resident.residence.registration_number,
        "19900721",
    ):
        assert secret is not None
        assert secret not in text


@pytest.mark.parametrize(
    ("fid", "old", "new", "expected"),
    [
        (0x0101, "欧阳𠮷娜".encode(), "欧阳𠮷妮".encode(), {"field.name", "face.name"}),
        (0x0101, b"33038119900721124X", b"330381199007211250", {"field.citizen_number", "face.citizen_number"}),
        (0x0101, b"0577-65812345", b"0577-65812346", {"field.service_hotline", "face.service_hotline"}),
        (0x0101, b"20260301", b"20260228", {"field.issue_date", "face.issue_date"}),
        (0x0102, "欧阳".encode("utf-16-le"), "欧陽".encode("utf-16-le"), {"record.name"}),
        (0x0201, "沿江西路".encode(), "沿江东路".encode(), {"residence.current_address", "face.current_address"}),
        (0x0203, b"\x0120270301", b"\x0220270301", {"status.status"}),
        (0x0203, b"20270301", b"20280301", {"status.due_date"}),
        (0x0205, b"Z12345678", b"Z12345679", {"linked.citizen_card_number"}),
        (0x0301, b"6217993300012345678", b"6217993300012345677", {"bank.account_number", "face.bank_account"}),
        (0x0301, b"\xdf\x43\x01\x00", b"\xdf\x43\x01\x01", {"bank.activation"}),
    ],
)
def test_a_wrong_field_shows(
    centre: IssuingCentre, inspector: PermitInspector, fid: int, old: bytes, new: bytes, expected: set[str]
) -> None:
    card = centre.permit(applicant(), lambda record: replaced(record, fid, old, new))
    found = failed(look(inspector, card, 2))
    signed = {f"signature.hash.{fid:04X}"} if fid in (0x0101, 0x0102) else set()
    assert found == expected | signed


def test_a_card_made_for_another_row_shows_in_every_personal_field(
    centre: IssuingCentre, inspector: PermitInspector
) -> None:
    other = applicant(7, name="张三", citizen_number="330381198501011234", birth_date=dt.date(1985, 1, 1), sex="1")
    centre.prepare(applicant(2))
    card = centre.permit(other)
    found = failed(look(inspector, card, 2))
    assert {
        "field.name",
        "field.citizen_number",
        "field.birth_date",
        "field.permit_number",
        "portrait.likeness",
    } <= found
    assert "signature.value" not in found  # it is a genuine permit, of somebody else


def test_a_swapped_portrait_shows(centre: IssuingCentre, inspector: PermitInspector) -> None:
    right, wrong = applicant(), applicant(portrait=draw(99))
    record = centre.prepare(wrong).record
    centre.prepare(right)
    card = centre.make(record)
    assert failed(look(inspector, card, 2)) == {"portrait.likeness", "face.portrait"}


def test_a_portrait_that_is_no_picture_shows(centre: IssuingCentre, inspector: PermitInspector) -> None:
    resident = applicant()
    card = centre.permit(resident, lambda record: replaced(record, 0x0103, resident.portrait[:60], bytes(60)))
    found = failed(look(inspector, card, 2))
    assert {"portrait.form", "portrait.likeness", "signature.hash.0103"} <= found


def test_a_clone_without_the_chip_key_shows(centre: IssuingCentre, inspector: PermitInspector) -> None:
    card = centre.permit(applicant(), lambda record: replace(record, chip_private_key=(7).to_bytes(32, "big")))
    result = look(inspector, card, 2)
    assert [(check.name, check.interface) for check in result.failures] == [
        ("chip.genuine", "contact"),
        ("chip.genuine", "contactless"),
    ]


def test_a_clone_with_a_chip_key_of_its_own_shows_in_the_signature(
    centre: IssuingCentre, inspector: PermitInspector
) -> None:
    own = ec.derive_private_key(7, ec.SECP256R1())
    point = own.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def clone(record: PreparedRecord) -> PreparedRecord:
        old = next(group.value[2:] for group in record.groupings if group.identifier == 0x0105)
        return replaced(replace(record, chip_private_key=(7).to_bytes(32, "big")), 0x0105, old, point)

    card = centre.permit(applicant(), clone)
    assert failed(look(inspector, card, 2)) == {"signature.hash.0105"}


def test_a_card_that_is_still_a_blank_is_a_result(centre: IssuingCentre, inspector: PermitInspector) -> None:
    centre.prepare(applicant())
    result = look(inspector, centre.blank(), 2)
    found = failed(result)
    assert not result.passed
    assert {"session.unbroken", "refused.factory-keys", "issuer-domain.card-keys", "number.told"} <= found
    assert {"refused.issuer-domain", "refused.production-data-of-domain"} <= found


def test_a_card_that_was_not_secured_shows(
    centre: IssuingCentre, inspector: PermitInspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forget(session: SecureSession, state: CardState) -> None:
        """SET STATUS is never sent."""

    with monkeypatch.context() as patch:
        patch.setattr(SecureSession, "set_card_state", forget)
        card = centre.permit(applicant())
    assert failed(look(inspector, card, 2)) == {"refused.issuer-domain", "refused.production-data-of-domain"}


def test_factory_keys_that_were_left_in_show(centre: IssuingCentre, inspector: PermitInspector) -> None:
    card = centre.permit(applicant())
    keys = issuer_domain_keys(centre.keystore, KeyName.FACTORY, bytes(10))
    create_key_set(firmware(card).platform.store, ISSUER_DOMAIN, KeySet(keys.version, keys.enc, keys.mac, keys.dek))
    assert failed(look(inspector, card, 2)) == {"refused.factory-keys"}


def test_a_card_with_the_keys_of_another_card_does_not_open(
    centre: IssuingCentre, inspector: PermitInspector, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = CardKeys.key_grouping
    with monkeypatch.context() as patch:
        patch.setattr(CardKeys, "key_grouping", lambda self, _: right(self, bytes(10)))
        card = centre.permit(applicant())
    found = failed(look(inspector, card, 2))
    assert {"opened.inspection", "opened.bank_branch", "number.told", "field.form", "signature.form"} <= found


def test_a_signer_of_another_authority_shows(
    centre: IssuingCentre, tmp_path_factory: pytest.TempPathFactory, inspector: PermitInspector
) -> None:
    other = IssuingCentre(tmp_path_factory.mktemp("other"))
    resident = applicant()
    record = other.prepare(resident).record
    other.close()
    centre.prepare(resident)
    card = centre.make(record)
    assert failed(look(inspector, card, 2)) == {"signature.certificate", "signature.value"}


@pytest.mark.parametrize("today", [dt.date(2025, 12, 30), dt.date(2041, 6, 1)])
def test_a_certificate_outside_its_time_shows(centre: IssuingCentre, today: dt.date) -> None:
    card = centre.permit(applicant())
    result = look(centre.inspector(today), card, 2)
    assert failed(result) == {"signature.certificate", "signature.value"}


def test_a_try_that_was_spent_shows(centre: IssuingCentre, inspector: PermitInspector) -> None:
    card = centre.permit(applicant())
    with card.connect() as connection:
        connection.transmit(bytes.fromhex("00A4040007F05A4A4A5A010100"))
        assert connection.transmit(bytes.fromhex("0020008108 240000FFFFFFFFFF"))[:1] == b"\x63"
    result = look(inspector, card, 2)
    assert [(check.name, check.shown, check.expected) for check in result.failures] == [("pin.holder", "63C2", "6985")]


class Leaky:
    """A contactless connection of a card that answers one command otherwise."""

    def __init__(self, inner: CardConnection, change: Callable[[bytes, bytes], bytes]) -> None:
        self._inner = inner
        self._change = change

    @property
    def description(self) -> ConnectionDescription:
        return self._inner.description

    def power_on(self) -> bytes:
        return self._inner.power_on()

    def transmit(self, command: bytes) -> bytes:
        return self._change(command, self._inner.transmit(command))

    def reset(self) -> bytes:
        return self._inner.reset()

    def power_off(self) -> None:
        self._inner.power_off()

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.power_off()


@pytest.mark.parametrize(
    ("command", "answer", "expected"),
    [
        ("00B0810001", "7F9000", "refused.read.EF.IDENTITY"),
        ("00B0830001", "6282", "refused.read.EF.PORTRAIT"),
        ("00B0950001", "6985", "refused.read.EF.BANK"),
        ("00200081", "63C3", "refused.pin-in-plain"),
        ("80CA9F7F00", "9F7F00" + "9000", "refused.production-data"),
        ("80E28800049F010178", "9000", "refused.store-data"),
        ("00CADF2000", "00" * 40 + "9000", "number.concealed"),
    ],
)
def test_what_should_be_refused_over_the_field_and_is_not_shows(
    centre: IssuingCentre, inspector: PermitInspector, command: str, answer: str, expected: str
) -> None:
    card = centre.permit(applicant())
    field = Leaky(
        card.connect(Interface.CONTACTLESS),
        lambda sent, got: bytes.fromhex(answer) if sent == bytes.fromhex(command) else got,
    )
    result = inspector.inspect(card.connect(), field, 2)
    assert ("contactless", expected) in {(check.interface, check.name) for check in result.failures}


def test_a_response_without_authenticity_is_never_taken_for_content(
    centre: IssuingCentre, inspector: PermitInspector
) -> None:
    card = centre.permit(applicant())
    field = Leaky(
        card.connect(Interface.CONTACTLESS),
        lambda sent, got: got[:-4] + bytes((got[-4] ^ 1,)) + got[-3:] if sent[0] == 0x0C and len(got) > 40 else got,
    )
    found = failed(inspector.inspect(card.connect(), field, 2))
    assert {"session.unbroken", "same.EF.IDENTITY"} <= found


@pytest.mark.parametrize("instruction", [0x84, 0x82])
@pytest.mark.parametrize("length", [0, 8, 15, 100])
def test_an_answer_of_another_length_is_the_card_s_fault_and_not_the_sam_s(
    centre: IssuingCentre, inspector: PermitInspector, instruction: int, length: int
) -> None:
    """The line goes on with the next card."""
    card = centre.permit(applicant())
    false = Leaky(
        card.connect(), lambda sent, got: (got[:-2] * 7)[:length] + got[-2:] if sent[1] == instruction else got
    )
    found = failed(inspector.inspect(false, card.connect(Interface.CONTACTLESS), 2))
    assert {"opened.inspection", "opened.bank_branch"} <= found


class _BrokenSam:
    """A SAM that refuses everything with one status word."""

    def __init__(self, status: int) -> None:
        self._refusal: PersonalizationError = CardRefused("PREPARE AUTHENTICATION", StatusWord(status))

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        raise self._refusal

    def complete(self, response: bytes) -> SessionKeys:
        raise self._refusal


def make_inspector(centre: IssuingCentre, sam: _BrokenSam) -> PermitInspector:
    authority = centre.keystore.certificate(KeyName.AUTHORITY)
    return PermitInspector(sam, PERMIT_PROFILE, authority, centre.sources, today=lambda: TODAY)


def test_a_sam_that_is_used_up_says_nothing_about_the_card(centre: IssuingCentre) -> None:
    card = centre.permit(applicant())
    inspector = make_inspector(centre, _BrokenSam(0x6985))
    with pytest.raises(PersonalizationError) as caught:
        look(inspector, card, 2)
    assert (caught.value.code, caught.value.exit_code) == ("sam-unusable", 3)


@pytest.mark.parametrize("code", ["sam-used-up", "sam-gone"])
def test_what_a_sam_in_a_reader_says_of_itself_reaches_the_operator(centre: IssuingCentre, code: str) -> None:
    sam = _BrokenSam(0x6985)
    sam._refusal = PersonalizationError(code, exit_code=3, reader="READER")
    with pytest.raises(PersonalizationError) as caught:
        look(make_inspector(centre, sam), centre.permit(applicant()), 2)
    assert (caught.value.code, caught.value.parameters) == (code, {"reader": "READER"})


def test_a_sam_that_does_not_know_the_card_is_a_result(centre: IssuingCentre) -> None:
    card = centre.permit(applicant())
    result = look(make_inspector(centre, _BrokenSam(0x6300)), card, 2)
    assert {"opened.inspection", "opened.bank_branch"} <= failed(result)


def test_an_authority_that_is_no_certificate_is_told(centre: IssuingCentre) -> None:
    sam = _BrokenSam(0x6985)
    with pytest.raises(PersonalizationError, match="authority-unreadable"):
        PermitInspector(sam, PERMIT_PROFILE, b"0\x00", centre.sources)


def test_steps_are_told_in_their_order(centre: IssuingCentre, inspector: PermitInspector) -> None:
    card = centre.permit(applicant())
    steps: list[str] = []
    inspector.inspect(card.connect(), card.connect(Interface.CONTACTLESS), 2, steps.append)
    assert steps == ["read-contact", "read-contactless", "compare"]


def test_the_chip_key_on_the_card_is_the_prepared_one(centre: IssuingCentre) -> None:
    record = centre.prepare(applicant()).record
    private = ec.derive_private_key(int.from_bytes(record.chip_private_key, "big"), ec.SECP256R1())
    point = private.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    on_card = next(group.value[2:] for group in record.groupings if group.identifier == 0x0105)
    assert hashlib.sha256(on_card).digest() == hashlib.sha256(point).digest()
