"""SoftHSM2 as a real PKCS#11 token for tests: private configuration, private tokens, PINs that are no secrets."""

from __future__ import annotations

import atexit
import functools
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

MODULES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)
USER_PIN = "user-pin-314159"
OFFICER_PIN = "officer-pin-271828"
LABEL = "rehearsal token"


def module() -> str:
    """The library; the test is skipped where the program is not installed, which CI's packages rule out."""
    found = next((path for path in MODULES if Path(path).exists()), None)
    if found is None or shutil.which("softhsm2-util") is None:
        pytest.skip("softhsm2 is not installed")
    return found


@dataclass(frozen=True, slots=True)
class SoftHsm:
    """One folder of tokens.

    Attributes:
        folder: where configuration and tokens are.
        module: the library.
    """

    folder: Path
    module: str

    @property
    def tokens(self) -> Path:
        """The token store; moving it away is what an HSM that is gone looks like."""
        return self.folder / "tokens"

    @property
    def variables(self) -> dict[str, str]:
        """Environment of a process that uses the token."""
        return {
            "SOFTHSM2_CONF": str(self.folder / "softhsm2.conf"),
            "PERMITCARD_PKCS11_MODULE": self.module,
            "PERMITCARD_PKCS11_TOKEN": LABEL,
            "PERMITCARD_PKCS11_PIN": USER_PIN,
            "PERMITCARD_PKCS11_SO_PIN": OFFICER_PIN,
        }

    @classmethod
    def make(cls, folder: Path) -> SoftHsm:
        """Configuration and one initialised token."""
        hsm = cls(folder, module())
        hsm.tokens.mkdir(parents=True)
        (folder / "softhsm2.conf").write_text(
            f"directories.tokendir = {hsm.tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        hsm.new_token(LABEL)
        return hsm

    def new_token(self, label: str) -> None:
        """Initialise one more token."""
        subprocess.run(
            ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", USER_PIN, "--so-pin", OFFICER_PIN],
            env={**os.environ, **self.variables},
            check=True,
            capture_output=True,
        )


TOKENS_A_PROCESS = 40
"""The library looks for tokens once in the life of a process, so that they have to be there before it is loaded."""


@functools.cache
def _of_this_process() -> tuple[SoftHsm, Iterator[int]]:
    try:
        hsm = _with_tokens()
    except subprocess.CalledProcessError:
        hsm = _with_tokens()
    os.environ["SOFTHSM2_CONF"] = hsm.variables["SOFTHSM2_CONF"]
    return hsm, itertools.count()


def _with_tokens() -> SoftHsm:
    """The library draws the number of a slot, 31 bits, and aborts in each process that finds one number twice."""
    folder = Path(tempfile.mkdtemp(prefix="permitcard-softhsm-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    hsm = SoftHsm.make(folder)
    for number in range(TOKENS_A_PROCESS):
        hsm.new_token(f"token {number}")
    subprocess.run(
        ["softhsm2-util", "--show-slots"], env={**os.environ, **hsm.variables}, check=True, capture_output=True
    )
    return hsm


def fresh_token() -> tuple[SoftHsm, str]:
    """A token that no test of this process has used: the HSM and the token's label."""
    hsm, numbers = _of_this_process()
    number = next(numbers)
    assert number < TOKENS_A_PROCESS, "raise TOKENS_A_PROCESS"
    return hsm, f"token {number}"
