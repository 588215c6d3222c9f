"""Runs the steps of a tear script on a card."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from card_os.iso7816.apdu import CommandApdu
from card_os.iso7816.status import StatusWord
from permitcard.products import permit_profile
from permitcard.recipes import file_system_recipe, permit_recipe, sam_recipe, untimed
from permitcard.specimen import specimen_record
from permitcard.tearing.script import ScriptStep
from permitcard.testing.laboratory_sam import LaboratorySam
from permitcard.testing.target import Target
from personalization.errors import PersonalizationError
from personalization.globalplatform.commands import CardState
from personalization.globalplatform.session import SecureSession
from personalization.keys.keystore import KeyName, KeyStore
from personalization.preparation.card_keys import issuer_domain_keys
from personalization.preparation.record import PreparedRecord
from personalization.production.maker import GlobalPlatformMaker, Recipe
from personalization.production.work import CardFault, Condition, KeysRefused, WrongBlank
from personalization.terminal.channel import ProtectedChannel
from personalization.terminal.session import TerminalSession
from reader_bridge.connection import CardConnection, Interface, ReaderError

_FACTORY: Final = 0xFF
_KEY_SETS: Final = {"factory": KeyName.FACTORY, "card": KeyName.CARD}
_VERIFY: Final = 0x20
_PINS: Final = {"holder": 0x81, "unblocking": 0x82}
_RECIPES: Final[dict[str, Callable[[KeyStore], Recipe]]] = {
    "permit": permit_recipe,
    "sam": sam_recipe,
    "file-system": file_system_recipe,
}
_SELECT_BY_NAME: Final = (0x00, 0xA4, 0x04, 0x00)

Connect = Callable[[Interface], CardConnection]
Note = Callable[[str], None]


class StepFailed(Exception):
    """A step did not end as the script says.

    Attributes:
        step: which.
        reason: code or status word; never a value.
    """

    def __init__(self, step: ScriptStep, reason: str) -> None:
        super().__init__(step, reason)
        self.step = step
        self.reason = reason

    def __str__(self) -> str:
        return f"line {self.step.line} ({self.step}): {self.reason}"


@dataclass(slots=True)
class ScriptRun:
    """One run of steps.

    Attributes:
        target: keys and PINs of the card.
        connect: gives a connection to one of its interfaces.
        note: is told of each step before it begins.
    """

    target: Target
    connect: Connect
    note: Note = field(default=lambda _step: None)
    _connection: CardConnection | None = None
    _domain: SecureSession | None = None
    _terminal: ProtectedChannel | None = None

    def run(self, steps: Iterable[ScriptStep]) -> None:
        """Run steps, on contact unless they say otherwise; ends with both interfaces without power.

        Raises:
            StepFailed: one does not end as it has to.
        """
        try:
            for step in steps:
                self.note(f"{step.line}: {step}")
                self._run(step)
        finally:
            if self._connection is not None:
                self._connection.power_off()

    def _run(self, step: ScriptStep) -> None:
        try:
            if step.name:
                _ACTIONS[step.name](self, step)
            else:
                self._send(step)
        except PersonalizationError as error:
            sw = error.parameters.get("sw")
            raise StepFailed(step, f"{error.code} {sw}" if sw else error.code) from error
        except (ReaderError, KeysRefused, CardFault, WrongBlank) as error:
            raise StepFailed(step, str(error) or type(error).__name__) from error

    def _send(self, step: ScriptStep) -> None:
        if self._domain is not None:
            self._domain.transmit(CommandApdu.parse(step.command), accept=step.expected)
            return
        if self._terminal is not None:
            status = self._terminal.exchange(CommandApdu.parse(step.command)).sw
        else:
            status = StatusWord.parse(self.card().transmit(step.command))
        if status not in step.expected:
            raise StepFailed(step, f"{status}, not {step.expected}")

    def card(self) -> CardConnection:
        """The connection in use, powered."""
        if self._connection is None:
            self._connection = self.connect(Interface.CONTACT)
            self._connection.power_on()
        return self._connection

    def domain(self, step: ScriptStep) -> SecureSession:
        """The open session with the issuer domain.

        Raises:
            StepFailed: none is open.
        """
        if self._domain is None:
            raise StepFailed(step, "needs scp03")
        return self._domain

    # ------------------------------------------------------------------ steps

    def use(self, interface: Interface) -> None:
        """Change to an interface and power it; the other loses power."""
        self.plain()
        if self._connection is not None:
            self._connection.power_off()
        self._connection = self.connect(interface)
        self._connection.power_on()

    def reset(self) -> None:
        """Reset the interface in use."""
        self.plain()
        self.card().reset()

    def plain(self) -> None:
        """Forget the session: what follows goes as it is."""
        self._domain = self._terminal = None

    def open_domain(self, key_set: str) -> None:
        """Open SCP03 with the factory's or our keys."""
        self.plain()
        keys = issuer_domain_keys(self.target.keys, _KEY_SETS[key_set], self.target.card_number)
        self._domain = SecureSession.open(self.card(), keys)

    def open_terminal(self, role: str) -> None:
        """Authenticate with a role."""
        self.plain()
        sam = LaboratorySam(self.target.keys)
        self._terminal = TerminalSession.open(self.card(), sam, permit_profile(), role).channel

    def verify(self, step: ScriptStep) -> None:
        """Select the permit and verify a PIN, in plain."""
        self.plain()
        card = self.card()
        block = self.target.holder_pin_block if step.word == "holder" else self.target.unblocking_pin_block
        for command in (
            CommandApdu(*_SELECT_BY_NAME, permit_profile().application.instance, 256),
            CommandApdu(0x00, _VERIFY, 0x00, _PINS[step.word], block),
        ):
            status = StatusWord.parse(card.transmit(command.encode()))
            if not status.ok:
                raise StepFailed(step, str(status))

    def recipe(self, product: str) -> Recipe:
        """How a product is made."""
        return _RECIPES[product](self.target.keys)

    def record(self, product: str) -> PreparedRecord | None:
        """Whose permit it is."""
        return specimen_record(self.target.keys) if product == "permit" else None

    def put_keys(self, step: ScriptStep) -> None:
        """Replace the factory's keys by ours."""
        keys = issuer_domain_keys(self.target.keys, KeyName.CARD, self.target.card_number)
        self.domain(step).put_keys(keys, replace=_FACTORY)

    def install(self, step: ScriptStep) -> None:
        """Install an application and make it selectable."""
        recipe = self.recipe(step.word)
        self.domain(step).install(
            package_aid=recipe.package,
            module_aid=recipe.module,
            instance_aid=recipe.instance,
            privileges=recipe.privileges,
            parameters=recipe.parameters,
        )

    def personalize(self, step: ScriptStep) -> None:
        """Store all data of an application."""
        recipe = self.recipe(step.word)
        groupings = recipe.groupings(self.record(step.word), self.target.card_number)
        self.domain(step).personalize(recipe.instance, groupings)

    def make(self, step: ScriptStep, *, also_finished: bool = False) -> None:
        """Bring the card to its end as production does, from whatever is on it."""
        self.plain()
        maker = GlobalPlatformMaker(self.recipe(step.word))
        card = self.card()
        if also_finished and maker.look(card).condition is Condition.FINISHED:
            return
        card.reset()
        maker.make(card, self.record(step.word), self.target.card_number, untimed)

    def delete(self, step: ScriptStep) -> None:
        """Delete an application."""
        self.domain(step).delete(self.recipe(step.word).instance)

    def set_card_state(self, step: ScriptStep) -> None:
        """SET STATUS of the card."""
        self.domain(step).set_card_state(CardState[step.word.upper()])


_ACTIONS: Final[dict[str, Callable[[ScriptRun, ScriptStep], None]]] = {
    "contact": lambda run, _step: run.use(Interface.CONTACT),
    "contactless": lambda run, _step: run.use(Interface.CONTACTLESS),
    "reset": lambda run, _step: run.reset(),
    "plain": lambda run, _step: run.plain(),
    "scp03": lambda run, step: run.open_domain(step.word),
    "terminal": lambda run, step: run.open_terminal(step.word),
    "pin": ScriptRun.verify,
    "put-keys": ScriptRun.put_keys,
    "install": ScriptRun.install,
    "personalize": ScriptRun.personalize,
    "make": ScriptRun.make,
    "finish": lambda run, step: run.make(step, also_finished=True),
    "delete": ScriptRun.delete,
    "card-state": ScriptRun.set_card_state,
}
