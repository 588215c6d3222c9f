"""Volatile state of a security domain on one logical channel, and who may use it.

Source: GlobalPlatform Card Specification 2.3.1, clauses 10.1 (secure communication) and 11.1.2 (card states).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from card_os.globalplatform.registry import CardLifeCycle
from card_os.globalplatform.secure_channel import DomainChannel
from card_os.iso7816.errors import ConditionsNotSatisfied, SecurityStatusNotSatisfied

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.globalplatform.certificates import Certificate
    from card_os.globalplatform.key_types import DomainKey
    from card_os.globalplatform.load import Loading
    from card_os.globalplatform.registry import Application

_SCRATCH_NAME: Final = "security domain"


class PersonalizationTarget:
    """Where STORE DATA goes after INSTALL [for personalization].

    Attributes:
        application: the application; it has to be the one in the registry still, for owner numbers are used again.
        channel: the secure channel session in which it was named; it holds for that session only.
        next_block: block number that the next STORE DATA has to carry.
        pending: first part of a data grouping that goes on in the next command.
        pending_form: encryption and structure bits of P1 that it came with.
    """

    __slots__ = ("application", "channel", "next_block", "pending", "pending_form")

    def __init__(self, application: Application, channel: DomainChannel) -> None:
        self.application = application
        self.channel = channel
        self.next_block = 0
        self.pending = b""
        self.pending_form = 0


class PendingData:
    """Data objects for the domain itself that one command began.

    Attributes:
        channel: the secure channel session that they came through.
        structure: structure and encryption bits of P1, which stay the same.
        next_block: block number that the next STORE DATA has to carry.
        data: what came so far.
    """

    __slots__ = ("channel", "data", "next_block", "structure")

    def __init__(self, channel: DomainChannel, structure: int) -> None:
        self.channel = channel
        self.structure = structure
        self.next_block = 0
        self.data = b""


class StatusListing:
    """What GET STATUS has still to tell.

    Attributes:
        query: P1, form and the data field of the command that began it.
        entries: encoded entries that were not sent yet.
    """

    __slots__ = ("entries", "query")

    def __init__(self, query: tuple[int, int, bytes], entries: list[bytes]) -> None:
        self.query = query
        self.entries = entries


class PendingKeys:
    """Keys of PUT KEY commands that say that more follow.

    Attributes:
        channel: the secure channel session that brought them; they hold for that session only.
        keys: version that is replaced, 00 for none, and key.
    """

    __slots__ = ("channel", "keys")

    def __init__(self, channel: DomainChannel) -> None:
        self.channel = channel
        self.keys: list[tuple[int, DomainKey]] = []


class HostProof:
    """What PERFORM SECURITY OPERATION has brought of a host's certificates.

    Attributes:
        key: identifier and version of the authority's key, as the command names it.
        authority: the same, as it was found.
        pending: pieces of the certificate that is coming.
        certificate: the last one that was verified.
        complete: it is the one of the host's own key.
    """

    __slots__ = ("authority", "certificate", "complete", "key", "pending")

    def __init__(self, key: tuple[int, int]) -> None:
        self.key = self.authority = key
        self.pending = b""
        self.certificate: Certificate | None = None
        self.complete = False


class DomainSession:
    """What a security domain remembers while it is selected on a channel.

    Attributes:
        platform: what the card offers to a security domain.
        target: where STORE DATA goes, None for the domain itself.
        listing: the rest of a GET STATUS answer.
        loading: the load file that LOAD brings.
        own: data for the domain itself that goes on in the next STORE DATA.
        key_owner: owner number of the keys of the last INITIALIZE UPDATE, 0 before.
        pending_keys: what PUT KEY commands brought that say that more follow.
        host_proof: certificates of a host, for the key agreement that follows.
    """

    __slots__ = ("host_proof", "key_owner", "listing", "loading", "own", "pending_keys", "platform", "target")

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.target: PersonalizationTarget | None = None
        self.listing: StatusListing | None = None
        self.loading: Loading | None = None
        self.own: PendingData | None = None
        self.key_owner = 0
        self.pending_keys: PendingKeys | None = None
        self.host_proof: HostProof | None = None


def open_domain_session(context: Context, platform: Platform) -> None:
    """Begin anew, when the domain is selected."""
    context.session.scratch[_SCRATCH_NAME] = DomainSession(platform)


def domain_session(context: Context) -> DomainSession:
    """The state of the selected domain.

    Raises:
        ConditionsNotSatisfied: 6985, the domain is not selected, or it was locked since (5.3.2.4).
    """
    state = context.session.scratch.get(_SCRATCH_NAME)
    if not isinstance(state, DomainSession):
        raise ConditionsNotSatisfied("the security domain is not selected")
    if context.application.locked:
        raise ConditionsNotSatisfied("the domain is locked")
    return state


def authenticated_channel(context: Context) -> DomainChannel:
    """The secure channel session that this command came through.

    Raises:
        SecurityStatusNotSatisfied: 6982, there is none, or it is not authenticated.
        ConditionsNotSatisfied: 6985, the domain was locked since (5.3.2.4).
    """
    channel = context.session.secure_channel
    if not isinstance(channel, DomainChannel) or not channel.authenticated:
        raise SecurityStatusNotSatisfied("no authenticated secure channel session")
    domain_session(context)
    return channel


def content_management_channel(context: Context) -> DomainChannel:
    """The session of a command that changes keys or content, which a locked card refuses.

    Raises:
        SecurityStatusNotSatisfied: 6982, no authenticated session.
        ConditionsNotSatisfied: 6985, the card is locked or terminated.
    """
    channel = authenticated_channel(context)
    if domain_session(context).platform.registry.card_life_cycle >= CardLifeCycle.CARD_LOCKED:
        raise ConditionsNotSatisfied("the card is locked")
    return channel
