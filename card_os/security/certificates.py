"""Card-verifiable certificates: a chain from a trust anchor of the card to the public key of a terminal.

```
7F4E  body
      5F29  00, the profile
      42    name of the issuer, 1 to 16 bytes
      7F49  public key: 06 algorithm, then 86 point, or 81 modulus and 82 exponent 010001
      5F20  name of the holder, 2 to 16 bytes
      7F4C  06 88371E01 ‖ 53 kind (1: C0 issuer, 00 terminal) ‖ roles (2, bit n-1 is role n)
      5F25  effective date, 5F24 expiration date: YYMMDD, a digit a byte
5F37  signature over the whole object 7F4E
```

Algorithms: ECDSA with SHA-256 on P-256 (04007F00070202020203) and with SHA-384 on P-384 (…04), RSA PKCS#1 v1.5 with
SHA-256 (04007F00070202020102), SM2 with SM3 (2A811CCF55018375).

A trust anchor is a public key object that verifies and has a role. MANAGE SECURITY ENVIRONMENT 81B6 names the issuer:
the reference of an anchor, or the name of an issuer whose certificate was verified in this session. PERFORM SECURITY
OPERATION 00BE verifies a certificate under it; what it says holds until deselection. A holder has the roles that every
certificate down to it grants, within the anchor's one. MANAGE SECURITY ENVIRONMENT 81A4 names a terminal for EXTERNAL
AUTHENTICATE with P2 00. Where the application keeps a date (`create_certificate_date`) a certificate must not have
expired by it, and that of an issuer moves it forward; the date is written before the certificate counts.

Source: BSI TR-03110-3, clauses C.1 (profile) and C.2 (data objects), A.7 (order of the chain); ISO/IEC 7816-8:2019,
clause 5.3.10 (VERIFY CERTIFICATE, self-descriptive). The object identifier of roles is our own, under the arc for
examples.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from card_os.iso7816 import tlv
from card_os.iso7816.errors import AuthenticationFailed, ConditionsNotSatisfied, ReferenceDataNotFound, WrongData
from card_os.security.access import Proof
from card_os.security.key_kinds import KeyAlgorithm, check_key_value, spend_on_signature, verify_message
from card_os.security.keys import KeyUsage, find_key
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.storage.store import StoredObject

ROLES_IDENTIFIER: Final = bytes.fromhex("88371E01")
DATE_LENGTH: Final = 6
_DATE_OBJECT: Final = 0x5F25
_SCRATCH: Final = "certificates"
_MAX_NAME: Final = 16
_MOST_KNOWN: Final = 4
_RSA_EXPONENT: Final = bytes.fromhex("010001")


class CertificateTag(IntEnum):
    """Data objects of a certificate."""

    BODY = 0x7F4E
    PROFILE = 0x5F29
    ISSUER = 0x42
    PUBLIC_KEY = 0x7F49
    HOLDER = 0x5F20
    AUTHORIZATION = 0x7F4C
    EFFECTIVE = 0x5F25
    EXPIRATION = 0x5F24
    SIGNATURE = 0x5F37
    OBJECT_IDENTIFIER = 0x06
    MODULUS = 0x81
    EXPONENT = 0x82
    POINT = 0x86
    ROLES = 0x53


class HolderKind(IntEnum):
    """What a holder may do with its key."""

    TERMINAL = 0x00
    ISSUER = 0xC0


_BODY: Final = tuple(
    int(tag)
    for tag in (
        CertificateTag.PROFILE,
        CertificateTag.ISSUER,
        CertificateTag.PUBLIC_KEY,
        CertificateTag.HOLDER,
        CertificateTag.AUTHORIZATION,
        CertificateTag.EFFECTIVE,
        CertificateTag.EXPIRATION,
    )
)
_ALGORITHMS: Final = MappingProxyType(
    {
        bytes.fromhex("04007F00070202020203"): KeyAlgorithm.EC_P256_PUBLIC,
        bytes.fromhex("04007F00070202020204"): KeyAlgorithm.EC_P384_PUBLIC,
        bytes.fromhex("04007F00070202020102"): KeyAlgorithm.RSA_PUBLIC,
        bytes.fromhex("2A811CCF55018375"): KeyAlgorithm.SM2_PUBLIC,
    }
)


@dataclass(frozen=True, slots=True)
class CertifiedKey:
    """A public key that a certificate, or an anchor, vouches for.

    Attributes:
        name: of the holder; empty for an anchor.
        algorithm: what it is.
        value: the key.
        kind: issuer or terminal.
        roles: bit n-1 is role n.
        expiration: last day, empty for an anchor.
    """

    name: bytes
    algorithm: KeyAlgorithm
    value: bytes = field(repr=False)
    kind: HolderKind
    roles: int
    expiration: bytes = b""

    @property
    def proofs(self) -> int:
        """The `Proof` bits of its roles."""
        return int(Proof.key(1)) * self.roles


@dataclass(slots=True)
class _Known:
    """Certificates that one session has verified, and what was named of them."""

    holders: dict[bytes, CertifiedKey] = field(default_factory=dict[bytes, CertifiedKey])
    issuer: CertifiedKey | None = None
    terminal: CertifiedKey | None = None


def _known(context: Context) -> _Known:
    found = context.session.scratch.get(_SCRATCH)
    if not isinstance(found, _Known):
        found = context.session.scratch[_SCRATCH] = _Known()
    return found


def forget_certificates(context: Context) -> None:
    """Forget what the session verified."""
    context.session.scratch.pop(_SCRATCH, None)


def choose_issuer(context: Context, reference: bytes) -> bool:
    """Name the issuer of the next certificate: an anchor (1 byte) or a holder that was verified.

    Returns:
        False for a key that is no anchor.

    Raises:
        ReferenceDataNotFound: 6A88, no such key or holder.
    """
    known = _known(context)
    known.issuer = None
    if len(reference) > 1:
        known.issuer = _holder(known, reference, HolderKind.ISSUER)
        return True
    key = find_key(context, reference[0], KeyUsage.VERIFY)
    if not key.role:
        return False
    known.issuer = CertifiedKey(b"", KeyAlgorithm(key.algorithm), key.value, HolderKind.ISSUER, 1 << key.role - 1)
    return True


def choose_terminal(context: Context, name: bytes) -> None:
    """Name the terminal that authenticates next.

    Raises:
        ReferenceDataNotFound: 6A88, no certificate of that holder was verified.
    """
    known = _known(context)
    known.terminal = None
    known.terminal = _holder(known, name, HolderKind.TERMINAL)


def chosen_terminal(context: Context) -> CertifiedKey | None:
    """The terminal that was named, None when none was."""
    found = context.session.scratch.get(_SCRATCH)
    return found.terminal if isinstance(found, _Known) else None


def _holder(known: _Known, name: bytes, kind: HolderKind) -> CertifiedKey:
    holder = known.holders.get(name)
    if holder is None or holder.kind is not kind:
        raise ReferenceDataNotFound(f"no certificate of such {kind.name.lower()} was verified")
    return holder


def verify_certificate(context: Context, data: bytes) -> None:
    """VERIFY CERTIFICATE, self-descriptive: data = 7F4E body ‖ 5F37 signature.

    Raises:
        ConditionsNotSatisfied: 6985, no issuer was named, or the certificate has expired.
        WrongData: 6A80, not this profile.
        AuthenticationFailed: 6300, the signature or the name of the issuer is wrong.
    """
    known = _known(context)
    issuer = known.issuer
    if issuer is None:
        raise ConditionsNotSatisfied("no issuer is named")
    try:
        body, signature = _parts(data)
        effective, holder, issuer_name = _read(body, issuer)
    except ValueError as error:
        raise WrongData(f"no certificate of the profile: {error}") from None
    if issuer.name and issuer_name != issuer.name:
        raise AuthenticationFailed("another issuer than the one that is named")
    spend_on_signature(context.clock, issuer.algorithm, issuer.value, len(data))
    if not verify_message(issuer.algorithm, issuer.value, body.encode(), signature.value):
        raise AuthenticationFailed("the signature is wrong")
    _check_date(context, holder, effective)
    if len(known.holders) >= _MOST_KNOWN and holder.name not in known.holders:
        raise ConditionsNotSatisfied("the session knows as many holders as it can")
    known.holders[holder.name] = holder


def _parts(data: bytes) -> tuple[tlv.Tlv, tlv.Tlv]:
    body, signature = tlv.parse_all(data)
    if (body.tag, signature.tag) != (CertificateTag.BODY, CertificateTag.SIGNATURE):
        raise ValueError("no body and signature")
    return body, signature


def _read(body: tlv.Tlv, issuer: CertifiedKey) -> tuple[bytes, CertifiedKey, bytes]:
    """Effective date, holder and name of the issuer in a body; `ValueError` for anything but the profile."""
    objects = body.children()
    if tuple(item.tag for item in objects) != _BODY:
        raise ValueError("other objects than the profile has")
    profile, issuer_name, _, name, _, effective, expiration = (item.value for item in objects)
    if profile != b"\x00":
        raise ValueError("another profile")
    if not 1 <= len(issuer_name) <= _MAX_NAME or not 1 < len(name) <= _MAX_NAME:
        raise ValueError("a name of another length")
    for date in (effective, expiration):
        if len(date) != DATE_LENGTH or max(date) > 9:  # noqa: PLR2004 - digits
            raise ValueError("no date")
    algorithm, value = _public_key(objects[2])
    kind, roles = _authorization(objects[4])
    if issuer.expiration and effective > issuer.expiration:
        raise ValueError("it begins after its issuer has ended")
    return effective, CertifiedKey(name, algorithm, value, kind, roles & issuer.roles, expiration), issuer_name


def _public_key(item: tlv.Tlv) -> tuple[KeyAlgorithm, bytes]:
    objects = item.children()
    tags = tuple(child.tag for child in objects)
    algorithm = _ALGORITHMS.get(objects[0].value) if tags[:1] == (CertificateTag.OBJECT_IDENTIFIER,) else None
    if algorithm is None:
        raise ValueError("an unknown algorithm")
    if algorithm is KeyAlgorithm.RSA_PUBLIC:
        wanted: tuple[int, ...] = (CertificateTag.MODULUS, CertificateTag.EXPONENT)
    else:
        wanted = (CertificateTag.POINT,)
    if tags[1:] != wanted or (algorithm is KeyAlgorithm.RSA_PUBLIC and objects[2].value != _RSA_EXPONENT):
        raise ValueError("another form of a public key")
    value = objects[1].value
    check_key_value(algorithm, value)
    return algorithm, value


def _authorization(item: tlv.Tlv) -> tuple[HolderKind, int]:
    identifier, template = item.children()
    if (identifier.tag, template.tag) != (CertificateTag.OBJECT_IDENTIFIER, CertificateTag.ROLES):
        raise ValueError("no authorization")
    if identifier.value != ROLES_IDENTIFIER or len(template.value) != 3:  # noqa: PLR2004 - kind and roles
        raise ValueError("an authorization of somebody else")
    return HolderKind(template.value[0]), int.from_bytes(template.value[1:], "big")


def create_certificate_date(context: Context, date: bytes) -> StoredObject:
    """Keep a date that certificates are compared with, in the open transaction or in one of its own.

    Args:
        context: the application's context.
        date: YYMMDD, a digit a byte.

    Raises:
        WrongData: 6A80, no such date.
        FileExists: 6A89, there is one.
    """
    if len(date) != DATE_LENGTH or max(date) > 9:  # noqa: PLR2004 - digits
        raise WrongData("a date has six digits, one a byte")
    return context.store.create(context.application.owner, ObjectKind.DATA, _DATE_OBJECT, DATE_LENGTH, date)


def _check_date(context: Context, holder: CertifiedKey, effective: bytes) -> None:
    """Refuse what has expired; an issuer's effective date moves the card's one forward."""
    store = context.store
    item = store.find(context.application.owner, ObjectKind.DATA, _DATE_OBJECT)
    if item is None:
        return
    today = store.read(item)
    if holder.expiration < today:
        raise ConditionsNotSatisfied("the certificate has expired")
    if holder.kind is HolderKind.ISSUER and effective > today:
        store.change(item, 0, effective)
