from __future__ import annotations

from threading import Thread

import pytest

from card_os.card import Card
from card_os.globalplatform.registry import Application, ApplicationLifeCycle, CardLifeCycle, Privilege
from card_os.iso7816.errors import ConditionsNotSatisfied, SecurityStatusNotSatisfied
from card_os.port import Port, PortMute
from tests.doubles.recording_applet import (
    FIRST,
    MODULE,
    OTHER,
    PIN_1,
    SECOND,
    RecordingApplet,
    blank_memory,
    install,
    make_card,
)

OK = "9000"
DOMAIN = bytes.fromhex("A000000151000000")


def send(port: Port, text: str) -> str:
    return port.process(bytes.fromhex(text)).hex().upper()


def select(port: Port, aid: bytes, p2: int = 0x0C) -> str:
    return send(port, f"00A404{p2:02X}{len(aid):02X}{aid.hex()}" + ("" if p2 == 0x0C else "00"))


def application(card: Card, aid: bytes) -> Application:
    found = card.platform.registry.by_aid(aid)
    assert found is not None
    return found


# ---- class byte (7816-4, 5.4.1)


@pytest.mark.parametrize("cla", [*range(0x20, 0x40), *range(0xA0, 0xC0), 0xFF])
def test_reserved_class_bytes_are_6e00(port: Port, cla: int) -> None:
    assert send(port, f"{cla:02X}A4040000") == "6E00"


@pytest.mark.parametrize("cla", [0x01, 0x02, 0x03, 0x40, 0x4F, 0x60, 0x81, 0xC3])
def test_a_channel_that_is_not_open_is_6881(port: Port, cla: int) -> None:
    assert send(port, f"{cla:02X}B0000000") == "6881"


@pytest.mark.parametrize("cla", [0x04, 0x08, 0x0C, 0x84, 0x8C])
def test_secure_messaging_without_a_session_is_6882(port: Port, cla: int) -> None:
    assert send(port, f"{cla:02X}B0000000") == "6882"


@pytest.mark.parametrize("raw", ["", "00", "00A404", "00A4040002AA", "00A4040000000001"])
def test_bytes_that_are_no_command_are_6700(port: Port, raw: str) -> None:
    assert send(port, raw) == "6700"


def test_an_instruction_of_the_other_class_is_6e00(port: Port) -> None:
    assert send(port, "80B00000") == "6E00"
    assert send(port, "00100000") == "6E00"


def test_an_unknown_instruction_is_6d00(port: Port) -> None:
    assert send(port, "00FE0000") == "6D00"
    assert send(port, "80FE0000") == "6D00"


def test_without_an_application_only_selection_works(card: Card, applet: RecordingApplet) -> None:
    applet.refuse_selection = True
    card.contactless.power_on()
    assert select(card.contactless, FIRST) == "6A80"
    assert send(card.contactless, "00B0000000") == "6D00"
    assert send(card.contactless, "04B0000000") == "6882"
    applet.refuse_selection = False
    assert select(card.contactless, FIRST) == OK


# ---- selection (7816-4, 11.2.2; GP 2.3.1, 6.4)


def test_select_returns_the_template_of_the_application(contact: Port) -> None:
    assert select(contact, FIRST, 0x00) == "6F098407" + FIRST.hex().upper() + OK
    assert select(contact, FIRST, 0x04) == "620F820138" + "8407" + FIRST.hex().upper() + "8A0105" + OK
    assert select(contact, FIRST, 0x0C) == OK


def test_the_application_that_is_left_is_deselected(port: Port, applet: RecordingApplet) -> None:
    applet.calls.clear()
    assert select(port, SECOND) == OK
    assert applet.calls == [("deselect", FIRST), ("select", SECOND)]


def test_selecting_again_deselects_too(port: Port, applet: RecordingApplet) -> None:
    applet.calls.clear()
    assert select(port, FIRST) == OK
    assert applet.calls == [("deselect", FIRST), ("select", FIRST)]


