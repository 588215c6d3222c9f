"""SCP02 and SCP03 on a card, with every parameter `i` and every security level; the host is a second implementation."""

from __future__ import annotations

import pytest

from card_os.card import Card
from card_os.globalplatform import keys as card_keys
from card_os.globalplatform import scp02, scp03
from card_os.globalplatform.channel_policy import ChannelPolicy
from card_os.globalplatform.key_types import KeyType
from card_os.globalplatform.keys import KeySet
from card_os.globalplatform.registry import ISSUER_DOMAIN
from card_os.globalplatform.secure_channel import Protocol
from card_os.hardware.image import NvmImage
from card_os.iso7816.errors import MemoryFailure
from card_os.manufacture import manufacture
from tests.doubles.channel_hosts import AES_KEYS, DES_KEYS, Scp02Host, Scp03Host
from tests.doubles.issuer_card import PRODUCTION, boot

GET_STATUS = "80F28002024F0000"
OWN_ENTRY = "E3154F08A0000001510000009F700107C5039EDE009000"
LEVELS = (0x00, 0x01, 0x03, 0x10, 0x11, 0x13, 0x33)
SELECT = bytes.fromhex("00A4040008A000000151000000")


def made(policy: ChannelPolicy, keys: KeySet) -> Card:
    """A card with one key set."""
    image = NvmImage.create()
    manufacture(image.nvm(), PRODUCTION, keys, channel_policy=policy)
    card = boot(image)
    card.contact.power_on()
    return card


def scp03_card(implementation: int, length: int = 16, **policy: int) -> tuple[Card, tuple[bytes, bytes, bytes]]:
    enc, mac, dek = ((key * 2)[:length] for key in AES_KEYS)
    offered = ChannelPolicy(((Protocol.SCP03, implementation),), **policy)
    return made(offered, KeySet(0x30, enc, mac, dek)), (enc, mac, dek)


def scp02_card(implementation: int) -> Card:
    offered = ChannelPolicy(((Protocol.SCP02, implementation),))
    return made(offered, KeySet(0x20, *DES_KEYS, KeyType.DES))


def own_entry(host: Scp02Host | Scp03Host) -> str:
    answer = host.transmit(GET_STATUS)
    return answer[:42] + answer[-4:] if answer.endswith("9000") else answer


@pytest.mark.parametrize("length", [16, 24, 32])
@pytest.mark.parametrize("implementation", sorted(scp03.IMPLEMENTATIONS))
def test_scp03_of_every_kind(implementation: int, length: int) -> None:
    """Tables 5-1 and 7-3: an `i` without response protection refuses the levels that ask for it."""
    card, keys = scp03_card(implementation, length)
    for level in LEVELS:
        host = Scp03Host(card.contact.process, keys, s16=bool(implementation & 1))
        assert host.implementation == implementation
        if level not in scp03.security_levels(implementation):
            assert host.open(level).hex() == "6a86"
            continue
        assert host.open(level).hex() == "9000"
        for _ in range(3):
            assert host.transmit(GET_STATUS).endswith("9000")
        assert host.transmit("80CA006600")[-4:] == "9000"
        assert host.transmit("80CA004200") == "6A88"
        assert host.transmit("80CA00E000") == f"E012{''.join(f'C0040{n}3088{length:02X}' for n in (1, 2, 3))}9000"


@pytest.mark.parametrize("implementation", sorted(scp02.IMPLEMENTATIONS))
def test_scp02_of_every_kind(implementation: int) -> None:
    """Table E-11; appendix E.4: the same without and with R-MAC."""
    card = scp02_card(implementation)
    for level in LEVELS:
        host = Scp02Host(card.contact.process)
        assert host.answer[10:12].hex() == "2002"
        if level not in scp02.security_levels(implementation):
            assert host.open(level).hex() == "6a86"
            continue
        assert host.open(level).hex() == "9000"
        for _ in range(3):
            assert host.transmit(GET_STATUS).endswith("9000")
        assert host.transmit("80CA004200") == "6A88"
        assert host.transmit("80CA00E000") == "E012C00401208010C00402208010C004032080109000"


