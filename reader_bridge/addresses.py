"""Addresses of cards, as a user types them, and what they lead to.

```
sim:PATH[:contactless]              a card file
pcsc:NAME                           a PC/SC reader; its name, or a part that only one reader has
serial:PORT                         a reader on a serial port: a device file, COM3, or rfc2217://HOST:PORT
remote:HOST:PORT[:contactless]      a card that another program serves
```

Behind the first word may stand options, each after a comma: ``pcsc,t0:NAME`` connects by T=0, ``serial,phoenix:PORT``
says which kind of reader is on the port.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from reader_bridge.connection import CardConnection, Interface, Protocol7816, ReaderError
from reader_bridge.network import place_name
from reader_bridge.simulated import CardMaker, open_card

if TYPE_CHECKING:
    from reader_bridge.pcsc import DualReader

_SERIAL_NETWORK: Final = "rfc2217"
_MAX_PORT: Final = 65_535
_MAX_CARD: Final = 128


class AddressKind(Enum):
    """The first word of an address."""

    SIMULATED = "sim"
    PCSC = "pcsc"
    SERIAL = "serial"
    REMOTE = "remote"


class AddressOption(Enum):
    """What may stand behind the first word."""

    T0 = "t0"
    T1 = "t1"
    EXCLUSIVE = "exclusive"
    CCID = "ccid"
    PHOENIX = "phoenix"
    PN532 = "pn532"
    FAST = "fast"
    DTR = "dtr"
    SMARTMOUSE = "smartmouse"
    TLS = "tls"


_OPTIONS: Final = {
    AddressKind.SIMULATED: frozenset[AddressOption](),
    AddressKind.PCSC: frozenset({AddressOption.T0, AddressOption.T1, AddressOption.EXCLUSIVE}),
    AddressKind.SERIAL: frozenset(AddressOption) - {AddressOption.EXCLUSIVE, AddressOption.TLS},
    AddressKind.REMOTE: frozenset({AddressOption.TLS}),
}
_SERIAL_KINDS: Final = frozenset({AddressOption.CCID, AddressOption.PHOENIX, AddressOption.PN532})
_CHOICES: Final = (frozenset({AddressOption.T0, AddressOption.T1}), _SERIAL_KINDS)
"""Options of which an address has at most one."""


@dataclass(frozen=True, slots=True)
class CardAddress:
    """A parsed address.

    Attributes:
        kind: what it leads to.
        place: path, reader name or host.
        port: of a remote server, otherwise 0.
        card: which of a remote server's cards, counted from 1.
        interface: which interface of the card; a PC/SC reader has its own.
        options: what stands behind the first word, in its order.
    """

    kind: AddressKind
    place: str
    port: int = 0
    interface: Interface = Interface.CONTACT
    options: tuple[AddressOption, ...] = ()
    card: int = 1

    @classmethod
    def parse(cls, text: str) -> CardAddress:
        """Read an address.

        Raises:
            ReaderError: "bad-address".
        """
        words, separator, rest = text.partition(":")
        word, *chosen = words.split(",")
        kind = next((kind for kind in AddressKind if kind.value == word), None)
        if kind is None or not separator or not rest:
            raise _bad(text, "expected sim:PATH, pcsc:NAME, serial:PORT or remote:HOST:PORT")
        options = _options(text, kind, chosen)
        if kind is AddressKind.SERIAL and not _is_port(rest):
            raise _bad(text, "expected a device file, COM3, or rfc2217://HOST:PORT")
        if kind in {AddressKind.PCSC, AddressKind.SERIAL}:
            return cls(kind, rest, options=options)
        interface = Interface.CONTACT
        for candidate in Interface:
            if rest.endswith(f":{candidate.value}"):
                rest = rest.removesuffix(f":{candidate.value}")
                interface = candidate
                break
        if not rest:
            raise _bad(text, "nothing but an interface is named")
        if kind is AddressKind.SIMULATED:
            return cls(kind, rest, 0, interface)
        host, _, tail = rest.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")  # IPv6
        port, separator, card = tail.partition("/")
        if not host or not _is_number(port, _MAX_PORT) or (separator and not _is_number(card, _MAX_CARD)):
            raise _bad(text, "expected remote:HOST:PORT or remote:HOST:PORT/CARD")
        return cls(kind, host, int(port), interface, options, int(card or 1))

    def __str__(self) -> str:
        tail = f":{self.interface.value}" if self.interface is not Interface.CONTACT else ""
        word = ",".join((self.kind.value, *(option.value for option in self.options)))
        if self.kind is AddressKind.REMOTE:
            card = f"/{self.card}" if self.card > 1 else ""
            return f"{word}:{place_name(self.place, self.port)}{card}{tail}"
        return f"{word}:{self.place}{tail}"

    @property
    def protocol(self) -> Protocol7816 | None:
        """The protocol that is asked for; None leaves it to both sides."""
        return next((_PROTOCOLS[option] for option in self.options if option in _PROTOCOLS), None)


_PROTOCOLS: Final = {AddressOption.T0: Protocol7816.T0, AddressOption.T1: Protocol7816.T1}


def _is_number(text: str, largest: int) -> bool:
    return text.isascii() and text.isdigit() and 0 < int(text) <= largest


def _is_port(place: str) -> bool:
    """True for a name, and for the one kind of URL that leads to a port; others would write down what goes over it."""
    scheme, separator, _ = place.partition("://")
    if not separator:
        return True
    try:
        found = urlsplit(place)
        return scheme == _SERIAL_NETWORK and bool(found.hostname) and bool(found.port)
    except ValueError:  # a port that is no number, or none of a machine
        return False


def _options(text: str, kind: AddressKind, words: list[str]) -> tuple[AddressOption, ...]:
    known = {option.value: option for option in AddressOption if option in _OPTIONS[kind]}
    for word in words:
        if word not in known:
            expected = f"expected one of {', '.join(known)}" if known else "it has none"
            raise _bad(text, f"no option {word!r}: {expected}")
    options = tuple(known[word] for word in words)
    for choice in _CHOICES:
        if len([option for option in options if option in choice]) > 1:
            raise _bad(text, f"only one of {', '.join(sorted(option.value for option in choice))} can be meant")
    return options


@dataclass(frozen=True, slots=True)
class ConnectionFactory:
    """Makes connections to addresses.

    Attributes:
        make: boots simulated cards; without it there are none.
        token: for remote servers.
        tls: for remote servers; None makes one for addresses with the option tls, and plain TCP for others.
        authority: PEM file with the authority of remote servers; None trusts the system's.
        exclusive: nobody else may speak to a PC/SC card meanwhile.
    """

    make: CardMaker | None = None
    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    authority: str | None = None
    exclusive: bool = False

    def connect(self, address: CardAddress | str) -> CardConnection:
        """A connection, not powered yet; leaving it releases everything behind it.

        An address of both interfaces of one card leads to its contacts.

        Raises:
            ReaderError: "bad-address", or the card file cannot be used.
        """
        target = CardAddress.parse(address) if isinstance(address, str) else address
        match target.kind:
            case AddressKind.SIMULATED:
                if self.make is None:
                    raise _bad(str(target), "no simulated cards here")
                return open_card(target.place, self.make).connect(target.interface, owned=True)
            case AddressKind.PCSC:
                from reader_bridge.pcsc import PcscConnection  # the stack is optional

                dual = _dual(target)
                name = target.place if dual is None else dual.contact
                exclusive = self.exclusive or AddressOption.EXCLUSIVE in target.options
                return PcscConnection(name, exclusive=exclusive, protocol=target.protocol)
            case AddressKind.SERIAL:
                return _serial(target)
            case AddressKind.REMOTE:
                from reader_bridge.remote import RemoteConnection, client_tls

                if not self.token:
                    raise ReaderError("token-missing", reader=str(target))
                tls = self.tls
                if tls is None and AddressOption.TLS in target.options:
                    tls = client_tls(self.authority)
                return RemoteConnection(
                    target.place, target.port, self.token, target.interface, tls=tls, card=target.card
                )

    def _connect_both_pcsc(self, target: CardAddress) -> tuple[CardConnection, CardConnection | None]:
        dual = _dual(target)
        if dual is None:
            return self.connect(target), None
        contact, field = replace(target, place=dual.contact), replace(target, place=dual.contactless, options=())
        return self.connect(contact), self.connect(field)

    def connect_both(self, address: CardAddress | str) -> tuple[CardConnection, CardConnection | None]:
        """Contact and contactless connection to the same card; None when the address reaches one interface only.

        Leaving the first releases what both share.
        """
        target = CardAddress.parse(address) if isinstance(address, str) else address
        if target.kind is AddressKind.PCSC:
            return self._connect_both_pcsc(target)
        if target.kind is AddressKind.SERIAL:
            return self.connect(target), None
        if target.kind is AddressKind.REMOTE:
            contact = replace(target, interface=Interface.CONTACT)
            field = replace(target, interface=Interface.CONTACTLESS)
            return self.connect(contact), self.connect(field)
        if self.make is None:
            raise _bad(str(target), "no simulated cards here")
        card = open_card(target.place, self.make)
        return card.connect(Interface.CONTACT, owned=True), card.connect(Interface.CONTACTLESS)


def _dual(target: CardAddress) -> DualReader | None:
    """A reader for both interfaces is two names for PC/SC; one that is not is one interface."""
    from reader_bridge.pcsc import find_dual, list_pcsc_readers

    try:
        return find_dual(list_pcsc_readers(), target.place)
    except ReaderError:
        return None  # the connection says why, when it is powered


def _serial(target: CardAddress) -> CardConnection:
    """The reader of the kind that is named; a CCID reader when none is."""
    options = target.options
    if AddressOption.PHOENIX in options:
        from reader_bridge.phoenix_reader import PhoenixConnection, Wiring
        from reader_bridge.serial_ports.port import SignalLine

        line = SignalLine.DTR if AddressOption.DTR in options else SignalLine.RTS
        wiring = Wiring(line, active_resets=AddressOption.SMARTMOUSE not in options)
        fast = AddressOption.FAST in options
        return PhoenixConnection(target.place, protocol=target.protocol, fast=fast, wiring=wiring)
    if AddressOption.PN532 in options:
        from reader_bridge.pn532_reader import Pn532Connection

        return Pn532Connection(target.place)
    from reader_bridge.ccid_reader import CcidSerialConnection

    return CcidSerialConnection(target.place, protocol=target.protocol)


def _bad(text: str, reason: str) -> ReaderError:
    return ReaderError("bad-address", address=text, reason=reason)
