"""Inspection of a finished permit: read it as a terminal would, on both interfaces, and believe nothing.

It is handed the source data and not what preparation made of them, and it decodes on its own.
"""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Callable
from typing import Final, Protocol

from cryptography.hazmat.primitives.asymmetric import ec

from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.inspection import refusals
from personalization.inspection.checks import CheckList, InspectionResult
from personalization.inspection.comparison import (
    BANK,
    ENTITLEMENTS,
    IDENTITY,
    LINKED,
    RESIDENCE,
    compare_record,
    compare_status,
    compare_tlv,
)
from personalization.inspection.face_check import compare_face
from personalization.inspection.portrait_check import card_portrait, shows_the_same
from personalization.inspection.signature_check import SignatureVerifier, is_signed
from personalization.intake.applicant import Applicant
from personalization.preparation.data_groups import BankProgramme
from personalization.preparation.faces import CardFace
from personalization.profile import CardProfile
from personalization.profile_rows import FileStructure
from personalization.terminal.channel import CardRefused, PlainChannel
from personalization.terminal.sam import CardAuthenticator, PreparedAuthentication
from personalization.terminal.secure_messaging import SessionKeys
from personalization.terminal.session import CHIP_CHALLENGE_LENGTH, TerminalSession, select
from reader_bridge.connection import CardConnection, Interface

EnterStep = Callable[[str], None]
"""Called with the name of a step as it begins."""

_INSPECTION: Final = "inspection"
_BANK_BRANCH: Final = "bank_branch"
_CHIP_PREFIX: Final = b"permitcard chip"
_BANK_SECTION: Final = "bank"
_NUMBER: Final = "number"
_IDENTIFICATION: Final = "profile"
_CHIP_KEY: Final = "EF.CHIPKEY"
_PORTRAIT: Final = "EF.PORTRAIT"
_UNREAD: Final = b"\x1f"
"""Content of a file that could not be read: neither empty nor a data object."""
# What a card that is not as it should be makes of a session; anything else is not the card's fault.
_CARD_FAULTS: Final = frozenset(
    {"card-refused", "card-not-genuine", "concealed-number-malformed", "response-not-authentic", "session-over"}
)
_OWN_WORDS: Final = frozenset({"card-not-genuine", "sam-gone", "sam-used-up"})
"""What a SAM that lies in a reader says of the card or of itself."""


class ApplicantSource(Protocol):
    """The accepted applicants of a batch, such as `SourceFile`."""

    def applicant(self, row_number: int) -> Applicant:
        """The applicant of a row."""
        ...


class FaceSource(Protocol):
    """The card-face data of a batch, such as `FaceFile`."""

    def face(self, row_number: int) -> CardFace:
        """The face of a row."""
        ...


