"""Options that every command of ``permitcard gp`` has: which card, which keys."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from permitcard.gp_access import GpAccess, KeyChoice, domain_of, level_of
from permitcard.gp_certified import CertifiedChoice
from personalization.errors import PersonalizationError

_CARD: Final = "sim:FILE, pcsc:NAME or remote:HOST:PORT"
_KEY: Final = "one value for all keys, hexadecimal or @FILE; PERMITCARD_GP_KEY and …_ENC, _MAC, _DEK do the same"
_SCHEME: Final = "Diversification that may fit: none, emv, visa2, profile or a template. May be given several times."
_VERSION: Final = "Key version number, hexadecimal; any when absent."
_LEVEL: Final = "none, mac, enc, mac+rmac, enc+rmac or full; the strongest that the card has when absent."

_CERTIFICATES: Final = "SCP11: certificates of this host, its own last. May be given several times."
_AUTHORITY: Final = "SCP11: key or certificate of who certifies cards, where the card's key is not given."
_AUTHORITY_KEY: Final = "SCP11: version and identifier of the card's key that verifies the host, such as 0310."

CardOption = Annotated[str, typer.Option("--card", envvar="PERMITCARD_CARD", help=f"The card: {_CARD}")]
DomainOption = Annotated[str | None, typer.Option("--domain", help="AID of the security domain; the issuer's.")]

_KEYED: Final = (
    ("key", str | None, None, typer.Option("--key", help=f"Keys: {_KEY}.")),
    ("key_enc", str | None, None, typer.Option("--key-enc", help="Key-ENC, where the three differ.")),
    ("key_mac", str | None, None, typer.Option("--key-mac", help="Key-MAC.")),
    ("key_dek", str | None, None, typer.Option("--key-dek", help="Key-DEK.")),
    ("key_version", str | None, None, typer.Option("--key-version", help=_VERSION)),
    ("kdf", list[str], None, typer.Option("--kdf", help=_SCHEME)),
    ("centre", Path | None, None, typer.Option("--centre", help="Take the keys from this centre's key store.")),
    ("level", str | None, None, typer.Option("--level", help=f"Security level: {_LEVEL}")),
    ("scp11", str | None, None, typer.Option("--scp11", help="SCP11 with certificates: a, b or c.")),
    ("host_key", Path | None, None, typer.Option("--host-key", help="SCP11: private key of this host, PEM or DER.")),
    ("host_certificate", list[Path], None, typer.Option("--host-certificate", help=_CERTIFICATES)),
    ("card_key", Path | None, None, typer.Option("--card-key", help="SCP11: public key of the card.")),
    ("card_authority", Path | None, None, typer.Option("--card-authority", help=_AUTHORITY)),
    ("authority_key", str | None, None, typer.Option("--authority-key", help=_AUTHORITY_KEY)),
    ("fresh", bool, False, typer.Option("--fresh", help="The card's keys were changed since by another program.")),
)
"""Name, type, default and words of each option."""


def version_of(text: str | None) -> int | None:
    """A key version number in hexadecimal.

    Raises:
        PersonalizationError: no such number.
    """
    if text is None:
        return None
    try:
        value = int(text, 16)
    except ValueError as error:
        raise PersonalizationError("gp-key-version-malformed", exit_code=2, text=text) from error
    if not 0 <= value <= 0xFF:  # noqa: PLR2004 - one byte
        raise PersonalizationError("gp-key-version-malformed", exit_code=2, text=text)
    return value


def with_access(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of a card and its keys; it gets a `GpAccess` as ``access``."""

    @functools.wraps(command)
    def run(**values: object) -> None:
        told = {name: values.pop(name) for name, *_ in _KEYED}
        card, domain = str(values.pop("card")), values.pop("domain")
        schemes = told["kdf"]
        keys = KeyChoice(
            _text(told["key"]),
            _text(told["key_enc"]),
            _text(told["key_mac"]),
            _text(told["key_dek"]),
            tuple(str(item) for item in schemes) if isinstance(schemes, (list, tuple)) else (),
            version_of(_text(told["key_version"])),
            _path(told["centre"]),
        )
        certificates = told["host_certificate"]
        certified = CertifiedChoice(
            _text(told["scp11"]),
            _path(told["host_key"]),
            tuple(Path(str(item)) for item in certificates) if isinstance(certificates, (list, tuple)) else (),
            _path(told["card_key"]),
            _path(told["card_authority"]),
            _text(told["authority_key"]),
        )
        aid = domain_of(_text(domain))
        access = GpAccess(card, keys, aid, level_of(_text(told["level"])), bool(told["fresh"]), certified)
        command(access=access, **values)

    own = [item for item in inspect.signature(command, eval_str=True).parameters.values() if item.name != "access"]
    kind = inspect.Parameter.KEYWORD_ONLY
    shared = [
        inspect.Parameter("card", kind, annotation=CardOption),
        inspect.Parameter("domain", kind, default=None, annotation=DomainOption),
        *(
            inspect.Parameter(name, kind, default=default, annotation=Annotated[told, option])
            for name, told, default, option in _KEYED
        ),
    ]
    parameters = [*(item.replace(kind=kind) for item in own), *shared]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what the parser looks at
    run.__annotations__ = {item.name: item.annotation for item in parameters}
    return run


def _path(value: object) -> Path | None:
    return value if isinstance(value, Path) else None


def _text(value: object) -> str | None:
    return None if value is None else str(value)
