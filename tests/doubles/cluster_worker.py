"""A Dask worker with the ear of a test: it tells where it listens, and writes nearly all that it holds to disk."""

from __future__ import annotations

import asyncio
import sys

import dask
from distributed import Worker

SHARE = 1e-8
"""Of its memory: above ten bytes of results, all go to disk."""


async def main(scheduler: str, contact: str, folder: str) -> None:
    """Work until the process is ended; callers of ``contact`` reach it."""
    shares = {"target": SHARE, "spill": False, "pause": False, "terminate": False}
    dask.config.set({f"distributed.worker.memory.{name}": share for name, share in shares.items()})
    async with Worker(
        scheduler,
        nthreads=2,
        host="127.0.0.1",
        contact_address=contact,
        local_directory=folder,
        dashboard=False,
        memory_limit="1GB",
    ) as worker:
        (listener,) = worker.listeners
        host, port = listener.get_host_port()
        sys.stdout.write(f"tcp://{host}:{port}\n")
        sys.stdout.flush()
        await worker.finished()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
