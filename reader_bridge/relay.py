"""A card offered under another roof: passes everything on, but for what its rules change, answer, drop or delay."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.errors import WrongLength
from reader_bridge.connection import CardConnection, ReaderError
from reader_bridge.relay_rules import Action, RelayRules, Rule
from reader_bridge.stack import Wrapper

_MS_A_SECOND: Final = 1000
_STATUS_LENGTH: Final = 2


class _Occasions:
    """A rule, and how often it has fitted."""

    __slots__ = ("_seen", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._seen = 0

    def acts(self, command: bytes) -> bool:
        """True when the rule fits and its turn has come."""
        rule = self.rule
        if not rule.fits(command):
            return False
        self._seen += 1
        return self._seen > rule.after and (not rule.count or self._seen <= rule.after + rule.count)


class RelayConnection(Wrapper):
    """A `CardConnection` in front of another.

    Args:
        inner: the card.
        rules: what happens on the way; none lets everything pass.
        sleep: waits some seconds, for rules that delay.
    """

    __slots__ = ("_occasions", "_sleep", "acted")

    def __init__(
        self, inner: CardConnection, rules: RelayRules | None = None, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        super().__init__(inner)
        interface = inner.description.interface
        rows = () if rules is None else rules.rules
        self._occasions = tuple(_Occasions(rule) for rule in rows if rule.interface in {None, interface})
        self._sleep = sleep
        self.acted = 0
        """How many commands a rule other than pass has touched."""

    def transmit(self, command: bytes) -> bytes:
        """Pass a command on, or do what the first rule says that fits.

        Raises:
            ReaderError: "relay-dropped", or what the card's side raises.
        """
        for occasions in self._occasions:
            if occasions.acts(command):
                return self._act(occasions.rule, command)
        return self.inner.transmit(command)

    def _act(self, rule: Rule, command: bytes) -> bytes:
        if rule.action is Action.PASS:
            return self.inner.transmit(command)
        self.acted += 1
        match rule.action:
            case Action.ANSWER:
                return rule.response
            case Action.DROP:
                if rule.execute:
                    self.inner.transmit(command)
                raise ReaderError("relay-dropped", reader=self.description.name)
            case Action.DELAY:
                self._sleep(rule.milliseconds / _MS_A_SECOND)
                return self.inner.transmit(command)
            case _:
                return changed_response(rule, self.inner.transmit(changed_command(rule, command)))


def changed_command(rule: Rule, command: bytes) -> bytes:
    """The command that goes to the card: the rule's own, or one with another data field."""
    if rule.send:
        return rule.send
    if rule.command_data is None:
        return command
    try:
        parsed = CommandApdu.parse(command)
    except WrongLength:  # no command whose data field could be another
        return command
    return parsed._replace(data=rule.command_data).encode()


def changed_response(rule: Rule, response: bytes) -> bytes:
    """The response that goes to the host."""
    data = response[:-_STATUS_LENGTH] if rule.answer_data is None else rule.answer_data
    return data + (rule.status or response[-_STATUS_LENGTH:])
