"""What a user of ``permitcard gp`` names for a session of SCP11: keys and certificates in files."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from personalization.errors import PersonalizationError

if TYPE_CHECKING:  # every command line starts with this module: cryptography comes with the first card
    from personalization.globalplatform.certified_session import CertifiedAccess
    from personalization.globalplatform.scp11 import HostIdentity

_VARIANTS: Final = {"a": "SCP11A", "b": "SCP11B", "c": "SCP11C"}
_FULL_LEVEL: Final = 0x33
_REFERENCE_LENGTH: Final = 2


@dataclass(frozen=True, slots=True)
class CertifiedChoice:
    """The options of SCP11.

    Attributes:
        variant: a, b or c; None for another protocol.
        host_key: file with the host's private key.
        host_certificates: files with its certificates, its own last.
        card_key: file with the card's public key, or a certificate of it.
        card_authority: file with the key or a certificate of the authority of cards.
        authority_key: version and identifier of the card's key that verifies the host, in hexadecimal.
    """

    variant: str | None = None
    host_key: Path | None = field(default=None, repr=False)
    host_certificates: tuple[Path, ...] = ()
    card_key: Path | None = field(default=None, repr=False)
    card_authority: Path | None = None
    authority_key: str | None = field(default=None, repr=False)

    def access(self, key_version: int | None, level: int | None) -> CertifiedAccess | None:
        """What opens the session; None for another protocol.

        Raises:
            PersonalizationError: exit 2: "gp-scp11-unknown", "gp-scp11-incomplete", "gp-scp11-file-malformed",
                "gp-hex-malformed".
            OSError: a file cannot be read.
        """
        if self.variant is None:
            return None
        from permitcard.gp_key_files import public_key
        from personalization.globalplatform.certified_session import CertifiedAccess
        from personalization.globalplatform.scp11 import Variant

        name = _VARIANTS.get(self.variant.lower())
        if name is None:
            raise PersonalizationError("gp-scp11-unknown", exit_code=2, variant=self.variant)
        variant = Variant[name]
        missing = [] if key_version is not None else ["--key-version"]
        if self.card_key is None and self.card_authority is None:
            missing.append("--card-authority")
        if variant.host_is_proved:
            missing += [] if self.host_key is not None else ["--host-key"]
            missing += [] if self.host_certificates else ["--host-certificate"]
        if missing or key_version is None:
            raise PersonalizationError("gp-scp11-incomplete", exit_code=2, options=", ".join(missing))
        return CertifiedAccess(
            variant,
            key_version,
            None if self.host_key is None or not variant.host_is_proved else self._host(self.host_key),
            None if self.card_key is None else public_key(self.card_key),
            None if self.card_authority is None else public_key(self.card_authority),
            _FULL_LEVEL if level is None else level,
        )

    def _host(self, key: Path) -> HostIdentity:
        from permitcard.gp_key_files import certificates, private_key
        from personalization.globalplatform.scp11 import HostIdentity

        chain = [item for path in self.host_certificates for item in certificates(path)]
        return HostIdentity(private_key(key), tuple(chain), self._authority())

    def _authority(self) -> tuple[int, int]:
        """Version and identifier; 0 and 0 let the card find the key by the name of the authority."""
        text = self.authority_key or "0000"
        try:
            raw = bytes.fromhex(text)
        except ValueError:
            raw = b""
        if len(raw) != _REFERENCE_LENGTH:
            raise PersonalizationError("gp-hex-malformed", exit_code=2, what="--authority-key", text=text)
        return raw[0], raw[1]
