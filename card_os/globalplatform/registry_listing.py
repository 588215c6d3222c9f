"""GET STATUS: what the registry holds, in as many answers as it takes.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform.aes_messaging import MAX_PROTECTED_RESPONSE
from card_os.globalplatform.domain_session import StatusListing, authenticated_channel, domain_session
from card_os.iso7816 import tlv
from card_os.iso7816.errors import (
    ConditionsNotSatisfied,
    IncorrectP1P2,
    MoreDataFollows,
    ReferenceDataNotFound,
    WrongData,
)

if TYPE_CHECKING:
    from card_os.applet_api import Context, Platform
    from card_os.globalplatform.registry import Application
    from card_os.iso7816.apdu import CommandApdu

_TLV_FORM: Final = 0x02
_NEXT: Final = 0x01
_PACKAGE_LOADED: Final = 0x01


class Scope(IntEnum):
    """P1 of GET STATUS (table 11-33)."""

    ISSUER_DOMAIN = 0x80
    APPLICATIONS = 0x40
    PACKAGES = 0x20
    PACKAGES_AND_MODULES = 0x10


class _Tag(IntEnum):
    """Data objects of query and answer (tables 11-34 to 11-36)."""

    AID = 0x4F
    TAG_LIST = 0x5C
    ENTRY = 0xE3
    LIFE_CYCLE = 0x9F70
    PRIVILEGES = 0xC5
    PACKAGE = 0xC4
    DOMAIN = 0xCC
    MODULE = 0x84


def get_status(context: Context, command: CommandApdu) -> bytes:
    """GET STATUS in TLV form (P2 02), or what is left of the last answer (P2 03).

    Returns:
        Entries E3 { 4F AID, 9F70 state, C5 privileges, C4 package, CC domain, 84 module … }, as many as fit one
        protected response.

    Raises:
        MoreDataFollows: 6310, with the entries of this answer.
        IncorrectP1P2: 6A86, no such scope or form.
        WrongData: 6A80, the data field does not begin with 4F.
        ReferenceDataNotFound: 6A88, nothing matches.
        ConditionsNotSatisfied: 6985, nothing is left to tell.
    """
    authenticated_channel(context)
    state = domain_session(context)
    lister = _LISTERS.get(command.p1)
    if lister is None or command.p2 & ~_NEXT != _TLV_FORM:
        raise IncorrectP1P2("no such scope or form of GET STATUS")
    query = command.p1, command.data
    listing = state.listing
    state.listing = None
    if command.p2 & _NEXT:
        if listing is None or listing.query != query:
            raise ConditionsNotSatisfied("no answer to go on with")
        entries = listing.entries
    else:
        aid, wanted = _criteria(command.data)
        entries = [_encode(entry, wanted) for entry in lister(state.platform, context.application, aid)]
    if not entries:
        raise ReferenceDataNotFound("nothing in the registry matches")
    count = _fitting(entries)
    answer = b"".join(entries[:count])
    if count < len(entries):
        state.listing = StatusListing(query, entries[count:])
        raise MoreDataFollows("more entries follow", data=answer)
    return answer


def _criteria(data: bytes) -> tuple[bytes, frozenset[int] | None]:
    """AID to begin with, and the tags that are asked for (None = all)."""
    try:
        objects = tlv.parse_all(data)
    except tlv.TlvError as error:
        raise WrongData("the search criteria are malformed") from error
    if not objects or objects[0].tag != _Tag.AID or any(item.tag != _Tag.TAG_LIST for item in objects[1:]):
        raise WrongData("an AID as search criterion, then at most a tag list")
    tags: set[int] = set()
    for item in objects[1:]:
        offset = 0
        while offset < len(item.value):
            try:
                tag, offset = tlv.parse_tag(item.value, offset)
            except tlv.TlvError as error:
                raise WrongData("the tag list is malformed") from error
            tags.add(tag)
    return objects[0].value, frozenset(tags) if tags else None


def _encode(entry: list[tlv.Tlv], wanted: frozenset[int] | None) -> bytes:
    """An entry with the objects that are asked for; the AID is always there."""
    chosen = (item for item in entry if wanted is None or item.tag in wanted or item.tag == _Tag.AID)
    return tlv.encode(_Tag.ENTRY, tlv.encode_all(chosen))


def _fitting(entries: list[bytes]) -> int:
    """How many entries go into one response, at least one."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry)
        if size > MAX_PROTECTED_RESPONSE and count:
            return count
    return len(entries)


def _issuer_domain(platform: Platform, domain: Application, aid: bytes) -> Iterator[list[tlv.Tlv]]:
    """The domain itself; its state is that of the card."""
    if domain.aid.matches(aid):
        yield [
            tlv.Tlv(_Tag.AID, domain.aid),
            tlv.Tlv(_Tag.LIFE_CYCLE, bytes((platform.registry.card_life_cycle,))),
            tlv.Tlv(_Tag.PRIVILEGES, domain.privileges.encode()),
        ]


def _applications(platform: Platform, domain: Application, aid: bytes) -> Iterator[list[tlv.Tlv]]:
    for application in platform.registry.matching(aid):
        if application.owner == domain.owner:
            continue
        owner = platform.registry.by_owner(application.domain)
        yield [
            tlv.Tlv(_Tag.AID, application.aid),
            tlv.Tlv(_Tag.LIFE_CYCLE, bytes((application.life_cycle,))),
            tlv.Tlv(_Tag.PRIVILEGES, application.privileges.encode()),
            tlv.Tlv(_Tag.PACKAGE, application.package_aid),
            tlv.Tlv(_Tag.DOMAIN, owner.aid if owner is not None else b""),
        ]


def _packages(platform: Platform, domain: Application, aid: bytes) -> Iterator[list[tlv.Tlv]]:
    """Packages are those whose code the card has; they belong to the issuer domain."""
    for package in sorted({code.package_aid for code in platform.modules.values()}):
        if package.startswith(aid):
            yield [
                tlv.Tlv(_Tag.AID, package),
                tlv.Tlv(_Tag.LIFE_CYCLE, bytes((_PACKAGE_LOADED,))),
                tlv.Tlv(_Tag.DOMAIN, domain.aid),
            ]


def _packages_and_modules(platform: Platform, domain: Application, aid: bytes) -> Iterator[list[tlv.Tlv]]:
    for entry in _packages(platform, domain, aid):
        package = entry[0].value
        modules = sorted(module for module, code in platform.modules.items() if code.package_aid == package)
        yield entry + [tlv.Tlv(_Tag.MODULE, module) for module in modules]


_LISTERS: Final[Mapping[int, Callable[[Platform, Application, bytes], Iterator[list[tlv.Tlv]]]]] = {
    Scope.ISSUER_DOMAIN: _issuer_domain,
    Scope.APPLICATIONS: _applications,
    Scope.PACKAGES: _packages,
    Scope.PACKAGES_AND_MODULES: _packages_and_modules,
}
