"""What our cards call their files and keys, for the decoder of traces; and keys of a store, to open them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from card_os.iso7816.apdu import CommandApdu, ResponseApdu
from permitcard.products import permit_profile, sam_profile
from permitcard.testing.laboratory_sam import ROLE_KEYS, LaboratorySam
from personalization.errors import PersonalizationError
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.card_keys import CARD_NUMBER_LENGTH, issuer_domain_generations
from reader_bridge.trace.keys import ChannelKeys, MessagingKeys
from reader_bridge.trace.names import ApplicationName, CardNames, FieldName, FileName

if TYPE_CHECKING:
    from personalization.profile import CardProfile
    from personalization.profile_rows import FileRow

_CONCEALED_NUMBER: Final = 0xDF20
_GET_DATA: Final = 0xCA
_INITIALIZE_UPDATE: Final = 0x50


def card_names() -> CardNames:
    """Names of the permit and the SAM before those of published applications."""
    return CardNames().with_applications(*(application_name(profile) for profile in (permit_profile(), sam_profile())))


def application_name(profile: CardProfile) -> ApplicationName:
    """The rows of a card profile as names."""
    groupings = {row.number: row.title.en for row in profile.dgis if row.identifier != "FID"}
    groupings[_CONCEALED_NUMBER] = "concealed card number"
    return ApplicationName(
        profile.application.instance,
        profile.title.en,
        tuple(_file_name(profile, row) for row in profile.files),
        {row.reference: row.title.en for row in profile.pins},
        {row.reference: row.title.en for row in profile.keys},
        groupings,
        {(row.cla >= 0x80, row.ins): row.name for row in profile.commands},  # noqa: PLR2004 - proprietary class
    )


def _file_name(profile: CardProfile, row: FileRow) -> FileName:
    objects = {} if row.template is None else {item.tag: item.title.en for item in profile.objects_of(row.template)}
    fields = tuple(FieldName(item.offset, item.length, item.title.en) for item in profile.fields_of(row.content))
    return FileName(row.fid, row.name, row.sfi, objects, fields)


@dataclass(slots=True)
class StoreKeys:
    """Keys of one card, derived by a key store once the trace has told which card it is.

    Args:
        store: holds the masters.
    """

    store: KeyStore
    _card_number: bytes = b""

    def saw(self, command: CommandApdu, response: ResponseApdu) -> None:
        """Learn the card's number: from GET DATA of the concealed number or from INITIALIZE UPDATE."""
        if command.ins == _INITIALIZE_UPDATE:
            self._card_number = response.data[:CARD_NUMBER_LENGTH]
        elif command.ins == _GET_DATA and command.p1 << 8 | command.p2 == _CONCEALED_NUMBER:
            try:
                self._card_number = LaboratorySam(self.store).reveal(response.data)
            except (PersonalizationError, ValueError):  # a card of another centre
                self._card_number = b""

    def channel(self, version: int, diversification: bytes) -> tuple[ChannelKeys, ...]:
        """The card's own key sets and those of the factory, under the masters in use and former ones."""
        del version
        found: list[ChannelKeys] = []
        for name in (KeyName.CARD, KeyName.FACTORY):
            with suppress(PersonalizationError):
                sets = issuer_domain_generations(self.store, name, diversification)
                found += [ChannelKeys(keys.enc, keys.mac) for keys in sets]
        return tuple(found)

    def role(self, reference: int) -> bytes | None:
        """The role key of the card, once its number is known."""
        if reference not in ROLE_KEYS or len(self._card_number) != CARD_NUMBER_LENGTH:
            return None
        return LaboratorySam(self.store).role_key(reference, self._card_number)

    def session(self, number: int) -> MessagingKeys | None:
        """None: a store keeps no session keys."""
        del number
        return None
