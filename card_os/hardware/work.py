"""What computing costs a chip in virtual time, by kind of work: a table of the processor that the chip has.

The times come from the tables that the product carries (`chips.toml` names the processor, `processors.toml` has its
times), by the name of the chip in the image's header, or by the processor that a chip of one's own names. A chip that
has neither computes in no time.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from enum import Enum
from functools import lru_cache
from importlib import resources
from types import MappingProxyType
from typing import Final

WorkTimes = Mapping["Work", int]
"""Nanoseconds by kind of work; what is not there costs nothing."""
_PROCESSOR: Final = "processor"


class Work(Enum):
    """Kinds of work, by their names in the table."""

    COMMAND = "command"
    """One command APDU: class byte, channel, table, rule, handler."""
    BYTE = "byte"
    """One byte of a command or response."""
    SECURE_MESSAGING_BYTE = "secure_messaging_byte"
    """One byte of a command or response under secure messaging: cipher and MAC."""
    AES_BLOCK = "aes_block"
    TRIPLE_DES_BLOCK = "triple_des_block"
    SM4_BLOCK = "sm4_block"
    HASH_BLOCK = "hash_block"
    """64 bytes of SHA-256 or SM3, 128 of SHA-384."""
    P256_SIGN = "p256_sign"
    P256_VERIFY = "p256_verify"
    P384_SIGN = "p384_sign"
    P384_VERIFY = "p384_verify"
    SM2_SIGN = "sm2_sign"
    SM2_VERIFY = "sm2_verify"
    SM2_ENCRYPT = "sm2_encrypt"
    SM2_DECRYPT = "sm2_decrypt"
    RSA2048_PRIVATE = "rsa2048_private"
    RSA2048_PUBLIC = "rsa2048_public"
    RSA3072_PRIVATE = "rsa3072_private"
    RSA3072_PUBLIC = "rsa3072_public"
    POINT_MULTIPLICATION = "point_multiplication"
    """One multiplication on a curve of 256 bits: a step of PACE, a key pair."""
    RSA_CANDIDATE_BYTE = "rsa_candidate_byte"
    """Generating RSA keys: one random byte that a test of primality took."""


NO_TIMES: Final[WorkTimes] = MappingProxyType({})


def read_tables() -> tuple[dict[str, str], dict[str, WorkTimes]]:
    """Processor by chip, and times by processor, as the product carries them.

    Raises:
        ValueError: a kind of work that does not exist.
    """
    folder = resources.files("card_os.hardware")
    chips = tomllib.loads(folder.joinpath("chips.toml").read_text(encoding="utf-8"))
    processors = tomllib.loads(folder.joinpath("processors.toml").read_text(encoding="utf-8"))
    times = {
        name: MappingProxyType({Work(work): int(ns) for work, ns in table.items()})
        for name, table in processors.items()
    }
    return {name: row[_PROCESSOR] for name, row in chips.items()}, dict(times)


@lru_cache(maxsize=32)
def work_times(chip: str, processor: str = "") -> WorkTimes:
    """The times of a chip by its name, or of a processor by its own."""
    chips, processors = read_tables()
    return processors.get(processor or chips.get(chip, ""), NO_TIMES)


def processor_names() -> list[str]:
    """The processors that have tables, in their order, which images count by: new ones come last."""
    return list(read_tables()[1])
