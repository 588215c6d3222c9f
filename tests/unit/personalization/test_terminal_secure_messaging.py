"""The terminal's secure messaging against the card's, and against everything that is no authentic response.

Source: ICAO Doc 9303-11, clause 9.8; ISO/IEC 7816-4:2020, clause 10.
"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from card_os.iso7816.apdu import CommandApdu, SecureMessagingIndication
from card_os.iso7816.status import SW, StatusWord
from card_os.iso7816.tlv import encode
from card_os.security.secure_messaging import IsoSecureMessaging
from personalization.errors import PersonalizationError
from personalization.terminal.authentication import cmac
from personalization.terminal.secure_messaging import (
    SessionKeys,
    TerminalSecureMessaging,
    pad,
    plain_bytes,
    unpad,
)

KEYS = SessionKeys(bytes(range(16)), bytes(range(16, 32)))
READ = CommandApdu(0x00, 0xB0, 0x81, 0x00, b"", 16)


def pair() -> tuple[TerminalSecureMessaging, IsoSecureMessaging]:
    return TerminalSecureMessaging(KEYS), IsoSecureMessaging(*KEYS, role=1)


def answer(card: IsoSecureMessaging, data: bytes, sw: StatusWord = SW.OK) -> bytes:
    protected, outer = card.wrap(data, sw)
    return protected + outer.encode()


def response_to_read(data: bytes = b"content", sw: StatusWord = SW.OK) -> tuple[TerminalSecureMessaging, bytes]:
    terminal, card = pair()
    card.unwrap(CommandApdu.parse(terminal.protect(READ)))
    return terminal, answer(card, data, sw)


commands = st.builds(
    CommandApdu,
    st.sampled_from((0x00, 0x80)),
    st.sampled_from((0xB0, 0xB1, 0xD6, 0xD7, 0xCA, 0x20)),
    st.integers(0, 255),
    st.integers(0, 255),
    st.binary(max_size=600),
    st.sampled_from((0, 1, 16, 223, 224, 256, 257, 2047, 65_536)),
)


@given(st.lists(st.tuples(commands, st.binary(max_size=600), st.sampled_from((SW.OK, SW.WRONG_DATA))), max_size=6))
def test_card_and_terminal_understand_each_other(exchanges: list[tuple[CommandApdu, bytes, StatusWord]]) -> None:
    terminal, card = pair()
    for command, data, sw in exchanges:
        protected = CommandApdu.parse(terminal.protect(command))
        assert protected.cla == command.cla | 0x0C
        plain = card.unwrap(protected)
        assert (plain.cla, plain.ins, plain.p1, plain.p2, plain.data) == command[:5]
        assert plain.ne == command.ne
        opened = terminal.open(answer(card, data, sw))
        assert (opened.data, opened.sw) == (data, sw)
    assert terminal.alive


def test_the_card_s_layer_is_the_one_that_the_class_byte_asks_for() -> None:
    assert IsoSecureMessaging(*KEYS).indication is SecureMessagingIndication.HEADER_AUTHENTICATED


@given(st.binary(max_size=64))
def test_padding_is_undone(data: bytes) -> None:
    assert unpad(pad(data)) == data
    assert len(pad(data)) % 16 == 0


@pytest.mark.parametrize("data", [b"", bytes(16), b"\x80" + bytes(16), b"x" * 16])
def test_what_was_not_padded_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="no padding"):
        unpad(data)


@pytest.mark.parametrize("limit", [256, 261, 1000, 65_536])
def test_a_full_response_fits_the_link(limit: int) -> None:
    """What `plain_bytes` promises is the most that fits, to the block."""
    most = plain_bytes(limit)
    assert len(answer(pair()[1], bytes(most))) - 2 <= limit
    assert len(answer(pair()[1], bytes(most + 16))) - 2 > limit - 16


def test_short_form_is_kept_as_long_as_the_answer_fits() -> None:
    terminal = TerminalSecureMessaging(KEYS)
    assert not CommandApdu.parse(terminal.protect(READ._replace(ne=223))).extended
    assert CommandApdu.parse(terminal.protect(READ._replace(ne=224))).extended
    assert CommandApdu.parse(terminal.protect(READ._replace(data=bytes(240)))).extended


def test_every_changed_byte_of_a_response_ends_the_session() -> None:
    length = len(response_to_read()[1])
    for position in range(length):
        terminal, response = response_to_read()
        changed = response[:position] + bytes((response[position] ^ 0x01,)) + response[position + 1 :]
        with pytest.raises(PersonalizationError, match="response-not-authentic"):
            terminal.open(changed)
        assert not terminal.alive
        with pytest.raises(PersonalizationError, match="session-over"):
            terminal.protect(READ)


@pytest.mark.parametrize(
    "response",
    [b"", b"\x90", b"\x90\x00", b"\x69\x88", b"\x69\x82", bytes(10) + b"\x90\x00", b"\x99\x02\x90\x00\x90\x00"],
)
def test_a_status_word_without_its_mac_is_no_answer(response: bytes) -> None:
    terminal, _ = response_to_read()
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        terminal.open(response)


def test_an_outer_status_word_that_differs_is_refused() -> None:
    terminal, response = response_to_read(b"", SW.SECURITY_STATUS_NOT_SATISFIED)
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        terminal.open(response[:-2] + b"\x90\x00")


def test_a_response_of_the_command_before_is_refused() -> None:
    """The counter is under the MAC."""
    terminal, card = pair()
    card.unwrap(CommandApdu.parse(terminal.protect(READ)))
    old = answer(card, b"old")
    assert terminal.open(old).data == b"old"
    terminal.protect(READ)
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        terminal.open(old)


def forged(body: bytes) -> bytes:
    """A response with a right MAC over other objects than there have to be."""
    return body + encode(0x8E, cmac(KEYS.mac, (2).to_bytes(16, "big") + pad(body))[:8]) + b"\x90\x00"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        encode(0x99, b"\x90\x00", b"\x00"),
        encode(0x87, b"\x01" + bytes(16)),
        encode(0x99, b"\x90\x00") + encode(0x87, b"\x01" + bytes(16)),
        encode(0x87, b"\x02" + bytes(16)) + encode(0x99, b"\x90\x00"),
        encode(0x87, b"\x01" + bytes(15)) + encode(0x99, b"\x90\x00"),
        encode(0x87, b"\x01") + encode(0x99, b"\x90\x00"),
        encode(0x87, b"") + encode(0x99, b"\x90\x00"),
        encode(0x87, b"\x01" + bytes(16)) + encode(0x99, b"\x90\x00"),
        encode(0x81, b"plain") + encode(0x99, b"\x90\x00"),
        2 * encode(0x99, b"\x90\x00"),
    ],
)
def test_objects_that_have_no_place_in_a_response_are_refused(body: bytes) -> None:
    terminal, _ = response_to_read()
    with pytest.raises(PersonalizationError, match="response-not-authentic"):
        terminal.open(forged(body))


def test_no_repr_and_no_error_shows_a_key_or_data() -> None:
    terminal, response = response_to_read(b"personal")
    with pytest.raises(PersonalizationError) as caught:
        terminal.open(response[:-3] + b"\x00\x90\x00")
    shown = repr(terminal) + repr(KEYS) + str(caught.value) + repr(caught.value)
    assert KEYS.encryption.hex() not in shown
    assert "personal" not in shown
