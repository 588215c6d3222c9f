"""The secure access module: who may use it, what it gives, what it counts."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from applet.sam.authentication import _Card, _Pending
from card_os.globalplatform.registry import ApplicationLifeCycle, Privilege
from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import CardError
from card_os.iso7816.status import SW
from card_os.iso7816.tlv import encode
from card_os.security.cryptography import cmac, derive
from card_os.storage.store import ObjectKind
from personalization.errors import PersonalizationError
from personalization.profile_rows import KeyRow, KeyUsage
from personalization.terminal.authentication import MutualAuthentication
from personalization.terminal.channel import CardRefused, PlainChannel
from personalization.terminal.sam import SamSession
from personalization.terminal.session import TerminalSession, select
from reader_bridge.connection import Interface
from tests.unit.applet.workbench import (
    MASTERS,
    PERMIT,
    SAM,
    Bench,
    blank,
    key_entry,
    key_grouping,
    new_permit,
    new_sam,
    nonces,
    open_permit,
    open_sam,
    permit_groupings,
    personalize,
    sam_groupings,
    store,
    terminal_key,
)


@pytest.fixture(scope="module")
def made() -> Bench:
    return new_sam()


@pytest.fixture(scope="module")
def made_permit() -> Bench:
    return new_permit()


@pytest.fixture
def module(made: Bench) -> Bench:
    return made.fork()


@pytest.fixture
def card(made_permit: Bench) -> Bench:
    return made_permit.fork()


def concealed_and_challenge(card: Bench) -> tuple[bytes, bytes]:
    channel = PlainChannel(card.on(Interface.CONTACT))
    select(channel, PERMIT.application.instance)
    concealed = channel.exchange(CommandApdu(0, 0xCA, 0xDF, 0x20, b"", 256)).data
    return concealed, channel.exchange(CommandApdu(0, 0x84, 0, 0, b"", 16)).data


def test_it_opens_the_number_and_only_that_card(module: Bench, card: Bench) -> None:
    concealed, challenge = concealed_and_challenge(card)
    prepared = open_sam(module).prepare(concealed, 0x81, challenge)
    assert prepared.card_number == card.card_number
    key = derive(MASTERS["inspection"], "ROLE", card.card_number, 32)
    assert len(prepared.data) == 64
    assert key.hex() not in prepared.data.hex()


def test_it_answers_nobody_without_authentication(module: Bench, card: Bench) -> None:
    channel = PlainChannel(module.on(Interface.CONTACT))
    select(channel, SAM.application.instance)
    data = bytes(57)
    for ins, content in ((0x50, data), (0x52, bytes(64)), (0x54, data)):
        assert channel.exchange(CommandApdu(0x80, ins, 0, 0, content, 256)).sw == SW.SECURITY_STATUS_NOT_SATISFIED
        assert channel.exchange(CommandApdu(0x00, ins, 0, 0, content, 256)).sw == SW.CLA_NOT_SUPPORTED
    assert open_sam(module).uses_left()[0] >= 999_999


@pytest.mark.parametrize("reference", [0x81, 0x82, 0x83, 0x84, 0x90, 0xA0])
def test_masters_authenticate_nobody(module: Bench, reference: int) -> None:
    channel = PlainChannel(module.on(Interface.CONTACT))
    select(channel, SAM.application.instance)
    channel.exchange(CommandApdu(0, 0x84, 0, 0, b"", 16))
    command = CommandApdu(0, 0x82, 0, reference, bytes(64), 64)
    assert channel.exchange(command).sw == SW.REFERENCE_DATA_NOT_FOUND


def test_the_external_form_opens_no_command(module: Bench) -> None:
    """The rule asks for secure messaging, which EXTERNAL AUTHENTICATE does not give."""
    channel = PlainChannel(module.on(Interface.CONTACT))
    select(channel, SAM.application.instance)
    challenge = channel.exchange(CommandApdu(0, 0x84, 0, 0, b"", 16)).data
    key = terminal_key(module.card_number)
    command = CommandApdu(0, 0x82, 0, 0x85, cmac(key[16:], b"\x03\x85" + challenge))
    assert channel.exchange(command).sw == SW.OK
    refused = channel.exchange(CommandApdu(0x80, 0x50, 0, 0, bytes(57), 256))
    assert refused.sw == SW.SECURITY_STATUS_NOT_SATISFIED


def test_a_wrong_terminal_key_is_refused_and_blocks(module: Bench) -> None:
    module.contact.power_on()
    for left in range(9, -1, -1):
        with pytest.raises(CardRefused, match=f"63C{left}"):
            SamSession.open(module.contact, bytes(32), randomness=nonces())
    with pytest.raises(CardRefused, match="6983"):
        SamSession.open(module.contact, terminal_key, randomness=nonces())


def test_a_number_of_another_generation_costs_an_authentication_and_is_no_wrong_card(
    module: Bench, card: Bench
) -> None:
    concealed, challenge = concealed_and_challenge(card)
    session = open_sam(module)
    before = session.uses_left()
    for position in (0, 16, 39):
        wrong = bytearray(concealed)
        wrong[position] ^= 1
        with pytest.raises(CardRefused, match="6300"):
            session.prepare(bytes(wrong), 0x81, challenge)
    assert session.uses_left() == (before[0] - 3, before[1])
    assert session.prepare(concealed, 0x81, challenge).card_number == card.card_number


def test_an_answer_that_is_not_genuine_is_counted_and_ends_the_run(module: Bench, card: Bench) -> None:
    concealed, challenge = concealed_and_challenge(card)
    session = open_sam(module)
    session.prepare(concealed, 0x81, challenge)
    wrong = session.uses_left()[1]
    with pytest.raises(CardRefused, match="6300"):
        session.complete(bytes(64))
    assert session.uses_left()[1] == wrong - 1
    with pytest.raises(CardRefused, match="6985"):
        session.complete(bytes(64))


def test_an_answer_of_another_run_is_refused(module: Bench, card: Bench) -> None:
    """A recorded answer holds other nonces."""
    session = open_sam(module)
    concealed, challenge = concealed_and_challenge(card)
    prepared = session.prepare(concealed, 0x81, challenge)
    answer = PlainChannel(card.contact).exchange(CommandApdu(0, 0x82, 0, 0x81, prepared.data, 64)).data
    concealed, challenge = concealed_and_challenge(card)
    session.prepare(concealed, 0x81, challenge)
    with pytest.raises(CardRefused, match="6300"):
        session.complete(answer)


def test_the_keys_come_out_once(module: Bench, card: Bench) -> None:
    session = open_sam(module)
    concealed, challenge = concealed_and_challenge(card)
    prepared = session.prepare(concealed, 0x81, challenge)
    answer = PlainChannel(card.contact).exchange(CommandApdu(0, 0x82, 0, 0x81, prepared.data, 64)).data
    assert session.complete(answer).encryption != session.prepare(concealed, 0x81, challenge).data[:16]
    session.prepare(concealed, 0x81, challenge)
    with pytest.raises(CardRefused, match="6300"):
        session.complete(answer)


@pytest.mark.parametrize(
    ("data", "status"),
    [(bytes(56), "6700"), (bytes(58), "6700"), (bytes(40) + b"\x85" + bytes(16), "6A88"), (bytes(57), "6A88")],
)
def test_malformed_input_costs_nothing(module: Bench, data: bytes, status: str) -> None:
    session = open_sam(module)
    session.uses_left()
    before = session.uses_left()
    with pytest.raises(CardRefused, match=status):
        session._prepare(0x50, data[:40], data[40], data[41:], 64)
    assert session.uses_left() == before


def test_limits_end_its_life(card: Bench) -> None:
    small = SAM.model_copy(update={"usage": SAM.usage and SAM.usage.model_copy(update={"authentications": 18})})
    bench = blank(small, serial=0x5B)
    personalize(bench, sam_groupings(bench.card_number))
    concealed, challenge = concealed_and_challenge(card)
    session = open_sam(bench)
    for _ in range(18):
        session.prepare(concealed, 0x81, challenge)
    assert session.uses_left() == (0, 1000)
    with pytest.raises(CardRefused, match="6985"):
        session.prepare(concealed, 0x81, challenge)


def test_too_many_wrong_cards_end_its_life(card: Bench) -> None:
    small = SAM.model_copy(update={"usage": SAM.usage and SAM.usage.model_copy(update={"wrong_cards": 2})})
    bench = blank(small, serial=0x5C)
    personalize(bench, sam_groupings(bench.card_number))
    concealed, challenge = concealed_and_challenge(card)
    session = open_sam(bench)
    for _ in range(2):
        session.prepare(concealed, 0x81, challenge)
        with pytest.raises(CardRefused, match="6300"):
            session.complete(bytes(64))
    with pytest.raises(CardRefused, match="6985"):
        session.prepare(concealed, 0x81, challenge)


def test_a_reset_loses_the_rest_of_a_lot_and_gains_none(module: Bench, card: Bench) -> None:
    concealed, challenge = concealed_and_challenge(card)
    for lot in range(1, 4):
        open_sam(module).prepare(concealed, 0x81, challenge)
        module.contact.power_off()
        assert open_sam(module).uses_left()[0] == 1_000_000 - 16 * lot


def test_no_master_ever_leaves(module: Bench, card: Bench) -> None:
    for role in ("inspection", "service_desk", "bank_branch", "issuer"):
        session = open_permit(card, module, role, Interface.CONTACT)
        session.profile_on_card()
    said = b"".join(response for _, response in module.contact.trace)
    secrets = {*MASTERS.values(), terminal_key(module.card_number)}
    secrets |= {derive(MASTERS["inspection"], "ROLE", card.card_number, 32)}
    assert not any(secret[:8] in said for secret in secrets)


def test_a_card_of_another_generation_is_refused(module: Bench) -> None:
    other = blank(PERMIT, serial=9)
    groupings = dict(permit_groupings(other.card_number))
    keys = key_grouping(PERMIT, other.card_number)
    own = key_entry(0x90, 0, 0, derive(MASTERS["concealment"], "CONCEAL", b"\x01", 32))
    next_generation = key_entry(0x90, 0, 0, derive(MASTERS["concealment"], "CONCEAL", b"\x02", 32))
    assert own in keys
    groupings[0x8000] = keys.replace(own, next_generation)
    for identifier, value in permit_groupings(other.card_number):
        store(other, identifier, groupings[0x8000] if identifier == 0x8000 else value, last=identifier == 0x9F01)
    with pytest.raises(CardRefused, match="6300"):
        open_permit(other, module, "inspection", Interface.CONTACTLESS)


def test_a_sam_that_does_not_hold_the_terminal_key_is_not_genuine(module: Bench) -> None:
    module.contact.power_on()
    module.contact.alter = lambda response: bytes(64) + response[-2:] if len(response) == 66 else response
    with pytest.raises(PersonalizationError, match="card-not-genuine"):
        SamSession.open(module.contact, terminal_key, randomness=nonces())


def test_a_permit_that_does_not_hold_the_key_is_not_genuine(module: Bench, card: Bench) -> None:
    connection = card.on(Interface.CONTACT)
    connection.alter = lambda response: bytes(64) + response[-2:] if len(response) == 66 else response
    with pytest.raises(CardRefused, match=r"COMPLETE AUTHENTICATION.*6300"):
        TerminalSession.open(connection, open_sam(module), PERMIT, "inspection")


# ---------------------------------------------------------------- installation and personalization


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        encode(0x80, bytes(4)) + encode(0x81, b"\x00\x00\x00\x01"),
        encode(0x80, b"\x00\x00\x00\x01"),
        encode(0x80, b"\x01") + encode(0x81, b"\x00\x00\x00\x01"),
        encode(0x80, b"\x00\x00\x00\x01") + encode(0x81, b"\x00\x00\x00\x01") + encode(0x82, b"\x00"),
        b"\x80",
    ],
)
def test_a_module_without_limits_is_not_installed(parameters: bytes) -> None:
    bench = blank(PERMIT)
    names = SAM.application
    with pytest.raises(CardError) as caught:
        bench.card.platform.install(
            package_aid=names.package,
            module_aid=names.module,
            aid=names.instance,
            privileges=Privilege.NONE,
            domain=1,
            life_cycle=ApplicationLifeCycle.SELECTABLE,
            parameters=parameters,
        )
    assert caught.value.sw == SW.WRONG_DATA


def test_groupings_out_of_order_are_refused() -> None:
    bench = blank(SAM)
    (keys, key_value), (done, identification) = sam_groupings(bench.card_number)
    for identifier, value, last, status in (
        (done, identification, True, SW.CONDITIONS_NOT_SATISFIED),
        (0x0062, b"x", False, SW.REFERENCE_DATA_NOT_FOUND),
        (keys, key_value, True, SW.CONDITIONS_NOT_SATISFIED),
        (keys, b"", False, SW.WRONG_DATA),
    ):
        with pytest.raises(CardError) as caught:
            store(bench, identifier, value, last=last)
        assert caught.value.sw == status
    store(bench, keys, key_value)
    for identifier, value, last, status in (
        (keys, key_value, False, SW.CONDITIONS_NOT_SATISFIED),
        (done, identification, False, SW.CONDITIONS_NOT_SATISFIED),
        (done, b"x" * 33, True, SW.WRONG_DATA),
    ):
        with pytest.raises(CardError) as caught:
            store(bench, identifier, value, last=last)
        assert caught.value.sw == status
    store(bench, done, identification, last=True)
    with pytest.raises(CardError) as caught:
        store(bench, done, identification, last=True)
    assert caught.value.sw == SW.CONDITIONS_NOT_SATISFIED


def test_before_it_is_personalized_the_module_answers_nothing() -> None:
    bench = blank(SAM)
    store(bench, *sam_groupings(bench.card_number)[0])
    channel = PlainChannel(bench.on(Interface.CONTACT))
    select(channel, SAM.application.instance)
    for command in (
        CommandApdu(0, 0x84, 0, 0, b"", 16),
        CommandApdu(0, 0x82, 0, 0x85, bytes(64), 64),
        CommandApdu(0, 0xCA, 0xDF, 0x23, b"", 256),
        CommandApdu(0x80, 0x50, 0, 0, bytes(57), 256),
    ):
        assert channel.exchange(command).sw == SW.CONDITIONS_NOT_SATISFIED


def test_its_public_data(module: Bench) -> None:
    channel = PlainChannel(module.on(Interface.CONTACT))
    select(channel, SAM.application.instance)
    get = {tag: channel.exchange(CommandApdu(0, 0xCA, 0xDF, tag, b"", 256)) for tag in (0x20, 0x21, 0x23, 0x24)}
    assert get[0x20].sw == SW.REFERENCE_DATA_NOT_FOUND
    assert get[0x21].data == b"terminal-sam 1.0"
    assert get[0x23].data == module.card_number
    assert get[0x24].data == bytes.fromhex("000F4240000003E8")
    assert channel.exchange(CommandApdu(0, 0xCA, 0xDF, 0x23, b"x", 256)).sw == SW.WRONG_LENGTH


def test_volatile_secrets_are_not_in_a_repr() -> None:
    secret = b"\xab" * 16
    pending = _Pending(secret, b"\x81", secret, secret, secret)
    card = _Card(secret, secret, b"\x81", secret)
    run = MutualAuthentication(secret + secret, 0x81, secret, nonces())
    for shown in (repr(pending), repr(card), repr(run)):
        assert "ab" * 4 not in shown


LOAD_KEY = bytes(range(0x60, 0x80))


def master_entry(row: KeyRow, load_key: bytes = LOAD_KEY) -> bytes:
    master = MASTERS[row.master or ""]
    wrapped = aes_key_wrap(load_key, master)
    return bytes((row.reference, 0, 0, len(wrapped))) + wrapped + cmac(master, bytes(16))[:3]


def wrapped_masters(load_key: bytes = LOAD_KEY) -> bytes:
    return b"".join(master_entry(row, load_key) for row in SAM.keys if row.usage is KeyUsage.MASTER)


def own_keys(card_number: bytes) -> bytes:
    """The plain entries of a SAM whose masters come wrapped."""
    entries = key_grouping(SAM, card_number)
    plain = [row for row in SAM.keys if row.usage is KeyUsage.MASTER]
    for row in plain:
        entries = entries.replace(key_entry(row.reference, 0, 0, MASTERS[row.master or ""]), b"")
    return entries


def test_masters_that_come_wrapped_are_those_that_come_in_plain() -> None:
    """RFC 3394; the load key is gone when the module is personalized."""
    bench = blank(SAM, serial=0x5A)
    store(bench, 0x8001, LOAD_KEY)
    store(bench, 0x8002, wrapped_masters())
    store(bench, 0x8000, own_keys(bench.card_number))
    store(bench, 0x9F01, SAM.identification, last=True)
    owner = bench.application.owner
    keys = {
        item.identifier: bench.card.platform.store.read(item)
        for item in bench.card.platform.store.owned(owner, ObjectKind.KEY)
    }
    plain = new_sam()
    other = plain.application.owner
    expected = {
        item.identifier: plain.card.platform.store.read(item)
        for item in plain.card.platform.store.owned(other, ObjectKind.KEY)
    }
    assert keys == expected
    assert LOAD_KEY not in bench.image.snapshot()


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_a_load_key_of_another_length_is_refused(length: int) -> None:
    bench = blank(SAM)
    with pytest.raises(CardError) as caught:
        store(bench, 0x8001, bytes(length))
    assert caught.value.sw == SW.WRONG_DATA


def test_a_module_tells_how_far_its_personalization_is() -> None:
    """GET DATA DF25: stage and check value of the load key; nothing else until it is personalized, no longer then."""
    bench = blank(SAM)
    channel = PlainChannel(bench.on(Interface.CONTACT))

    def told(tag: int = 0xDF25) -> str:
        select(channel, SAM.application.instance)
        answer = channel.exchange(CommandApdu(0, 0xCA, *divmod(tag, 256), b"", 256))
        return answer.data.hex().upper() if answer.sw == SW.OK else str(answer.sw)

    value = cmac(LOAD_KEY, bytes(16))[:3].hex().upper()
    found = [told()]
    for identifier, content in (
        (0x8001, LOAD_KEY),
        (0x8002, wrapped_masters()),
        (0x8000, own_keys(bench.card_number)),
    ):
        store(bench, identifier, content)
        found.append(told())
    assert found == ["00000000", f"01{value}", f"02{value}", f"03{value}"]
    assert [told(tag) for tag in (0xDF21, 0xDF23, 0xDF24, 0xDF26)] == ["6985"] * 4
    store(bench, 0x9F01, SAM.identification, last=True)
    assert told() == "6A88"
    assert told(0xDF21) == SAM.identification.hex().upper()


def changed(at: int, value: int = 0xFF) -> bytes:
    entries = bytearray(wrapped_masters())
    entries[at] ^= value
    return bytes(entries)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        wrapped_masters()[:-1],
        wrapped_masters(bytes(32)),
        *(changed(at) for at in (0, 1, 2, 3, 4, 27, 28, 30, 31)),
        wrapped_masters() + master_entry(SAM.keys[0]),
    ],
)
def test_masters_that_are_not_genuine_leave_nothing(content: bytes) -> None:
    bench = blank(SAM)
    store(bench, 0x8001, LOAD_KEY)
    with pytest.raises(CardError) as caught:
        store(bench, 0x8002, content)
    assert caught.value.sw in {SW.WRONG_DATA, SW.FILE_EXISTS}
    found = bench.card.platform.store.owned(bench.application.owner, ObjectKind.KEY)
    assert [item.identifier for item in found] == [0x9F]
    store(bench, 0x8002, wrapped_masters())


@pytest.mark.parametrize(
    "before",
    [(), (0x8000,), (0x8001,), (0x8001, 0x8002), (0x8001, 0x8002, 0x8000)],
    ids=lambda before: "-".join(f"{one:04X}" for one in before) or "nothing",
)
def test_each_grouping_is_taken_at_its_stage_only(before: tuple[int, ...]) -> None:
    following = {
        (): {0x8001, 0x8000},
        (0x8000,): {0x9F01},
        (0x8001,): {0x8002},
        (0x8001, 0x8002): {0x8000},
        (0x8001, 0x8002, 0x8000): {0x9F01},
    }[before]
    for identifier in (0x8001, 0x8002, 0x8000, 0x9F01):
        bench = blank(SAM)
        content = {
            0x8001: LOAD_KEY,
            0x8002: wrapped_masters(),
            0x8000: own_keys(bench.card_number),
            0x9F01: SAM.identification,
        }
        for step in before:
            store(bench, step, content[step])
        if identifier in following:
            store(bench, identifier, content[identifier], last=identifier == 0x9F01)
            continue
        with pytest.raises(CardError) as caught:
            store(bench, identifier, content[identifier], last=identifier == 0x9F01)
        assert caught.value.sw == SW.CONDITIONS_NOT_SATISFIED
