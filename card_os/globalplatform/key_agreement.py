"""PERFORM SECURITY OPERATION, MUTUAL AUTHENTICATE and INTERNAL AUTHENTICATE: a session of SCP11 begins.

The host's certificates come one or more in a row, the one of its own key last. Each is signed by the key of the one
before, the first by a key of the domain. What they prove lasts for one key agreement, and no longer than the domain is
selected.

Source: GlobalPlatform Card Technology, Secure Channel Protocol '11', Amendment F v1.4, clauses 7.5 (PERFORM SECURITY
OPERATION) and 7.6 (MUTUAL AUTHENTICATE).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.globalplatform import keys
from card_os.globalplatform.certificates import parse_certificate
from card_os.globalplatform.channel_policy import load_policy
from card_os.globalplatform.domain_session import HostProof, domain_session
from card_os.globalplatform.key_records import is_allowed, key_of_authority
from card_os.globalplatform.key_types import KeyType, point_of, private_key
from card_os.globalplatform.scp11 import (
    VARIANTS,
    AgreementRequest,
    Variant,
    agree,
    fresh_scalar,
    open_channel,
)
from card_os.globalplatform.scp11_parameters import Scp11Implementation
from card_os.globalplatform.secure_channel import Protocol, indication
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    NotEnoughMemory,
    ReferenceDataNotFound,
    SecurityStatusNotSatisfied,
    WrongData,
)

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.globalplatform.certificates import Certificate
    from card_os.globalplatform.key_types import DomainKey
    from card_os.iso7816.apdu import CommandApdu

_MORE_BLOCKS: Final = 0x80
_MORE_CERTIFICATES: Final = 0x80
_NUMBER: Final = 0x7F
_CHAINED: Final = 0x10
_VARIANT_BITS: Final = 0x07
"""Of the parameter in a request: 1 and 2 name the variant, 3 asks for identifiers in the derivation. Hosts in the field
(libglobalplatform) fill the others with those of the parameter `i`."""
MAX_CERTIFICATE: Final = 4096
"""The longest certificate in bytes that may come in pieces."""


def perform_security_operation(context: Context, command: CommandApdu) -> bytes:
    """PERFORM SECURITY OPERATION: a certificate of the host, or a piece of it.

    P1 is the version of the authority's key, +80 when more of this certificate follows; P2 its identifier, +80 when
    another certificate follows. With 0000 the card finds the key by the authority that the certificate names. Command
    chaining may cut the certificate as well.

    Raises:
        ConditionsNotSatisfied: 6985, the domain offers no SCP11 with certified hosts, or no chains.
        NotEnoughMemory: 6A84, the certificate is too long.
        WrongData: 6A80, it is malformed.
        ReferenceDataNotFound: 6A88, no such key of an authority.
        SecurityStatusNotSatisfied: 6982, the signature is wrong, or the key is not meant for this.
    """
    context.session.secure_channel = None
    state = domain_session(context)
    proof, state.host_proof = state.host_proof, None
    implementation = _implementation(context)
    if not implementation & (Scp11Implementation.SCP11A | Scp11Implementation.SCP11C):
        raise ConditionsNotSatisfied("the domain takes no certificates of hosts")
    name = command.p2 & _NUMBER, command.p1 & _NUMBER
    if proof is None or proof.complete or proof.key != name:
        proof = HostProof(name)
    proof.pending += command.data
    if len(proof.pending) > MAX_CERTIFICATE:
        raise NotEnoughMemory("the certificate is too long")
    if not command.cla & _CHAINED and not command.p1 & _MORE_BLOCKS:
        certificate = parse_certificate(proof.pending)
        proof.pending = b""
        more = bool(command.p2 & _MORE_CERTIFICATES)
        if (more or proof.certificate is not None) and not implementation & Scp11Implementation.CERTIFICATE_CHAINS:
            raise ConditionsNotSatisfied("the domain takes no chains of certificates")
        _verify(context, proof, certificate, last=not more)
    state.host_proof = proof
    return b""


def _verify(context: Context, proof: HostProof, certificate: Certificate, *, last: bool) -> None:
    store, owner = context.store, context.application.owner
    issuer = proof.certificate
    if issuer is None:
        name = proof.key if any(proof.key) else key_of_authority(store, owner, certificate.authority)
        authority = None if name is None else keys.load_key(store, owner, name[1], name[0])
        if name is None or authority is None or authority.key_type is not KeyType.EC_PUBLIC:
            raise ReferenceDataNotFound("no such key of an authority")
        proof.authority = name
        genuine = certificate.is_signed_by(authority.curve, authority.value)
    else:
        genuine = certificate.is_signed_by(issuer.curve, issuer.point)
    if not genuine or not (certificate.agrees if last else certificate.signs):
        raise SecurityStatusNotSatisfied("the certificate is not genuine, or its key is not meant for this")
    if last and not is_allowed(store, owner, *proof.authority, certificate.serial):
        raise SecurityStatusNotSatisfied("the certificate is not on the allowlist")
    proof.certificate = certificate
    proof.complete = last


def mutual_authenticate(context: Context, command: CommandApdu) -> bytes:
    """MUTUAL AUTHENTICATE: a session of SCP11a or SCP11c; P1 and P2 are version and identifier of the card's key.

    Returns:
        5F49 { point of the card } ‖ 86 { receipt (16) }.

    Raises:
        ReferenceDataNotFound: 6A88, no such key, or its variant is not offered.
        WrongData: 6A80, malformed, or for another variant or curve.
        ConditionsNotSatisfied: 6985, the host's certificate did not come before.
    """
    return _authenticate(context, command, host_is_proved=True)


def internal_authenticate(context: Context, command: CommandApdu) -> bytes:
    """INTERNAL AUTHENTICATE: a session of SCP11b, whose host stays unknown; otherwise as `mutual_authenticate`."""
    return _authenticate(context, command, host_is_proved=False)


def _authenticate(context: Context, command: CommandApdu, *, host_is_proved: bool) -> bytes:
    context.session.secure_channel = None
    state = domain_session(context)
    proof, state.host_proof = state.host_proof, None
    variant, key = _card_key(context, command, host_is_proved=host_is_proved)
    request = AgreementRequest.parse(command.data)
    if request.parameter & _VARIANT_BITS != variant.parameter:
        raise WrongData("the request is for another variant")
    curve, host_point = key.curve, request.host_point
    if variant.host_is_proved:
        if proof is None or not proof.complete or proof.certificate is None:
            raise ConditionsNotSatisfied("the host's certificate has to come before")
        if proof.certificate.curve != curve:
            raise WrongData("the host's key is on another curve")
        host_point = proof.certificate.point
    own = fresh_scalar(curve, context.randomness) if variant.card_is_fresh else key.value
    channel, answer = open_channel(
        request,
        command.data,
        secret=agree(curve, own, request.host_point) + agree(curve, key.value, host_point),
        card_point=point_of(private_key(curve, own).public_key()),
        key_version=key.version,
        authenticated=variant.host_is_proved,
        implementation=_implementation(context),
    )
    channel.indication = indication(command.cla)
    context.session.secure_channel = channel
    return answer


def _card_key(context: Context, command: CommandApdu, *, host_is_proved: bool) -> tuple[Variant, DomainKey]:
    """The card's key and what it is for."""
    variant = VARIANTS.get(command.p2)
    key = keys.load_key(context.store, context.application.owner, command.p1, command.p2)
    if variant is None or key is None or key.key_type is not KeyType.EC_PRIVATE:
        raise ReferenceDataNotFound("no such key of the card")
    if variant.host_is_proved is not host_is_proved or not _implementation(context) & variant.implementation:
        raise ReferenceDataNotFound("the variant of this key is not offered, or begins with another command")
    return variant, key


def _implementation(context: Context) -> int:
    """The parameter `i` of SCP11, 0 when the domain does not offer it."""
    return load_policy(context.store, context.application.owner).implementation(Protocol.SCP11) or 0
