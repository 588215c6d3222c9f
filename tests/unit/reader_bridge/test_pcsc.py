"""PC/SC against a double of the binding: what the service may say, and what we make of it."""

from __future__ import annotations

import builtins
from types import SimpleNamespace
from typing import Any

import pytest
from smartcard import scard as real

from reader_bridge.connection import Interface, Protocol7816, ReaderError
from reader_bridge.contactless_atr import interface_of
from reader_bridge.pcsc import PcscConnection, PcscMonitor, ReaderChange, binding, list_pcsc_readers

CONTACT_ATR = bytes.fromhex("3B979680 31FE45 8031C073DE21DF 29")
FIELD_ATR = bytes.fromhex("3B8780018031C073DE21DF24")
EXTENDED = 65_536


class Service:
    """The functions of the binding, with a script."""

    def __init__(self, atr: bytes = CONTACT_ATR, protocol: int = real.SCARD_PROTOCOL_T1) -> None:
        self.readers = ["ACME Reader 00 00"]
        self.atr = atr
        self.protocol = protocol
        self.results: dict[str, int] = {}
        self.response: list[int] = [0x90, 0x00]
        self.max_apdu: int | None = None
        self.calls: list[str] = []
        self.headers: list[object] = []
        self.left: list[int] = []

    def result(self, name: str) -> int:
        self.calls.append(name)
        return self.results.get(name, int(real.SCARD_S_SUCCESS))

    def binding(self) -> SimpleNamespace:
        constants = {name: value for name, value in vars(real).items() if name.startswith("SCARD_")}
        return SimpleNamespace(
            **constants,
            SCardGetErrorMessage=real.SCardGetErrorMessage,
            SCardEstablishContext=lambda *_: (self.result("context"), 1),
            SCardReleaseContext=lambda *_: self.result("release"),
            SCardListReaders=lambda *_: (self.result("list"), self.readers),
            SCardGetStatusChange=self.status_change,
            SCardConnect=lambda *_: (self.result("connect"), 2, self.protocol),
            SCardReconnect=lambda *_: (self.result("reconnect"), self.protocol),
            SCardStatus=lambda *_: (self.result("status"), "", 0, self.protocol, list(self.atr)),
            SCardControl=lambda _handle, code, _data: (self.result("control"), self.control(code)),
            SCardTransmit=self.transmit,
            SCardBeginTransaction=lambda *_: self.result("begin"),
            SCardEndTransaction=self.end_transaction,
            SCardDisconnect=lambda *_: self.result("disconnect"),
        )

    def transmit(self, _handle: int, header: object, _command: list[int]) -> tuple[int, list[int]]:
        self.headers.append(header)
        return self.result("transmit"), self.response

    def end_transaction(self, _handle: int, left: int) -> int:
        self.left.append(left)
        return self.result("end")

    def status_change(
        self, _context: int, _timeout: int, states: list[tuple[str, int]]
    ) -> tuple[int, list[tuple[str, int, list[int]]]]:
        """As pcsc-lite does, no more than 16 names in one call; as the binding does, no names but in ASCII."""
        for name, _ in states:
            name.encode("ascii")
        result = self.result("change") if len(states) <= 16 else int(real.SCARD_E_INVALID_PARAMETER)
        present = real.SCARD_STATE_PRESENT if self.atr else 0
        return result, [(name, present, list(self.atr)) for name, _ in states]

    def control(self, code: int) -> list[int]:
        if self.max_apdu is None:
            return []
        if code == 0x12345678:
            return [0x0B, 2, 1, 2, 0x0A, 4, *self.max_apdu.to_bytes(4, "little")]
        return [0x06, 4, 0, 0, 0, 1, 0x12, 4, 0x12, 0x34, 0x56, 0x78]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Service:
    service = Service()
    monkeypatch.setattr(binding, "load", service.binding)
    return service


@pytest.mark.clause("PC/SC part 3, 3.1.3.2.3")
@pytest.mark.parametrize(
    ("atr", "interface"),
    [
        (FIELD_ATR, Interface.CONTACTLESS),
        (bytes.fromhex("3B80800101"), Interface.CONTACTLESS),
        (CONTACT_ATR, Interface.CONTACT),
        (bytes.fromhex("3B800181"), Interface.CONTACT),
        (bytes.fromhex("3B8080"), Interface.CONTACT),
        (bytes.fromhex("3F80800101"), Interface.CONTACT),
        (b"", Interface.CONTACT),
    ],
)
def test_the_interface_is_guessed_from_the_atr(atr: bytes, interface: Interface) -> None:
    assert interface_of(atr) is interface


