"""Opens a session of Secure Channel Protocol '11' with a card: certificates, key agreement, and the card's own proof.

No key is guessed at and no try is spent: a host that the card does not know is refused before anything is agreed on.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '11', Amendment F v1.4, clauses 7.5 and 7.6.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from personalization.errors import PersonalizationError
from personalization.globalplatform import card_data, commands
from personalization.globalplatform.card_certificates import certificate_request, certified_key
from personalization.globalplatform.data_key import AesDataKey
from personalization.globalplatform.scp03 import InitializeUpdateResponse
from personalization.globalplatform.scp11 import (
    PROTOCOL,
    HostIdentity,
    KeyAgreement,
    Variant,
    certificate_commands,
)
from personalization.globalplatform.session import SecureSession, exchange_plain
from reader_bridge.connection import CardConnection

_SELECTED: Final = (SW.OK, SW.FILE_DEACTIVATED_WARNING)


@dataclass(frozen=True, slots=True)
class CertifiedAccess:
    """How a host and a card prove their keys to each other.

    Attributes:
        variant: the variant of the protocol.
        key_version: version of the card's key.
        host: by what the host is known; None in SCP11b.
        card_key: the card's public key, where it is known beforehand.
        card_authority: else the key that the card's certificates have to lead to.
        level: security level, 33 or 11.
        key_length: bytes of the AES session keys.
    """

    variant: Variant
    key_version: int
    host: HostIdentity | None = None
    card_key: ec.EllipticCurvePublicKey | None = field(default=None, repr=False)
    card_authority: ec.EllipticCurvePublicKey | None = None
    level: int = 0x33
    key_length: int = 16


def open_certified(
    connection: CardConnection,
    access: CertifiedAccess,
    *,
    aid: bytes = commands.ISSUER_DOMAIN_AID,
    fresh_key: Callable[[ec.EllipticCurve], ec.EllipticCurvePrivateKey] = ec.generate_private_key,
) -> SecureSession:
    """Select a security domain and open a session of SCP11 with it.

    Args:
        connection: a powered card.
        access: what is proved, and how.
        aid: the security domain.
        fresh_key: makes the host's key of this session.

    Raises:
        PersonalizationError: "card-refused" with the status word; "scp11-unsupported": the domain tells another `i`;
            "scp11-card-unknown": neither the card's key nor an authority is given; "scp11-card-not-certified",
            "scp11-answer-malformed", "scp11-receipt-wrong": the card is not the one that it should be;
            "security-level-unsupported": the keys do not fit each other, or this level is none of SCP11.
        ReaderError: an exchange did not complete.
    """
    _sent(connection, commands.select(aid), "SELECT")
    implementation = _implementation(connection)
    if implementation is not None and not access.variant.offered_by(implementation):
        told = f"{implementation:02X}"
        raise PersonalizationError("scp11-unsupported", variant=access.variant.name, implementation=told)
    card_key = access.card_key or _certified(connection, access)
    try:
        agreement = KeyAgreement(
            access.variant,
            card_key,
            access.key_version,
            access.host,
            level=access.level,
            key_length=access.key_length,
            implementation=implementation or 0,
            fresh_key=fresh_key,
        )
    except ValueError as error:
        raise PersonalizationError("scp11-keys-do-not-fit", exit_code=2) from error
    if access.host is not None:
        for command in certificate_commands(access.host):
            _sent(connection, command, "PERFORM SECURITY OPERATION")
    messaging, dek = agreement.finish(_sent(connection, agreement.command, "AUTHENTICATE"))
    card = InitializeUpdateResponse(b"", access.key_version, implementation or 0, b"", b"", b"", PROTOCOL)
    return SecureSession(connection, messaging, card, AesDataKey(dek))


def _sent(connection: CardConnection, command: CommandApdu, name: str) -> bytes:
    response = exchange_plain(connection, command)
    if response.sw not in _SELECTED:
        raise PersonalizationError(
            "card-refused", command=name, ins=f"{command.ins:02X}", sw=str(response.sw), meaning=response.sw.text
        )
    return response.data


def _implementation(connection: CardConnection) -> int | None:
    """`i` of SCP11 as the card recognition data tell it, None when they do not."""
    response = exchange_plain(connection, commands.get_data(card_data.RECOGNITION_DATA))
    try:
        return card_data.parse_recognition_data(response.data).implementation(PROTOCOL)
    except PersonalizationError:
        return None


def _certified(connection: CardConnection, access: CertifiedAccess) -> ec.EllipticCurvePublicKey:
    if access.card_authority is None:
        raise PersonalizationError("scp11-card-unknown", exit_code=2)
    request = certificate_request(access.variant.key_identifier, access.key_version)
    response = exchange_plain(connection, request)
    if response.sw == SW.REFERENCE_DATA_NOT_FOUND:
        raise PersonalizationError("scp11-card-not-certified", reason="no certificate")
    return certified_key(response.data, access.card_authority)
