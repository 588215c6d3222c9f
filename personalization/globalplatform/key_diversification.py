"""From master keys to the keys of one card: the schemes that are met in the field, and templates for the others.

A template is what a master encrypts, written in hexadecimal bytes and ``$`` places: ``$0`` to ``$9`` the bytes of the
key diversification data, ``$k`` the key (01 ENC, 02 MAC, 03 DEK), and under CMAC ``$_`` the counter and ``$l`` the two
bytes of the length in bits. In front stands what encrypts it: ``des:`` and ``aes:`` in ECB mode, ``cmac:`` in counter
mode.

Source: EMV Card Personalization Specification 1.1, clause 4.1 (KENC, KMAC and KDEK from KMC and KEYDATA); the VISA2
layout of Visa GlobalPlatform cards, as GlobalPlatformPro and GPShell print it; NIST SP 800-108r1, clause 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from cryptography.hazmat.primitives.cmac import CMAC

from personalization.errors import PersonalizationError
from personalization.globalplatform.data_key import AES_BLOCK, DES_BLOCK, DES_KEY_LENGTH, triple_des
from personalization.globalplatform.scp03 import DIVERSIFICATION_LENGTH, StaticKeys
from personalization.keys.derivation import Deriver

EMV_TEMPLATE: Final = "des:$4 $5 $6 $7 $8 $9 F0 $k $4 $5 $6 $7 $8 $9 0F $k"
VISA2_TEMPLATE: Final = "des:$0 $1 $4 $5 $6 $7 F0 $k $0 $1 $4 $5 $6 $7 0F $k"

_ENCRYPTIONS: Final = ("des", "aes", "cmac")
_KEY_NUMBERS: Final = (1, 2, 3)
_PROFILE_LABELS: Final = ("SCP03 ENC", "SCP03 MAC", "SCP03 DEK")
_COUNTER: Final = "$_"
_LENGTH: Final = "$l"
_PART: Final = re.compile(r"\$[0-9k_l]|[0-9a-f]{2}")


@dataclass(frozen=True, slots=True)
class MasterKeys:
    """Masters for Key-ENC, Key-MAC and Key-DEK; one value three times where there is one master only."""

    enc: bytes
    mac: bytes
    dek: bytes

    def __repr__(self) -> str:
        return "MasterKeys(…)"


Diversification = Callable[[MasterKeys, bytes], tuple[bytes, bytes, bytes]]
"""Masters and 10 bytes of diversification data → Key-ENC, Key-MAC, Key-DEK."""


def undiversified(masters: MasterKeys, data: bytes) -> tuple[bytes, bytes, bytes]:
    """The masters are the keys."""
    del data
    return masters.enc, masters.mac, masters.dek


def profile_kdf(masters: MasterKeys, data: bytes) -> tuple[bytes, bytes, bytes]:
    """The derivation of our card profile: SP 800-108 with AES-CMAC, labels "SCP03 ENC", "SCP03 MAC" and "SCP03 DEK"."""
    enc, mac, dek = (
        Deriver(master).derive(label, data, len(master))
        for master, label in zip((masters.enc, masters.mac, masters.dek), _PROFILE_LABELS, strict=True)
    )
    return enc, mac, dek


@dataclass(frozen=True, slots=True)
class Template:
    """A template for what masters encrypt; see the module.

    Attributes:
        text: as it was written, for messages.
        encryption: des, aes or cmac.
        tokens: hexadecimal bytes and places.
    """

    text: str = field(repr=False)
    encryption: str = field(repr=False)
    tokens: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Read a template.

        Raises:
            PersonalizationError: "key-template-malformed", exit 2.
        """
        encryption, separator, body = text.partition(":")
        if not separator or encryption not in _ENCRYPTIONS:
            raise _malformed(text, "it has to begin with des:, aes: or cmac:")
        tokens = tuple(_tokens(body.replace(" ", "").lower().replace("0x", ""), text))
        template = cls(text, encryption, tokens)
        special = {_COUNTER, _LENGTH} & set(tokens)
        if encryption == "cmac" and _COUNTER not in special:
            raise _malformed(text, "a cmac template needs $_ for the counter")
        if encryption != "cmac" and special:
            raise _malformed(text, "$_ and $l are for cmac templates")
        block = DES_BLOCK if encryption == "des" else AES_BLOCK
        if encryption != "cmac" and (not tokens or len(tokens) % block):
            raise _malformed(text, f"it has to fill whole blocks of {block} bytes")
        return template

    def __call__(self, masters: MasterKeys, data: bytes) -> tuple[bytes, bytes, bytes]:
        """The keys of the card with that diversification data.

        Raises:
            PersonalizationError: "key-template-malformed": it does not give a key of the master's length.
        """
        enc, mac, dek = (
            self._derive(master, data, number)
            for master, number in zip((masters.enc, masters.mac, masters.dek), _KEY_NUMBERS, strict=True)
        )
        return enc, mac, dek

    def _derive(self, master: bytes, data: bytes, number: int) -> bytes:
        length = len(master)
        if self.encryption == "cmac":
            keyed = CMAC(AES(master))
            output = b""
            for counter in range(1, -(-length // AES_BLOCK) + 1):
                mac = keyed.copy()
                mac.update(self._filled(data, number, counter, 8 * length))
                output += mac.finalize()
            return output[:length]
        if self.encryption == "des" and length != DES_KEY_LENGTH:
            raise _malformed(self.text, "a des template needs double-length masters of 16 bytes")
        cipher = triple_des(master) if self.encryption == "des" else AES(master)
        output = Cipher(cipher, ECB()).encryptor().update(self._filled(data, number, 0, 0))  # noqa: S305 - its scheme
        if len(output) < length:
            raise _malformed(self.text, f"it gives {len(output)} bytes and the master has {length}")
        return output[:length]

    def _filled(self, data: bytes, number: int, counter: int, bits: int) -> bytes:
        parts: list[bytes] = []
        for part in self.tokens:
            if part == "$k":
                parts.append(bytes((number,)))
            elif part == _COUNTER:
                parts.append(bytes((counter,)))
            elif part == _LENGTH:
                parts.append(bits.to_bytes(2, "big"))
            elif part.startswith("$"):
                parts.append(data[int(part[1]) :][:1])
            else:
                parts.append(bytes.fromhex(part))
        return b"".join(parts)


def _tokens(body: str, text: str) -> list[str]:
    """Cut a template into bytes and places."""
    parts = _PART.findall(body)
    if "".join(parts) != body:
        raise _malformed(text, "it has something that is neither a byte nor a place")
    return parts


def _malformed(text: str, reason: str) -> PersonalizationError:
    return PersonalizationError("key-template-malformed", exit_code=2, template=text, reason=reason)


SCHEMES: Final[dict[str, Diversification]] = {
    "none": undiversified,
    "emv": Template.parse(EMV_TEMPLATE),
    "visa2": Template.parse(VISA2_TEMPLATE),
    "profile": profile_kdf,
}
"""Schemes by the name that a user types."""


def diversification_of(name: str) -> Diversification:
    """A scheme by its name, or a template.

    Raises:
        PersonalizationError: "key-template-malformed", exit 2.
    """
    return SCHEMES.get(name) or Template.parse(name)


def card_keys(masters: MasterKeys, scheme: Diversification, version: int, data: bytes) -> StaticKeys:
    """The key set of one card.

    Args:
        masters: the masters.
        scheme: how they are diversified.
        version: key version number of the set.
        data: key diversification data, 10 bytes, as INITIALIZE UPDATE returns it.

    Raises:
        PersonalizationError: "card-number-malformed", "key-template-malformed".
    """
    if len(data) != DIVERSIFICATION_LENGTH:
        raise PersonalizationError("card-number-malformed", length=len(data))
    return StaticKeys(version, *scheme(masters, data))