def test_readers_are_listed_with_and_without_cards(service: Service) -> None:
    assert [(reader.name, reader.answer) for reader in list_pcsc_readers()] == [("ACME Reader 00 00", CONTACT_ATR)]
    service.atr = b""
    assert [(reader.answer, reader.interface) for reader in list_pcsc_readers()] == [(None, None)]


@pytest.mark.clause("pcsc-lite, PCSCLITE_MAX_READERS_CONTEXTS: 16 readers, and as many names in SCardGetStatusChange")
@pytest.mark.parametrize("count", [1, 15, 16])
def test_a_service_that_is_full_is_watched_too(service: Service, count: int) -> None:
    service.readers = [f"ACME Reader {number:02X} 00" for number in range(count)]
    with PcscMonitor() as monitor:
        events = [monitor.next(0) for _ in range(2 * count)]
    told = {change: {event.reader for event in events if event and event.change is change} for change in ReaderChange}
    assert told[ReaderChange.READER_ADDED] == told[ReaderChange.CARD_INSERTED] == set(service.readers)


@pytest.mark.parametrize("atr", [CONTACT_ATR, b""])
def test_a_reader_with_a_name_of_other_letters_is_a_reader(service: Service, atr: bytes) -> None:
    service.readers, service.atr = ["Lecteur à puce 读卡器 00 00"], atr
    (found,) = list_pcsc_readers()
    assert (found.name, found.answer) == (service.readers[0], atr or None)
    with PcscMonitor() as monitor:
        events = [monitor.next(0), monitor.next(0)]
    assert [event.change for event in events if event] == [ReaderChange.READER_ADDED, ReaderChange.CARD_INSERTED][
        : 1 + bool(atr)
    ]
    service.results["connect"] = real.SCARD_E_SHARING_VIOLATION
    assert [reader.answer for reader in list_pcsc_readers()] == [None]


def test_no_reader_is_no_error(service: Service) -> None:
    service.results["list"] = real.SCARD_E_NO_READERS_AVAILABLE
    assert list_pcsc_readers() == []
    assert service.calls[-1] == "release"


@pytest.mark.parametrize(
    ("step", "result", "code"),
    [
        ("context", real.SCARD_E_NO_SERVICE, "no-service"),
        ("context", real.SCARD_W_SECURITY_VIOLATION, "pcsc-not-allowed"),
        ("list", real.SCARD_E_NO_READERS_AVAILABLE, "no-reader"),
        ("connect", real.SCARD_E_SHARING_VIOLATION, "reader-in-use"),
        ("connect", real.SCARD_W_SECURITY_VIOLATION, "pcsc-not-allowed"),
        ("connect", real.SCARD_E_NO_SMARTCARD, "no-card"),
        ("connect", real.SCARD_W_UNRESPONSIVE_CARD, "mute"),
        ("connect", real.SCARD_W_UNPOWERED_CARD, "mute"),
        ("connect", real.SCARD_E_PROTO_MISMATCH, "protocol-mismatch"),
        ("status", real.SCARD_E_READER_UNAVAILABLE, "reader-removed"),
        ("connect", real.SCARD_F_INTERNAL_ERROR, "pcsc-failed"),
    ],
)
def test_what_goes_wrong_at_the_start_has_a_code(service: Service, step: str, result: int, code: str) -> None:
    service.results[step] = result
    with pytest.raises(ReaderError) as failure:
        PcscConnection("ACME").__enter__()
    assert failure.value.code == code
    assert ("release" in service.calls) == (step != "context")


