"""INSTALL [for load], LOAD, code and its absence, memory quotas (GPC 2.3.1, clauses 9.3.5, 9.7, 11.6)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from card_os.card import Card
from card_os.globalplatform.cap_file import read_load_file
from card_os.globalplatform.card_policy import CardPolicy, MissingCode
from card_os.globalplatform.registry import CARD_OWNER, CardObject
from card_os.hardware.image import NvmImage
from card_os.hardware.randomness import SeededRandomness
from card_os.iso7816 import tlv
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import SW
from card_os.storage.store import ObjectKind
from personalization.globalplatform import commands
from personalization.globalplatform.session import SecureSession
from tests.doubles.domain_card import (
    BANK,
    BANK_KEYS,
    LOADED_MODULE,
    LOADED_PACKAGE,
    LoadedNotebook,
    answers,
    boot,
    delete_command,
    domain_session,
    entry,
    install_command,
    issuer_session,
    load_commands,
    load_request,
    make_domain,
    powered,
    sw,
)
from tests.doubles.issuer_card import (
    DOMAIN,
    INSTANCE,
    MODULE,
    PACKAGE,
    NotebookApplet,
    PortConnection,
    ShortConnection,
    issuer_image,
)
from tests.doubles.load_files import cap_components, component

FOREIGN_PACKAGE = bytes.fromhex("D27600012401")
FOREIGN_MODULES = (FOREIGN_PACKAGE + b"\x01", FOREIGN_PACKAGE + b"\x02")
BLOCK = cap_components(LOADED_PACKAGE, [LOADED_MODULE], version=(1, 3), code=700)
REFUSED = SW.CONDITIONS_NOT_SATISFIED


def load_file(block: bytes = BLOCK) -> bytes:
    return tlv.encode(0xC4, block)


@pytest.fixture
def card() -> Card:
    return boot()


@pytest.fixture
def session(card: Card) -> SecureSession:
    return issuer_session(powered(card))


def packages(session: SecureSession) -> list[bytes]:
    return [row.aid for row in session.get_status(commands.StatusScope.PACKAGES)]


def load(session: SecureSession, block: bytes = BLOCK, aid: bytes = LOADED_PACKAGE, size: int = 200) -> list[int]:
    return answers(session, [load_request(aid), *load_commands(load_file(block), size)])


def is_clean(card: Card, free: int) -> None:
    """Nothing of a load file is left: no object, no byte."""
    store = card.platform.store
    assert not store.owned(CARD_OWNER, ObjectKind.PACKAGE)
    assert store.free_in_all == free


# ---- names in a load file (JCVM 3.0.5, clauses 6.3 and 6.5)


def test_names_are_read_from_the_components() -> None:
    content = read_load_file(cap_components(FOREIGN_PACKAGE, FOREIGN_MODULES, version=(2, 7)))
    assert content == (FOREIGN_PACKAGE, b"\x02\x07", FOREIGN_MODULES)
    assert read_load_file(cap_components(FOREIGN_PACKAGE)).modules == ()


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"\x01",
        b"PK\x03\x04",
        component(2, bytes(31)),
        component(1, bytes(20)),
        component(1, bytes.fromhex("DECAFFED020204")),
        component(1, bytes.fromhex("DECAFFED0202040001") + b"\x10" + bytes(5)),
        component(1, bytes.fromhex("DECAFFED0202040001") + b"\x04" + bytes(4)),
        BLOCK[:-1],
        component(1, bytes.fromhex("DECAFFED0202040001") + b"\x05" + bytes(5)) + component(3, b""),
        component(1, bytes.fromhex("DECAFFED0202040001") + b"\x05" + bytes(5)) + component(3, b"\x02\x05" + bytes(7)),
    ],
)
def test_what_is_no_load_file(block: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - which of them is in the message, for traces only
        read_load_file(block)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120))
def test_any_bytes_are_a_load_file_or_none(raw: bytes) -> None:
    block = component(1, bytes.fromhex("DECAFFED") + raw)
    try:
        content = read_load_file(block)
    except ValueError:
        return
    assert raw.find(content.aid) >= 0


# ---- loading


@pytest.mark.parametrize("size", [1, 7, 200, 239])
def test_a_load_file_comes_in_blocks_of_any_size(card: Card, session: SecureSession, size: int) -> None:
    block = cap_components(LOADED_PACKAGE, [LOADED_MODULE], version=(1, 3), code=100)
    assert set(load(session, block, size=size)) == {SW.OK}
    (row,) = (row for row in session.get_status(commands.StatusScope.PACKAGES_AND_MODULES) if row.aid == LOADED_PACKAGE)
    assert (row.life_cycle, row.modules) == (0x01, (LOADED_MODULE,))
    file = card.platform.registry.load_file(LOADED_PACKAGE)
    assert file is not None
    assert (file.version, file.size, file.digest) == (b"\x01\x03", len(block), hashlib.sha256(block).digest())
    assert card.platform.store.read(card.platform.store.owned(file.number)[0]) == block


def test_the_version_is_told(session: SecureSession) -> None:
    """Table 11-37: CE is the version of the load file, major then minor."""
    load(session)
    answer = session.transmit(CommandApdu(0x80, 0xF2, 0x20, 0x02, b"\x4f\x06" + LOADED_PACKAGE + b"\x5c\x01\xce", 256))
    assert answer.data == bytes.fromhex("E30C4F06") + LOADED_PACKAGE + bytes.fromhex("CE020103")


def test_its_code_runs_after_loading_only(card: Card, session: SecureSession) -> None:
    install = install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE)
    assert sw(session, install) == SW.REFERENCE_DATA_NOT_FOUND
    assert LOADED_PACKAGE not in packages(session)
    load(session)
    assert sw(session, install) == SW.OK
    assert entry(card, INSTANCE).data.package_version == b"\x01\x03"
    connection = powered(card)
    assert connection.transmit(commands.select(INSTANCE).encode()).hex() == "6f009000"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512"])
def test_the_hash_is_verified(card: Card, session: SecureSession, algorithm: str) -> None:
    """9.2.2: a hash that was told is checked, whatever its algorithm."""
    free = card.platform.store.free_in_all
    digest = hashlib.new(algorithm, BLOCK).digest()
    wrong = digest[:-1] + bytes((digest[-1] ^ 1,))
    assert answers(session, [load_request(LOADED_PACKAGE, b"", wrong), *load_commands(load_file())])[-1] == 0x6A80
    is_clean(card, free)
    assert answers(session, [load_request(LOADED_PACKAGE, b"", digest), *load_commands(load_file())])[-1] == SW.OK


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (load_request(b"\xf0" * 4), 0x6A80),
        (load_request(PACKAGE), 0x6A8A),
        (load_request(LOADED_PACKAGE, digest=bytes(19)), 0x6A80),
        (load_request(LOADED_PACKAGE, b"\xf0" * 6), 0x6A80),
        (load_request(LOADED_PACKAGE, PACKAGE), 0x6A80),
        (load_request(LOADED_PACKAGE, token=bytes(16)), 0x6A80),
        (load_request(LOADED_PACKAGE, parameters=bytes.fromhex("C900")), 0x6A80),
        (load_request(LOADED_PACKAGE, parameters=bytes.fromhex("EF06C60400100000")), 0x6A84),
        (load_request(LOADED_PACKAGE, parameters=bytes.fromhex("EF04C6020400")), 0x9000),
        (load_request(LOADED_PACKAGE, parameters=bytes.fromhex("EF05C603000400")), 0x6A80),
    ],
)
def test_load_requests(session: SecureSession, request_: CommandApdu, status: int) -> None:
    assert sw(session, request_) == status


def test_what_ends_a_loading(card: Card, session: SecureSession) -> None:
    """9.3.5: whatever fails, the loading ends and its memory comes back."""
    free = card.platform.store.free_in_all
    good = load_commands(load_file())
    for wrong, status in (
        ([replace_(good[0], p2=1)], 0x6A86),
        ([replace_(good[0], p1=1)], 0x6A86),
        ([good[0], good[0]], 0x6A86),
        ([good[0], good[2]], 0x6A86),
        ([replace_(good[0], p1=0x80)], 0x6A80),
        ([replace_(good[0], data=b"\xc5\x01\x00")], 0x6A80),
        ([replace_(good[0], data=b"\xe2\x02\x4f\x00")], 0x6A80),
        ([replace_(good[0], data=tlv.encode(0xD4, bytes(16)))], 0x6A80),
        ([replace_(good[0], data=tlv.encode(0xE3, tlv.encode(0x4F, DOMAIN), tlv.encode(0xC3, bytes(8))))], 0x6A80),
        ([replace_(good[0], data=tlv.encode(0xE2, tlv.encode(0x4F, DOMAIN), tlv.encode(0xC2, bytes(8))))], 0x6A80),
        ([replace_(good[0], data=b"\xc4\x83\x0f\xff\xff")], 0x6A84),
        ([replace_(good[0], data=b"\xc4\x01\x00\x00")], 0x6A80),
        ([replace_(good[0], p1=0x80, data=b"\xc4\x01\x00")], 0x6A80),
        ([replace_(good[0], data=b"\xe2\x82\x10\x00" + bytes(200), p2=0)], 0x9000),
    ):
        assert sw(session, load_request(LOADED_PACKAGE)) == SW.OK
        assert answers(session, wrong)[-1] == status
        if status != SW.OK:
            is_clean(card, free)
            assert sw(session, good[0]) == REFUSED
    assert load(session)[-1] == SW.OK


def replace_(command: CommandApdu, **changes: object) -> CommandApdu:
    return command._replace(**changes)  # type: ignore[arg-type]  # fields of a named tuple


def test_a_head_without_end(card: Card, session: SecureSession) -> None:
    free = card.platform.store.free_in_all
    assert sw(session, load_request(LOADED_PACKAGE)) == SW.OK
    blocks = [CommandApdu(0x80, 0xE8, 0, number, b"\xe2\x82\x7f\xff" + bytes(235)) for number in range(12)]
    assert answers(session, blocks)[-1] == SW.WRONG_DATA
    is_clean(card, free)


def test_a_name_other_than_was_told(card: Card, session: SecureSession) -> None:
    free = card.platform.store.free_in_all
    assert load(session, cap_components(FOREIGN_PACKAGE))[-1] == SW.WRONG_DATA
    is_clean(card, free)


def test_one_load_file_at_a_time(card: Card, session: SecureSession) -> None:
    """9.3.1: another load request ends the loading before it."""
    first = load_commands(load_file())
    assert answers(session, [load_request(LOADED_PACKAGE), first[0]]) == [SW.OK] * 2
    assert load(session, cap_components(FOREIGN_PACKAGE), FOREIGN_PACKAGE)[-1] == SW.OK
    assert sw(session, first[1]) == REFUSED
    assert load(session)[-1] == SW.OK
    assert {LOADED_PACKAGE, FOREIGN_PACKAGE} < set(packages(session))


@pytest.mark.parametrize("aid", [LOADED_PACKAGE, FOREIGN_PACKAGE])
def test_a_loading_that_another_session_ended_does_not_go_on(card: Card, session: SecureSession, aid: bytes) -> None:
    """9.3.1 and 9.3.5: the card has one load file in the making, whatever session it was begun in."""
    first = load_commands(load_file())
    assert answers(session, [load_request(LOADED_PACKAGE), first[0]]) == [SW.OK] * 2
    other = issuer_session(contactless(card))
    assert sw(other, load_request(aid)) == SW.OK
    assert sw(session, first[1]) == REFUSED
    rest = load_commands(load_file(BLOCK if aid == LOADED_PACKAGE else cap_components(aid)))
    assert answers(other, rest)[-1] == SW.OK
    assert {LOADED_PACKAGE, FOREIGN_PACKAGE} & set(packages(session)) == {aid}


@pytest.mark.parametrize("leave", ["select", "power", "reset"])
def test_a_broken_loading_gives_its_memory_back(card: Card, session: SecureSession, leave: str) -> None:
    """Left by SELECT at once; by a cut at the next boot."""
    free = card.platform.store.free_in_all
    answers(session, [load_request(LOADED_PACKAGE), *load_commands(load_file())[:-1]])
    connection = PortConnection(card.contact)
    match leave:
        case "select":
            connection.transmit(commands.select(DOMAIN).encode())
        case "power":
            connection.power_off()
            connection.power_on()
        case _:
            connection.reset()
    is_clean(card, free)


def test_loading_for_another_domain(card: Card) -> None:
    """11.5.2.3.1: implicit extradition to a domain that takes it, and lets a domain above install from it."""
    connection = powered(card)
    make_domain(connection, BANK, BANK_KEYS)
    session = issuer_session(connection)
    assert answers(session, [load_request(LOADED_PACKAGE, BANK), *load_commands(load_file())])[-1] == SW.OK
    assert sw(session, install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE)) == SW.OK
    bank = domain_session(connection, BANK, BANK_KEYS)
    assert sw(bank, delete_command(INSTANCE)) == SW.OK
    assert sw(bank, install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE)) == SW.OK


# ---- deletion of load files, clauses 9.5.2 and 9.5.3


def test_a_load_file_is_deleted_alone_or_with_its_applications(card: Card, session: SecureSession) -> None:
    free = card.platform.store.free_in_all
    load(session)
    session.transmit(install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE))
    assert sw(session, delete_command(LOADED_PACKAGE)) == REFUSED
    assert sw(session, delete_command(PACKAGE)) == REFUSED
    assert sw(session, delete_command(LOADED_PACKAGE, related=True)) == SW.OK
    assert card.platform.registry.by_aid(INSTANCE) is None
    is_clean(card, free)
    assert sw(session, delete_command(LOADED_PACKAGE)) == SW.REFERENCE_DATA_NOT_FOUND
    assert load(session)[-1] == SW.OK
    assert sw(session, delete_command(LOADED_PACKAGE)) == SW.OK
    is_clean(card, free)


def test_an_application_with_many_objects_is_deleted_whole(card: Card) -> None:
    """More than one transaction holds; see the tear sweep for the cuts in between."""
    connection = ShortConnection(card.contact)
    connection.power_on()
    session = issuer_session(connection)
    free = card.platform.store.free_in_all
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    session.personalize(INSTANCE, [commands.DataGrouping(number, b"\x55" * 4) for number in range(1, 130)])
    session.delete(INSTANCE)
    assert card.platform.store.free_in_all == free
    assert card.platform.store.find(CARD_OWNER, ObjectKind.CARD, CardObject.RECLAIM) is None


def test_several_applications_with_many_objects_go_with_their_load_file(card: Card) -> None:
    """9.5.3: all of what is deleted gives its memory back, at once or after a boot."""
    connection = ShortConnection(card.contact)
    connection.power_on()
    session = issuer_session(connection)
    free = card.platform.store.free_in_all
    load(session)
    for instance in (INSTANCE, INSTANCE + b"\x01"):
        session.transmit(install_command(LOADED_PACKAGE, LOADED_MODULE, instance))
        session.personalize(instance, [commands.DataGrouping(number, b"\x55" * 4) for number in range(1, 130)])
    assert sw(session, delete_command(LOADED_PACKAGE, related=True)) == SW.OK
    is_clean(card, free)


# ---- without code


def image_with(policy: CardPolicy) -> NvmImage:
    return issuer_image(policy=policy)


def test_without_code_an_installation_is_refused(session: SecureSession) -> None:
    load(session, cap_components(FOREIGN_PACKAGE, FOREIGN_MODULES), FOREIGN_PACKAGE)
    for module in (*FOREIGN_MODULES, FOREIGN_PACKAGE):
        command = install_command(FOREIGN_PACKAGE, module, INSTANCE)
        assert sw(session, command) == SW.REFERENCE_DATA_NOT_FOUND


def test_without_code_an_opaque_instance_where_the_policy_says_so() -> None:
    card = boot(image_with(CardPolicy(missing_code=MissingCode.OPAQUE)))
    connection = powered(card)
    session = issuer_session(connection)
    load(session, cap_components(FOREIGN_PACKAGE, FOREIGN_MODULES), FOREIGN_PACKAGE)
    assert sw(session, install_command(FOREIGN_PACKAGE, FOREIGN_PACKAGE, INSTANCE)) == SW.REFERENCE_DATA_NOT_FOUND
    command = install_command(FOREIGN_PACKAGE, FOREIGN_MODULES[1], INSTANCE, parameters=b"\xc9\x02\x12\x34")
    assert sw(session, command) == SW.OK
    session.personalize(INSTANCE, [commands.DataGrouping(1, b"\x11"), commands.DataGrouping(1, b"\x22" * 50)])
    connection.reset()
    assert connection.transmit(commands.select(INSTANCE).encode()).hex() == "6f0a8408" + INSTANCE.hex() + "9000"
    assert connection.transmit(bytes.fromhex("80B0000000")).hex() == "6d00"
    session = issuer_session(connection)
    assert sw(session, delete_command(FOREIGN_PACKAGE, related=True)) == SW.OK
    assert card.faults == 0


class NewNotebook(LoadedNotebook):
    """A later version that makes other objects."""

    package_version = (2, 0)
    state_schema = 2


def test_missing_code_makes_an_application_unselectable_and_never_lost() -> None:
    """The image outlives the build: without its code, or with code of another schema, an application waits."""
    image = issuer_image()
    card = boot(image)
    session = issuer_session(powered(card))
    load(session)
    session.transmit(install_command(LOADED_PACKAGE, LOADED_MODULE, INSTANCE, parameters=b"\xc9\x02\x12\x34"))
    card.contact.power_off()
    for code, selectable in (([], False), ([NewNotebook], False), ([LoadedNotebook], True)):
        again = Card(image.nvm(), [NotebookApplet], loadable=code, randomness=SeededRandomness(1))
        connection = powered(again)
        answer = connection.transmit(commands.select(INSTANCE).encode())
        assert answer.hex() == ("6f009000" if selectable else "6a82")
        session = issuer_session(connection)
        assert INSTANCE in [row.aid for row in session.get_status(commands.StatusScope.APPLICATIONS)]
        assert sw(session, commands.install_for_personalization(INSTANCE)) == SW.OK
        expected = SW.OK if selectable else SW.REFERENCE_DATA_NOT_FOUND
        assert sw(session, CommandApdu(0x80, 0xE2, 0x88, 0, b"\x00\x01\x01\x11")) == expected
        connection.power_off()


# ---- memory, clause 9.7


def test_a_quota_holds_at_installation_and_afterwards(card: Card, session: SecureSession) -> None:
    """C8: the most that an application may use, 6A84 beyond; what it deletes it may use again."""
    assert sw(session, install_command(PACKAGE, MODULE, INSTANCE, parameters=quota(4, 10))) == SW.NOT_ENOUGH_MEMORY
    assert card.platform.registry.by_aid(INSTANCE) is None
    assert sw(session, install_command(PACKAGE, MODULE, INSTANCE, parameters=quota(100, 10))) == SW.OK
    session.transmit(commands.install_for_personalization(INSTANCE))
    assert sw(session, CommandApdu(0x80, 0xE2, 0x08, 0, b"\x00\x01\x46" + bytes(70))) == SW.OK
    assert sw(session, CommandApdu(0x80, 0xE2, 0x08, 1, b"\x00\x02\x15" + bytes(21))) == SW.NOT_ENOUGH_MEMORY
    card.contact.power_off()
    session = issuer_session(powered(card))
    session.transmit(commands.install_for_personalization(INSTANCE))
    assert sw(session, CommandApdu(0x80, 0xE2, 0x88, 0, b"\x00\x02\x15" + bytes(21))) == SW.NOT_ENOUGH_MEMORY
    assert sw(session, CommandApdu(0x80, 0xE2, 0x88, 0, b"\x00\x02\x14" + bytes(20))) == SW.OK


def quota(size: int, parameters: int = 0) -> bytes:
    return tlv.encode(0xC9, bytes(parameters)) + tlv.encode(0xEF, b"\xc8\x02" + size.to_bytes(2, "big"))


def reserved(size: int) -> bytes:
    return b"\xc9\x00" + tlv.encode(0xEF, b"\xd8\x04" + size.to_bytes(4, "big"))


def test_reserved_memory_is_nobody_elses(card: Card, session: SecureSession) -> None:
    """D8: kept free for the application, and told as used; with its deletion it comes back."""
    store = card.platform.store
    free = store.free_in_all
    assert sw(session, install_command(PACKAGE, MODULE, INSTANCE, parameters=reserved(free))) == SW.NOT_ENOUGH_MEMORY
    assert sw(session, install_command(PACKAGE, MODULE, INSTANCE, parameters=reserved(free - 4000))) == SW.OK
    told = session.transmit(commands.get_data(0xFF21)).data
    assert 0 < int.from_bytes(told[11:15], "big") <= 4000
    assert load(session, cap_components(FOREIGN_PACKAGE, code=8000), FOREIGN_PACKAGE)[-1] == SW.NOT_ENOUGH_MEMORY
    session.transmit(commands.install_for_personalization(INSTANCE))
    for number in range(3):
        block = bytes((0, number + 1)) + b"\xff\x07\x00" + bytes(0x700)
        assert sw(session, CommandApdu(0x80, 0xE2, 0x88 if number == 2 else 0x08, number, block)) == SW.OK
    session.delete(INSTANCE)
    assert load(session, cap_components(FOREIGN_PACKAGE, code=8000), FOREIGN_PACKAGE)[-1] == SW.OK


@pytest.mark.parametrize(
    ("parameters", "status"),
    [
        ("C900EF08C8020010D8020011", 0x6A80),  # a quota below what is reserved
        ("C900EF03C80101", 0x6A80),
        ("C900EF06D70400010000", 0x6A84),  # more volatile memory than the card has
        ("C900EF08C7020400D7020100", 0x9000),
        ("C900EF03CF0140", 0x9000),
        ("C900EF04CF024040", 0x6A80),
        ("C900EF03CB0141", 0x6A80),
        ("C900EF04CB028101", 0x9000),
        ("C900EF05A003810101", 0x9000),
        ("C900EF05A003810180", 0x6A80),
        ("C900EA00", 0x9000),
        ("C900EF02FF00", 0x6A80),
    ],
)
def test_install_parameters(session: SecureSession, parameters: str, status: int) -> None:
    command = install_command(PACKAGE, MODULE, INSTANCE, parameters=bytes.fromhex(parameters))
    assert sw(session, command) == status


def test_lengths_beyond_127_bytes(session: SecureSession) -> None:
    """11.5.2.3.1: the parameters field has a BER length, but 128 may be 80 alone."""
    parameters = tlv.encode(0xC9, bytes(125))
    assert len(parameters) == 127
    assert sw(session, install_command(PACKAGE, MODULE, INSTANCE, parameters=parameters)) == SW.OK
    session.delete(INSTANCE)
    parameters = b"\xc9\x7e" + bytes(126)
    command = install_command(PACKAGE, MODULE, INSTANCE, parameters=parameters)
    assert sw(session, command) == SW.OK
    session.delete(INSTANCE)
    one_byte = command.data.replace(b"\x81\x80\xc9", b"\x80\xc9")
    assert sw(session, command._replace(data=one_byte)) == SW.OK


# ---- two interfaces: Amendment C, implicit selection


def contactless(card: Card) -> PortConnection:
    connection = PortConnection(card.contactless)
    connection.power_on()
    return connection


def selectable_over_the_field(card: Card) -> bool:
    connection = contactless(card)
    answer = connection.transmit(commands.select(INSTANCE).encode())
    connection.power_off()
    return answer[-2:] == b"\x90\x00"


def test_contactless_activation(card: Card, session: SecureSession) -> None:
    """Amendment C: initially as installed; SET STATUS 01 changes it; a locked application loses it and gets it back."""
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE, parameters=bytes.fromhex("C900EF05A003810100")))
    assert not selectable_over_the_field(card)
    name = b"\x4f\x08" + INSTANCE
    assert sw(session, CommandApdu(0x80, 0xF0, 0x01, 0x00, name)) == REFUSED
    assert sw(session, CommandApdu(0x80, 0xF0, 0x01, 0x01, name)) == SW.OK
    assert selectable_over_the_field(card)
    answer = session.transmit(CommandApdu(0x80, 0xF2, 0x40, 0x02, name + b"\x5c\x02\x9f\x70", 256)).data
    assert answer.hex().endswith("9f70020701")
    for command in (
        CommandApdu(0x80, 0xF0, 0x01, 0x02, name),
        CommandApdu(0x80, 0xF0, 0x01, 0x80, name),
        CommandApdu(0x80, 0xF0, 0x01, 0x00, INSTANCE),
        CommandApdu(0x80, 0xF0, 0x01, 0x00, b"\x50\x08" + INSTANCE),
    ):
        assert sw(session, command) == SW.WRONG_DATA
    session.set_application_state(INSTANCE, 0x80)
    session.set_application_state(INSTANCE, 0x07)
    assert not selectable_over_the_field(card)


def test_an_application_that_was_told_nothing_answers_on_both(card: Card, session: SecureSession) -> None:
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE))
    assert selectable_over_the_field(card)
    assert sw(session, CommandApdu(0x80, 0xF0, 0x01, 0x00, b"\x4f\x08" + INSTANCE)) == SW.OK
    assert not selectable_over_the_field(card)


def test_implicit_selection_that_comes_with_making_selectable(card: Card, session: SecureSession) -> None:
    """Table 11-49: CF is a parameter of INSTALL [for make selectable], and none of INSTALL [for install] alone."""
    told = install_command(PACKAGE, MODULE, INSTANCE, parameters=bytes.fromhex("C900EF03CF0142"), p1=0x04)
    assert sw(session, told) == SW.WRONG_DATA
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE, p1=0x04))
    selectable = install_command(b"", b"", INSTANCE, b"\x00", bytes.fromhex("EF03CF0180"), p1=0x08)
    assert sw(session, selectable) == SW.OK
    assert entry(card, INSTANCE).data.implicit_selection == (0x80,)
    assert contactless(card).transmit(bytes.fromhex("80B0000000")) == b"\x90\x00"


def test_implicit_selection_by_interface_and_channel(card: Card, session: SecureSession) -> None:
    """6.4.1, 11.1.7: CF names interface and channel; elsewhere the issuer domain stays selected."""
    session.transmit(install_command(PACKAGE, MODULE, INSTANCE, parameters=bytes.fromhex("C900EF06CF0180CF0142")))
    over_the_field = contactless(card)
    assert over_the_field.transmit(bytes.fromhex("80B0000000")) == b"\x90\x00"
    over_the_field.power_off()
    connection = powered(card)
    connection.reset()
    assert connection.transmit(bytes.fromhex("80CA006600"))[-2:] == b"\x90\x00"
    assert connection.transmit(bytes.fromhex("00700001")) == b"\x90\x00"
    assert connection.transmit(bytes.fromhex("81CA006600"))[-2:] == b"\x90\x00"
    assert connection.transmit(bytes.fromhex("00700002")) == b"\x90\x00"
    assert connection.transmit(bytes.fromhex("82B0000000")) == b"\x90\x00"
    session = issuer_session(connection)
    session.set_application_state(INSTANCE, 0x80)
    connection.transmit(bytes.fromhex("00708002"))
    assert connection.transmit(bytes.fromhex("00700002")) == b"\x90\x00"
    assert connection.transmit(bytes.fromhex("82CA006600"))[-2:] == b"\x90\x00"
