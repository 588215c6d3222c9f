"""The terminal's side of secure messaging: protect commands, verify and open responses.

```
command   0C INS P1 P2 ‖ Lc ‖ [87 L 01 ‖ E(data) | 85 L E(data)] ‖ [97 L Ne] ‖ 8E 08 MAC ‖ 00 (or 0000)
response  [87 L 01 ‖ E(data) | 85 L E(data)] ‖ 99 02 SW ‖ 8E 08 MAC ‖ SW
E         AES-CBC(KS.ENC, IV = AES-ECB(KS.ENC, SSC)) over the data padded with 80 00 …
MAC       leftmost 8 bytes of CMAC(KS.MAC, SSC ‖ padded header ‖ padded data objects); a response has no header
SSC       16 bytes, big-endian, counts up before each command and before each response
```

This is the host's own reading of the text; the card has another.

Source: ICAO Doc 9303-11, 8th edition, clause 9.8; ISO/IEC 7816-4:2020, clause 10.
"""

from __future__ import annotations

import hmac
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.cmac import CMAC

from card_os.iso7816.apdu import MAX_EXTENDED_NC, MAX_SHORT_NC, MAX_SHORT_NE, CommandApdu, ResponseApdu
from card_os.iso7816.status import StatusWord
from card_os.iso7816.tlv import encode, parse_length
from personalization.errors import PersonalizationError

_BLOCK: Final = 16
_MAC_LENGTH: Final = 8
_STATUS_LENGTH: Final = 2
_SM_CLASS: Final = 0x0C
_ZERO_BLOCK: Final = bytes(_BLOCK)
_PAD_MARK: Final = b"\x80"
_HEADER_PADDING: Final = _PAD_MARK + bytes(_BLOCK - 5)
_INDICATOR: Final = b"\x01"

_TAG_CRYPTOGRAM: Final = 0x87
_TAG_CRYPTOGRAM_ODD: Final = 0x85
_TAG_NE: Final = 0x97
_TAG_STATUS: Final = 0x99
_TAG_MAC: Final = 0x8E
_CRYPTOGRAM_TAGS: Final = (_TAG_CRYPTOGRAM, _TAG_CRYPTOGRAM_ODD)
_STATUS_HEADER: Final = bytes((_TAG_STATUS, 2))
_MAC_HEADER: Final = bytes((_TAG_MAC, _MAC_LENGTH))
_TAIL_LENGTH: Final = 4 + 2 + _MAC_LENGTH + _STATUS_LENGTH
"""What every protected response ends with: 99 02 SW 8E 08 MAC SW."""
_OVERHEAD: Final = 4 + 1 + 4 + 10
"""Most bytes around the cryptogram: tag and length of 87, padding indicator, 99 (or 97), 8E."""


class SessionKeys(NamedTuple):
    """KS.ENC and KS.MAC, 16 bytes each."""

    encryption: bytes
    mac: bytes

    def __repr__(self) -> str:
        return "SessionKeys(hidden)"


def pad(data: bytes) -> bytes:
    """Append 80 and as many 00 as fill the last block of 16 bytes."""
    return data + _PAD_MARK + bytes(-(len(data) + 1) % _BLOCK)


def unpad(data: bytes) -> bytes:
    """Remove what `pad` appended.

    Raises:
        ValueError: there is no padding.
    """
    stripped = data.rstrip(b"\x00")
    if not stripped.endswith(_PAD_MARK) or len(data) - len(stripped) >= _BLOCK:
        raise ValueError("no padding")
    return stripped[:-1]


def plain_bytes(limit: int) -> int:
    """Most plain bytes that ``limit`` protected ones carry: whole blocks less the padding mark."""
    return (limit - _OVERHEAD) // _BLOCK * _BLOCK - 1


_SHORT_ANSWER: Final = plain_bytes(MAX_SHORT_NE)