@pytest.mark.parametrize(
    ("result", "code"),
    [
        (real.SCARD_W_REMOVED_CARD, "card-removed"),
        (real.SCARD_W_RESET_CARD, "card-reset"),
        (real.SCARD_E_NOT_TRANSACTED, "transmission-failed"),
        (real.SCARD_E_TIMEOUT, "time-out"),
        (real.SCARD_E_INVALID_HANDLE, "reader-removed"),
    ],
)
def test_what_goes_wrong_in_an_exchange_has_a_code(service: Service, result: int, code: str) -> None:
    with PcscConnection("ACME Reader 00 00") as connection:
        service.results["transmit"] = result
        with pytest.raises(ReaderError) as failure:
            connection.transmit(b"\0\xa4\0\0")
    assert failure.value.code == code


@pytest.mark.parametrize("response", [[], [0x90]])
def test_success_without_a_status_word_is_no_success(service: Service, response: list[int]) -> None:
    with PcscConnection("ACME") as connection:
        service.response = response
        with pytest.raises(ReaderError, match="card-removed"):
            connection.transmit(b"\0\xa4\0\0")


@pytest.mark.clause("PC/SC part 10, 2.6.14")
@pytest.mark.parametrize(
    ("protocol", "atr", "max_apdu", "limit", "kind"),
    [
        (real.SCARD_PROTOCOL_T1, CONTACT_ATR, EXTENDED, 65_535, Protocol7816.T1),
        (real.SCARD_PROTOCOL_T1, CONTACT_ATR, 256, 255, Protocol7816.T1),
        (real.SCARD_PROTOCOL_T1, CONTACT_ATR, None, 255, Protocol7816.T1),
        (real.SCARD_PROTOCOL_T0, CONTACT_ATR, EXTENDED, 255, Protocol7816.T0),
        (real.SCARD_PROTOCOL_T1, FIELD_ATR, EXTENDED, 65_535, Protocol7816.TCL),
    ],
)
def test_limits_are_what_the_reader_says(
    service: Service, protocol: int, atr: bytes, max_apdu: int | None, limit: int, kind: Protocol7816
) -> None:
    service.protocol, service.atr, service.max_apdu = protocol, atr, max_apdu
    with PcscConnection("ACME") as connection:
        assert connection.description.max_command_data == limit
        assert connection.description.max_response_data == limit + 1
        assert connection.description.protocol is kind
        assert not connection.description.simulated


@pytest.mark.clause("PC/SC part 5, SCardTransmit: the header names the protocol in use")
@pytest.mark.parametrize(
    ("protocol", "header"),
    [(real.SCARD_PROTOCOL_T0, real.SCARD_PCI_T0), (real.SCARD_PROTOCOL_T1, real.SCARD_PCI_T1)],
)
def test_commands_go_under_the_protocol_in_use(service: Service, protocol: int, header: object) -> None:
    service.protocol = protocol
    with PcscConnection("ACME") as connection:
        assert connection.transmit(b"\0\xa4\0\0") == b"\x90\x00"
    assert service.headers == [header]


def test_a_card_is_let_go_once_and_before_the_service(service: Service) -> None:
    connection = PcscConnection("ACME")
    connection.power_on()
    connection.close()
    assert service.calls[-2:] == ["disconnect", "release"]
    connection.close()
    connection.power_off()
    assert service.calls.count("disconnect") == service.calls.count("release") == 1


def test_without_power_there_is_no_reader_and_no_transaction(service: Service) -> None:
    connection = PcscConnection("ACME")
    with pytest.raises(ReaderError, match="not powered"):
        _ = connection.reader
    with pytest.raises(ReaderError, match="not powered"):
        connection.transaction().__enter__()
    assert not connection.has_pin_pad()
    assert service.calls == []


@pytest.mark.clause("PC/SC part 5, SCardEndTransaction: the card is left as it is")
def test_a_transaction_ends_whatever_happens_in_it(service: Service) -> None:
    with PcscConnection("ACME") as connection:
        with connection.transaction():
            connection.transmit(b"\0\xa4\0\0")
        with pytest.raises(RuntimeError), connection.transaction():
            raise RuntimeError("in the middle")
        assert service.left == [real.SCARD_LEAVE_CARD] * 2
        service.results["begin"] = real.SCARD_W_RESET_CARD
        with pytest.raises(ReaderError, match="card-reset"):
            connection.transaction().__enter__()
        assert service.calls.count("end") == 2, "what did not begin does not end"