def test_a_name_that_is_not_there_leaves_the_application_selected(port: Port, applet: RecordingApplet) -> None:
    applet.calls.clear()
    assert select(port, OTHER) == "6A82"
    assert applet.calls == []
    assert send(port, "80100000015500") == "55" + OK


def test_selecting_drops_the_proofs_of_the_session(port: Port) -> None:
    send(port, "80220000")
    assert send(port, "8024000000") == f"{PIN_1 | 1:08X}" + OK
    select(port, FIRST)
    assert send(port, "8024000000") == "00000001" + OK


def test_partial_names_and_the_next_occurrence(contact: Port, applet: RecordingApplet) -> None:
    partial = FIRST[:-1]
    assert select(contact, partial) == OK
    assert applet.calls[-1] == ("select", FIRST)
    assert select(contact, partial, 0x0E) == OK
    assert applet.calls[-1] == ("select", SECOND)
    assert select(contact, partial, 0x0E) == "6A82"
    assert send(contact, "80100000010100") == "01" + OK  # still the second one
    assert select(contact, partial) == OK
    assert applet.calls[-1] == ("select", FIRST)


def test_an_exact_name_comes_before_a_longer_one(card: Card, applet: RecordingApplet) -> None:
    install(card, FIRST[:-1])
    card.contact.power_on()
    select(card.contact, FIRST[:-1])
    assert applet.calls[-1] == ("select", FIRST[:-1])


def test_every_occurrence_of_a_name_is_reached(card: Card, applet: RecordingApplet) -> None:
    """7816-4, 11.2.2, table 63: from the first by "next" and from the last by "previous" none is left out."""
    exact = FIRST[:-1]
    install(card, exact)  # behind those whose names begin with it
    card.contact.power_on()
    for p2s in ((0x0C, 0x0E, 0x0E), (0x0D, 0x0F, 0x0F)):
        assert [select(card.contact, exact, p2) for p2 in p2s] == [OK] * 3
        names = [aid for call, aid in applet.calls if call == "select"]
        assert set(names[-3:]) == {exact, FIRST, SECOND}
        assert select(card.contact, exact, p2s[-1]) == "6A82"


def test_management_data_of_an_application_is_its_name(contact: Port) -> None:
    """Table 63 and clause 7.4.2: FMD, tag 64."""
    assert send(contact, f"00A4040807{FIRST.hex()}00") == f"64094F07{FIRST.hex().upper()}" + OK


def test_the_last_and_the_previous_occurrence(contact: Port, applet: RecordingApplet) -> None:
    """Table 63, b2-b1 of P2: 01 last, 11 previous."""
    partial = FIRST[:-1]
    assert select(contact, partial, 0x0D) == OK
    assert applet.calls[-1] == ("select", SECOND)
    assert select(contact, partial, 0x0F) == OK
    assert applet.calls[-1] == ("select", FIRST)
    assert select(contact, partial, 0x0F) == "6A82"
    assert select(contact, b"\xf0\xf0", 0x0D) == "6A82"
    contact.reset()
    assert select(contact, partial, 0x0F) == OK  # none of them is current: the last one
    assert applet.calls[-1] == ("select", SECOND)


@pytest.mark.parametrize("p2", [0x10, 0x80, 0x11, 0x83])
def test_other_forms_of_selection_are_refused(contact: Port, p2: int) -> None:
    assert send(contact, f"00A404{p2:02X}07{FIRST.hex()}") == "6A86"


def test_selection_cannot_be_chained(contact: Port) -> None:
    assert send(contact, f"10A4040C07{FIRST.hex()}") == "6884"


def test_an_installed_application_is_not_selectable(card: Card) -> None:
    install(card, OTHER, life_cycle=ApplicationLifeCycle.INSTALLED)
    card.contact.power_on()
    assert select(card.contact, OTHER) == "6A82"


def test_a_locked_application_is_not_selectable(card: Card) -> None:
    registry = card.platform.registry
    registry.set_life_cycle(application(card, FIRST), 0x87)
    card.contact.power_on()
    assert select(card.contact, FIRST) == "6A82"
    assert select(card.contact, FIRST[:-1]) == OK


