"""Many machines: orders go to the workers of a Dask scheduler. The only module that imports Dask.

Every machine sees the centre's folder under the same path and can open its key store: the passphrase or PIN is where
`KeyStoreLocation` says, on that machine. A scheduler may lose a worker and run an order twice; a chunk appears whole
and once, so that this does no harm.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError
from typing import Any, Final

from personalization.errors import PersonalizationError
from personalization.preparation.bulk.workers import Order, carry_out

_ADDRESS: Final = re.compile(r"(tcp|tls)://[^/\s]+:\d{1,5}")
_USAGE: Final = 2
_ENVIRONMENT: Final = 3
PATIENCE_S: Final = 30
"""How long a scheduler may take to answer."""


class ClusterWorkers:
    """The workers of a scheduler.

    Args:
        address: of the scheduler, such as ``tcp://10.0.0.1:8786``.

    Raises:
        PersonalizationError: "scheduler-address" (exit 2); exit 3: "cluster-missing" (the library is not installed),
            "scheduler-unreachable".
    """

    __slots__ = ("_address", "_client", "_library")

    def __init__(self, address: str) -> None:
        if not _ADDRESS.fullmatch(address):
            raise PersonalizationError("scheduler-address", exit_code=_USAGE, address=address)
        self._address = address
        try:
            self._library = _distributed()
        except ImportError:
            raise PersonalizationError("cluster-missing", exit_code=_ENVIRONMENT) from None
        try:
            self._client = self._library.Client(address, timeout=PATIENCE_S, set_as_default=False)
        except (OSError, ValueError):
            raise PersonalizationError("scheduler-unreachable", exit_code=_ENVIRONMENT, address=address) from None

    def perform(self, orders: Iterable[Order]) -> Iterator[int]:
        """See `Workers.perform`."""
        # Not pure: the same order again is work again, for files may have gone since.
        futures: list[Any] = [self._client.submit(carry_out, order, pure=False) for order in orders]
        try:
            for future in self._library.as_completed(futures, loop=self._client.loop):
                yield int(future.result())
        except (self._library.KilledWorker, self._library.client.FutureCancelledError, CancelledError):
            raise PersonalizationError("worker-lost", exit_code=_ENVIRONMENT) from None
        finally:
            self._client.cancel(futures)

    def close(self) -> None:
        """See `Workers.close`."""
        self._client.close()


def _distributed() -> Any:
    """The library is untyped; it ends at this module's edge."""
    import distributed

    return distributed
