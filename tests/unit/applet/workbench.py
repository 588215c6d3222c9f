"""A permit and a SAM on simulated cards, personalized straight through the applet interface."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib.resources import files
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from applet import permit, sam
from applet.permit.applet import PermitApplet
from applet.sam.applet import SamApplet
from card_os.card import Card
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.production_data import ProductionData
from card_os.globalplatform.registry import Application, ApplicationLifeCycle, Privilege
from card_os.hardware.image import NvmImage
from card_os.hardware.power import PowerSupply
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816.tlv import encode
from card_os.manufacture import manufacture
from card_os.port import Port
from card_os.security.cryptography import P256PrivateKey, check_value, derive
from personalization.profile import CardProfile
from personalization.terminal.sam import SamSession
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import ConnectionDescription, Interface, Protocol7816

PERMIT = CardProfile.load(files(permit) / "profile.toml")
SAM = CardProfile.load(files(sam) / "profile.toml")

MASTERS = {
    "inspection": bytes(range(0x10, 0x20)),
    "service_desk": bytes(range(0x20, 0x30)),
    "bank_branch": bytes(range(0x30, 0x40)),
    "issuer": bytes(range(0x40, 0x50)),
    "concealment": bytes(range(0x50, 0x60)),
    "terminal": bytes(range(0x60, 0x70)),
}
CHIP_SCALAR = bytes.fromhex("C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721")
FACTORY_KEYS = KeySet(0xFF, bytes(16), bytes(range(16)), bytes(range(1, 17)))
CLOCK_KEY = ec.derive_private_key(0x5EC0DE, ec.SECP256R1())
FIRST_BOUND = b"20991231"
HOLDER_PIN = "246810"
UNBLOCKING_PIN = "13579135"
PORTRAIT = b"\xff\xd8\xff\xe0" + bytes(index * 7 & 0xFF for index in range(4090)) + b"\xff\xd9"
IDENTITY = encode(
    0x7F01,
    encode(0x5F20, "欧阳·𠮷子".encode()),
    encode(0x5F2B, b"19900101"),
    encode(0x5F35, b"2"),
    encode(0xDF01, b"02"),
    encode(0xDF02, b"330381199001010027"),
    encode(0x5F42, "浙江省瑞安市安阳街道".encode()),
    encode(0xDF03, b"330381202600000001"),
)
STATUS = b"\x01" + b"20270101" + b"20260101" + b"330381" + bytes(9)
BANK = encode(
    0x7F05, encode(0xDF41, "农业银行".encode()), encode(0x5A, b"6228480000000000001"), encode(0xDF43, b"\x00")
)
CONTENT = {
    0x0101: IDENTITY,
    0x0102: "欧阳".ljust(128).encode("utf-16-le"),
    0x0103: PORTRAIT,
    0x0104: encode(0x7F21, bytes(100)) + encode(0x5F37, bytes(64)),
    0x0105: P256PrivateKey(CHIP_SCALAR).public_point,
    0x0203: STATUS,
    0x0301: BANK.ljust(128, b"\x00"),
}
Grouping = tuple[int, bytes]


def key_entry(reference: int, role: int, try_limit: int, key: bytes) -> bytes:
    return bytes((reference, role, try_limit, len(key))) + key + check_value(key)


def key_grouping(profile: CardProfile, card_number: bytes) -> bytes:
    entries = b""
    for row in profile.keys:
        if row.master is None:
            continue
        key = MASTERS[row.master]
        if row.label is not None:
            key = derive(key, row.label, row.derivation_context(card_number), row.length)
        entries += key_entry(row.reference, row.role, row.try_limit, key)
    return entries


def pin_block(digits: str) -> bytes:
    return bytes.fromhex(f"2{len(digits):X}{digits}".ljust(16, "F"))


def pin_grouping() -> bytes:
    return bytes((0x81, 1, 3)) + pin_block(HOLDER_PIN) + bytes((0x82, 2, 10)) + pin_block(UNBLOCKING_PIN)


def clock_grouping(bound: bytes = FIRST_BOUND) -> bytes:
    return CLOCK_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint) + bound


def signed_bound(bound: bytes, key: ec.EllipticCurvePrivateKey = CLOCK_KEY) -> bytes:
    r, s = decode_dss_signature(key.sign(b"permitcard date bound" + bound, ec.ECDSA(SHA256())))
    return bound + r.to_bytes(32, "big") + s.to_bytes(32, "big")


def permit_groupings(card_number: bytes, bound: bytes | None = FIRST_BOUND) -> list[Grouping]:
    sizes = {fid: len(content) for fid, content in CONTENT.items() if PERMIT.file(fid).size is None}
    groupings = [(0x0062, PERMIT.file_creation_dgi(sizes))]
    for fid, content in CONTENT.items():
        groupings += [
            (fid, offset.to_bytes(2, "big") + content[offset : offset + 1000])
            for offset in range(0, len(content), 1000)
        ]
    if bound is not None:
        groupings.append((0x8102, clock_grouping(bound)))
    return [
        *groupings,
        (0x8000, key_grouping(PERMIT, card_number)),
        (0x8010, pin_grouping()),
        (0x8101, CHIP_SCALAR),
        (0x9F01, PERMIT.identification),
    ]


def sam_groupings(card_number: bytes) -> list[Grouping]:
    return [(0x8000, key_grouping(SAM, card_number)), (0x9F01, SAM.identification)]


class PortConnection:
    """One port of a card as a `CardConnection`."""

    def __init__(self, port: Port, interface: Interface, *, extended: bool = True) -> None:
        self._port = port
        self._interface = interface
        self._extended = extended
        self._answer = b""
        self.trace: list[tuple[bytes, bytes]] = []
        self.alter: Callable[[bytes], bytes] | None = None

    @cached_property
    def description(self) -> ConnectionDescription:
        most_command, most_response = (65_535, 65_536) if self._extended else (255, 256)
        return ConnectionDescription(
            "bench", self._interface, Protocol7816.T1, b"", most_command, most_response, simulated=True
        )

    def power_on(self) -> bytes:
        if not self._port.powered:
            self._answer = self._port.power_on()
        return self._answer

    def transmit(self, command: bytes) -> bytes:
        response = self._port.process(command)
        if self.alter is not None:
            response = self.alter(response)
        self.trace.append((command, response))
        return response

    def reset(self) -> bytes:
        self._answer = self._port.reset()
        return self._answer

    def power_off(self) -> None:
        self._port.power_off()

    def __enter__(self) -> Self:
        self.power_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.power_off()


@dataclass
class Bench:
    """A card with one application, its image and both ways to it."""

    image: NvmImage
    power: PowerSupply
    card: Card
    profile: CardProfile
    contact: PortConnection = field(init=False)
    contactless: PortConnection = field(init=False)

    def __post_init__(self) -> None:
        self.contact = PortConnection(self.card.contact, Interface.CONTACT)
        self.contactless = PortConnection(self.card.contactless, Interface.CONTACTLESS)

    def on(self, interface: Interface) -> PortConnection:
        connection = self.contact if interface is Interface.CONTACT else self.contactless
        connection.power_on()
        return connection

    def fork(self, seed: int = 99) -> Bench:
        """The same card again, on a copy of its image."""
        return boot(self.image.fork(), self.profile, seed)

    @property
    def application(self) -> Application:
        application = self.card.platform.registry.by_aid(self.profile.application.instance)
        assert application is not None
        return application

    @property
    def card_number(self) -> bytes:
        return self.card.platform.context_of(self.application).card_number


def boot(image: NvmImage, profile: CardProfile, seed: int) -> Bench:
    power = PowerSupply()
    card = Card(image.nvm(power=power), (PermitApplet, SamApplet), randomness=SeededRandomness(seed))
    return Bench(image, power, card, profile)


def blank(profile: CardProfile, *, serial: int = 1, seed: int = 1) -> Bench:
    """A card with an application that is installed and selectable, and nothing in it."""
    image = NvmImage.create()
    production_data = ProductionData(ic_fabricator=0x4A4A, ic_type=0x0001, ic_batch=7, ic_serial_number=serial)
    manufacture(image.nvm(), production_data, FACTORY_KEYS)
    bench = boot(image, profile, seed)
    bench.card.platform.install(
        package_aid=profile.application.package,
        module_aid=profile.application.module,
        aid=profile.application.instance,
        privileges=Privilege.NONE,
        domain=1,
        life_cycle=ApplicationLifeCycle.SELECTABLE,
        parameters=profile.install_parameters,
    )
    return bench


def store(bench: Bench, identifier: int, value: bytes, *, last: bool = False) -> None:
    """One DGI, as the issuer domain hands it on: in one transaction that also makes the last state."""
    platform, application = bench.card.platform, bench.application
    with platform.store.transaction():
        platform.code_of(application).store_data(platform.context_of(application), identifier, value, last=last)
        if last:
            platform.registry.set_life_cycle(application, ApplicationLifeCycle.PERSONALIZED)


def personalize(bench: Bench, groupings: Iterable[Grouping]) -> Bench:
    for identifier, value in groupings:
        store(bench, identifier, value, last=identifier == 0x9F01)
    return bench


def new_permit(*, serial: int = 1, seed: int = 1, bound: bytes | None = FIRST_BOUND) -> Bench:
    bench = blank(PERMIT, serial=serial, seed=seed)
    return personalize(bench, permit_groupings(bench.card_number, bound))


def new_sam(*, serial: int = 0x5A, seed: int = 2) -> Bench:
    bench = blank(SAM, serial=serial, seed=seed)
    return personalize(bench, sam_groupings(bench.card_number))


def terminal_key(card_number: bytes) -> bytes:
    return derive(MASTERS["terminal"], "ROLE", card_number, 32)


def nonces(seed: int = 7) -> Callable[[int], bytes]:
    return SeededRandomness(seed).bytes


def open_sam(bench: Bench) -> SamSession:
    bench.contact.power_on()
    return SamSession.open(bench.contact, terminal_key, randomness=nonces())


def open_permit(bench: Bench, sam_bench: Bench, role: str, interface: Interface) -> TerminalSession:
    return TerminalSession.open(bench.on(interface), open_sam(sam_bench), PERMIT, role)


def windows(data: bytes, length: int) -> Iterator[bytes]:
    """Every run of ``length`` bytes."""
    return (data[at : at + length] for at in range(len(data) - length + 1))