@pytest.mark.clause("PC/SC part 10, 2.2: features by a command of class FF, for our own virtual readers only")
@pytest.mark.parametrize(
    ("reader", "response", "pad"),
    [
        ("Virtual PCD 00 00", [0x12, 0x06, 0x90, 0x00], True),
        ("Virtual PCD 00 00", [0x12, 0x90, 0x00], False),
        ("Virtual PCD 00 00", [0x06, 0x6A, 0x81], False),
        ("Virtual PCD 00 00", [0x06, 0x90, 0x01], False),
        ("ACME Reader 00 00", [0x06, 0x90, 0x00], False),
    ],
)
def test_keys_of_a_virtual_reader_are_told_by_itself(
    service: Service, reader: str, response: list[int], pad: bool
) -> None:
    service.readers, service.response = [reader], response
    with PcscConnection(reader) as connection:
        assert connection.has_pin_pad() is pad
    assert ("transmit" in service.calls) is reader.startswith("Virtual"), "a card must not get a reader's command"


@pytest.mark.parametrize("begin", ["power on", "reset"])
def test_a_card_that_goes_while_it_is_looked_at_is_not_taken_for_one_with_power(service: Service, begin: str) -> None:
    """PC/SC part 5, SCardStatus: a card can be taken out between the connection and the first look at its ATR."""
    connection = PcscConnection("ACME")
    if begin == "reset":
        connection.power_on()
    service.results["status"] = real.SCARD_W_REMOVED_CARD
    with pytest.raises(ReaderError, match="card-removed"):
        connection.reset()
    assert service.calls[-1] == "disconnect"
    service.results.clear()
    service.calls.clear()
    assert connection.power_on() == CONTACT_ATR
    assert "connect" in service.calls, "a new connection, not what was known of the last card"
    connection.close()


@pytest.mark.parametrize(("atr", "fits"), [("3B00", True), ("3B979680B1FE451F078031C073DE21DFB1", False)])
def test_a_virtual_reader_carries_t0_when_its_atr_has_nothing_else(service: Service, atr: str, fits: bool) -> None:
    """Its driver is not told which protocol a program has chosen, and APDUs are no TPDUs."""
    service.readers, service.atr = ["Virtual PCD 00 00"], bytes.fromhex(atr)
    service.protocol = real.SCARD_PROTOCOL_T0
    connection = PcscConnection("Virtual PCD", protocol=Protocol7816.T0)
    if fits:
        assert connection.power_on() == service.atr
        connection.close()
        return
    with pytest.raises(ReaderError, match="t0-not-shown"):
        connection.power_on()
    assert service.calls[-1] == "disconnect"
    connection.close()


@pytest.mark.clause("ISO/IEC 7816-4, 5.2: a command has 65,544 bytes at most; vpcd: a length of two bytes")
@pytest.mark.parametrize(
    ("reader", "shortest", "longest"), [("ACME Reader 00 00", 1, 65_544), ("Virtual PCD 00 00", 2, 65_535)]
)
def test_what_is_no_command_is_not_sent(service: Service, reader: str, shortest: int, longest: int) -> None:
    """To vpcd one byte is a request of its own, whose answer its driver would await for ever."""
    service.readers, service.max_apdu = [reader], EXTENDED
    with PcscConnection(reader) as connection:
        for length in (0, shortest - 1, longest + 1, 70_000):
            with pytest.raises(ReaderError, match="transmission-failed"):
                connection.transmit(bytes(length))
        assert "transmit" not in service.calls
        assert connection.transmit(bytes(shortest)) == connection.transmit(bytes(longest)) == b"\x90\x00"
        assert connection.description.max_command_data == longest - 9  # header, extended Lc and Le


def test_a_failed_reset_lets_the_card_go(service: Service) -> None:
    with PcscConnection("ACME") as connection:
        service.results["reconnect"] = real.SCARD_E_NO_SMARTCARD
        with pytest.raises(ReaderError, match="no-card"):
            connection.reset()
        with pytest.raises(ReaderError, match="not powered"):
            connection.transmit(b"\0\xa4\0\0")


def test_a_machine_without_the_binding_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    original = builtins.__import__

    def without(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name == "smartcard":
            raise ImportError("no smartcard here")
        return original(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ReaderError, match="no-pcsc"):
        list_pcsc_readers()
