"""Memory that owners may use at most, and memory that is kept free for them.

Source: GlobalPlatform Card Specification 2.3.1, clause 9.7 (memory resource management).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from card_os.iso7816.errors import NotEnoughMemory


class MemoryGrant(NamedTuple):
    """What one owner was promised, in bytes of content.

    Attributes:
        quota: the most that it may use, None for as much as there is.
        reserved: what it may use although others ask for more.
    """

    quota: int | None
    reserved: int


class MemoryGrants:
    """The grants of all owners; volatile, told again at every boot."""

    __slots__ = ("_grants",)

    def __init__(self) -> None:
        self._grants: Mapping[int, MemoryGrant] = {}

    def __bool__(self) -> bool:
        return bool(self._grants)

    def replace(self, grants: Mapping[int, MemoryGrant]) -> None:
        """Take new grants for the old ones."""
        self._grants = grants

    def check(self, owner: int, size: int, used_by: Callable[[int], int], free: int) -> None:
        """Ask whether an owner may have ``size`` bytes more.

        Args:
            owner: owner of the new object.
            size: its bytes.
            used_by: tells the bytes that an owner has now.
            free: the bytes that nobody uses.

        Raises:
            NotEnoughMemory: 6A84, over its quota, or what is left is reserved for others.
        """
        grant = self._grants.get(owner)
        if grant is not None and grant.quota is not None and used_by(owner) + size > grant.quota:
            raise NotEnoughMemory(f"the quota of {grant.quota} bytes is used up")
        kept = self.outstanding(used_by, besides=owner)
        if kept and free - size < kept:
            raise NotEnoughMemory(f"{kept} bytes are reserved for others")

    def outstanding(self, used_by: Callable[[int], int], *, besides: int | None = None) -> int:
        """Bytes that are reserved and not used yet.

        Args:
            used_by: tells the bytes that an owner has now.
            besides: an owner that is left out.
        """
        return sum(
            max(grant.reserved - used_by(owner), 0)
            for owner, grant in self._grants.items()
            if owner != besides and grant.reserved
        )
