"""The concealed card number: what a reader may know of a card before it has proved anything.

```
offset 0   16  R, random
offset 16  16  C = AES-CBC(K.ENC, IV = R, card number (10) ‖ 80 00 00 00 00 00)
offset 32   8  CMAC(K.MAC, R ‖ C), leftmost 8 bytes
```

It is fresh each time, so that two readings have nothing in common; only a SAM of the generation opens it.

Source: card specification, "Identity before authentication".
"""

from __future__ import annotations

from typing import Final

from card_os.applet_api import aes_cbc_encrypt, cmac
from card_os.iso7816.errors import ReferenceDataNotFound

RANDOM_LENGTH: Final = 16
_BLOCK: Final = 16
_MAC_LENGTH: Final = 8
_PAIR_LENGTH: Final = 32
_PAD_MARK: Final = b"\x80"


def conceal(key: bytes, card_number: bytes, random: bytes) -> bytes:
    """The concealed card number, 40 bytes.

    Args:
        key: K.ENC ‖ K.MAC, 32 bytes.
        card_number: 10 bytes.
        random: R, 16 bytes, never used twice.

    Raises:
        ReferenceDataNotFound: 6A88, the key is no pair of AES-128 keys.
    """
    if len(key) != _PAIR_LENGTH:
        raise ReferenceDataNotFound("no concealment key")
    cryptogram = aes_cbc_encrypt(key[:_BLOCK], (card_number + _PAD_MARK).ljust(_BLOCK, b"\x00"), random)
    sealed = random + cryptogram
    return sealed + cmac(key[_BLOCK:], sealed)[:_MAC_LENGTH]
