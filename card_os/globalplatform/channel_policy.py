"""Which secure channel protocols a security domain offers, and what a failed authentication costs.

An object of the domain, so that two domains of one card may differ; a domain without one has the default. Stored:

```
offset 0   1  format, 01
offset 1   1  try limit of a key set, 1..255; 00 = never blocked
offset 2   2  pause after the first failed authentication in ms, big-endian; 0000 = none
offset 4   2  longest pause in seconds
offset 6   …  protocol (1) ‖ i (1) for each protocol
```

The pause is spent in virtual time by the next INITIALIZE UPDATE, before anything is computed; it doubles with each
further failure in a row, and a success takes it away. Who cuts the power gains nothing, for the failures are counted
in the memory.

Source: GlobalPlatform Card Specification 2.3.1, clauses 7.5.1 (velocity checking is the provider's policy), H.2 and
table E-1; Amendment D v1.1.1, table 5-1; Amendment F (`i` of SCP11).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from card_os.globalplatform import scp02, scp03, scp11_parameters
from card_os.globalplatform.secure_channel import Protocol
from card_os.iso7816.errors import MemoryFailure
from card_os.storage.store import ObjectKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from card_os.storage.store import ObjectStore

POLICY_OBJECT: Final = 0x0100_0000
"""Identifier among the data objects of a domain; above every tag."""

_FORMAT: Final = 1
_HEADER: Final = 6
MAX_TRIES: Final = 255
MAX_PAUSE: Final = 0xFFFF
_MILLISECOND: Final = 1_000_000
_SECOND: Final = 1_000_000_000
_IMPLEMENTATIONS: Final[Mapping[Protocol, frozenset[int]]] = {
    Protocol.SCP02: scp02.IMPLEMENTATIONS,
    Protocol.SCP03: scp03.IMPLEMENTATIONS,
    Protocol.SCP11: scp11_parameters.IMPLEMENTATIONS,
}


@dataclass(frozen=True, slots=True)
class ChannelPolicy:
    """What a domain offers.

    Attributes:
        protocols: protocol and its parameter `i`, each protocol at most once, in the order in which the card tells.
        try_limit: failed authentications in a row that block a key set, 1..255; 0 never does.
        first_pause_ms: virtual time that an authentication waits after one failure, 0..65,535.
        longest_pause_s: where the doubling ends, 0..65,535.

    Raises:
        ValueError: a value out of range, a protocol twice, or an `i` that its protocol does not define.
    """

    protocols: tuple[tuple[Protocol, int], ...] = ((Protocol.SCP03, scp03.DEFAULT_IMPLEMENTATION),)
    try_limit: int = 10
    first_pause_ms: int = 0
    longest_pause_s: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.try_limit <= MAX_TRIES:
            raise ValueError(f"a try limit of {self.try_limit}")
        if not (0 <= self.first_pause_ms <= MAX_PAUSE and 0 <= self.longest_pause_s <= MAX_PAUSE):
            raise ValueError("a pause out of range")
        if len(dict(self.protocols)) != len(self.protocols):
            raise ValueError("a protocol is named twice")
        for protocol, implementation in self.protocols:
            if implementation not in _IMPLEMENTATIONS[protocol]:
                raise ValueError(f"{protocol.name} has no implementation {implementation:02X}")

    def implementation(self, protocol: Protocol) -> int | None:
        """The parameter `i` of a protocol, None when the domain does not offer it."""
        return dict(self.protocols).get(protocol)

    @property
    def all_tries(self) -> int:
        """What a try counter starts from."""
        return self.try_limit or MAX_TRIES

    def pause_ns(self, failures: int) -> int:
        """Virtual nanoseconds that an authentication waits after some failures in a row."""
        if failures == 0:
            return 0
        longest = self.longest_pause_s * _SECOND
        return min(self.first_pause_ms * _MILLISECOND << min(failures - 1, MAX_TRIES), longest)

    def encode(self) -> bytes:
        """The stored form."""
        head = bytes((_FORMAT, self.try_limit))
        pauses = self.first_pause_ms.to_bytes(2, "big") + self.longest_pause_s.to_bytes(2, "big")
        return head + pauses + b"".join(bytes(row) for row in self.protocols)

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read the stored form.

        Raises:
            MemoryFailure: 6581, it is damaged.
        """
        if raw[:1] != bytes((_FORMAT,)):
            raise MemoryFailure("the secure channel policy has another format")
        rows = raw[_HEADER:]
        try:
            return cls(
                tuple((Protocol(rows[at]), rows[at + 1]) for at in range(0, len(rows), 2)),
                raw[1],
                int.from_bytes(raw[2:4], "big"),
                int.from_bytes(raw[4:6], "big"),
            )
        except (ValueError, IndexError) as error:
            raise MemoryFailure("the secure channel policy is damaged") from error


DEFAULT_POLICY: Final = ChannelPolicy()
"""SCP03 with `i` = 70; ten failures in a row block a key set."""


def load_policy(store: ObjectStore, owner: int) -> ChannelPolicy:
    """The policy of a domain.

    Raises:
        MemoryFailure: 6581, it is damaged.
    """
    item = store.find(owner, ObjectKind.DATA, POLICY_OBJECT)
    return DEFAULT_POLICY if item is None else ChannelPolicy.decode(store.read(item))


def store_policy(store: ObjectStore, owner: int, policy: ChannelPolicy) -> None:
    """Give a domain its policy; the default one needs no object. Joins the open transaction."""
    with store.transaction():
        item = store.find(owner, ObjectKind.DATA, POLICY_OBJECT)
        if item is not None:
            store.delete(item)
        if policy != DEFAULT_POLICY:
            content = policy.encode()
            store.create(owner, ObjectKind.DATA, POLICY_OBJECT, len(content), content)
