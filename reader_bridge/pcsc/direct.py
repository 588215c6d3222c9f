"""A reader without its card: control codes, features, commands of its own."""

from __future__ import annotations

from types import ModuleType, TracebackType

from reader_bridge.connection import ReaderError
from reader_bridge.pcsc import binding
from reader_bridge.pcsc.features import escape_code, read_features, read_properties


class HandleControl:
    """Control codes over an open handle.

    Args:
        scard: the binding.
        handle: of SCardConnect.
        reader: name for messages.
    """

    __slots__ = ("_handle", "_reader", "_scard")

    def __init__(self, scard: ModuleType, handle: int, reader: str) -> None:
        self._scard = scard
        self._handle = handle
        self._reader = reader

    def ask(self, code: int, data: bytes = b"") -> bytes:
        """What the reader answers; empty when it does not know the code."""
        status, answer = self._scard.SCardControl(self._handle, code, list(data))
        return bytes(answer) if status == self._scard.SCARD_S_SUCCESS else b""

    def control(self, code: int, data: bytes = b"") -> bytes:
        """The same.

        Raises:
            ReaderError: the reader does not know the code, or is gone.
        """
        status, answer = self._scard.SCardControl(self._handle, code, list(data))
        binding.check(self._scard, status, self._reader)
        return bytes(answer)

    def escape(self, data: bytes) -> bytes:
        """A command of the reader's own; drivers refuse it unless their configuration allows it.

        Raises:
            ReaderError: refused, or the reader is gone.
        """
        return self.control(escape_code(), data)

    def features(self) -> dict[int, int]:
        """Control codes by `Feature`."""
        return read_features(self.ask)

    def properties(self) -> dict[int, bytes]:
        """Values by `Property`, little-endian."""
        return read_properties(self.ask, self.features())

    def use(self, feature: int, data: bytes) -> bytes:
        """Use a feature, such as PIN entry at the reader.

        Raises:
            ReaderError: "not-supported", the reader does not have it.
        """
        code = self.features().get(feature)
        if code is None:
            raise ReaderError("not-supported", reader=self._reader, reason=f"no feature {feature:02X}", known="-")
        return self.control(code, data)


class PcscDirect:
    """A connection to a reader, with or without a card in it.

    Args:
        reader: full name of the reader, or a part that only one reader has.

    Attributes:
        name: its full name, once it is open.
    """

    def __init__(self, reader: str) -> None:
        self._scard = binding.load()
        self._context: int | None = None
        self._handle: int | None = None
        self.name = reader

    def open(self) -> HandleControl:
        """Connect.

        Raises:
            ReaderError: no service, no such reader, or another program uses it exclusively.
        """
        scard = self._scard
        self._context = context = binding.establish(scard)
        try:
            self.name = binding.find_name(binding.reader_names(scard, context, self.name), self.name)
            code, handle, _ = scard.SCardConnect(context, self.name, scard.SCARD_SHARE_DIRECT, 0)
            binding.check(scard, code, self.name)
        except ReaderError:
            self.close()
            raise
        self._handle = handle
        return HandleControl(scard, handle, self.name)

    def close(self) -> None:
        """Leave the reader as it is; safe to call twice."""
        if self._handle is not None:
            self._scard.SCardDisconnect(self._handle, self._scard.SCARD_LEAVE_CARD)
            self._handle = None
        if self._context is not None:
            self._scard.SCardReleaseContext(self._context)
            self._context = None

    def __enter__(self) -> HandleControl:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