def test_an_application_without_its_code_is_not_selectable() -> None:
    image = blank_memory()
    install(make_card(image.nvm()), FIRST)
    card = Card(image.nvm())
    card.contact.power_on()
    assert select(card.contact, FIRST) == "6A82"


def test_an_application_that_refuses_is_not_selected(port: Port, applet: RecordingApplet) -> None:
    applet.refuse_selection = True
    assert select(port, SECOND) == "6A80"
    assert send(port, "80100000015500") == "6D00"


def test_the_issuer_domain_is_selected_at_power_on(contact: Port) -> None:
    assert send(contact, "80CA0000015500") == "55" + OK


def test_the_default_selected_privilege_wins(card: Card, applet: RecordingApplet) -> None:
    install(card, OTHER, privileges=Privilege.CARD_RESET)
    card.contactless.power_on()
    assert applet.calls[-1] == ("select", OTHER)


def test_select_without_a_name_is_the_issuer_domain(port: Port) -> None:
    assert send(port, "00A4040000")[:8] == "6F0A8408"
    assert send(port, "80CA0000015500") == "55" + OK


def test_the_issuer_domain_of_a_secured_card_is_for_contact_only(card: Card) -> None:
    card.platform.registry.set_card_life_cycle(CardLifeCycle.SECURED)
    card.contact.power_on()
    card.contactless.power_on()
    assert select(card.contact, DOMAIN) == OK
    assert select(card.contactless, DOMAIN) == "6A82"
    assert select(card.contactless, b"\xa0") == "6A82"
    assert send(card.contactless, "00A4040000") == "6A82"
    assert send(card.contactless, "80CA0000015500") == "6D00"


def test_securing_the_card_ends_the_issuer_domain_over_the_field(card: Card) -> None:
    card.contactless.power_on()
    assert send(card.contactless, "80CA0000015500") == "55" + OK
    card.platform.registry.set_card_life_cycle(CardLifeCycle.SECURED)
    assert send(card.contactless, "80CA0000015500") == "6985"


# ---- card life cycle (GP 2.3.1, 5.1.1)


def test_a_locked_card_has_the_issuer_domain_only(card: Card) -> None:
    card.contact.power_on()
    assert select(card.contact, FIRST) == OK
    card.platform.registry.set_card_life_cycle(CardLifeCycle.CARD_LOCKED)
    assert send(card.contact, "80100000015500") == "6985"
    assert select(card.contact, SECOND) == "6A82"
    assert select(card.contact, DOMAIN) == "6283"
    assert send(card.contact, "80F20000015500") == "55" + OK


def test_a_terminated_card_answers_get_data_only(card: Card) -> None:
    card.contact.power_on()
    card.platform.registry.set_card_life_cycle(CardLifeCycle.TERMINATED)
    assert select(card.contact, DOMAIN) == "6985"
    assert send(card.contact, "0070000001") == "6985"
    assert send(card.contact, "80F20000015500") == "6985"
    assert send(card.contact, "80CA0000015500") == "55" + OK


# ---- rules and states


def test_an_instruction_rule_refuses_and_tells_why(port: Port) -> None:
    assert send(port, "801A0000") == "6982"
    assert isinstance(port.last_error, SecurityStatusNotSatisfied)
    assert port.last_error.reason == "the rule is never"
    assert port.last_error.__traceback__ is None, "it would keep what the command held until the next one"
    send(port, "8026000001AA")
    assert port.last_error.reason == "missing a secure channel"
    send(port, "80100000")
    assert port.last_error is None


def test_an_instruction_is_bound_to_states_of_the_application(card: Card) -> None:
    card.contact.power_on()
    select(card.contact, FIRST)
    assert send(card.contact, "801C0000015500") == "6985"
    card.platform.registry.set_life_cycle(application(card, FIRST), 0x0F)
    assert send(card.contact, "801C0000015500") == "55" + OK


