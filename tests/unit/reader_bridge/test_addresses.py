from __future__ import annotations

import pytest

from reader_bridge.addresses import AddressKind, AddressOption, CardAddress, ConnectionFactory
from reader_bridge.ccid_reader import CcidSerialConnection
from reader_bridge.connection import Interface, Protocol7816, ReaderError
from reader_bridge.contactless_atr import interface_of
from reader_bridge.pcsc import PcscConnection, PcscReader
from reader_bridge.phoenix_reader import PhoenixConnection
from reader_bridge.remote import RemoteConnection


@pytest.mark.parametrize(
    ("text", "kind", "place", "port", "interface"),
    [
        ("sim:card.nvm", AddressKind.SIMULATED, "card.nvm", 0, Interface.CONTACT),
        ("sim:/a b/card:contactless", AddressKind.SIMULATED, "/a b/card", 0, Interface.CONTACTLESS),
        (r"sim:C:\cards\1.nvm", AddressKind.SIMULATED, r"C:\cards\1.nvm", 0, Interface.CONTACT),
        ("pcsc:A, B and C: a reader", AddressKind.PCSC, "A, B and C: a reader", 0, Interface.CONTACT),
        ("pcsc:Virtual PCD 00 00", AddressKind.PCSC, "Virtual PCD 00 00", 0, Interface.CONTACT),
        ("serial:/dev/ttyS0", AddressKind.SERIAL, "/dev/ttyS0", 0, Interface.CONTACT),
        ("serial:COM3", AddressKind.SERIAL, "COM3", 0, Interface.CONTACT),
        (r"serial:\\.\COM12", AddressKind.SERIAL, r"\\.\COM12", 0, Interface.CONTACT),
        ("serial:rfc2217://[::1]:4000", AddressKind.SERIAL, "rfc2217://[::1]:4000", 0, Interface.CONTACT),
        ("serial:rfc2217://host:4000", AddressKind.SERIAL, "rfc2217://host:4000", 0, Interface.CONTACT),
        ("remote:localhost:35964", AddressKind.REMOTE, "localhost", 35964, Interface.CONTACT),
        ("remote:[::1]:1:contactless", AddressKind.REMOTE, "::1", 1, Interface.CONTACTLESS),
    ],
)
def test_addresses_are_read_and_written(
    text: str, kind: AddressKind, place: str, port: int, interface: Interface
) -> None:
    address = CardAddress.parse(text)
    assert address == CardAddress(kind, place, port, interface)
    assert str(address) == text


@pytest.mark.parametrize("text", ["remote:h:1/2", "remote:h:1/128:contactless", "remote,tls:[::1]:1/3"])
def test_an_address_names_one_of_a_server_s_cards(text: str) -> None:
    address = CardAddress.parse(text)
    assert address.card > 1
    assert str(address) == text
    assert str(CardAddress.parse("remote:h:1/1")) == "remote:h:1"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sim",
        "sim:",
        "card.nvm",
        "usb:1",
        "SIM:x",
        "sim::contactless",
        "remote:host",
        "remote::1",
        "remote:h:0",
        "remote:h:65536",
        "remote:h:x",
        "remote:h:١",
        "remote:h:-1",
        "remote:h:1/",
        "remote:h:1/0",
        "remote:h:1/129",
        "remote:h:1/x",
        "pcsc:",
        "pcsc,t2:x",
        "pcsc,phoenix:x",
        "serial,exclusive:x",
        "serial,ccid,phoenix:x",
        "serial:",
        "serial,tls:x",
        "serial:spy:///dev/ttyS0?file=all-that-goes-over-it",
        "serial:socket://host:4000",
        "serial:rfc2217://",
        "serial:rfc2217://host",
        "serial:rfc2217://host:0",
        "serial:rfc2217://host:65536",
        "serial:rfc2217://host:abc",
        "serial:rfc2217://:4000",
        "remote,t0:h:1",
        "pcsc,t0,t1:x",
        "pcsc,:x",
        "sim,t0:x",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ReaderError, match="bad-address"):
        CardAddress.parse(text)


def test_each_kind_leads_to_its_connection() -> None:
    factory = ConnectionFactory(token="0123456789abcdef")
    assert isinstance(factory.connect("pcsc:x"), PcscConnection)
    assert isinstance(factory.connect("remote:h:1"), RemoteConnection)
    contact, field = factory.connect_both("remote:h:1")
    assert field
    assert (contact.description.interface, field.description.interface) == tuple(Interface)
    assert factory.connect_both("pcsc:x")[1] is None


def test_a_name_of_both_interfaces_leads_to_the_contacts(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the address of a card file does."""
    names = ["Dual Reader 00 00", "Dual Reader 00 01"]
    field = bytes.fromhex("3B8180018080")
    readers = [PcscReader(names[0], field, interface_of(field)), PcscReader(names[1], None, None)]
    monkeypatch.setattr("reader_bridge.pcsc.list_pcsc_readers", lambda: readers)
    factory = ConnectionFactory()
    assert factory.connect("pcsc:Dual Reader").description.name == names[1]
    assert factory.connect("pcsc:Dual Reader 00 00").description.name == names[0]
    assert factory.connect("pcsc:Nobody").description.name == "Nobody"


@pytest.mark.parametrize("address", ["sim:card.nvm", "sim:card.nvm:contactless"])
def test_without_a_maker_there_are_no_simulated_cards(address: str) -> None:
    with pytest.raises(ReaderError, match="bad-address"):
        ConnectionFactory().connect(address)
    with pytest.raises(ReaderError, match="bad-address"):
        ConnectionFactory().connect_both(address)


def test_a_remote_card_needs_a_token() -> None:
    with pytest.raises(ReaderError, match="token-missing"):
        ConnectionFactory().connect("remote:h:1")


def test_options_stand_behind_the_first_word() -> None:
    address = CardAddress.parse("pcsc,t0,exclusive:A reader")
    assert address.protocol is Protocol7816.T0
    assert address.options == (AddressOption.T0, AddressOption.EXCLUSIVE)
    assert str(address) == "pcsc,t0,exclusive:A reader"
    assert CardAddress.parse("pcsc:A reader").protocol is None


def test_a_remote_card_behind_tls_says_so() -> None:
    address = CardAddress.parse("remote,tls:[::1]:35964:contactless")
    assert address.options == (AddressOption.TLS,)
    assert str(address) == "remote,tls:[::1]:35964:contactless"
    assert isinstance(ConnectionFactory(token="0123456789abcdef").connect(address), RemoteConnection)
    with pytest.raises(ReaderError, match="tls-files"):
        ConnectionFactory(token="0123456789abcdef", authority="/nowhere.pem").connect(address)


def test_each_serial_reader_has_its_kind() -> None:
    factory = ConnectionFactory()
    assert isinstance(factory.connect("serial:/dev/ttyS0"), CcidSerialConnection)
    assert isinstance(factory.connect("serial,ccid,t0:/dev/ttyS0"), CcidSerialConnection)
    assert isinstance(factory.connect("serial,phoenix,dtr,smartmouse,fast:COM3"), PhoenixConnection)
    assert factory.connect_both("serial:/dev/ttyS0")[1] is None
