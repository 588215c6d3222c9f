"""An own PC/SC service with virtual readers, beside whatever service the machine runs; Debian's pcsc-lite.

It is started the way a socket-activating init would start it: the socket is ours and handed over as descriptor 3, so
that neither root nor a shared /run is needed and several run side by side. Clients find it by `CLIENT_VARIABLE`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
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
_CCID_DRIVERS: Final = (
    "/usr/lib/pcsc/drivers/serial/libccidtwin.so",
    "/usr/lib64/pcsc/drivers/serial/libccidtwin.so",
    "/usr/local/lib/pcsc/drivers/serial/libccidtwin.so",
)
MAX_SLOTS: Final = 16
"""Readers that pcscd has room for."""
_SLOTS_A_DRIVER: Final = 2
_STOP_SECONDS: Final = 5.0
_START_SECONDS: Final = 30.0
"""A service that has ended is noticed at once; this is for one that hangs."""
_POLL_SECONDS: Final = 0.02
_PORT_TRIES: Final = 64
_LAST_PORT: Final = 0xFFFF
_START_TRIES: Final = 3
_HAND_OVER: Final = (
    "import ctypes, os, signal, sys\n"
    "if sys.argv[2] == 'follow' and sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, signal.SIGTERM)\n"  # PR_SET_PDEATHSIG: a killed owner leaves no service behind
    "os.dup2(int(sys.argv[1]), 3)\n"
    "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
    "os.execv(sys.argv[3], sys.argv[3:])\n"
)
_OWN_GUARD: Final = "--disable-polkit"
"""The socket of our own service admits its owner alone; a machine's policy would ask who sits at its screen."""
_KERNEL_TABLES: Final = ("/proc/net/tcp", "/proc/net/tcp6")
_LISTENING: Final = "0A"
_SOCKET: Final = re.compile(r"socket:\[(\d+)\]")
_STATE_COLUMN: Final = 3
_INODE_COLUMN: Final = 9


@dataclass(frozen=True, slots=True)
class SerialReader:
    """A serial CCID reader that the service is to open.

    Attributes:
        name: as clients see it, followed by slot numbers.
        device: device file and kind of reader, as in ``/dev/ttyS0:GemPCTwin``. Whoever is at its other end has to
            answer before the service starts; the service skips a reader that is silent for two seconds.
    """

    name: str
    device: str


