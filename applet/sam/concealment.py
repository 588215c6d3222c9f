"""Opening a concealed card number; only a module of the card's generation can.

```
offset 0   16  R, random
offset 16  16  C = AES-CBC(K.ENC, IV = R, card number (10) ‖ 80 00 00 00 00 00)
offset 32   8  CMAC(K.MAC, R ‖ C), leftmost 8 bytes
```

Source: card specification, "Identity before authentication".
"""

from __future__ import annotations

from typing import Final

from card_os.applet_api import aes_cbc_decrypt, cmac, equal
from card_os.iso7816.errors import AuthenticationFailed

CONCEALED_LENGTH: Final = 40
CARD_NUMBER_LENGTH: Final = 10
_BLOCK: Final = 16
_SEALED: Final = 2 * _BLOCK
_MAC_LENGTH: Final = CONCEALED_LENGTH - _SEALED
_PADDING: Final = b"\x80" + bytes(_BLOCK - CARD_NUMBER_LENGTH - 1)


def reveal(key: bytes, concealed: bytes) -> bytes:
    """The card number, 10 bytes.

    Args:
        key: K.ENC ‖ K.MAC of the generation, 32 bytes.
        concealed: 40 bytes.

    Raises:
        AuthenticationFailed: 6300, not made with this key.
    """
    sealed, mac = concealed[:_SEALED], concealed[_SEALED:]
    if not equal(cmac(key[_BLOCK:], sealed)[:_MAC_LENGTH], mac):
        raise AuthenticationFailed("the concealed number is not of this generation")
    plain = aes_cbc_decrypt(key[:_BLOCK], sealed[_BLOCK:], sealed[:_BLOCK])
    if plain[CARD_NUMBER_LENGTH:] != _PADDING:
        raise AuthenticationFailed("no card number inside")
    return plain[:CARD_NUMBER_LENGTH]
