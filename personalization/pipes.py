"""The end of a pipe between two of our processes, by the name that it has on each system."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Pipe
else:
    from multiprocessing.connection import Connection as Pipe

__all__ = ["Pipe"]
