"""What servers and clients on TCP have in common: addresses, lines that notice a lost cable, words for what failed."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from reader_bridge.connection import ReaderError

_ANY_V6: Final = "::"
_OPTIONS: Final = {
    "TCP_KEEPIDLE": 10,
    "TCP_KEEPALIVE": 10,  # the same where a system has it by this name alone
    "TCP_KEEPINTVL": 5,
    "TCP_KEEPCNT": 4,
    "TCP_USER_TIMEOUT": 30_000,  # milliseconds, for what was sent and nobody acknowledges
}
"""Half a minute without a sign of life ends a line; a system has some of these."""


def place_name(host: str, port: int) -> str:
    """HOST:PORT, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens, by IPv4 or IPv6 as the address says; a name that has both is listened on by IPv4.

    Args:
        host: address or name of this machine; ``::`` is all addresses of both kinds.
        port: 0 takes a free one.

    Raises:
        ReaderError: "port-in-use", another program has it; "address-unusable", this machine cannot listen there.
    """
    place = place_name(host, port)
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family = socket.AF_INET if any(row[0] == socket.AF_INET for row in found) else socket.AF_INET6
        both = host == _ANY_V6 and socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=family, dualstack_ipv6=both)
    except (OSError, UnicodeError) as error:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise ReaderError("port-in-use", place=place, reason=reason_of(error)) from error
        raise ReaderError("address-unusable", place=place, reason=reason_of(error)) from error


def dial(host: str, port: int, seconds: float) -> socket.socket:
    """A connection to whoever listens there, which has so many seconds for each step from then on.

    Where nobody listens on a port of the range that systems take callers' ports from, one call in thousands is given
    that port for its own and reaches itself (RFC 9293, 3.5: simultaneous open). That is nobody too, and would keep the
    port from the one who is to listen there.

    Raises:
        OSError: nobody is there, or the address is none of a machine that can be reached.
        UnicodeError: what no name of a machine can be.
    """
    link = socket.create_connection((host, port), timeout=seconds)
    try:
        if link.getsockname() == link.getpeername():
            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    except OSError:
        link.close()
        raise
    return link


def reason_of(error: OSError | UnicodeError) -> str:
    """What the system says, in its own words, without what the library puts around them."""
    if isinstance(error, UnicodeError):
        return "this is no name of a machine"
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno)
    return error.strerror or str(error)


def tls_reason(error: ssl.SSLError) -> str:
    """Why TLS failed, in words: what is wrong with a certificate, else what the library names the fault."""
    said = (getattr(error, name, None) for name in ("verify_message", "reason", "strerror"))
    told = str(next(filter(None, said), type(error).__name__))
    return told.replace("_", " ").lower() if told.isupper() else told


def notice_loss(link: socket.socket) -> None:
    """Let a line end by itself when the other machine is gone without a word, as when its cable was pulled."""
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        option = vars(socket).get(name)
        if option is not None:
            link.setsockopt(socket.IPPROTO_TCP, option, value)
