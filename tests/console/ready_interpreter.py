"""An interpreter that has loaded what commands need; each command is forked from it and is a process of its own.

To start an interpreter and to load its modules takes ten times as long as most commands work.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple, cast

ROOT: Final = Path(__file__).resolve().parents[2]
_MESSAGE_BYTES: Final = 1 << 20
_START_SECONDS: Final = 600
_NOT_LOADED: Final = ("permitcard.pytest_plugin", "permitcard.__main__")


class Person(NamedTuple):
    """Whom a command runs as: numbers of account, group and further groups, and the umask."""

    user: int
    group: int
    groups: tuple[int, ...]
    umask: int


class ReadyInterpreter:
    """Runs commands, one at a time.

    Args:
        environment: of the interpreter itself; each command brings its own.
        executable: the interpreter.
    """

    def __init__(self, environment: Mapping[str, str], executable: str = sys.executable) -> None:
        self._line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [executable, "-m", "tests.console.ready_interpreter", str(theirs.fileno())],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        atexit.register(self.close)
        self._line.settimeout(_START_SECONDS)
        tasks = json.loads(self._line.recv(_MESSAGE_BYTES))
        assert tasks == 1, "what is forked from a process with threads may hang"

    def run(
        self,
        arguments: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        outputs: tuple[BinaryIO, BinaryIO],
        timeout_s: float,
        person: Person | None = None,
    ) -> int:
        """Run ``permitcard`` with these arguments to its end; returns its exit code, negative after a signal."""
        order = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            "person": person,
        }
        self._line.settimeout(timeout_s)
        socket.send_fds(self._line, [json.dumps(order).encode()], [output.fileno() for output in outputs])
        process = json.loads(self._line.recv(_MESSAGE_BYTES))
        try:
            return int(json.loads(self._line.recv(_MESSAGE_BYTES)))
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process, signal.SIGKILL)

    def close(self) -> None:
        """End it; safe to call twice."""
        self._line.close()
        self._process.wait()


def _serve(line: socket.socket) -> None:
    """Take orders until the other side is gone."""
    line.sendall(json.dumps(len(list(Path("/proc/self/task").iterdir()))).encode())
    while True:
        message, handed, _, _ = socket.recv_fds(line, _MESSAGE_BYTES, 2)
        if not message:
            return
        process = os.fork()
        if not process:
            line.close()
            _become(json.loads(message), handed)
        for descriptor in handed:
            os.close(descriptor)
        line.sendall(json.dumps(process).encode())
        _, status = os.waitpid(process, 0)
        line.sendall(json.dumps(os.waitstatus_to_exitcode(status)).encode())


def _become(order: Mapping[str, object], outputs: Sequence[int]) -> None:
    """Do what ``python -m permitcard`` does; ends with SystemExit."""
    os.setsid()
    for place, descriptor in enumerate(outputs, start=1):
        os.dup2(descriptor, place)
        os.close(descriptor)
    environment, arguments = order["environment"], order["arguments"]
    if order["person"] is not None:
        user, group, groups, mask = Person._make(cast("list[Any]", order["person"]))
        os.umask(mask)
        os.setgroups(groups)
        os.setgid(group)
        os.setuid(user)
    assert isinstance(environment, dict)
    assert isinstance(arguments, list)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(str(order["folder"]))
    tempfile.tempdir = None
    sys.argv = ["permitcard", *arguments]
    runpy.run_module("permitcard", run_name="__main__", alter_sys=True)
    raise SystemExit(0)


def _load(package: str) -> None:
    found = import_module(package)
    for module in pkgutil.walk_packages(found.__path__, f"{package}."):
        if module.name not in _NOT_LOADED:
            import_module(module.name)


if __name__ == "__main__":
    with socket.socket(fileno=int(sys.argv[1])) as orders:
        _load("permitcard")
        gc.freeze()
        _serve(orders)
