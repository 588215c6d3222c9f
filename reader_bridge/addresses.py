"""Addresses of cards, as a user types them, and what they lead to.

```
sim:PATH[:contactless]              a card file
pcsc:NAME                           a PC/SC reader; its name, or a part that only one reader has
remote:HOST:PORT[:contactless]      a card that another program serves
```
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from reader_bridge.connection import CardConnection, Interface, ReaderError
from reader_bridge.simulated import CardMaker, open_card

_MAX_PORT: Final = 65_535


class AddressKind(Enum):
    """The first word of an address."""

    SIMULATED = "sim"
    PCSC = "pcsc"
    REMOTE = "remote"


@dataclass(frozen=True, slots=True)
class CardAddress:
    """A parsed address.

    Attributes:
        kind: what it leads to.
        place: path, reader name or host.
        port: of a remote server, otherwise 0.
        interface: which interface of the card; a PC/SC reader has its own.
    """

    kind: AddressKind
    place: str
    port: int = 0
    interface: Interface = Interface.CONTACT

    @classmethod
    def parse(cls, text: str) -> CardAddress:
        """Read an address.

        Raises:
            ReaderError: "bad-address".
        """
        word, separator, rest = text.partition(":")
        kind = next((kind for kind in AddressKind if kind.value == word), None)
        if kind is None or not separator or not rest:
            raise _bad(text, "expected sim:PATH, pcsc:NAME or remote:HOST:PORT")
        if kind is AddressKind.PCSC:
            return cls(kind, rest)
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
        host, _, port = rest.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")  # IPv6
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) <= _MAX_PORT:
            raise _bad(text, "expected remote:HOST:PORT")
        return cls(kind, host, int(port), interface)

    def __str__(self) -> str:
        tail = f":{self.interface.value}" if self.interface is not Interface.CONTACT else ""
        if self.kind is AddressKind.REMOTE:
            host = f"[{self.place}]" if ":" in self.place else self.place
            return f"{self.kind.value}:{host}:{self.port}{tail}"
        return f"{self.kind.value}:{self.place}{tail}"


@dataclass(frozen=True, slots=True)
class ConnectionFactory:
    """Makes connections to addresses.

    Attributes:
        make: boots simulated cards; without it there are none.
        token: for remote servers.
        tls: for remote servers, None for plain TCP.
        exclusive: nobody else may speak to a PC/SC card meanwhile.
    """

    make: CardMaker | None = None
    token: str | None = field(default=None, repr=False)
    tls: ssl.SSLContext | None = None
    exclusive: bool = False

    def connect(self, address: CardAddress | str) -> CardConnection:
        """A connection, not powered yet; leaving it releases everything behind it.

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

                return PcscConnection(target.place, exclusive=self.exclusive)
            case AddressKind.REMOTE:
                from reader_bridge.remote import RemoteConnection

                if not self.token:
                    raise ReaderError("token-missing", reader=str(target))
                return RemoteConnection(target.place, target.port, self.token, target.interface, tls=self.tls)

    def connect_both(self, address: CardAddress | str) -> tuple[CardConnection, CardConnection | None]:
        """Contact and contactless connection to the same card; None when the address reaches one interface only.

        Leaving the first releases what both share.
        """
        target = CardAddress.parse(address) if isinstance(address, str) else address
        if target.kind is AddressKind.PCSC:
            return self.connect(target), None
        if target.kind is AddressKind.REMOTE:
            contact = CardAddress(target.kind, target.place, target.port, Interface.CONTACT)
            field = CardAddress(target.kind, target.place, target.port, Interface.CONTACTLESS)
            return self.connect(contact), self.connect(field)
        if self.make is None:
            raise _bad(str(target), "no simulated cards here")
        card = open_card(target.place, self.make)
        return card.connect(Interface.CONTACT, owned=True), card.connect(Interface.CONTACTLESS)


def _bad(text: str, reason: str) -> ReaderError:
    return ReaderError("bad-address", address=text, reason=reason)