class PermitInspector:
    """Inspects permits of one batch with one SAM.

    Args:
        sam: an authenticated SAM that holds the masters of inspection and bank branch.
        profile: the permit's profile.
        authority: certificates of the authorities over document signers, DER, one behind the other.
        applicants: the source data.
        faces: what was printed; None leaves that comparison out.
        bank: what the bank should have written on every card.
        today: gives the day for which certificates have to be valid; by default the present one, UTC.
        randomness: source of challenges.
    """

    __slots__ = ("_applicants", "_bank", "_faces", "_profile", "_randomness", "_sam", "_signature", "_today")

    def __init__(
        self,
        sam: CardAuthenticator,
        profile: CardProfile,
        authority: bytes,
        applicants: ApplicantSource,
        *,
        faces: FaceSource | None = None,
        bank: BankProgramme | None = None,
        today: Callable[[], dt.date] = lambda: dt.datetime.now(dt.UTC).date(),
        randomness: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._sam = _StationSam(sam)
        self._profile = profile
        self._signature = SignatureVerifier(authority)
        self._applicants = applicants
        self._faces = faces
        self._bank = bank or BankProgramme()
        self._today = today
        self._randomness = randomness

    def inspect(
        self,
        contact: CardConnection,
        contactless: CardConnection | None,
        row_number: int,
        enter: EnterStep = lambda _: None,
    ) -> InspectionResult:
        """Inspect one card; a card that is not as it should be is a result, not an exception.

        Args:
            contact: contact connection; the inspector powers it.
            contactless: contactless connection, None when the station has no such reader.
            row_number: row of the batch whose card this should be.
            enter: step timer.

        Raises:
            ReaderError: an exchange did not complete.
            PersonalizationError: exit 3: "sam-unusable", "sam-gone", "sam-used-up"; or what the sources raise: nothing
                was said of the card.
        """
        applicant = self._applicants.applicant(row_number)
        checks = CheckList()
        enter("read-contact")
        by_contact = self._read_interface(checks, contact, Interface.CONTACT)
        over_field: dict[str, bytes] = {}
        if contactless is not None:
            enter("read-contactless")
            over_field = self._read_interface(checks, contactless, Interface.CONTACTLESS)
        enter("compare")
        checks.interface = ""
        if contactless is not None:
            for name, content in by_contact.items():
                checks.add(f"same.{name}", over_field.get(name) == content)
        self._compare(checks, by_contact, applicant)
        return checks.result(row_number)

    # ------------------------------------------------------------ reading

    def _read_interface(self, checks: CheckList, card: CardConnection, interface: Interface) -> dict[str, bytes]:
        """Everything that one interface gives, by the file's name, with the card's number and profile."""
        checks.interface = interface.value
        card.power_on()
        try:
            contents: dict[str, bytes] = {}
            try:
                self._try_in_plain(checks, card, interface)
                self._read_as_inspection(checks, card, contents)
                self._read_as_bank(checks, card, contents)
            except PersonalizationError as error:
                if error.code not in _CARD_FAULTS:
                    raise
                checks.add("session.unbroken", False, str(error.parameters.get("sw", error.code)))
            self._try_issuer_domain(checks, card, interface, contents)
            return contents
        finally:
            card.power_off()

    def _try_in_plain(self, checks: CheckList, card: CardConnection, interface: Interface) -> None:
        plain = PlainChannel(card)
        select(plain, self._profile.application.instance)
        refusals.before_authentication(checks, plain, self._profile, interface)

    def _read_as_inspection(self, checks: CheckList, card: CardConnection, contents: dict[str, bytes]) -> None:
        session = self._open(checks, card, _INSPECTION)
        if session is None:
            return
        contents[_NUMBER] = session.card_number
        contents[_IDENTIFICATION] = session.profile_on_card()
        for row in self._profile.files:
            if row.section == _BANK_SECTION:
                refusals.read_of(checks, session.channel, row, _INSPECTION)
            else:
                self._read(checks, session, row.name, contents)
        self._prove_chip(checks, session, contents)
        refusals.updates(checks, session.channel, self._profile, contents)

    def _read_as_bank(self, checks: CheckList, card: CardConnection, contents: dict[str, bytes]) -> None:
        session = self._open(checks, card, _BANK_BRANCH)
        if session is None:
            return
        for row in self._profile.files:
            if row.section == _BANK_SECTION:
                self._read(checks, session, row.name, contents)
            elif row.name == IDENTITY.name:
                refusals.read_of(checks, session.channel, row, _BANK_BRANCH)

    def _try_issuer_domain(
        self, checks: CheckList, card: CardConnection, interface: Interface, contents: dict[str, bytes]
    ) -> None:
        plain = PlainChannel(card)
        if interface is Interface.CONTACTLESS:
            refusals.issuer_domain_over_the_field(checks, plain)
            return
        told = refusals.issuer_domain_by_contact(checks, plain)
        checks.add("number.told", bool(told) and told == contents.get(_NUMBER))

    def _open(self, checks: CheckList, card: CardConnection, role: str) -> TerminalSession | None:
        try:
            session = TerminalSession.open(card, self._sam, self._profile, role)
        except PersonalizationError as error:
            if error.code not in _CARD_FAULTS:
                raise
            checks.add(f"opened.{role}", False, str(error.parameters.get("sw", error.code)), str(SW.OK))
            return None
        checks.add(f"opened.{role}", True)
        return session

    def _read(self, checks: CheckList, session: TerminalSession, name: str, contents: dict[str, bytes]) -> None:
        row = self._profile.file_named(name)
        try:
            if row.structure is FileStructure.TRANSPARENT:
                contents[name] = session.files.read(row)
            else:
                contents[name] = b"".join(session.files.read_records(row))
        except CardRefused as refusal:
            checks.add(f"read.{name}", False, str(refusal.status), str(SW.OK))
            return
        checks.add(f"read.{name}", True, f"({len(contents[name])})")

    def _prove_chip(self, checks: CheckList, session: TerminalSession, contents: dict[str, bytes]) -> None:
        """The chip signs a challenge that nobody could know before, and EF.CHIPKEY verifies it."""
        challenge = self._randomness(CHIP_CHALLENGE_LENGTH)
        try:
            _, signature = session.internal_authenticate(challenge)
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), contents.get(_CHIP_KEY, b""))
        except CardRefused as refusal:
            checks.add("chip.genuine", False, str(refusal.status))
        except ValueError:
            checks.add("chip.genuine", False)
        else:
            checks.add("chip.genuine", is_signed(key, signature, _CHIP_PREFIX + challenge))

    # ------------------------------------------------------------ comparing

    def _compare(self, checks: CheckList, contents: dict[str, bytes], applicant: Applicant) -> None:
        identification = contents.get(_IDENTIFICATION, b"")
        checks.add("profile", identification == self._profile.identification, identification.decode("ascii", "replace"))
        for file in (IDENTITY, RESIDENCE, ENTITLEMENTS, LINKED, BANK):
            compare_tlv(checks, file, contents.get(file.name, _UNREAD), applicant, self._bank)
        compare_record(checks, contents.get("EF.GA490", b""), applicant)
        compare_status(checks, contents.get("EF.STATUS", b""), applicant)
        checks.add("empty.EF.ENDORSEMENTS", not any(contents.get("EF.ENDORSEMENTS", _UNREAD)))
        portrait = contents.get(_PORTRAIT, b"")
        picture = card_portrait(portrait)
        checks.add("portrait.form", picture is not None)
        checks.add("portrait.likeness", shows_the_same(portrait, applicant.portrait, picture))
        signed = {self._profile.file_named(name).fid: contents[name] for name in self._signed() if name in contents}
        self._signature.verify(checks, contents.get("EF.SIGNATURE", b""), signed, self._today())
        if self._faces is not None:
            compare_face(
                checks,
                self._faces.face(applicant.row_number),
                contents.get(IDENTITY.name, b""),
                contents.get(RESIDENCE.name, b""),
                contents.get(BANK.name, b""),
                portrait,
            )

    def _signed(self) -> tuple[str, ...]:
        return self._profile.signature.hashed if self._profile.signature else ()


class _StationSam:
    """The station's SAM: tells a card that is not genuine from a SAM that cannot go on."""

    __slots__ = ("_sam",)

    def __init__(self, sam: CardAuthenticator) -> None:
        self._sam = sam

    def prepare(self, concealed: bytes, reference: int, challenge: bytes) -> PreparedAuthentication:
        """See `CardAuthenticator`."""
        try:
            return self._sam.prepare(concealed, reference, challenge)
        except PersonalizationError as error:
            raise _judged(error) from error

    def complete(self, response: bytes) -> SessionKeys:
        """See `CardAuthenticator`."""
        try:
            return self._sam.complete(response)
        except PersonalizationError as error:
            raise _judged(error) from error


def _judged(error: PersonalizationError) -> PersonalizationError:
    """The card's fault as it is; everything else means that the SAM is unusable, or says why it is."""
    if error.code in _OWN_WORDS:
        return error
    if isinstance(error, CardRefused) and error.status == SW.AUTHENTICATION_FAILED:
        return PersonalizationError("card-not-genuine")
    return PersonalizationError("sam-unusable", exit_code=3, reason=error.code, sw=str(error.parameters.get("sw", "")))