class TerminalSecureMessaging:
    """One session; ends at the first response that is not authentic.

    Args:
        keys: the session keys.
    """

    __slots__ = ("_decryptor", "_encryptor", "_keyed_mac", "_last", "_ssc", "alive")

    def __init__(self, keys: SessionKeys) -> None:
        self._keyed_mac = CMAC(algorithms.AES(keys.mac))
        # Keying a cipher costs ten times its use, so one running encryptor and one running decryptor serve the session:
        # a block fed as (last ciphertext xor SSC) leaves AES(SSC), the IV, in the chain.
        cipher = Cipher(algorithms.AES(keys.encryption), modes.CBC(_ZERO_BLOCK))
        self._encryptor = cipher.encryptor()
        self._decryptor = cipher.decryptor()
        self._last = 0
        self._ssc = 0
        self.alive = True

    def protect(self, command: CommandApdu) -> bytes:
        """Protect one command and encode it.

        Args:
            command: plain; its class byte gets the secure messaging bits. Extended length is used when it asks for it
                or needs it, so on a link without it Ne stays at most `plain_bytes` of what the link carries.

        Raises:
            PersonalizationError: "session-over": a response before was not authentic.
        """
        if not self.alive:
            raise PersonalizationError("session-over")
        self._ssc += 1
        cla, ins, p1, p2, data, ne, extended = command
        header = bytes((cla | _SM_CLASS, ins, p1, p2))
        objects = self._protected_data(ins, data) if data else b""
        if ne:
            objects += _encode_ne(ne, extended=extended)
        mac = self._mac(header + _HEADER_PADDING + (pad(objects) if objects else b""))
        body = objects + _MAC_HEADER + mac
        length = len(body)
        if not extended and length <= MAX_SHORT_NC and ne <= _SHORT_ANSWER:
            return header + bytes((length,)) + body + b"\x00"
        if length > MAX_EXTENDED_NC:
            raise ValueError(f"not encodable: {length} data bytes")
        return header + b"\x00" + length.to_bytes(2, "big") + body + b"\x00\x00"

    def _protected_data(self, ins: int, data: bytes) -> bytes:
        result = self._encryptor.update((self._last ^ self._ssc).to_bytes(_BLOCK, "big") + pad(data))
        self._last = int.from_bytes(result[-_BLOCK:], "big")
        if ins & 1:
            return encode(_TAG_CRYPTOGRAM_ODD, result[_BLOCK:])
        return encode(_TAG_CRYPTOGRAM, _INDICATOR, result[_BLOCK:])

    def _mac(self, message: bytes) -> bytes:
        mac = self._keyed_mac.copy()
        mac.update(self._ssc.to_bytes(_BLOCK, "big") + message)
        return mac.finalize()[:_MAC_LENGTH]

    def open(self, response: bytes) -> ResponseApdu:
        """Verify a response and decrypt its data.

        Raises:
            PersonalizationError: "response-not-authentic": objects or MAC are missing or wrong; the session is over.
        """
        self._ssc += 1
        try:
            return self._open(response)
        except ValueError as error:
            self.alive = False
            sw = StatusWord.parse(response) if len(response) >= _STATUS_LENGTH else None
            raise PersonalizationError("response-not-authentic", reason=str(error), sw=str(sw)) from None

    def _open(self, response: bytes) -> ResponseApdu:
        at = len(response) - _TAIL_LENGTH
        if at < 0 or response[at : at + 2] != _STATUS_HEADER or response[at + 4 : at + 6] != _MAC_HEADER:
            raise ValueError("the response is not protected")
        if not hmac.compare_digest(self._mac(pad(response[: at + 4])), response[at + 6 : -_STATUS_LENGTH]):
            raise ValueError("the MAC is wrong")
        if response[at + 2 : at + 4] != response[-_STATUS_LENGTH:]:
            raise ValueError("the outer status word is not the protected one")
        return ResponseApdu(self._decrypt(response[:at]) if at else b"", StatusWord.parse(response))

    def _decrypt(self, item: bytes) -> bytes:
        """The plain data of object 87 or 85, which fills ``item``."""
        tag = item[0]
        length, at = parse_length(item, 1)
        if tag not in _CRYPTOGRAM_TAGS or at + length != len(item):
            raise ValueError("another object where the cryptogram is expected")
        if tag == _TAG_CRYPTOGRAM:
            if item[at : at + 1] != _INDICATOR:
                raise ValueError("unknown padding indicator")
            at += 1
        if at == len(item) or (len(item) - at) % _BLOCK:
            raise ValueError("not whole blocks")
        iv = self._encryptor.update((self._last ^ self._ssc).to_bytes(_BLOCK, "big"))
        self._last = int.from_bytes(iv, "big")
        return unpad(self._decryptor.update(iv + item[at:])[_BLOCK:])

    def __repr__(self) -> str:
        return f"TerminalSecureMessaging({'alive' if self.alive else 'over'})"


def _encode_ne(ne: int, *, extended: bool) -> bytes:
    """Data object 97: Ne in one byte when it fits and the command is short, else in two."""
    if ne <= MAX_SHORT_NE and not extended:
        return encode(_TAG_NE, bytes((ne & 0xFF,)))
    return encode(_TAG_NE, (ne & 0xFFFF).to_bytes(2, "big"))
