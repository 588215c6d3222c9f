"""Changes to single keys of a token: a new generation beside the old one, and the old one destroyed when told."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pkcs11 import Attribute, Mechanism, ObjectClass, Session, exceptions

from personalization.errors import PersonalizationError
from personalization.keys.administration import ROTATED_PAIRS, Change, rehearsal_load_key, require_replaceable
from personalization.keys.check_values import AES_CHECK_INPUT, CHECK_VALUE_LENGTH, aes_check_value, pair_check_value
from personalization.keys.hsm.making import (
    WRAPPING_KEYS,
    Maker,
    make_next_authority,
    make_next_pair,
    make_symmetric,
    make_wrapping,
    public_half,
)
from personalization.keys.hsm.store import HsmKeyStore, label_of
from personalization.keys.hsm.templates import INWARD, capabilities, kept, key_type
from personalization.keys.hsm.token import Login, logged_in, reported
from personalization.keys.keystore import KEY_LENGTHS, KEY_PAIRS, LASTING_PAIRS, KeyName, former_key_missing

_USAGE: Final = 2
_BITS: Final = 8
_ARRIVED: Final = "arrived"
"""Behind the label of a key that came and is not in use yet; it is no number, so that it is taken for no generation."""

_REFUSED: Final = (
    exceptions.WrappedKeyInvalid,
    exceptions.WrappedKeyLenRange,
    exceptions.EncryptedDataInvalid,
    exceptions.EncryptedDataLenRange,
    exceptions.GeneralError,
)


@dataclass(frozen=True, slots=True)
class HsmKeyAdministration:
    """A `KeyAdministration` of a token.

    Attributes:
        maker: token and PINs; the security officer's is needed for wrapping keys only.
    """

    maker: Maker

    def replace(self, name: KeyName) -> Change:
        """See `KeyAdministration.replace`."""
        if name in ROTATED_PAIRS:
            return self._replace_pair(name)
        require_replaceable(name)
        in_use = self._check_value(name)
        generation = self._generations(name)[-1] + 1
        if name not in WRAPPING_KEYS:
            with self._user() as session:
                before = {_aes_check_value(self._key(session, name, one)) for one in self._found(session, name)}
                make_symmetric(session, name, generation)
                while _aes_check_value(key := self._key(session, name, generation)) in before:
                    key.destroy()
                    make_symmetric(session, name, generation)
        else:
            officer = self.maker.security_officer.read()
            value = self._wrapping_value(name)
            with logged_in(self.maker.place, officer, Login.SECURITY_OFFICER, write=True) as session:
                make_wrapping(session, name, generation, value)
        return Change(in_use, self._check_value(name))

    def export(self, name: KeyName) -> bytes:
        """See `KeyAdministration.export`; the token lets none but role masters leave."""
        with self._user() as session:
            exchange = self._key(session, KeyName.EXCHANGE, self._newest(session, KeyName.EXCHANGE))
            if name not in KEY_LENGTHS:
                raise _not_exportable(name)
            key = self._key(session, name, self._newest(session, name))
            try:
                return bytes(exchange.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP))
            except (exceptions.KeyUnextractable, exceptions.KeyNotWrappable):
                raise _not_exportable(name) from None

    def arrived(self, name: KeyName, wrapped: bytes) -> bytes:
        """See `KeyAdministration.arrived`; the key is unwrapped in the token, and gone with the session."""
        with self._user() as session:
            label = f"{label_of(name, self._newest(session, name))}.{_ARRIVED}"
            return _aes_check_value(self._unwrap(session, name, wrapped, label, store=False))

    def take_in(self, name: KeyName, wrapped: bytes) -> Change:
        """See `KeyAdministration.take_in`; the key is unwrapped in the token."""
        before = self._check_value(name)
        with self._user() as session:
            self._unwrap(session, name, wrapped, label_of(name, self._newest(session, name) + 1), store=True)
        return Change(before, self._check_value(name))

    def _unwrap(self, session: Session, name: KeyName, wrapped: bytes, label: str, *, store: bool) -> Any:
        require_replaceable(name)
        if name in WRAPPING_KEYS or len(wrapped) != KEY_LENGTHS[name] + _BITS:
            raise PersonalizationError("wrapped-key-refused")
        exchange = f"{label_of(KeyName.EXCHANGE, self._newest(session, KeyName.EXCHANGE))}.{INWARD}"
        inward: Any = session.get_key(object_class=ObjectClass.SECRET_KEY, label=exchange)
        try:
            return inward.unwrap_key(
                ObjectClass.SECRET_KEY,
                key_type(name),
                wrapped,
                label=label,
                mechanism=Mechanism.AES_KEY_WRAP,
                store=store,
                capabilities=capabilities(name),
                template=kept(name),
            )
        except _REFUSED:
            raise PersonalizationError("wrapped-key-refused") from None

    def destroy(self, name: KeyName, check_value: bytes) -> None:
        """See `KeyAdministration.destroy`."""
        if name in KEY_PAIRS:
            self._destroy_former_pair(name, check_value)
            return
        with self._user() as session:
            for generation in self._found(session, name)[:-1]:
                key = self._key(session, name, generation)
                if _aes_check_value(key) == check_value:
                    for label in (label_of(name, generation), f"{label_of(name, generation)}.{INWARD}"):
                        for item in list(session.get_objects({Attribute.LABEL: label})):
                            item.destroy()
                    return
        raise former_key_missing(name, check_value)

    def _wrapping_value(self, name: KeyName) -> bytes:
        """At random; a rehearsal's load key is that of its chip vendor."""
        if name is KeyName.SAM_LOAD:
            store = HsmKeyStore.open(self.maker.place, self.maker.user.read())
            try:
                if not store.production:
                    return rehearsal_load_key(store)
            finally:
                store.close()
        with self._user() as session:
            before = {_aes_check_value(self._key(session, name, one)) for one in self._found(session, name)}
            while aes_check_value(value := bytes(session.generate_random(KEY_LENGTHS[name] * _BITS))) in before:
                pass
            return value

    def _destroy_former_pair(self, name: KeyName, check_value: bytes) -> None:
        """Destroy the private half of a former pair; that of the one in use stays."""
        if check_value == self._check_value(name):
            raise former_key_missing(name, check_value)
        with self._user() as session:
            for generation in self._found(session, name, ObjectClass.PRIVATE_KEY):
                label = label_of(name, generation)
                public = public_half(session.get_key(object_class=ObjectClass.PUBLIC_KEY, label=label))
                if pair_check_value(public) == check_value:
                    self._destroy_private(session, label)
                    return
        raise former_key_missing(name, check_value)

    def _replace_pair(self, name: KeyName) -> Change:
        """A new pair first, and then the private half of every one before is destroyed, unless it goes on signing."""
        before = self._check_value(name)
        with self._user() as session:
            old = self._found(session, name, ObjectClass.PRIVATE_KEY)
            authority = self._authority(session)
            with reported(self.maker.place):
                if name is KeyName.AUTHORITY:
                    make_next_authority(session, old[-1] + 1, authority)
                else:
                    make_next_pair(session, name, old[-1] + 1, authority)
                for generation in () if name in LASTING_PAIRS else old:
                    self._destroy_private(session, label_of(name, generation))
        return Change(before, self._check_value(name))

    def _authority(self, session: Session) -> int:
        """Generation of the authority in use; one that was not finished has no certificate.

        Raises:
            PersonalizationError: "key-missing", exit 3.
        """
        kinds = (ObjectClass.PRIVATE_KEY, ObjectClass.CERTIFICATE)
        return max(set.intersection(*(set(self._found(session, KeyName.AUTHORITY, kind)) for kind in kinds)))

    @staticmethod
    def _destroy_private(session: Session, label: str) -> None:
        wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
        for item in list(session.get_objects(wanted)):
            item.destroy()

    @contextmanager
    def _user(self) -> Generator[Session]:
        with logged_in(self.maker.place, self.maker.user.read(), write=True) as session:
            yield session

    def _check_value(self, name: KeyName) -> bytes:
        store = HsmKeyStore.open(self.maker.place, self.maker.user.read())
        try:
            return store.check_value(name)
        finally:
            store.close()

    def _generations(self, name: KeyName) -> list[int]:
        with self._user() as session:
            return self._found(session, name)

    def _newest(self, session: Session, name: KeyName) -> int:
        return self._found(session, name)[-1]

    def _found(self, session: Session, name: KeyName, kind: ObjectClass = ObjectClass.SECRET_KEY) -> list[int]:
        """Generations of a key, ascending.

        Raises:
            PersonalizationError: "key-missing", exit 3.
        """
        start = label_of(name, 0)[:-1]
        with reported(self.maker.place):
            labels = [str(item[Attribute.LABEL]) for item in session.get_objects({Attribute.CLASS: kind})]
        found = sorted(
            int(label.removeprefix(start))
            for label in labels
            if label.startswith(start) and label.removeprefix(start).isdecimal()
        )
        if not found:
            raise PersonalizationError("key-missing", exit_code=3, key=name.value, place=self.maker.place.label)
        return found

    def _key(self, session: Session, name: KeyName, generation: int) -> Any:
        return session.get_key(object_class=ObjectClass.SECRET_KEY, label=label_of(name, generation))


def _aes_check_value(key: Any) -> bytes:
    return bytes(key.sign(AES_CHECK_INPUT, mechanism=Mechanism.AES_CMAC))[:CHECK_VALUE_LENGTH]


def _not_exportable(name: KeyName) -> PersonalizationError:
    return PersonalizationError("key-not-exportable", exit_code=_USAGE, key=name.value)
