"""ISO secure messaging with AES, SM4 or triple DES, the card's side.

A protected command has class 0C (6x on channels 4 to 19), in this order:

```
87 | cryptogram of the data, even INS: padding indicator 01 ‖ CBC(data ‖ 80 00 …)
85 | cryptogram of the data, odd INS: CBC(data ‖ 80 00 …)
97 | Ne in 1 or 2 bytes, 0 standing for 256 or 65,536
8E | MAC: leftmost 8 bytes of MAC(KS.MAC, SSC ‖ header 80 00 … ‖ objects before 8E, 80 00 …)
```

and its response 87 or 85 when there is data, 99 (the status word), 8E over both of them. The send sequence counter,
one block long, moves before each command and before each response. What the ciphers are, and where the counter starts,
is told in `session_ciphers`. Every protected object has to be authentic before anything is decrypted.

Source: ICAO Doc 9303-11 (8th edition), clause 9.8; ISO/IEC 7816-4:2020, clause 10.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from typing import Final

from card_os.iso7816.apdu import CommandApdu, SecureMessagingIndication
from card_os.iso7816.errors import CardError, SmObjectIncorrect, SmObjectMissing
from card_os.iso7816.status import StatusWord
from card_os.iso7816.tlv import TlvError, encode_length, parse_all, parse_length
from card_os.security.access import Proof
from card_os.security.block_ciphers import BlockCipher
from card_os.security.cryptography import BLOCK
from card_os.security.session_ciphers import (
    DES_BLOCK,
    SessionCiphers,
    aes_ciphers,
    derive_block_keys,
    derive_des_keys,
    sm4_ciphers,
    triple_des_ciphers,
)

MAC_LENGTH: Final = 8


class SmTag(IntEnum):
    """Tags of the data objects in use; an odd one is under the MAC (ISO/IEC 7816-4:2020, table 49)."""

    CRYPTOGRAM_ODD_INS = 0x85
    CRYPTOGRAM = 0x87
    MAC = 0x8E
    LE = 0x97
    STATUS = 0x99


_CRYPTOGRAM: Final = int(SmTag.CRYPTOGRAM)
_CRYPTOGRAM_ODD_INS: Final = int(SmTag.CRYPTOGRAM_ODD_INS)
_LE: Final = int(SmTag.LE)
_MAC_HEADER: Final = bytes((SmTag.MAC, MAC_LENGTH))
_MAC_OBJECT: Final = len(_MAC_HEADER) + MAC_LENGTH
_STATUS_HEADER: Final = bytes((SmTag.STATUS, 2))
_PADDING_INDICATOR: Final = 0x01  # padding method 2 of ISO/IEC 9797-1
_HEADER_BYTES: Final = 4
_PADDINGS: Final = {
    block: tuple(b"\x80" + bytes(-(length + 1) % block) for length in range(block)) for block in (DES_BLOCK, BLOCK)
}
"""Padding by length of a block and of what stands in the last one."""
_FURTHER_CHANNEL: Final = 0x40
_FIRST_INDICATION: Final = 0x0C
_FURTHER_INDICATION: Final = 0x20


class IsoSecureMessaging:
    """One session; implements `card_os.applet_api.SecureChannel`.

    The dispatcher drops the session when `unwrap` raises, so that one wrong byte ends it.

    Args:
        encryption_key: KS.ENC.
        mac_key: KS.MAC.
        role: role number of the key that authenticated, 1..16; 0 grants no role.
        cla: class byte of the command that opens the session, which tells the form of its channel's class bytes.
        counter: send sequence counter to start from.
        ciphers: keys the ciphers of the session.

    Attributes:
        indication: what the class byte of this session's commands says.
        proofs: `Proof` bits of a command that came through.
    """

    __slots__ = (
        "_block",
        "_cipher",
        "_counter",
        "_counter_mask",
        "_cryptogram_tag",
        "_header_padding",
        "_mac",
        "_padding",
        "_plain_mask",
        "indication",
        "proofs",
    )

    def __init__(
        self,
        encryption_key: bytes,
        mac_key: bytes,
        *,
        role: int = 0,
        cla: int = 0,
        counter: int = 0,
        ciphers: Callable[[bytes, bytes], SessionCiphers] = aes_ciphers,
    ) -> None:
        keyed = ciphers(encryption_key, mac_key)
        self._cipher = keyed.cryptogram
        self._mac = keyed.checksum
        self._block = keyed.block
        self._padding = _PADDINGS[keyed.block]
        self._header_padding = self._padding[_HEADER_BYTES]
        self._counter = counter
        self._counter_mask = (1 << 8 * keyed.block) - 1
        self._cryptogram_tag = _CRYPTOGRAM
        further = bool(cla & _FURTHER_CHANNEL)
        self._plain_mask = ~(_FURTHER_INDICATION if further else _FIRST_INDICATION)
        self.indication = (
            SecureMessagingIndication.INTERINDUSTRY if further else SecureMessagingIndication.HEADER_AUTHENTICATED
        )
        self.proofs = int(Proof.SECURE_MESSAGING) | (int(Proof.key(role)) if role else 0)

    @property
    def exclusive(self) -> bool:
        """A command in plain ends the session."""
        return False

    def after_failure(self) -> None:
        """Nothing is left of it."""

    def unwrap(self, command: CommandApdu) -> CommandApdu:
        """Verify and decrypt a protected command.

        Returns:
            The plain command: class byte without the indication, data decrypted, Ne of object 97.

        Raises:
            SmObjectMissing: 6987, no object 8E.
            SmObjectIncorrect: 6988, the MAC is wrong, or an object is malformed, unknown or out of order.
        """
        cla, ins, p1, p2, data, _, extended = command
        block = self._block
        counter = self._counter = self._counter + 1 & self._counter_mask
        end = len(data) - _MAC_OBJECT
        if end < 0 or data[end : end + 2] != _MAC_HEADER:
            raise _refusal(data)
        message = counter.to_bytes(block, "big") + bytes((cla, ins, p1, p2)) + self._header_padding
        protected = data[:end]
        if end:
            message += protected + self._padding[end % block]
        if not self._mac.verify(message, data[end + 2 :], MAC_LENGTH):
            raise _refusal(data)
        self._cryptogram_tag = _CRYPTOGRAM_ODD_INS if ins & 1 else _CRYPTOGRAM
        try:
            plain, at = self._decrypt(protected, counter) if end and protected[0] != _LE else (b"", 0)
            return CommandApdu(cla & self._plain_mask, ins, p1, p2, plain, _expected_length(protected, at), extended)
        except ValueError as error:
            raise SmObjectIncorrect(str(error)) from None

    def _decrypt(self, protected: bytes, counter: int) -> tuple[bytes, int]:
        """The plain data of the first object, and the offset after it."""
        tag = protected[0]
        if tag != self._cryptogram_tag:
            raise SmObjectIncorrect(f"object {tag:02X} where the cryptogram is expected")
        length, at = parse_length(protected, 1)
        end = at + length
        if end > len(protected):
            raise SmObjectIncorrect("cryptogram is cut short")
        if tag == _CRYPTOGRAM:
            if length == 0 or protected[at] != _PADDING_INDICATOR:
                raise SmObjectIncorrect("padding indicator other than 01")
            at += 1
        padded = self._cipher.decrypt(counter, protected[at:end])
        plain = padded.rstrip(b"\x00")
        # Padding is at most one block, so that one text has one cryptogram only.
        if len(padded) - len(plain) >= self._block or not plain.endswith(b"\x80"):
            raise SmObjectIncorrect("padding is wrong")
        return plain[:-1], end

    def wrap(self, data: bytes, sw: StatusWord) -> tuple[bytes, StatusWord]:
        """Protect a response, also an error; the outer status word is the inner one.

        Returns:
            Objects 87 or 85 (none without data), 99 and 8E; the status word.
        """
        block = self._block
        counter = self._counter = self._counter + 1 & self._counter_mask
        body = _STATUS_HEADER + sw.to_bytes(2, "big")
        if data:
            cryptogram = self._cipher.encrypt(counter, data + self._padding[len(data) % block])
            if self._cryptogram_tag == _CRYPTOGRAM:
                head = bytes((_CRYPTOGRAM,)) + encode_length(len(cryptogram) + 1) + bytes((_PADDING_INDICATOR,))
            else:
                head = bytes((_CRYPTOGRAM_ODD_INS,)) + encode_length(len(cryptogram))
            body = head + cryptogram + body
        mac = self._mac.compute(counter.to_bytes(block, "big") + body + self._padding[len(body) % block])
        return body + _MAC_HEADER + mac[:MAC_LENGTH], sw


def session(
    seed: bytes,
    card_challenge: bytes,
    terminal_challenge: bytes,
    *,
    role: int,
    cla: int = 0,
    cipher: BlockCipher = BlockCipher.AES,
) -> IsoSecureMessaging:
    """Open a session with keys derived from the seed and both challenges.

    Args:
        seed: K.IFD xor K.IC, 16 bytes.
        card_challenge: RND.IC, 16 bytes; with triple DES 8.
        terminal_challenge: RND.IFD, as long.
        role: role number that the session grants.
        cla: class byte of the command that opens it.
        cipher: that of the key that opens it.
    """
    if cipher is BlockCipher.TRIPLE_DES:
        half = DES_BLOCK // 2
        counter = int.from_bytes(card_challenge[half:] + terminal_challenge[half:], "big")
        keys = derive_des_keys(seed)
        return IsoSecureMessaging(*keys, role=role, cla=cla, counter=counter, ciphers=triple_des_ciphers)
    keys = derive_block_keys(cipher, seed, card_challenge + terminal_challenge)
    ciphers = aes_ciphers if cipher is BlockCipher.AES else sm4_ciphers
    return IsoSecureMessaging(*keys, role=role, cla=cla, ciphers=ciphers)


def _expected_length(protected: bytes, at: int) -> int:
    """Ne of the object 97 that is the last one, 0 when there is none."""
    rest = protected[at:]
    match len(rest):
        case 0:
            return 0
        case 3 if rest[0] == _LE and rest[1] == 1:
            return rest[2] or 0x100
        case 4 if rest[0] == _LE and rest[1] == 2:  # noqa: PLR2004 - the two lengths that Le has
            return int.from_bytes(rest[2:], "big") or 0x1_0000
        case _:
            raise SmObjectIncorrect("unknown or misplaced object")


def _refusal(data: bytes) -> CardError:
    """Why a command without a right MAC at its end is refused."""
    try:
        present = any(item.tag == SmTag.MAC for item in parse_all(data))
    except TlvError:
        return SmObjectIncorrect("malformed data objects")
    return SmObjectIncorrect("MAC does not match") if present else SmObjectMissing("no object 8E")