def test_random_and_pseudo_random_challenges() -> None:
    """Bit 10 of SCP03 and bit 40 of SCP02: the card's own number, or one that counter, key and AID give."""
    answers = [Scp03Host(scp03_card(0x60)[0].contact.process).answer for _ in range(2)]
    assert answers[0] == answers[1]
    card, keys = scp03_card(0x60)
    assert Scp03Host(card.contact.process, keys).answer != Scp03Host(card.contact.process, keys).answer
    assert card_keys.sequence_counter(card.platform.store, ISSUER_DOMAIN, 0x30) == 0
    pseudo = [Scp02Host(scp02_card(0x55).contact.process).answer[14:20] for _ in range(2)]
    assert pseudo[0] == pseudo[1] == scp02.card_challenge(DES_KEYS[1], b"\x00\x00", SELECT[5:])
    random = scp02_card(0x15)
    assert len({Scp02Host(random.contact.process).answer[14:20] for _ in range(5)}) == 5


def test_the_scp02_counter_moves_with_the_first_right_mac_only() -> None:
    """E.1.2: not at INITIALIZE UPDATE, not for a wrong MAC; for a wrong cryptogram under a right MAC it does."""
    card = scp02_card(0x55)
    store = card.platform.store

    def counter() -> int | None:
        return card_keys.sequence_counter(store, ISSUER_DOMAIN, 0x20)

    Scp02Host(card.contact.process)
    assert counter() == 0
    assert card.contact.process(bytes.fromhex("8482010010" + "00" * 16)).hex() == "6300"
    assert counter() == 0
    host = Scp02Host(card.contact.process)
    assert host.open(0x01, cryptogram=bytes(8)).hex() == "6300"
    assert counter() == 1
    host = Scp02Host(card.contact.process)
    assert host.sequence == b"\x00\x01"
    assert host.open(0x01).hex() == "9000"
    assert counter() == 2
    assert own_entry(host).endswith("9000")
    assert counter() == 2
    assert card_keys.tries_left(store, ISSUER_DOMAIN, 0x20) == 10


def test_a_used_up_scp02_counter() -> None:
    card = scp02_card(0x55)
    for _ in range(0xFFFE):
        card_keys.advance_sequence_counter(card.platform.store, ISSUER_DOMAIN, 0x20)
    host = Scp02Host(card.contact.process)
    assert host.open(0x01).hex() == "9000"
    assert Scp02Host(card.contact.process).sw.hex() == "6985"


@pytest.mark.parametrize(("level", "asked", "sw"), [
    (0x00, 0x10, "6985"),
    (0x01, 0x10, "9000"),
    (0x01, 0x30, "6985"),
    (0x03, 0x10, "9000"),
    (0x03, 0x30, "9000"),
    (0x11, 0x10, "6985"),
    (0x11, 0x30, "6985"),
    (0x13, 0x10, "6985"),
    (0x13, 0x30, "9000"),
    (0x33, 0x10, "6985"),
    (0x33, 0x30, "6985"),
    (0x03, 0x00, "6A86"),
    (0x03, 0x20, "6A86"),
])  # fmt: skip
def test_scp03_r_mac_sessions(level: int, asked: int, sw: str) -> None:
    """Amendment D, 7.1.3: more protection for answers, never more than commands have; then back again (7.1.4)."""
    card, keys = scp03_card(0x70)
    host = Scp03Host(card.contact.process, keys)
    host.open(level)
    assert host.transmit(f"807A{asked:02X}010403AABBCC")[-4:] == sw
    if sw == "9000":
        host.response_level = level | asked
        assert own_entry(host).endswith("9000")
        assert host.transmit("80CA004200") == "6A88"
        assert host.transmit(f"807A{asked:02X}010100") == "6985"
        assert host.transmit("80780001") == "6A86"
        assert host.transmit("80780003") == "9000"
        host.response_level = level
    assert own_entry(host).endswith("9000")
    assert host.transmit("80780003") == "6985"


@pytest.mark.parametrize("implementation", [0x10, 0x00, 0x30, 0x20])
def test_r_mac_sessions_are_an_option(implementation: int) -> None:
    card, keys = scp03_card(implementation)
    host = Scp03Host(card.contact.process, keys)
    host.open(0x03)
    assert host.transmit("807A3001") == "6A86"
    assert host.transmit("807A1001") == ("9000" if implementation & 0x20 else "6A86")


