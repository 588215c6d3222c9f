"""An own PC/SC service with a virtual reader, beside whatever service the machine runs; Debian's pcsc-lite.

It is started the way a socket-activating init would start it: the socket is ours and handed over as descriptor 3, so
that neither root nor a shared /run is needed and several run side by side. Clients find it by `CLIENT_VARIABLE`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from reader_bridge.connection import ReaderError

CLIENT_VARIABLE: Final = "PCSCLITE_CSOCK_NAME"
"""Environment variable by which pcsc-lite clients find a service; read once a process."""

_FIRST_HANDED_DESCRIPTOR: Final = 3
_SERVICES: Final = ("/usr/sbin/pcscd", "/usr/local/sbin/pcscd")
_DRIVERS: Final = (
    "/usr/lib/pcsc/drivers/serial/libifdvpcd.so",
    "/usr/lib64/pcsc/drivers/serial/libifdvpcd.so",
    "/usr/local/lib/pcsc/drivers/serial/libifdvpcd.so",
)
_STOP_SECONDS: Final = 5.0
_START_SECONDS: Final = 10.0
_POLL_SECONDS: Final = 0.02
_PORT_TRIES: Final = 64
_HAND_OVER: Final = (
    "import ctypes, os, signal, sys\n"
    "if sys.argv[2] == 'follow' and sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, signal.SIGTERM)\n"  # PR_SET_PDEATHSIG: a killed owner leaves no service behind
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)
_KERNEL_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENING: Final = "0A"
_STATE_COLUMN: Final = 3


class PcscService:
    """A running pcscd of our own, with one virtual reader of two slots.

    Attributes:
        port: first slot of the virtual reader; the second is on the next port.
        socket_path: what clients set `CLIENT_VARIABLE` to.

    Args:
        port: first slot; a free pair is looked for when None.
        reader_name: as clients see it, followed by slot numbers.
        folder: for socket, configuration and log; a temporary one when None.
    """

    def __init__(
        self, port: int | None = None, reader_name: str = "Virtual PCD", folder: str | os.PathLike[str] | None = None
    ) -> None:
        self.port = free_port_pair() if port is None else port
        self._reader_name = reader_name
        self._given_folder = None if folder is None else Path(folder)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_path = ""

    def start(self) -> None:
        """Start and wait until the virtual reader listens.

        Raises:
            ReaderError: "no-pcscd" or "no-vpcd-driver", packages are missing; "pcscd-failed", it ended or did not
                come up.
        """
        service = _first_existing(_SERVICES, "no-pcscd", package="pcscd")
        driver = _first_existing(_DRIVERS, "no-vpcd-driver", package="vsmartcard-vpcd")
        folder = self._given_folder or Path(tempfile.mkdtemp(prefix="pcscd-"))
        self._folder = folder
        configuration = folder / "reader.conf.d"
        configuration.mkdir(parents=True, exist_ok=True)
        (configuration / "virtual").write_text(
            f'FRIENDLYNAME "{self._reader_name}"\n'
            f"DEVICENAME /dev/null:0x{self.port:04X}\n"
            f"LIBPATH {driver}\n"
            f"CHANNELID 0x{self.port:04X}\n",
            encoding="utf-8",
        )
        self.socket_path = str(folder / "pcscd.comm")
        try:
            self._launch(service, configuration, folder / "pcscd.log")
            self._wait()
        except BaseException:
            self.close()
            raise

    def _launch(self, service: str, configuration: Path, log: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            Path(self.socket_path).unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, log.open("wb") as output:
            listener.bind(self.socket_path)
            Path(self.socket_path).chmod(0o600)
            listener.listen(16)
            handed = listener.fileno()
            # The signal comes when the starting thread ends, so that only the main thread may ask for it.
            follow = "follow" if threading.current_thread() is threading.main_thread() else "stay"
            command = [sys.executable, "-I", "-S", "-c", _HAND_OVER, str(handed), follow, service]
            self._process = subprocess.Popen(  # noqa: S603 - fixed program, no shell
                [*command, "--foreground", "--info", "-c", str(configuration)],
                pass_fds=(handed,),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C stops us, and we stop it
            )

    def _wait(self) -> None:
        process = self._process
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if process is None or process.poll() is not None:
                raise ReaderError("pcscd-failed", reason=self._last_words())
            if self._listens():
                return
            time.sleep(_POLL_SECONDS)
        raise ReaderError("pcscd-failed", reason="the virtual reader does not listen")

    def _listens(self) -> bool:
        """True when both slots listen; asks the kernel, for a connection would be taken for a card."""
        return {self.port, self.port + 1} <= _listening_ports()

    def _last_words(self) -> str:
        if self._folder is None:
            return ""
        lines = (self._folder / "pcscd.log").read_text(encoding="utf-8", errors="replace").splitlines()
        return lines[-1] if lines else ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a client process."""
        return {**os.environ, CLIENT_VARIABLE: self.socket_path}

    def close(self) -> None:
        """Stop the service and remove its files; safe to call twice."""
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        folder, self._folder = self._folder, None
        if folder is not None:
            if self._given_folder is None:
                shutil.rmtree(folder, ignore_errors=True)
            else:
                with contextlib.suppress(FileNotFoundError):
                    Path(self.socket_path).unlink()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def free_port_pair() -> int:
    """A port that is free together with the next one, on all addresses, as the driver binds them.

    Raises:
        ReaderError: "no-free-port".
    """
    for _ in range(_PORT_TRIES):
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = int(probe.getsockname()[1])
        if port < 0xFFFF and _is_free(port) and _is_free(port + 1):  # noqa: PLR2004 - the last port has no next
            return port
    raise ReaderError("no-free-port")


def _listening_ports() -> set[int]:
    """Ports that somebody on this machine listens on."""
    found: set[int] = set()
    for table in _KERNEL_TABLES:
        with contextlib.suppress(FileNotFoundError):
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
            columns = (row.split() for row in rows)
            found.update(int(row[1].rpartition(":")[2], 16) for row in columns if row[_STATE_COLUMN] == _LISTENING)
    return found


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of the past do not matter
        try:
            probe.bind(("", port))
        except OSError:
            return False
        return True


def _first_existing(paths: tuple[str, ...], code: str, package: str) -> str:
    for path in paths:
        if Path(path).exists():
            return path
    raise ReaderError(code, package=package, looked_at=", ".join(paths))
