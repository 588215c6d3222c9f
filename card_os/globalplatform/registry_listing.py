"""GET STATUS: what the registry holds, in as many answers as it takes.

Source: GlobalPlatform Card Specification 2.3.1, clause 11.4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from typing import TYPE_CHECKING, Final

from card_os.globalplatform.aes_messaging import MAX_PROTECTED_RESPONSE
from card_os.globalplatform.domain_session import StatusListing, authenticated_channel, domain_session
from card_os.globalplatform.privileges import Privilege
from card_os.globalplatform.registry import ISSUER_DOMAIN, ContactlessState, LoadFileLifeCycle
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
    from card_os.globalplatform.registry import Application, LoadFile
    from card_os.iso7816.apdu import CommandApdu

_TLV_FORM: Final = 0x02
_NEXT: Final = 0x01


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
    IMPLICIT_SELECTION = 0xCF
    VERSION = 0xCE
    PACKAGE = 0xC4
    DOMAIN = 0xCC
    MODULE = 0x84


def get_status(context: Context, command: CommandApdu) -> bytes:
    """GET STATUS of the registry entries that the domain may see.

    P2 is 02 for the TLV form and 00 for the old one; with its bit 1, what is left of the last answer.

    Returns:
        Entries, as many as fit one protected response. TLV: E3 { 4F AID, 9F70 state, C5 privileges, CF implicit
        selection, C4 package, CC domain, CE version, 84 module … }. Old form: AID with length ‖ state (1) ‖ privileges
        (1) ‖ for packages with modules their number (1), and each with length.

    Raises:
        MoreDataFollows: 6310, with the entries of this answer.
        IncorrectP1P2: 6A86, no such scope or form, or the issuer domain asked from a domain that may not see it.
        WrongData: 6A80, the data field does not begin with 4F.
        ReferenceDataNotFound: 6A88, nothing matches.
        ConditionsNotSatisfied: 6985, nothing is left to tell.
    """
    authenticated_channel(context)
    state = domain_session(context)
    lister = _LISTERS.get(command.p1)
    if lister is None or command.p2 & ~(_NEXT | _TLV_FORM):
        raise IncorrectP1P2("no such scope or form of GET STATUS")
    query = command.p1, command.p2 & _TLV_FORM, command.data
    listing = state.listing
    state.listing = None
    if command.p2 & _NEXT:
        if listing is None or listing.query != query:
            raise ConditionsNotSatisfied("no answer to go on with")
        entries = listing.entries
    else:
        aid, wanted = _criteria(command.data)
        found = lister(state.platform, context.application, aid)
        encode = _encode if command.p2 & _TLV_FORM else _encode_old
        entries = [encode(entry, wanted) for entry in found]
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


def _encode_old(entry: list[tlv.Tlv], _wanted: frozenset[int] | None) -> bytes:
    """An entry in the form of versions up to 2.2, which 2.3.1 leaves open (table 11-34); a tag list says nothing here.

    Source: GlobalPlatform Card Specification 2.1.1, tables 9-24 and 9-25.
    """
    values = {item.tag: item.value for item in entry}
    aid, modules = values[_Tag.AID], [item.value for item in entry if item.tag == _Tag.MODULE]
    raw = bytes((len(aid),)) + aid + values[_Tag.LIFE_CYCLE][:1] + values.get(_Tag.PRIVILEGES, b"\x00")[:1]
    if not modules:
        return raw
    return raw + bytes((len(modules),)) + b"".join(bytes((len(module),)) + module for module in modules)


def _fitting(entries: list[bytes]) -> int:
    """How many entries go into one response, at least one."""
    size = 0
    for count, entry in enumerate(entries):
        size += len(entry)
        if size > MAX_PROTECTED_RESPONSE and count:
            return count
    return len(entries)


def _issuer_domain(platform: Platform, domain: Application, _aid: bytes) -> Iterator[list[tlv.Tlv]]:
    """The issuer domain, whatever AID is asked for; its state is that of the card."""
    issuer = platform.registry.issuer_domain
    if issuer is None or (domain is not issuer and not domain.privileges & Privilege.GLOBAL_REGISTRY):
        raise IncorrectP1P2("the issuer domain is not for this domain to see")
    yield [
        tlv.Tlv(_Tag.AID, issuer.aid),
        tlv.Tlv(_Tag.LIFE_CYCLE, bytes((platform.registry.card_life_cycle,))),
        tlv.Tlv(_Tag.PRIVILEGES, issuer.privileges.encode()),
        *_implicit(issuer),
    ]


def _implicit(application: Application) -> list[tlv.Tlv]:
    return [tlv.Tlv(_Tag.IMPLICIT_SELECTION, bytes((value,))) for value in application.data.implicit_selection]


def _visible(platform: Platform, domain: Application, entry: Application | LoadFile) -> bool:
    """Everything with the global registry privilege, else what is associated with the domain, and itself (9.6.5)."""
    return bool(domain.privileges & Privilege.GLOBAL_REGISTRY) or platform.registry.is_below(entry, domain)


def _applications(platform: Platform, domain: Application, aid: bytes) -> Iterator[list[tlv.Tlv]]:
    for application in platform.registry.matching(aid):
        if application.owner == ISSUER_DOMAIN or not _visible(platform, domain, application):
            continue
        contactless = application.data.contactless
        activation = b"" if contactless is ContactlessState.UNMANAGED else bytes((contactless,))
        yield [
            tlv.Tlv(_Tag.AID, application.aid),
            tlv.Tlv(_Tag.LIFE_CYCLE, bytes((application.life_cycle,)) + activation),
            tlv.Tlv(_Tag.PRIVILEGES, application.privileges.encode()),
            *_implicit(application),
            tlv.Tlv(_Tag.PACKAGE, application.package_aid),
            *_associated(platform, application),
        ]


def _associated(platform: Platform, entry: Application | LoadFile) -> list[tlv.Tlv]:
    above = platform.registry.domain_of(entry)
    return [] if above is None else [tlv.Tlv(_Tag.DOMAIN, above.aid)]


def _packages(platform: Platform, domain: Application, aid: bytes) -> Iterator[list[tlv.Tlv]]:
    for file in _load_files(platform, domain, aid):
        yield _package(platform, file)


def _load_files(platform: Platform, domain: Application, aid: bytes) -> Iterator[LoadFile]:
    for file in platform.registry.load_files:
        if (
            file.aid.startswith(aid)
            and file.life_cycle is LoadFileLifeCycle.LOADED
            and _visible(platform, domain, file)
        ):
            yield file


def _package(platform: Platform, file: LoadFile) -> list[tlv.Tlv]:
    return [
        tlv.Tlv(_Tag.AID, file.aid),
        tlv.Tlv(_Tag.LIFE_CYCLE, bytes((file.life_cycle,))),
        tlv.Tlv(_Tag.VERSION, file.version),
        *_associated(platform, file),
    ]


def _packages_and_modules(platform: Platform, domain: Application, aid: bytes) -> Iterator[list[tlv.Tlv]]:
    for file in _load_files(platform, domain, aid):
        yield _package(platform, file) + [tlv.Tlv(_Tag.MODULE, module) for module in file.modules]


_LISTERS: Final[Mapping[int, Callable[[Platform, Application, bytes], Iterator[list[tlv.Tlv]]]]] = {
    Scope.ISSUER_DOMAIN: _issuer_domain,
    Scope.APPLICATIONS: _applications,
    Scope.PACKAGES: _packages,
    Scope.PACKAGES_AND_MODULES: _packages_and_modules,
}