@pytest.mark.parametrize("level", [0x00, 0x01, 0x03])
def test_scp02_r_mac_sessions(level: int) -> None:
    """E.5.3 and E.5.4: BEGIN is covered, END is not; P2 01 tells and goes on."""
    card = scp02_card(0x35)
    host = Scp02Host(card.contact.process)
    host.open(level)
    assert host.transmit("80780003", covered=False) == "6985"
    command = host.wrap("807A10010403AABBCC")
    host.seals = True
    assert host.unwrap(host.send(command)) == "9000"
    host.answers = True
    assert own_entry(host).endswith("9000")
    assert host.transmit("80CA004200") == "6A88"
    assert host.transmit("807A1001") == "6985"
    expected = host.r_vector.hex().upper() + "9000"
    assert host.transmit("80780001", covered=False) == expected
    assert own_entry(host).endswith("9000")
    expected = host.r_vector.hex().upper() + "9000"
    assert host.transmit("80780003", covered=False) == expected
    host.seals = False
    assert own_entry(host).endswith("9000")


def test_an_scp02_r_mac_session_that_only_end_tells() -> None:
    """Table E-14, P1 00."""
    card = scp02_card(0x75)
    host = Scp02Host(card.contact.process)
    host.open(0x01)
    command = host.wrap("807A0001")
    host.seals = True
    assert host.unwrap(host.send(command)) == "9000"
    for _ in range(3):
        assert own_entry(host).endswith("9000")
    expected = host.r_vector.hex().upper() + "9000"
    assert host.transmit("80780003", covered=False) == expected


@pytest.mark.parametrize("implementation", [0x15, 0x55])
def test_without_an_r_mac_no_r_mac_session_begins(implementation: int) -> None:
    """Table E-1: b6 of `i` is not set."""
    host = Scp02Host(scp02_card(implementation).contact.process)
    host.open(0x01)
    assert host.transmit("807A1001") == "6A86"
    assert own_entry(host).endswith("9000")


@pytest.mark.parametrize("command", ["807A1002", "807A100102FFAA", "807A1001020000", "80780102", "8078000301AA"])
def test_malformed_r_mac_sessions(command: str) -> None:
    card, keys = scp03_card(0x70)
    host = Scp03Host(card.contact.process, keys)
    host.open(0x03)
    assert host.transmit(command) in {"6A86", "6700"}


def test_r_mac_sessions_need_an_authenticated_session() -> None:
    card, _ = scp03_card(0x70)
    for command in ("807A1001", "80780003"):
        assert card.contact.process(bytes.fromhex(command)).hex() == "6982"


@pytest.mark.parametrize("channel", [1, 3, 4, 19])
@pytest.mark.parametrize("level", [0x01, 0x33])
def test_a_session_on_any_logical_channel(channel: int, level: int) -> None:
    """11.1.4: bit 3 tells secure messaging on channels 0 to 3, bit 6 on 4 to 19; the C-MAC covers neither channel."""
    card, keys = scp03_card(0x70)
    card.contact.process(bytes((0x00, 0x70, 0x00, channel)))
    plain = channel if channel < 4 else 0x40 | (channel - 4)
    secured = 0x80 | plain | (0x04 if channel < 4 else 0x20)

    def on_channel(raw: bytes) -> bytes:
        cla = secured if raw[0] == 0x84 else 0x80 | plain
        return card.contact.process(bytes((cla,)) + raw[1:])

    host = Scp03Host(on_channel, keys)
    assert host.open(level).hex() == "9000"
    assert host.transmit(GET_STATUS).endswith("9000")
    assert card.contact.process(bytes.fromhex(GET_STATUS)).hex() == "6982"
    assert host.transmit(GET_STATUS).endswith("9000")


# ---- What failed authentications cost (7.5.1)


def fail(card: Card) -> int:
    """One false authentication; the virtual time of it in ms."""
    before = card.clock.now_ns
    card.contact.process(bytes.fromhex("8050000008000000000000000000"))
    assert card.contact.process(bytes.fromhex("8482010010" + "00" * 16)).hex() == "6300"
    return round((card.clock.now_ns - before) / 1_000_000)


