"""The card does what its ATR and ATS say: protocols, rates, sizes, times, extended length, chains, channels, CID."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from card_os.card import Card
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.hardware.clock import VirtualClock
from card_os.hardware.image import NvmImage
from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from card_os.iso7816.atr import Atr, Ats, Capabilities, CompactTag, HistoricalBytes
from card_os.iso7816.tlv import parse_all
from card_os.manufacture import manufacture
from card_os.port import Port
from card_os.transport.checks import crc_a, lrc
from card_os.transport.events import Command, Reply
from card_os.transport.parameters import LineParameters, rates
from card_os.transport.pps import Pps, answer_request, check_response
from card_os.transport.t1_blocks import Block, Framing, Supervisory, information_block
from card_os.transport.t1_card import T1Card
from card_os.transport.tcl_blocks import Block as FieldBlock
from card_os.transport.tcl_blocks import BlockCodec, ContactlessType, Kind
from card_os.transport.timing import ContactlessTiming
from card_os.transport.type_a_card import TypeACard
from card_os.transport.type_a_frames import Frame
from card_os.transport.wire import Direction
from permitcard.blanks import profile_answers
from permitcard.products import boot, permit_profile, sam_profile
from personalization.profile import CardProfile
from personalization.profile_answers import answer_to_reset, answer_to_select
from personalization.profile_rows import Interfaces
from reader_bridge.connection import CardConnection, Interface, Protocol7816
from reader_bridge.simulated import SimulatedCard, create_card
from reader_bridge.wired import WiredConnection
from tests.doubles.file_system_card import factory, new_file_system_card

UID = bytes.fromhex("08112233")
NAME = bytes.fromhex("A000000151000000")
LONG = 600
CODEC = BlockCodec(ContactlessType.A)


@pytest.fixture(scope="module")
def card() -> Iterator[SimulatedCard]:
    """The file system as default application, with files that anyone reads."""
    with new_file_system_card() as card:
        yield card


@pytest.fixture(scope="module")
def atr(card: SimulatedCard) -> Atr:
    with card.connect() as connection:
        return Atr.parse(connection.description.answer)


@pytest.fixture(scope="module")
def ats(card: SimulatedCard) -> Ats:
    with card.connect(Interface.CONTACTLESS) as connection:
        return Ats.parse(connection.description.answer)


@pytest.fixture(scope="module")
def capabilities(atr: Atr, ats: Ats) -> Capabilities:
    assert atr.historical == ats.historical
    found = HistoricalBytes.parse(atr.historical).capabilities
    assert found is not None
    return found


def send(connection: CardConnection, command: CommandApdu) -> ResponseApdu:
    return ResponseApdu.parse(connection.transmit(command.encode()))


@pytest.mark.parametrize("profile", [permit_profile(), sam_profile()], ids=lambda profile: profile.name)
def test_the_answers_are_made_from_the_profile(profile: CardProfile) -> None:
    with create_card(None, boot, manufacture=factory) as blank:
        for interface, made in (
            (Interface.CONTACT, answer_to_reset(profile.interfaces)),
            (Interface.CONTACTLESS, answer_to_select(profile.interfaces)),
        ):
            with blank.connect(interface) as connection:
                assert connection.description.answer == made
    assert profile_answers(profile.interfaces) == (b"", b"")  # the card says it of its own accord


INTERFACES = {"arbitration": "concurrent", "historical_bytes": "80", "protocols": ("T=1", "T=CL")}


def test_another_profile_gives_other_answers_and_the_machines_keep_them() -> None:
    interfaces = Interfaces.model_validate(
        INTERFACES
        | {"contact": {"rates": "95", "ifsc": 100, "bwi": 2, "cwi": 7}, "contactless": {"frame_size": 64, "cid": False}}
    )
    made, field = profile_answers(interfaces)
    parameters = LineParameters.from_atr(Atr.parse(made))
    assert (parameters.protocols, parameters.rate_byte) == ((1,), 0x95)
    assert (parameters.ifsc, parameters.bwi, parameters.cwi) == (100, 2, 7)
    image = NvmImage.create()
    manufacture(
        image.nvm(), ProductionData(ic_serial_number=1), KeySet(0xFF, UID * 4, UID * 4, UID * 4), atr=made, ats=field
    )
    with SimulatedCard(image, boot) as card:
        with WiredConnection(card.card.contact, Interface.CONTACT) as connection:
            assert connection.description.answer == made
            assert (
                send(connection, CommandApdu(0x00, 0xA4, 0x04, 0x00, bytes(240), 256)).sw == 0x6A82
            )  # in three blocks
            assert send(connection, CommandApdu(0x00, 0xA4, 0x04, 0x0C, NAME)).sw.ok
        with WiredConnection(card.card.contactless, Interface.CONTACTLESS) as connection:
            assert connection.description.answer == field
            assert send(connection, CommandApdu(0x00, 0xA4, 0x04, 0x0C, NAME)).sw.ok


def test_defaults_are_not_sent() -> None:
    """Of T=0 alone only the classes of operating conditions are told (ISO/IEC 7816-3, 8.3)."""
    interfaces = Interfaces.model_validate(INTERFACES | {"protocols": ("T=0",)})
    assert answer_to_reset(interfaces).hex().upper() == "3B81801F078099"
    assert LineParameters.from_atr(Atr.parse(answer_to_reset(interfaces))).ifsc == 32


# --------------------------------------------------------------------------------------------------- contacts


@pytest.mark.clause("ISO/IEC 7816-3:2006, 8.2.3 and 9")
@pytest.mark.parametrize("protocol", [Protocol7816.T0, Protocol7816.T1])
def test_every_protocol_of_the_atr_is_spoken_and_no_other(
    card: SimulatedCard, atr: Atr, protocol: Protocol7816
) -> None:
    with WiredConnection(card.card.contact, Interface.CONTACT, protocol=protocol) as connection:
        assert send(connection, CommandApdu(0x00, 0xA4, 0x04, 0x0C, NAME)).sw.ok
    parameters = LineParameters.from_atr(atr)
    for number in range(15):
        answered = answer_request(parameters, Pps(number).encode())
        assert (answered is not None) is (number in atr.protocols), number


@pytest.mark.clause("ISO/IEC 7816-3:2006, 8.3, TA1")
def test_the_rates_of_ta1_are_taken_and_others_left_out(atr: Atr) -> None:
    parameters = LineParameters.from_atr(atr)
    for value in range(256):
        try:
            rates(value)
        except ValueError:
            continue
        request = Pps(1, value)
        answered = answer_request(parameters, request.encode())
        assert answered is not None
        chosen = check_response(request, answered[0])
        taken = value in {parameters.rate_byte, 0x11}
        assert (chosen.f, chosen.d) == (rates(value) if taken else (372, 1))


@pytest.mark.clause("ISO/IEC 7816-3:2006, 11.4.2, IFSC")
def test_blocks_up_to_ifsc_are_taken_and_longer_ones_refused(atr: Atr) -> None:
    parameters = LineParameters.from_atr(atr)
    framing = Framing(crc=parameters.crc)
    assert parameters.ifsc == 254
    command = bytes(parameters.ifsc)
    assert T1Card(parameters).receive(framing.encode(information_block(0, False, command))) == Command(command)
    small = LineParameters((1,), ifsc=100)
    event = T1Card(small).receive(framing.encode(information_block(0, False, bytes(101))))
    assert isinstance(event, Reply)
    assert framing.decode(event.data).pcb & 0xC0 == 0x80  # an R-block


@pytest.mark.clause("ISO/IEC 7816-3:2006, 11.4.4, TC for T=1")
def test_the_check_code_is_the_announced_one(atr: Atr) -> None:
    parameters = LineParameters.from_atr(atr)
    assert not parameters.crc
    asked = b"\x00\xc1\x01\x20"
    event = T1Card(parameters).receive(asked + lrc(asked))
    assert event == Reply(b"\x00\xe1\x01\x20\xc0")


class SlowPort:
    """A port whose work takes virtual time."""

    def __init__(self, port: Port, clock: VirtualClock, work_ns: int) -> None:
        self._port, self._clock, self._work_ns = port, clock, work_ns
        self.uid = UID

    @property
    def powered(self) -> bool:
        return self._port.powered

    def power_on(self) -> bytes:
        return self._port.power_on()

    def process(self, command: bytes) -> bytes:
        self._clock.spend(self._work_ns)
        return self._port.process(command)

    def reset(self) -> bytes:
        return self._port.reset()

    def power_off(self) -> None:
        self._port.power_off()


@pytest.mark.clause("ISO/IEC 7816-3:2006, 11.4.3, BWI; 10.2, WI; ISO/IEC 14443-4:2018, 5.2.5, FWI")
@pytest.mark.parametrize(
    ("protocol", "extensions"), [(Protocol7816.T0, 0x60), (Protocol7816.T1, 0xC3), (Protocol7816.TCL, 0xF2)]
)
@pytest.mark.parametrize("times", [0, 2])
def test_work_beyond_the_announced_waiting_time_asks_for_more(
    card: SimulatedCard, atr: Atr, ats: Ats, protocol: Protocol7816, extensions: int, times: int
) -> None:
    timing = LineParameters.from_atr(atr).timing(512, 32)
    waiting = {
        Protocol7816.T0: timing.wwt_ns,
        Protocol7816.T1: timing.bwt_ns,
        Protocol7816.TCL: ContactlessTiming(ats.fwi, ats.sfgi).fwt_ns,
    }[protocol]
    clock = VirtualClock()
    sent: list[bytes] = []

    def watch(direction: Direction, data: bytes) -> bytes:
        if direction is Direction.TO_READER:
            sent.append(data)
        return data

    contactless = protocol is Protocol7816.TCL
    port = card.card.contactless if contactless else card.card.contact
    assert isinstance(port, Port)
    slow = SlowPort(port, clock, waiting * times + 1)
    interface = Interface.CONTACTLESS if contactless else Interface.CONTACT
    with WiredConnection(slow, interface, protocol=protocol, clock=clock, disturbance=watch) as connection:
        assert send(connection, CommandApdu(0x00, 0xA4, 0x04, 0x0C, NAME)).sw in {0x9000, 0x6A82}
    place = 1 if protocol is Protocol7816.T1 else 0
    asked = [data for data in sent if len(data) > place and data[place] == extensions]
    assert bool(asked) is bool(times)


# --------------------------------------------------------------------------------------------------- both


@pytest.mark.clause("ISO/IEC 7816-4:2020, 12.1.1.9")
@pytest.mark.parametrize("interface", Interface)
def test_the_capabilities_are_true(card: SimulatedCard, capabilities: Capabilities, interface: Interface) -> None:
    with card.connect(interface) as connection:
        assert capabilities.extended
        word = send(connection, CommandApdu(0x00, 0xA4, 0x04, 0x00, bytes(LONG), 256, True)).sw
        assert word not in {0x6700, 0x6F00}  # taken as a command, whatever it means
        assert capabilities.chaining
        inner = CommandApdu(0x00, 0xA4, 0x00, 0x0C, b"\x3f\x00").encode()
        assert send(connection, CommandApdu(0x10, 0xC2, 0x00, 0x00, inner[:3])).sw == 0x9000
        assert send(connection, CommandApdu(0x00, 0xC2, 0x00, 0x00, inner[3:], 256)).sw == 0x9000
        assert capabilities.assigned_by_card
        assert capabilities.assigned_by_interface
        opened = [send(connection, CommandApdu(0x00, 0x70, 0x00, 0x00, b"", 1)) for _ in range(6)]
        assert [response.data[0] for response in opened] == [1, 2, 3, 4, 5, 6]
        assert send(connection, CommandApdu(0x00, 0x70, 0x00, 0x07)).sw == 0x9000
        assert capabilities.channels == 8
        assert send(connection, CommandApdu(0x43, 0xA4, 0x00, 0x0C, b"\x3f\x00")).sw == 0x9000  # channel 7


@pytest.mark.clause("ISO/IEC 7816-4:2020, 12.1.1.9, table 117; 12.1.1.7")
def test_files_are_selected_in_the_announced_ways(card: SimulatedCard, atr: Atr, capabilities: Capabilities) -> None:
    service = HistoricalBytes.parse(atr.historical).find(CompactTag.SERVICE_DATA)
    assert service is not None
    with card.connect() as connection:
        name = send(connection, CommandApdu(0x00, 0xA4, 0x00, 0x00, b"\x3f\x00", 256)).data
        aid = name[name.index(0x84) + 2 :][: name[name.index(0x84) + 1]]
        ways = {
            0x80: CommandApdu(0x00, 0xA4, 0x04, 0x0C, aid),  # full DF name
            0x40: CommandApdu(0x00, 0xA4, 0x04, 0x0C, aid[:-1]),  # partial DF name
            0x10: CommandApdu(0x00, 0xA4, 0x00, 0x0C, b"\x3f\x00"),  # FID
            0x04: CommandApdu(0x00, 0xB2, 0x01, 0xF4, b"", 256),  # SFI 1E
            0x02: CommandApdu(0x00, 0xB2, 0x01, 0x04, b"", 256),  # record number, in the file just selected
        }
        for bit, command in ways.items():
            assert capabilities.selection & bit
            assert send(connection, command).sw in {0x9000, 0x6282}, f"{bit:02X}"
        assert service[0] & 0xC0 == 0xC0  # by full and by partial DF name


@pytest.mark.clause("ISO/IEC 7816-4:2020, 12.1.1.7, 12.2.1 and 12.2.2")
@pytest.mark.parametrize("interface", Interface)
def test_mf_and_its_information_files_are_there_as_announced(card: SimulatedCard, interface: Interface) -> None:
    """b1: there is an MF; b6 and b5: data objects in EF.DIR and EF.ATR/INFO; b4-b2: EF.DIR has records."""
    with card.connect(interface) as connection:
        answer = connection.description.answer
        historical = (Atr if interface is Interface.CONTACT else Ats).parse(answer).historical
        assert HistoricalBytes.parse(historical).find(CompactTag.SERVICE_DATA) == b"\xf0"
        assert send(connection, CommandApdu(0x00, 0xA4, 0x00, 0x0C, b"\x3f\x00")).sw == 0x9000
        assert send(connection, CommandApdu(0x00, 0xA4, 0x02, 0x0C, b"\x2f\x00")).sw == 0x9000
        (entry,) = parse_all(send(connection, CommandApdu(0x00, 0xB2, 0x01, 0x04, b"", 256)).data)
        assert entry.tag == 0x61
        assert send(connection, CommandApdu(0x00, 0xA4, 0x02, 0x0C, b"\x2f\x01")).sw == 0x9000
        information = parse_all(send(connection, CommandApdu(0x00, 0xB0, 0x00, 0x00, b"", 256)).data)
        assert information[0] == (0x43, b"\xf0")


@pytest.mark.clause("ISO/IEC 7816-4:2020, 12.1.1.7")
@pytest.mark.parametrize("interface", Interface)
def test_a_card_without_an_mf_says_so(interface: Interface) -> None:
    with create_card(None, boot, manufacture=factory) as blank, blank.connect(interface) as connection:
        answer = connection.description.answer
        historical = (Atr if interface is Interface.CONTACT else Ats).parse(answer).historical
        assert HistoricalBytes.parse(historical).find(CompactTag.SERVICE_DATA) == b"\xc1"
        for identifier in (b"\x3f\x00", b"\x2f\x00", b"\x2f\x01"):
            assert not send(connection, CommandApdu(0x00, 0xA4, 0x00, 0x0C, identifier)).sw.ok


# --------------------------------------------------------------------------------------------------- over the field


def activated(ats: Ats, cid: int = 0) -> TypeACard:
    """A card after RATS with frames of 256 bytes."""
    card = TypeACard(UID, ats)
    for frame in (
        Frame.short(0x26),
        Frame.checked(bytes((0x93, 0x70)) + UID + bytes((UID[0] ^ UID[1] ^ UID[2] ^ UID[3],))),
        Frame.checked(bytes((0xE0, 0x80 | cid))),
    ):
        assert card.receive(frame) is not None
    return card


@pytest.mark.clause("ISO/IEC 14443-4:2018, 5.2.3, FSCI")
def test_frames_up_to_fsc_are_taken(ats: Ats) -> None:
    protocol = activated(ats).protocol
    assert protocol is not None
    information = bytes(ats.frame_size - 3)
    frame = CODEC.encode(FieldBlock(Kind.INFORMATION, 0, information))
    assert len(frame) == ats.frame_size == 256
    assert protocol.receive(frame) == Command(information)


@pytest.mark.clause("ISO/IEC 14443-4:2018, 5.2.6, TC1")
@pytest.mark.parametrize("cid", [0, 1, 14])
def test_cid_and_nad_are_as_announced(ats: Ats, cid: int) -> None:
    protocol = activated(ats, cid).protocol
    assert protocol is not None
    assert (ats.cid, ats.nad) == (True, False)
    with_nad = FieldBlock(Kind.INFORMATION, 0, b"\x00", cid=cid or None, nad=0x21)
    assert protocol.receive(CODEC.encode(with_nad)) is None
    other = FieldBlock(Kind.INFORMATION, 0, b"\x00", cid=(cid + 1) % 14 or 14)
    assert protocol.receive(CODEC.encode(other)) is None
    assert protocol.receive(CODEC.encode(FieldBlock(Kind.INFORMATION, 0, b"\x00", cid=cid))) == Command(b"\x00")


@pytest.mark.clause("ISO/IEC 14443-4:2018, 5.2.4, TA1, and 5.3")
@pytest.mark.parametrize("dsi", range(4))
@pytest.mark.parametrize("dri", range(4))
def test_every_announced_rate_is_taken(ats: Ats, dsi: int, dri: int) -> None:
    assert ats.rates == 0x77  # 212, 424 and 848 kbit/s, each direction on its own
    answer = activated(ats).receive(Frame.checked(bytes((0xD0, 0x11, dsi << 2 | dri))))
    assert answer == Frame.standard(b"\xd0" + crc_a(b"\xd0"))


def test_a_card_that_announces_less_refuses_more() -> None:
    modest = Ats(fsci=2, rates=0x80, fwi=4, cid=False, nad=True)
    card = activated(modest)
    assert card.protocol is not None
    assert card.protocol.receive(CODEC.encode(FieldBlock(Kind.INFORMATION, 0, b"\x00", cid=0))) is None
    addressed = FieldBlock(Kind.INFORMATION, 0, b"\x00", nad=0x21)
    assert card.protocol.receive(CODEC.encode(addressed)) == Command(b"\x00")
    assert activated(modest).receive(Frame.checked(bytes((0xD0, 0x11, 0x05)))) is None


def test_wtx_and_size_requests_are_those_of_the_machines() -> None:
    """The request bytes that the other tests look for."""
    assert Framing().encode(Block(Supervisory.WTX_REQUEST, b"\x01"))[1] == 0xC3
    assert CODEC.encode(FieldBlock(Kind.WTX, information=b"\x01"))[0] == 0xF2


def test_the_double_is_the_real_card(card: SimulatedCard) -> None:
    assert isinstance(card.card, Card)