class PcscService:
    """A running pcscd of our own, with a virtual reader of two slots, or with others.

    Attributes:
        ports: of all slots of the virtual readers vpcd, in their order.
        socket_path: what clients set `CLIENT_VARIABLE` to.

    Args:
        port: first slot; free ports are looked for when None.
        reader_name: as clients see it, followed by slot numbers.
        folder: for socket, configuration and log; a temporary one when None.
        slots: slots of virtual readers vpcd, an even number up to 16; two slots are one reader for clients, and each
            further reader has its number behind its name.
        serial: serial readers.
    """

    def __init__(
        self,
        port: int | None = None,
        reader_name: str = "Virtual PCD",
        folder: str | os.PathLike[str] | None = None,
        *,
        slots: int = _SLOTS_A_DRIVER,
        serial: Sequence[SerialReader] = (),
    ) -> None:
        if not 0 <= slots + len(serial) <= MAX_SLOTS or slots % _SLOTS_A_DRIVER:
            raise ValueError(f"slots come in pairs, and there is room for {MAX_SLOTS} readers")
        if '"' in reader_name or not reader_name.isprintable():
            raise ValueError(
                "a reader's name is one line without quotes, for the service's configuration has it in quotes"
            )
        if port is not None and not 0 < port <= _LAST_PORT + 1 - slots:
            raise ValueError(f"port {port} and those behind it are no ports for {slots} slots")
        self._given_port = port
        self._slots = slots
        self._serial = tuple(serial)
        self.ports = self._choose_ports()
        self._reader_name = reader_name
        self._given_folder = None if folder is None else Path(folder)
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.socket_path = ""

    @property
    def port(self) -> int:
        """First slot of the first virtual reader vpcd; its second is on the next port."""
        return self.ports[0]

    def _choose_ports(self) -> tuple[int, ...]:
        """Ports of all slots: from the given one on, or free pairs."""
        if self._given_port is not None:
            return tuple(range(self._given_port, self._given_port + self._slots))
        chosen: list[int] = []
        while len(chosen) < self._slots:
            first = free_port_pair()
            if not {first, first + 1} & set(chosen):
                chosen += [first, first + 1]
        return tuple(chosen)

    def start(self) -> None:
        """Start and wait until the virtual readers listen.

        Raises:
            ReaderError: "no-pcscd", "no-vpcd-driver" or "no-ccid-driver", packages are missing; "port-in-use", the
                port that was given; "pcscd-failed", it ended or did not come up.
        """
        if self._given_port is not None:
            for port in self.ports:  # who listens there would be taken for the driver
                if not _is_free(port):
                    raise ReaderError("port-in-use", place=f"*:{port}", reason=os.strerror(errno.EADDRINUSE))
        service = _first_existing(_SERVICES, "no-pcscd", package="pcscd")
        folder = self._given_folder or Path(tempfile.mkdtemp(prefix="pcscd-"))
        self._folder = folder
        configuration = folder / "reader.conf.d"
        try:
            configuration.mkdir(parents=True, exist_ok=True)
            self._start_on_free_ports(service, folder, configuration)
        except BaseException:
            self.close()
            raise

    def _start_on_free_ports(self, service: str, folder: Path, configuration: Path) -> None:
        """Start; once more with other ports when somebody took one in between."""
        self.socket_path = str(folder / "pcscd.comm")
        attempts = _START_TRIES if self._given_port is None and self._slots else 1
        for attempt in range(attempts):
            self._configure(folder, configuration)
            self._launch(service, configuration, folder / "pcscd.log")
            try:
                self._wait()
            except ReaderError:
                if attempt + 1 == attempts or all(_is_free(port) for port in self.ports):
                    raise
                self._stop()
                self.ports = self._choose_ports()
            else:
                return

    def _configure(self, folder: Path, configuration: Path) -> None:
        """Write what the service reads: one entry a reader."""
        entries: list[str] = []
        for number, port in enumerate(self.ports[::_SLOTS_A_DRIVER]):
            driver = _first_existing(_DRIVERS, "no-vpcd-driver", package="vsmartcard-vpcd")
            if number:  # entries of one file share its variables
                copy = folder / f"libifdvpcd-{number}.so"
                shutil.copyfile(driver, copy)
                driver = str(copy)
            name = self._reader_name if not number else f"{self._reader_name} {number}"
            entries.append(_entry(name, f"/dev/null:0x{port:04X}", driver, port))
        for number, reader in enumerate(self._serial):
            driver = _first_existing(_CCID_DRIVERS, "no-ccid-driver", package="libccid")
            entries.append(_entry(reader.name, reader.device, driver, number + 1))
        (configuration / "virtual").write_text("\n".join(entries), encoding="utf-8")

    def _launch(self, service: str, configuration: Path, log: Path) -> None:
        with contextlib.suppress(FileNotFoundError):
            Path(self.socket_path).unlink()
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener, log.open("wb") as output:
            try:
                listener.bind(self.socket_path)
            except OSError as error:  # such as a path that is longer than a socket's can be
                reason = f"{self.socket_path}: {error.strerror or error}"
                raise ReaderError("pcscd-failed", reason=reason) from error
            Path(self.socket_path).chmod(0o600)
            listener.listen(16)
            handed = listener.fileno()
            # The signal comes when the starting thread ends, so that only the main thread may ask for it.
            follow = "follow" if threading.current_thread() is threading.main_thread() else "stay"
            command = [sys.executable, "-I", "-S", "-c", _HAND_OVER, str(handed), follow, service]
            self._process = subprocess.Popen(  # noqa: S603 - fixed program, no shell
                [*command, "--foreground", "--error", *_guard_options(service), "-c", str(configuration)],
                pass_fds=(handed,),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C stops us, and we stop it
            )

    def _wait(self) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if (failure := self.failure) is not None:
                raise failure
            if self._listens():
                return
            time.sleep(_POLL_SECONDS)
        raise ReaderError("pcscd-failed", reason="the virtual reader does not listen")

    def _listens(self) -> bool:
        """True when all slots listen; asks the kernel, for a connection would be taken for a card.

        Raises:
            ReaderError: "port-in-use", another program was faster, and the driver does not try again.
        """
        if self._process is None or not self.ports:
            return True
        listening = _listeners()
        ours = _sockets_of(self._process.pid)
        for port in self.ports:
            if ours is not None and port in listening and not listening[port] & ours:
                raise ReaderError("port-in-use", place=f"*:{port}", reason=os.strerror(errno.EADDRINUSE))
        return listening.keys() >= set(self.ports)

    def _last_words(self) -> str:
        return "".join(self.log(1))

    @property
    def failure(self) -> ReaderError | None:
        """What there is to say when the service has ended although nobody closed it; None while it runs."""
        process = self._process
        if process is None or (code := process.poll()) is None:
            return None
        ending = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return ReaderError("pcscd-failed", reason=" ".join((f"it ended with {ending}", self._last_words())).strip())

    @property
    def process_id(self) -> int | None:
        """Of the service; None while there is none."""
        return None if self._process is None else self._process.pid

    def log(self, lines: int = 40) -> list[str]:
        """The end of what the service has written down: errors only, and times since the line before in µs."""
        if self._folder is None:
            return []
        return (self._folder / "pcscd.log").read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]

    @property
    def environment(self) -> dict[str, str]:
        """The environment for a client process."""
        return {**os.environ, CLIENT_VARIABLE: self.socket_path}

    def close(self) -> None:
        """Stop the service and remove its files; safe to call twice."""
        self._stop()
        self._remove_files()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None and process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _remove_files(self) -> None:
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


