"""INITIALIZE UPDATE and EXTERNAL AUTHENTICATE: a session of Secure Channel Protocol '02' or '03' begins.

The keys choose the protocol: a set of DES keys opens SCP02, one of AES keys SCP03, with the parameter `i` that the
domain's policy gives it. A domain that has no key set is reached with those of its associated domain.

Source: GlobalPlatform Card Specification 2.3.1, clauses 7.2 and E.5; Amendment D v1.1.1, clauses 5.3, 6.2.2, 7.1.1 and
7.1.2, v1.2 for S16 mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.globalplatform import keys, scp02, scp03
from card_os.globalplatform.channel_policy import load_policy
from card_os.globalplatform.domain_session import domain_session
from card_os.globalplatform.key_agreement import mutual_authenticate
from card_os.globalplatform.scp02 import Scp02Channel, Scp02Implementation
from card_os.globalplatform.scp03 import Scp03Channel, Scp03Implementation
from card_os.globalplatform.secure_channel import Protocol, indication, is_secured
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    IncorrectP1P2,
    MethodBlocked,
    ReferenceDataNotFound,
    WrongLength,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from card_os.applet_api import Context
    from card_os.globalplatform.keys import KeySet
    from card_os.iso7816.apdu import CommandApdu

_DEFAULT_VERSION: Final = 0


def initialize_update(context: Context, command: CommandApdu) -> bytes:
    """INITIALIZE UPDATE: challenge of the host for challenge and cryptogram of the card.

    P1 is the key version number, 00 for the default set; P2 is 00. An open session ends, also when the command fails.
    After failed authentications the card takes the time that its policy says.

    Returns:
        SCP03: diversification data (10) ‖ key version (1) ‖ 03 ‖ `i` (1) ‖ card challenge (8 or 16) ‖ card cryptogram
        (as long) ‖ sequence counter (3), which is left out with random challenges.
        SCP02: diversification data (10) ‖ key version (1) ‖ 02 ‖ sequence counter (2) ‖ card challenge (6) ‖ card
        cryptogram (8).

    Raises:
        IncorrectP1P2: 6A86.
        ReferenceDataNotFound: 6A88, no such key set.
        WrongLength: 6700, the challenge has another length.
        ConditionsNotSatisfied: 6985, the sequence counter is used up.
    """
    context.session.secure_channel = None
    if command.p2:
        raise IncorrectP1P2("the key identifier has to be 00")
    owner, key_set, implementation = _find_key_set(context, command.p1)
    policy = load_policy(context.store, owner)
    if policy.first_pause_ms:
        context.clock.spend(policy.pause_ns(keys.failures(context.store, owner, key_set.version)))
    channel, answer = _OPENINGS[key_set.protocol](context, command, owner, key_set, implementation)
    channel.indication = indication(command.cla)
    context.session.secure_channel = channel
    domain_session(context).key_owner = owner
    return context.card_number + bytes((key_set.version, key_set.protocol)) + answer


def _find_key_set(context: Context, version: int) -> tuple[int, KeySet, int]:
    """Owner of the keys, the set, and the parameter `i` of its protocol.

    Raises:
        ReferenceDataNotFound: 6A88, no such set, or its protocol is not offered.
    """
    store = context.store
    for owner in _lineage(context):
        versions = keys.key_versions(store, owner)
        if not versions:
            continue
        policy = load_policy(store, owner)
        for candidate in versions if version == _DEFAULT_VERSION else [version]:
            key_set = keys.load_key_set(store, owner, candidate)
            implementation = None if key_set is None else policy.implementation(key_set.protocol)
            if key_set is not None and implementation is not None:
                return owner, key_set, implementation
        break
    raise ReferenceDataNotFound("no key set of this version for a protocol that is offered")


def _lineage(context: Context) -> Iterator[int]:
    """The domain, and the domains that it is associated with, up to the one that stands alone."""
    registry = domain_session(context).platform.registry
    application = context.application
    seen: set[int] = set()
    while application.owner not in seen:
        seen.add(application.owner)
        yield application.owner
        application = registry.by_owner(application.domain) or application


def _open_scp03(
    context: Context, command: CommandApdu, owner: int, key_set: KeySet, implementation: int
) -> tuple[Scp03Channel, bytes]:
    length = scp03.challenge_length(implementation)
    if len(command.data) != length:
        raise WrongLength(f"a host challenge has {length} bytes")
    sequence = b""
    if implementation & Scp03Implementation.PSEUDO_RANDOM:
        moved = keys.advance_sequence_counter(context.store, owner, key_set.version)
        if moved is None:
            raise ConditionsNotSatisfied("the sequence counter is used up")
        sequence = moved
        challenge = scp03.card_challenge(key_set.enc, sequence, context.application.aid, length)
    else:
        challenge = context.randomness.bytes(length)
    channel = Scp03Channel(key_set, command.data, challenge, implementation)
    return channel, bytes((implementation,)) + challenge + channel.cryptogram + sequence


def _open_scp02(
    context: Context, command: CommandApdu, owner: int, key_set: KeySet, implementation: int
) -> tuple[Scp02Channel, bytes]:
    """The counter moves when EXTERNAL AUTHENTICATE has a right C-MAC (E.1.2)."""
    if len(command.data) != scp02.HOST_CHALLENGE_LENGTH:
        raise WrongLength(f"a host challenge has {scp02.HOST_CHALLENGE_LENGTH} bytes")
    store, version = context.store, key_set.version
    sequence = keys.usable_sequence(store, owner, version)
    if sequence is None:
        raise ConditionsNotSatisfied("the sequence counter is used up")
    if implementation & Scp02Implementation.PSEUDO_RANDOM:
        challenge = scp02.card_challenge(key_set.mac, sequence, context.application.aid)
    else:
        challenge = context.randomness.bytes(scp02.CHALLENGE_LENGTH)

    def move_counter() -> None:
        keys.advance_sequence_counter(store, owner, version)

    channel = Scp02Channel(key_set, command.data, sequence, challenge, implementation, move_counter)
    return channel, sequence + challenge + channel.cryptogram


_OPENINGS: Final[
    Mapping[
        Protocol,
        Callable[[Context, CommandApdu, int, KeySet, int], tuple[Scp02Channel | Scp03Channel, bytes]],
    ]
] = {Protocol.SCP02: _open_scp02, Protocol.SCP03: _open_scp03}


def authenticate(context: Context, command: CommandApdu) -> bytes:
    """INS 82: MUTUAL AUTHENTICATE with a plain class byte where the domain offers SCP11, EXTERNAL AUTHENTICATE else."""
    policy = load_policy(context.store, context.application.owner)
    if is_secured(command.cla) or policy.implementation(Protocol.SCP11) is None:
        return external_authenticate(context, command)
    return mutual_authenticate(context, command)


def external_authenticate(context: Context, command: CommandApdu) -> bytes:
    """EXTERNAL AUTHENTICATE: the host proves its keys and chooses the security level.

    The try is spent before the compare. The challenge is used up, whatever comes of it.

    Raises:
        ConditionsNotSatisfied: 6985, it does not follow INITIALIZE UPDATE.
        IncorrectP1P2: 6A86, no such security level, or `i` does not offer it.
        WrongLength: 6700, data is not cryptogram ‖ MAC.
        MethodBlocked: 6983, no try is left.
        AuthenticationFailed: 6300.
    """
    session, store = context.session, context.store
    channel = session.secure_channel
    session.secure_channel = None
    if not isinstance(channel, (Scp02Channel, Scp03Channel)) or channel.authenticated:
        raise ConditionsNotSatisfied("no INITIALIZE UPDATE before")
    if command.p1 not in channel.levels or command.p2:
        raise IncorrectP1P2("no such security level")
    if len(command.data) != channel.proof_length:
        raise WrongLength("data is host cryptogram and MAC")
    owner = domain_session(context).key_owner
    if not keys.spend_try(store, owner, channel.key_version):
        raise MethodBlocked("no try is left for this key set")
    channel.authenticate(command)
    keys.restore_tries(store, owner, channel.key_version)
    session.secure_channel = channel
    return b""
