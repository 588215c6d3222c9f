"""INITIALIZE UPDATE and EXTERNAL AUTHENTICATE: a Secure Channel Protocol '03' session begins.

Source: GlobalPlatform Amendment D v1.1.1, clauses 5.3, 6.2.2, 7.1.1 and 7.1.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.globalplatform import keys
from card_os.globalplatform.scp03 import (
    CHALLENGE_LENGTH,
    CRYPTOGRAM_LENGTH,
    IMPLEMENTATION,
    MAC_LENGTH,
    PROTOCOL,
    SECURITY_LEVELS,
    Scp03Channel,
    card_challenge,
)
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    IncorrectP1P2,
    MethodBlocked,
    ReferenceDataNotFound,
    ReferenceDataNotUsable,
    WrongLength,
)

if TYPE_CHECKING:
    from card_os.applet_api import Context
    from card_os.iso7816.apdu import CommandApdu

_DEFAULT_VERSION: Final = 0


def initialize_update(context: Context, command: CommandApdu) -> bytes:
    """INITIALIZE UPDATE: challenge of the host (8) for challenge and cryptogram of the card.

    P1 is the key version number, 00 for the default set; P2 is 00. An open session ends, also when the command fails.

    Returns:
        Diversification data (10) ‖ key version (1) ‖ 03 ‖ `i` (1) ‖ card challenge (8) ‖ card cryptogram (8) ‖ sequence
        counter (3).

    Raises:
        IncorrectP1P2: 6A86.
        WrongLength: 6700, the challenge has another length.
        ReferenceDataNotFound: 6A88, no such key set.
        ReferenceDataNotUsable: 6984, its sequence counter is used up.
    """
    session, store, owner = context.session, context.store, context.application.owner
    session.secure_channel = None
    if command.p2:
        raise IncorrectP1P2("the key identifier has to be 00")
    if len(command.data) != CHALLENGE_LENGTH:
        raise WrongLength("a host challenge has 8 bytes")
    version = command.p1
    if version == _DEFAULT_VERSION:
        version = next(iter(keys.key_versions(store, owner)), _DEFAULT_VERSION)
    key_set = keys.load_key_set(store, owner, version)
    if key_set is None:
        raise ReferenceDataNotFound("no key set of this version")
    sequence = keys.advance_sequence_counter(store, owner, version)
    if sequence is None:
        raise ReferenceDataNotUsable("the sequence counter is used up")
    challenge = card_challenge(key_set.enc, sequence, context.application.aid)
    channel = Scp03Channel(key_set, command.data, challenge)
    session.secure_channel = channel
    head = context.card_number + bytes((version, PROTOCOL, IMPLEMENTATION))
    return head + challenge + channel.cryptogram + sequence


def external_authenticate(context: Context, command: CommandApdu) -> bytes:
    """EXTERNAL AUTHENTICATE: the host proves its keys and chooses the security level.

    The try is spent before the compare. The challenge is used up, whatever comes of it.

    Raises:
        ConditionsNotSatisfied: 6985, it does not follow INITIALIZE UPDATE.
        IncorrectP1P2: 6A86, no such security level.
        WrongLength: 6700, data is not cryptogram (8) ‖ MAC (8).
        MethodBlocked: 6983, no try is left.
        AuthenticationFailed: 6300.
    """
    session, store, owner = context.session, context.store, context.application.owner
    channel = session.secure_channel
    session.secure_channel = None
    if not isinstance(channel, Scp03Channel) or channel.authenticated:
        raise ConditionsNotSatisfied("no INITIALIZE UPDATE before")
    if command.p1 not in SECURITY_LEVELS or command.p2:
        raise IncorrectP1P2("no such security level")
    if len(command.data) != CRYPTOGRAM_LENGTH + MAC_LENGTH:
        raise WrongLength("host cryptogram and MAC have 8 bytes each")
    if not keys.spend_try(store, owner, channel.key_version):
        raise MethodBlocked("no try is left for this key set")
    channel.authenticate(command)
    keys.restore_tries(store, owner, channel.key_version)
    session.secure_channel = channel
    return b""