@cache
def _guard_options(service: str) -> tuple[str, ...]:
    """What keeps polkit out of our own service: built without it, a service does not know the option, and ends."""
    try:
        told = subprocess.run([service, "--help"], capture_output=True, timeout=_START_SECONDS, check=False)  # noqa: S603 - fixed program, no shell
    except (OSError, subprocess.TimeoutExpired):
        return ()  # starting it will tell what is wrong
    return (_OWN_GUARD,) if _OWN_GUARD.encode() in told.stdout + told.stderr else ()


def _entry(name: str, device: str, driver: str, channel: int) -> str:
    return f'FRIENDLYNAME "{name}"\nDEVICENAME {device}\nLIBPATH {driver}\nCHANNELID 0x{channel:04X}\n'


def free_port_pair() -> int:
    """A port that is free together with the next one, on all addresses, as the driver binds them.

    Raises:
        ReaderError: "no-free-port".
    """
    for _ in range(_PORT_TRIES):
        with socket.socket() as probe:
            probe.bind(("", 0))
            port = int(probe.getsockname()[1])
        if port < _LAST_PORT and _is_free(port) and _is_free(port + 1):
            return port
    raise ReaderError("no-free-port")


def _listeners() -> dict[int, set[str]]:
    """Ports that somebody on this machine listens on, and the sockets there, by inode."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for table in _KERNEL_TABLES:
        with contextlib.suppress(FileNotFoundError):
            rows = Path(table).read_text(encoding="ascii").splitlines()[1:]
            for row in (line.split() for line in rows):
                if row[_STATE_COLUMN] == _LISTENING:
                    found[int(row[1].rpartition(":")[2], 16)].add(row[_INODE_COLUMN])
    return found


def _sockets_of(process_id: int) -> set[str] | None:
    """The sockets that a process has open, by inode; None where the system does not tell."""
    found: set[str] = set()
    try:
        for descriptor in Path(f"/proc/{process_id}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since
                found.update(_SOCKET.findall(str(descriptor.readlink())))
    except FileNotFoundError:  # it has ended
        return set()
    except PermissionError:
        return None
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