def test_pauses_double_and_end_with_a_success() -> None:
    card, keys = scp03_card(0x70, try_limit=0, first_pause_ms=100, longest_pause_s=1)
    assert [fail(card) // 50 * 50 for _ in range(7)] == [0, 100, 200, 400, 800, 1000, 1000]
    card.contact.power_off()
    card.contact.power_on()
    assert fail(card) >= 1000
    assert Scp03Host(card.contact.process, keys).open(0x01).hex() == "9000"
    assert fail(card) < 50


def test_a_policy_without_a_limit_never_blocks() -> None:
    card, keys = scp03_card(0x70, try_limit=0)
    for _ in range(260):
        fail(card)
    assert Scp03Host(card.contact.process, keys).open(0x01).hex() == "9000"


@pytest.mark.parametrize("limit", [1, 3, 255])
def test_another_limit(limit: int) -> None:
    card, keys = scp03_card(0x70, try_limit=limit)
    for _ in range(limit):
        fail(card)
    assert Scp03Host(card.contact.process, keys).open(0x01).hex() == "6983"


# ---- The policy itself


@pytest.mark.parametrize(
    "policy",
    [
        ChannelPolicy(),
        ChannelPolicy(((Protocol.SCP02, 0x55), (Protocol.SCP03, 0x71)), 0, 65_535, 65_535),
        ChannelPolicy((), 255),
    ],
)
def test_a_policy_is_read_as_it_was_stored(policy: ChannelPolicy) -> None:
    assert ChannelPolicy.decode(policy.encode()) == policy


@pytest.mark.parametrize(
    "values",
    [
        {"protocols": ((Protocol.SCP03, 0x40),)},
        {"protocols": ((Protocol.SCP02, 0x1A),)},
        {"protocols": ((Protocol.SCP03, 0x70), (Protocol.SCP03, 0x60))},
        {"try_limit": 256},
        {"try_limit": -1},
        {"first_pause_ms": 65_536},
        {"longest_pause_s": -1},
    ],
)
def test_a_policy_that_cannot_be(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ChannelPolicy(**values)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType] - wrong on purpose


@pytest.mark.parametrize("raw", [b"", b"\x02", b"\x01\x0a\x00\x00\x00\x00\x03", b"\x01\x0a\x00\x00\x00\x00\x05\x00"])
def test_a_damaged_policy(raw: bytes) -> None:
    with pytest.raises(MemoryFailure):
        ChannelPolicy.decode(raw)


def test_what_is_not_offered_is_not_found() -> None:
    """DES keys on a card that offers SCP03 only."""
    card = made(ChannelPolicy(), KeySet(0x20, *DES_KEYS, KeyType.DES))
    assert Scp02Host(card.contact.process).sw.hex() == "6a88"


def test_a_new_domain_offers_what_its_associated_domain_offers() -> None:
    """7.2: reached with the keys of that domain, it tells their protocol (tag 66), and gets keys of its own for it."""
    card = scp02_card(0x55)
    host = Scp02Host(card.contact.process)
    host.open(0x01)
    fields = "07A0000001515350" + "08A000000151535041" + "09A00000015153504101" + "0180" + "02C900" + "00"
    assert host.transmit(f"80E60C00{len(fields) // 2:02X}{fields}00").endswith("9000")
    select = bytes.fromhex("00A4040009A0000001515350410100")
    assert card.contact.process(select)[-2:].hex() == "9000"
    assert "640b06092a864886fc6b040255" in card.contact.process(bytes.fromhex("80CA006600")).hex()
    host = Scp02Host(card.contact.process)
    assert host.open(0x01).hex() == "9000"
    keys = tuple(bytes((number,)) * 16 for number in (1, 2, 3))
    data = b"\x21" + b"".join(b"\x80\x10" + host.encrypt(key) + b"\x00" for key in keys)
    assert host.transmit(f"80D80081{len(data):02X}{data.hex()}00").endswith("9000")
    card.contact.process(select)
    host = Scp02Host(card.contact.process, (keys[0], keys[1], keys[2]))
    assert host.answer[10:12].hex() == "2102"
    assert host.open(0x03).hex() == "9000"


def test_card_data_tells_the_protocols() -> None:
    """Appendix H.2, tag 64 for each protocol."""
    policy = ChannelPolicy(((Protocol.SCP03, 0x60), (Protocol.SCP02, 0x55)))
    card = made(policy, KeySet(0x20, *DES_KEYS, KeyType.DES))
    answer = card.contact.process(bytes.fromhex("80CA006600")).hex()
    assert "640b06092a864886fc6b040360" + "640b06092a864886fc6b040255" in answer
