"""Reads along a secure messaging session whose keys are known: the form of ICAO Doc 9303, with AES or triple DES.

Source: ICAO Doc 9303-11, 8th edition, clause 9.8; ISO/IEC 7816-4:2020, clause 10; card specification, "Authentication"
(MUTUAL AUTHENTICATE from which the session keys follow).
"""

from __future__ import annotations

from typing import Final

from card_os.iso7816.apdu import MAX_EXTENDED_NE, MAX_SHORT_NE, CommandApdu, ResponseApdu
from card_os.iso7816.status import StatusWord
from card_os.iso7816.tlv import Tlv, TlvError, parse_all
from reader_bridge.trace.ciphers import (
    AES_BLOCK,
    DES_BLOCK,
    aes_block,
    aes_cbc_decrypt,
    aes_cmac,
    pad,
    retail_mac,
    tdes_cbc_decrypt,
    unpad,
)
from reader_bridge.trace.keys import MessagingKeys
from reader_bridge.trace.secure_channel import MacCheck, OpenedCommand, OpenedResponse

_CRYPTOGRAM: Final = 0x87
_CRYPTOGRAM_ODD: Final = 0x85
_NE: Final = 0x97
_STATUS: Final = 0x99
_MAC: Final = 0x8E
_MAC_LENGTH: Final = 8
_PADDED: Final = 0x01
_SM_BITS: Final = 0x0C
_FURTHER_SM: Final = 0x20
_FURTHER: Final = 0x40
_NONCE: Final = 16
_PAIR_CRYPTOGRAM: Final = 48
MUTUAL_LENGTH: Final = _PAIR_CRYPTOGRAM + 16


class MessagingReader:
    """One session.

    Args:
        keys: its keys.
    """

    __slots__ = ("_block", "_counter", "_keys")

    name = "secure messaging"

    def __init__(self, keys: MessagingKeys) -> None:
        self._keys = keys
        self._block = DES_BLOCK if keys.tdes else AES_BLOCK
        self._counter = keys.counter

    def open_command(self, command: CommandApdu, *, hidden: bool) -> OpenedCommand:
        """The plain command.

        Raises:
            ValueError: no secure messaging objects, or a cryptogram that does not open.
        """
        self._counter += 1
        objects = _objects(command.data)
        check = MacCheck.UNKNOWN
        if not hidden:
            header = pad(bytes((command.cla, command.ins, command.p1, command.p2)), self._block)
            check = self._check(objects, header)
        data = b"" if hidden else self._data(objects)
        ne = 0
        for item in objects:
            if item.tag == _NE:
                wide = len(item.value) > 1
                ne = int.from_bytes(item.value, "big") or (MAX_EXTENDED_NE if wide else MAX_SHORT_NE)
        cla = command.cla & ~_FURTHER_SM if command.cla & _FURTHER else command.cla & ~_SM_BITS
        return OpenedCommand(command._replace(cla=cla, data=data, ne=ne), check)

    def open_response(self, response: ResponseApdu, *, hidden: bool) -> OpenedResponse:
        """The plain response; one without objects comes back as it is.

        Raises:
            ValueError: a cryptogram that does not open.
        """
        self._counter += 1
        if not response.data or hidden:
            return OpenedResponse(response, MacCheck.NONE if not response.data else MacCheck.UNKNOWN)
        objects = _objects(response.data)
        check = self._check(objects, b"")
        status = next((item.value for item in objects if item.tag == _STATUS), response.sw.encode())
        return OpenedResponse(ResponseApdu(self._data(objects), StatusWord.parse(status)), check)

    def _check(self, objects: list[Tlv], header: bytes) -> MacCheck:
        mac = next((item.value for item in objects if item.tag == _MAC), None)
        if mac is None:
            return MacCheck.NONE
        covered = b"".join(item.encode() for item in objects if item.tag != _MAC)
        message = self._counter.to_bytes(self._block, "big") + header + (pad(covered, self._block) if covered else b"")
        computed = retail_mac(self._keys.mac, message) if self._keys.tdes else aes_cmac(self._keys.mac, message)
        return MacCheck.RIGHT if computed[:_MAC_LENGTH] == mac else MacCheck.WRONG

    def _data(self, objects: list[Tlv]) -> bytes:
        for item in objects:
            if item.tag == _CRYPTOGRAM and item.value[:1] == bytes((_PADDED,)):
                return self._decrypt(item.value[1:])
            if item.tag == _CRYPTOGRAM_ODD:
                return self._decrypt(item.value)
        return b"".join(item.value for item in objects if item.tag in {0x80, 0x81})

    def _decrypt(self, data: bytes) -> bytes:
        if self._keys.tdes:
            return unpad(tdes_cbc_decrypt(self._keys.enc, bytes(DES_BLOCK), data))
        vector = aes_block(self._keys.enc, self._counter.to_bytes(AES_BLOCK, "big"))
        return unpad(aes_cbc_decrypt(self._keys.enc, vector, data))

    def __repr__(self) -> str:
        return "MessagingReader(hidden)"


def _objects(data: bytes) -> list[Tlv]:
    try:
        return parse_all(data)
    except TlvError as error:
        raise ValueError("no secure messaging objects") from error


def session_of_mutual(pair: bytes, reference: int, challenge: bytes, command: bytes, response: bytes) -> MessagingKeys:
    """Session keys of a MUTUAL AUTHENTICATE that somebody listened to who holds the role key.

    Args:
        pair: K.ENC ‖ K.MAC, 32 bytes.
        reference: key reference.
        challenge: RND.IC, 16 bytes, as GET CHALLENGE gave it.
        command: E.IFD 48 ‖ M.IFD 16.
        response: E.IC 48 ‖ M.IC 16.

    Raises:
        ValueError: another key, or no mutual authentication.
    """
    if len(command) != MUTUAL_LENGTH or len(response) != MUTUAL_LENGTH:
        raise ValueError("no mutual authentication")
    enc, mac = pair[:AES_BLOCK], pair[AES_BLOCK:]
    for side, message in ((0x01, command), (0x02, response)):
        if aes_cmac(mac, bytes((side, reference)) + message[:_PAIR_CRYPTOGRAM]) != message[_PAIR_CRYPTOGRAM:]:
            raise ValueError("another key")
    from_terminal = aes_cbc_decrypt(enc, bytes(AES_BLOCK), command[:_PAIR_CRYPTOGRAM])
    from_card = aes_cbc_decrypt(enc, bytes(AES_BLOCK), response[:_PAIR_CRYPTOGRAM])
    nonce = from_terminal[:_NONCE]
    seed = bytes(a ^ b for a, b in zip(from_terminal[2 * _NONCE :], from_card[2 * _NONCE :], strict=True))
    context = challenge + nonce + (128).to_bytes(2, "big")
    return MessagingKeys(aes_cmac(seed, b"\x01KS.ENC\x00" + context), aes_cmac(seed, b"\x01KS.MAC\x00" + context))