def test_the_interface_is_a_proof(card: Card) -> None:
    for port, bit in ((card.contact, 1), (card.contactless, 2)):
        port.power_on()
        select(port, FIRST)
        assert send(port, "8024000000") == f"{bit:08X}" + OK


# ---- faults and rollback


def test_a_fault_is_counted_answered_6f00_and_rolled_back(card: Card, port: Port) -> None:
    assert send(port, "80140000") == "6F00"
    assert card.faults == 1
    assert isinstance(card.last_fault, RuntimeError)
    assert send(port, "00B0810001") == "00" + OK


def test_a_refusal_after_changes_leaves_no_trace(card: Card, port: Port) -> None:
    assert send(port, "80160000") == "6A80"
    assert send(port, "00B0810001") == "00" + OK
    assert send(port, "00A4000C020999") == "6A82"
    assert card.faults == 0


def test_an_applet_that_fails_at_deselection_is_counted_and_left(
    card: Card, port: Port, applet: RecordingApplet, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(applet, "deselect", fail)
    assert select(port, SECOND) == OK
    assert card.faults == 1


def test_a_failed_installation_leaves_the_registry_as_it_was(card: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ConditionsNotSatisfied("no")

    monkeypatch.setattr(RecordingApplet, "install", fail)
    with pytest.raises(ConditionsNotSatisfied):
        install(card, OTHER)
    card.platform.registry.reload()
    assert card.platform.registry.by_aid(OTHER) is None
    assert len(card.platform.registry) == 3


# ---- chaining (7816-4, 5.3.3)


def test_a_chain_is_one_command(port: Port) -> None:
    assert send(port, "90100000021122") == OK
    assert send(port, "901000000133") == OK
    assert send(port, "8010000002445500") == "1122334455" + OK


def test_another_command_in_a_chain_ends_it(port: Port) -> None:
    assert send(port, "90100000021122") == OK
    assert send(port, "8011000001AA00") == "6883"
    assert send(port, "8010000001AA00") == "AA" + OK


@pytest.mark.parametrize("other", ["9010010001AA", "9010000101AA", "9110000001AA", "00C0000000"])
def test_a_chain_has_one_header(port: Port, other: str) -> None:
    assert send(port, "90100000021122") == OK
    assert send(port, other) in ("6883", "6881")
    if other[1] != "1":
        assert send(port, "8010000001AA00") == "AA" + OK


def test_a_command_that_takes_no_chain_is_6884(port: Port) -> None:
    assert send(port, "9011000001AA") == "6884"
    assert send(port, "8011000001AA00") == "AA" + OK


def test_a_chain_longer_than_extended_data_is_refused(port: Port) -> None:
    piece = b"\x90\x10\x00\x00\xff" + bytes(255)
    for _ in range(257):
        assert port.process(piece) == b"\x90\x00"
    assert port.process(piece) == b"\x67\x00"
    assert send(port, "8010000001AA00") == "AA" + OK


# ---- response chaining (7816-4, 5.3.4)


def test_what_is_longer_than_le_waits_for_get_response(port: Port) -> None:
    whole = bytes(index & 0xFF for index in range(600))
    first = port.process(bytes.fromhex("8012025800"))
    assert first == whole[:256] + b"\x61\x00"
    second = port.process(bytes.fromhex("00C0000000"))
    assert second == whole[256:512] + b"\x61\x58"
    assert port.process(bytes.fromhex("00C0000058")) == whole[512:] + b"\x90\x00"
    assert send(port, "00C0000000") == "6985"


def test_without_le_everything_waits(port: Port) -> None:
    assert send(port, "80120010") == "6110"
    assert send(port, "00C0000008") == "0001020304050607" + "6108"
    assert send(port, "00C0000000") == "08090A0B0C0D0E0F" + OK


def test_another_command_throws_the_rest_away(port: Port) -> None:
    assert send(port, "80120010") == "6110"
    assert send(port, "80100000") == OK
    assert send(port, "00C0000000") == "6985"


@pytest.mark.parametrize(
    ("command", "sw"), [("00C0010000", "6A86"), ("00C0000100", "6A86"), ("00C00001", "6A86"), ("00C0000001AA", "6700")]
)
def test_get_response_with_wrong_parameters_keeps_the_rest(port: Port, command: str, sw: str) -> None:
    assert send(port, "80120001") == "6101"
    assert send(port, command) == sw
    assert send(port, "00C0000000") == "00" + OK


def test_get_response_is_no_piece_of_a_chain(port: Port) -> None:
    """7816-4, 5.3.3: bit 5 of its class byte means nothing; what the secure messaging bits say is the command's."""
    assert send(port, "80120001") == "6101"
    assert send(port, "10C0000001") == "6884"
    assert send(port, "0CC0000001") == "00" + OK


def test_get_response_without_le_fetches_up_to_256_bytes(port: Port) -> None:
    """ISO/IEC 7816-4:2020, 11.7.1 (GET RESPONSE has Le); 7816-3:2006, 12.1: by T=0 no Le is P3 = 00, which is 256."""
    assert send(port, "80120001") == "6101"
    assert send(port, "00C00000") == "00" + OK
    assert send(port, "00C00000") == "6985"


def test_a_warning_keeps_its_status_word_behind_get_response(port: Port) -> None:
    assert send(port, "80180000") == "6102"
    assert send(port, "00C0000000") == "0102" + "6310"


def test_extended_length_both_ways(port: Port) -> None:
    data = bytes(range(256)) * 4
    assert port.process(b"\x80\x10\x00\x00\x00\x04\x00" + data + b"\x00\x00") == data + b"\x90\x00"
    assert port.process(bytes.fromhex("80120258000000")) == bytes(i & 0xFF for i in range(600)) + b"\x90\x00"
    assert port.process(bytes.fromhex("80120258000100"))[-2:] == b"\x61\x00"


# ---- secure messaging layer (contract, 1.1)


def layered(text: str) -> str:
    raw = bytes.fromhex(text)
    return raw.hex() + f"{sum(raw) & 0xFF:02x}"


def test_a_layer_unwraps_wraps_and_proves(port: Port) -> None:
    assert send(port, "801E000000") == "80" + OK
    assert send(port, f"8426000003{layered('1122')}00") == "AA1122" + OK + OK
    assert send(port, f"8424000001{layered('')}00") == "AA00000009" + OK + OK


def test_errors_under_a_layer_are_wrapped(port: Port) -> None:
    send(port, "801E000000")
    assert send(port, f"841A000001{layered('')}00") == "AA6982" + OK
    assert send(port, f"84FE000001{layered('')}00") == "AA6D00" + OK
    assert send(port, f"8414000001{layered('')}00") == "AA6F00" + OK
    assert send(port, f"8410000002{layered('55')}00") == "AA55" + OK + OK


def test_a_plain_command_ends_the_layer(port: Port) -> None:
    send(port, "801E000000")
    assert send(port, "80100000015500") == "55" + OK
    assert send(port, f"8410000002{layered('55')}00") == "6882"


def test_a_plain_command_does_not_have_the_proofs_of_the_layer(port: Port) -> None:
    send(port, "801E000000")
    assert send(port, "80260000015500") == "6982"


def test_another_indication_ends_the_layer(port: Port) -> None:
    send(port, "801E000000")
    assert send(port, f"8C10000002{layered('55')}00") == "6882"
    assert send(port, f"8410000002{layered('55')}00") == "6882"


def test_a_failure_to_unwrap_ends_the_layer_in_plain(port: Port) -> None:
    send(port, "801E000000")
    assert send(port, "84100000025500") == "6988" or send(port, "8410000002550000") == "6988"
    assert send(port, f"8410000002{layered('55')}00") == "6882"


def test_a_command_that_opens_a_layer_may_come_with_its_class_byte(port: Port) -> None:
    assert send(port, "841E000000") == "84" + OK  # raw, answered in plain
    assert send(port, f"8410000002{layered('55')}00") == "AA55" + OK + OK


def test_get_response_does_not_end_the_layer(port: Port) -> None:
    send(port, "801E000000")
    assert send(port, f"8410000002{layered('55')}") == "6104"
    assert send(port, "00C0000000") == "AA55" + OK + OK
    assert send(port, f"8410000002{layered('55')}00") == "AA55" + OK + OK


def test_a_chained_command_is_unwrapped_as_a_whole(port: Port) -> None:
    send(port, "801E000000")
    assert send(port, "9410000002" + "1122") == OK
    assert send(port, "8410000001" + "3300") == "AA1122" + OK + OK


def test_selection_under_a_layer_is_answered_under_it_and_ends_it(port: Port) -> None:
    send(port, "801E000000")
    assert send(port, f"04A4040C08{layered(SECOND.hex())}00") == "AA" + OK + OK
    assert send(port, f"8410000002{layered('55')}00") == "6882"


# ---- channels (7816-4, 11.1.2)


def test_channels_are_opened_numbered_and_closed(port: Port) -> None:
    assert send(port, "0070000001") == "01" + OK
    assert send(port, "0070000001") == "02" + OK
    assert send(port, "00700003") == OK
    for number in range(4, 20):
        assert send(port, "0070000001") == f"{number:02X}" + OK
    assert send(port, "0070000001") == "6A81"
    assert send(port, "4F708000") == OK
    assert send(port, "4FCA0000015500") == "6881"
    assert send(port, "00700013") == OK
    assert send(port, "00708002") == OK
    assert send(port, "0070000001") == "02" + OK
    assert send(port, "03708000") == OK
    assert send(port, "0370000001") == "6881"


@pytest.mark.parametrize(
    ("command", "sw"),
    [
        ("00708000", "6881"),
        ("00708001", "6881"),
        ("00700014", "6881"),
        ("007000FF", "6881"),
        ("00700000", "6700"),
        ("00704000", "6A86"),
        ("0070000001AA01", "6700"),
    ],
)
def test_wrong_channel_management(port: Port, command: str, sw: str) -> None:
    assert send(port, command) == sw


def test_a_channel_from_the_basic_one_has_the_default_application(port: Port) -> None:
    send(port, "0070000001")
    assert send(port, "81CA0000015500") == "55" + OK


def test_a_channel_from_another_one_has_its_application(port: Port, applet: RecordingApplet) -> None:
    send(port, "0070000001")
    assert send(port, f"01A4040C07{SECOND.hex()}") == OK
    applet.calls.clear()
    assert send(port, "0170000001") == "02" + OK
    assert applet.calls == [("select", SECOND)]


def test_channels_share_no_session(port: Port) -> None:
    send(port, "0070000001")
    send(port, f"01A4040C07{FIRST.hex()}")
    send(port, "80220000")
    assert send(port, "8124000000") == "00000001" + OK
    assert send(port, "01B0000001") == "6986"
    assert send(port, "00B0810001") == "00" + OK
    assert send(port, "01B0000001") == "6986"


def test_closing_a_channel_deselects(port: Port, applet: RecordingApplet) -> None:
    send(port, "0070000001")
    send(port, f"01A4040C07{SECOND.hex()}")
    applet.calls.clear()
    send(port, "00708001")
    assert applet.calls == [("deselect", SECOND)]


# ---- what security domains may do


def test_deleting_an_application_takes_its_objects(card: Card) -> None:
    platform = card.platform
    first = application(card, FIRST)
    platform.remove(first)
    assert platform.registry.by_aid(FIRST) is None
    assert platform.store.owned(first.owner) == []
    assert application(card, SECOND).selectable


def test_an_application_that_is_selected_elsewhere_cannot_be_deleted(card: Card, port: Port) -> None:
    with pytest.raises(ConditionsNotSatisfied):
        card.platform.remove(application(card, FIRST))
    assert send(port, "80100000015500") == "55" + OK


def test_sessions_of_an_application_can_be_ended(card: Card, port: Port) -> None:
    card.platform.end_sessions(application(card, FIRST))
    assert send(port, "80100000015500") == "6D00"


# ---- ports


def test_a_port_without_power_is_mute(card: Card) -> None:
    with pytest.raises(PortMute):
        card.contact.process(b"\x00\xa4\x04\x00")
    with pytest.raises(PortMute):
        card.contact.reset()
    card.contact.power_off()


def test_a_reset_forgets_the_session_of_its_interface_only(card: Card, port: Port) -> None:
    card.contactless.power_on()
    select(card.contactless, FIRST)
    send(card.contactless, "80220000")
    answer = port.reset()
    assert answer[0] == 0x3B
    assert send(port, "80CA0000015500") == "55" + OK
    assert send(card.contactless, "8024000000") == f"{PIN_1 | 2:08X}" + OK


def test_what_is_written_over_one_interface_is_read_over_the_other(card: Card, port: Port) -> None:
    card.contactless.power_on()
    select(card.contactless, FIRST)
    assert send(port, "00D6810002CAFE") == OK
    assert send(card.contactless, "00B0810002") == "CAFE" + OK


def test_the_uid_over_the_field_is_random(card: Card) -> None:
    seen = set()
    for _ in range(5):
        card.contactless.power_on()
        assert (len(card.contactless.uid), card.contactless.uid[0]) == (4, 0x08)
        seen.add(card.contactless.uid)
        card.contactless.power_off()
        assert card.contactless.uid == b""
    assert len(seen) == 5


def test_arbitration_first_makes_the_second_interface_mute() -> None:
    card = make_card(blank_memory(arbitration=1).nvm())
    card.contactless.power_on()
    with pytest.raises(PortMute):
        card.contact.power_on()
    card.contactless.reset()
    card.contactless.power_off()
    assert card.contact.power_on()


def test_applications_are_there_after_boot() -> None:
    image = blank_memory()
    card = make_card(image.nvm())
    install(card, FIRST)
    again = make_card(image.nvm())
    assert [entry.aid for entry in again.platform.registry] == [DOMAIN, FIRST]
    assert application(again, FIRST).module_aid == MODULE
    assert again.platform.context_of(application(again, FIRST)).card_number == bytes.fromhex("4A5A0001000200000003")


def test_an_applet_class_is_made_anew_at_every_boot() -> None:
    image = blank_memory()
    card = Card(image.nvm(), [RecordingApplet])
    before = card.platform.modules[MODULE]
    card.contact.power_on()
    assert card.platform.modules[MODULE] is not before


def test_a_power_cut_makes_both_ports_mute_until_power_comes_back(card: Card, port: Port) -> None:
    card.contactless.power_on()
    card.nvm.power.arm(1)
    with pytest.raises(PortMute):
        port.process(bytes.fromhex("00D6810002CAFE"))
    for mute in (card.contact, card.contactless):
        with pytest.raises(PortMute):
            mute.process(bytes.fromhex("00B0810002"))
    port.power_on()
    select(port, FIRST)
    assert send(port, "00B0810002") == "0000" + OK


def test_a_damaged_memory_is_mute() -> None:
    image = blank_memory()
    nvm = image.nvm()
    nvm.write(4, b"XXXX")
    with pytest.raises(PortMute):
        Card(nvm).contact.power_on()


def test_two_threads_may_use_the_two_interfaces(card: Card, port: Port) -> None:
    """Commands are executed one at a time: every increment of the shared byte counts."""
    card.contactless.power_on()
    select(card.contactless, FIRST)
    rounds, failures = 200, []

    def work(mine: Port, first: str) -> None:
        for value in range(rounds):
            answer = send(mine, f"00D681{first}04" + f"{value:02X}" * 4)
            read = send(mine, f"00B081{first}04")
            if (answer, read) != (OK, f"{value:02X}" * 4 + OK):
                failures.append((answer, read))

    threads = [Thread(target=work, args=(port, "00")), Thread(target=work, args=(card.contactless, "10"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert card.faults == 0
