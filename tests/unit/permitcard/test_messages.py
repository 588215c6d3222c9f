"""Every code that is raised or said has words in both languages, and every word has its facts.

The source is read, not run: an error that no test provokes has its words checked too.
"""

from __future__ import annotations

import ast
import functools
import re
import string
from dataclasses import dataclass
from pathlib import Path

import pytest

from card_os.hardware.power import CutMoment
from card_os.storage.wear import PageUse
from permitcard.centre_group import Fault
from permitcard.foreign_words import SAID as SAID_BY_OTHERS
from permitcard.translation import Language, Translator
from personalization.keys.ceremony import TRANSCRIPT_KIND
from personalization.keys.hsm.token import CODES as TOKEN_CODES
from personalization.keys.keystore import KeyName, KeyUse
from personalization.permit.casework.states import CaseKind, CaseState, Step
from personalization.permit.desk.dossier import Withdrawal
from personalization.permit.electronic.passes import PassFault
from personalization.permit.eligibility import Verdict
from personalization.permit.endorsement import PermitStatus
from personalization.permit.evidence import Designation, Use
from personalization.permit.findings import ReasonCode
from personalization.permit.linked import LinkFault
from personalization.permit.policy.model import Fact, Ground
from personalization.permit.recognition import Opinion, Route
from personalization.production.account import Place
from personalization.production.acts import Act, Role
from personalization.production.audit import Fault as TrailFault
from personalization.production.disposal import CERTIFICATE_KIND as DESTROYED_KIND
from personalization.production.erasure import CERTIFICATE_KIND as ERASED_KIND
from personalization.production.states import BatchState, BlankState, Order, RowState, SamState, StationState
from personalization.production.station import Ending
from personalization.reports.papers import ORDER_KIND, RECEIPT_KIND
from personalization.reports.words import catalogue
from personalization.sams.maker import SamCondition
from reader_bridge.pcsc.binding import CODES
from reader_bridge.tear_report import ViolationKind

ROOT = Path(__file__).parents[3]
OWN_WORDS = frozenset({"personalization/intake/findings_report.py"})
"""Says its words from a catalogue of its own."""

PACKAGES = ("card_os", "applet", "personalization", "reader_bridge", "permitcard")
RAISED = frozenset({"PersonalizationError", "ReaderError", "ImageError"})
SAID = frozenset({"say", "complain", "translate", "warn"})
NO_PARAMETER = frozenset({"exit_code"})
ENGLISH = Translator.load(Language.ENGLISH).templates
CHINESE = Translator.load(Language.CHINESE).templates
ENDINGS = frozenset(ending.value for ending in Ending) - {Ending.DONE.value, Ending.DRAINED.value}


def judged_rules() -> set[str]:
    """Names of the rules of our policies by which applications are judged."""
    folder = ROOT / "personalization" / "permit" / "policy"
    named = (re.findall(r'(?m)^id = "([a-z_.]+)"', path.read_text("utf-8")) for path in folder.rglob("*.toml"))
    beginnings = ("residence.", "employment.", "dwelling.", "study.", "minor.", "exemption.")
    return {rule for rules in named for rule in rules if rule.startswith(beginnings)}


PARTS = {
    "state": {state.value for state in BatchState},
    "row": {state.value for state in RowState},
    "blank": {state.value for state in BlankState} | {"received"},
    "station.state": {state.value for state in StationState},
    "station.order": {order.value for order in Order},
    "stage": {"check", "deal", "mark", "stock", "prepare", "recover", "rehearse", "make", "inspect", "tear", "matrix"},
    "tear.kind": {kind.value for kind in ViolationKind},
    "tear.moment": {moment.value for moment in CutMoment},
    "next": {
        "erased",
        "old-card",
        "doubt",
        "release",
        "return",
        "running",
        "paused",
        "article",
        "stock",
        "resume",
        "destroy",
        "barred",
    },
    "place": {place.value for place in Place},
    "return.table": {"results", "replaced", "bank", "stations"},
    "centre.fault": {fault.value for fault in Fault},
    "sam.state": {state.value for state in SamState},
    "sam.condition": {condition.value for condition in SamCondition},
    "view": {"holder", "inspection"},
    "keypad": {"pin", "current", "new", "confirmation"},
    "wear.use": {use.value for use in PageUse},
    "permit.verdict": {verdict.value for verdict in Verdict},
    "permit.status": {status.value for status in PermitStatus},
    "permit.route": {route.value for route in Route},
    "permit.ground": {ground.value for ground in Ground},
    "permit.fact": {fact.value for fact in Fact},
    "permit.use": {use.value for use in Use},
    "permit.designation": {designation.value for designation in Designation},
    "permit.reason": {code.value for code in ReasonCode},
    "permit.unit": {"days", "months"},
    "case.kind": {kind.value for kind in CaseKind},
    "case.state": {state.value for state in CaseState},
    "case.step": {step.value for step in Step},
    "platform.faults": {fault.value for fault in LinkFault},
    "desk.waiting": {"endorsement", *(why.value for why in Withdrawal)},
    "role": {role.value for role in Role},
    "act": {act.value for act in Act},
    "opinion": {opinion.value for opinion in Opinion},
    "key-name": {name.value for name in KeyName},
    "key-use": {use.value for use in KeyUse},
    "audit.fault": {fault.value for fault in TrailFault},
    "document": {
        *(kind.replace(" ", "-") for kind in (RECEIPT_KIND, ORDER_KIND, TRANSCRIPT_KIND, DESTROYED_KIND, ERASED_KIND)),
        *("permitcard-key-record", "permitcard-sam-record"),
    },
    "document.change": {"rotated", "exported", "imported", "destroyed"},
    "permit.rule-name": judged_rules(),
    "list-fault": {"no card", "twice", "card_number", "place", "reader"},
    "platform.wrong": {"form", "version", "order", "counts", "faults"},
    "pass.fault": {fault.value for fault in PassFault},
}
"""Codes that are put together from a group and a state."""


COMPUTED = {
    "permitcard/floor.py": ENDINGS,
    "personalization/terminal/holder.py": frozenset({"pin-not-typed", "pin-entry-cancelled", "pin-format"}),
    "personalization/keys/hsm/token.py": frozenset({*TOKEN_CODES.values(), "hsm-unavailable"}),
    "personalization/intake/delivery.py": frozenset({"batch-pictures-file", "batch-table-file"}),
    "personalization/permit/desk/proof.py": frozenset({"card-out-of-service", "card-without-permit"}),
    "personalization/preparation/bulk/delivered.py": frozenset({"batch-pictures-file", "batch-table-file"}),
    "personalization/preparation/bulk/workers.py": frozenset({"disk-full", "directory-unwritable"}),
    "personalization/production/journal/batches.py": frozenset({"batch-known", "permit-known"}),
    "reader_bridge/ccid_reader.py": frozenset(
        {"card-removed", "mute", "no-card", "response-too-long", "transmission-failed"}
    ),
    "reader_bridge/pcsc/binding.py": frozenset({*CODES.values(), "pcsc-failed", "no-reader", "reader-ambiguous"}),
    "reader_bridge/pcscd.py": frozenset({"no-pcscd", "no-vpcd-driver"}),
    "reader_bridge/remote.py": frozenset[str](),  # what the other side raised
    "reader_bridge/toml_rows.py": frozenset(
        {"fault-plan-invalid", "fault-plan-unreadable", "relay-rules-invalid", "relay-rules-unreadable"}
    ),
}
"""Modules that compute a code, and the codes they can give."""


@dataclass(frozen=True, slots=True)
class Site:
    """A place in the source where a code is raised or said.

    Attributes:
        place: file and line.
        codes: what the first argument can be, as far as the source shows.
        parameters: names of the facts; None when some come as ``**``.
    """

    place: str
    codes: frozenset[str]
    parameters: frozenset[str] | None


@functools.cache
def sources() -> tuple[tuple[Path, ast.Module], ...]:
    paths = (path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py")))
    return tuple((path, ast.parse(path.read_text("utf-8"))) for path in paths)


def name_of(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def constants(expression: ast.expr) -> frozenset[str]:
    """Texts that an expression can be: a constant, or either side of a choice."""
    match expression:
        case ast.Constant(value=str(text)):
            return frozenset({text})
        case ast.IfExp(body=one, orelse=other):
            return constants(one) | constants(other)
        case _:
            return frozenset()


def error_classes(tree: ast.Module) -> dict[ast.Call, str]:
    """Calls of ``super().__init__`` inside classes that derive from our errors, with the class's name."""
    found: dict[ast.Call, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(name_of(base) in RAISED for base in node.bases):
            for call in ast.walk(node):
                if isinstance(call, ast.Call) and name_of(call.func) == "__init__" and call.args:
                    found[call] = node.name
    return found


def passed_on(code: ast.expr) -> bool:
    """``error.code`` of an error that has its words where it began."""
    return isinstance(code, ast.Attribute) and code.attr == "code"


def sites(names: frozenset[str], *, with_subclasses: bool) -> list[Site]:
    found: list[Site] = []
    for path, tree in sources():
        derived = error_classes(tree) if with_subclasses else {}
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and node.args
                and not passed_on(node.args[0])
                and (name_of(node.func) in names or node in derived)
            ):
                named = frozenset(word.arg for word in node.keywords if word.arg is not None) - NO_PARAMETER
                complete = all(word.arg is not None for word in node.keywords)
                place = f"{path.relative_to(ROOT)}:{node.lineno}"
                if str(path.relative_to(ROOT)) in OWN_WORDS:
                    continue
                found.append(Site(place, constants(node.args[0]), named if complete else None))
    return found


@functools.cache
def errors() -> list[Site]:
    return sites(RAISED, with_subclasses=True)


@functools.cache
def words() -> list[Site]:
    return sites(SAID, with_subclasses=False)


def places(template: str) -> frozenset[str]:
    """Names in braces of a template."""
    return frozenset(name for _, name, _, _ in string.Formatter().parse(template) if name)


def groups(template: str) -> frozenset[str]:
    """Groups in which facts of a template have their words: ``{state:row}``."""
    specs = (spec for _, _, spec, _ in string.Formatter().parse(template) if spec)
    return frozenset(spec for spec in specs if spec[0].isalpha())


def test_the_sites_are_seen() -> None:
    assert len(errors()) > 200
    assert len(words()) > 20


@pytest.mark.parametrize("catalogue_", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_every_code_that_is_raised_or_said_has_words(catalogue_: dict[str, str]) -> None:
    missing = {
        f"{site.place} {code}"
        for site in (*errors(), *words())
        for code in site.codes
        if code not in catalogue_ and not code.endswith(".")
    }
    assert missing == set()


@pytest.mark.parametrize("catalogue_", [ENGLISH, CHINESE], ids=["en", "zh"])
def test_every_code_that_is_put_together_has_words(catalogue_: dict[str, str]) -> None:
    wanted = {f"{group}.{state}" for group, states in PARTS.items() for state in states} | ENDINGS
    assert wanted - set(catalogue_) == set()


def test_codes_that_are_computed_have_words() -> None:
    """A code that stands in a variable is one of the constants of its module or of a table beside it."""
    computed = {site.place.partition(":")[0] for site in errors() if not site.codes}
    assert computed <= COMPUTED.keys(), "a new place that computes its code: say which codes it can give"
    missing = {code for codes in COMPUTED.values() for code in codes if code not in ENGLISH}
    assert missing == set()
    of_pcsc = {
        code: places(ENGLISH[code]) - {"reader", "reason", "known"}
        for code in COMPUTED["reader_bridge/pcsc/binding.py"]
    }
    assert {code for code, lacking in of_pcsc.items() if lacking} == set()


def test_codes_among_the_facts_have_words() -> None:
    named = {group for template in ENGLISH.values() for group in groups(template)}
    assert named > {"row", "blank", "case.state"}
    assert named <= PARTS.keys()


def test_a_code_among_the_facts_is_told_in_words() -> None:
    chinese, english = (Translator.load(language) for language in (Language.CHINESE, Language.ENGLISH))
    told = {"card_id": "4A5A", "state": "barred", "wanted": "sample"}
    assert chinese("card-not-so", **told) == "卡 4A5A 的状态为禁用待查，不能由此变为样卡。"
    assert "is in doubt; it" in english("card-not-so", **told | {"state": "in doubt"})
    faults = english("linked-number-wrong", faults="account-alone, linked-twice")
    assert (faults.count("account"), faults.count(", ")) == (1, 1)
    assert "{0.__class__}" in english("card-not-so", **told | {"state": "{0.__class__}"}), "a fact is no template"
    cut = english("checkpoint-not-of-trail", fault="cut", number=7)
    assert "entry 7" in cut
    assert english("reader-missing", location="x", reason="no-card").count("(there is no card") == 1


def test_both_languages_have_the_same_codes_and_facts() -> None:
    assert set(ENGLISH) == set(CHINESE)
    assert {code for code in ENGLISH if groups(ENGLISH[code]) != groups(CHINESE[code])} == set()
    different = {code for code in ENGLISH if places(ENGLISH[code]) != places(CHINESE[code])}
    assert {code for code in different if not code.startswith(SAID_BY_OTHERS)} == set()
    assert {code for code in different if not places(CHINESE[code]) <= places(ENGLISH[code])} == set()


def test_every_fact_of_a_template_is_given_where_the_code_is_raised() -> None:
    lacking = {
        f"{site.place} {code}: {', '.join(sorted(places(ENGLISH[code]) - site.parameters))}"
        for site in (*errors(), *words())
        if site.parameters is not None
        for code in site.codes & ENGLISH.keys()
        if places(ENGLISH[code]) - site.parameters
    }
    assert lacking == set()


def test_no_words_are_left_over_from_codes_that_nobody_gives() -> None:
    used = {
        node.value
        for _, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = {f"{group}." for template in ENGLISH.values() for group in groups(template)}
    beginnings = (*(text for text in used if text.endswith(".")), *named)
    assert {code for code in ENGLISH if code not in used and not code.startswith(beginnings)} == set()


def test_reports_have_the_same_words_in_both_languages() -> None:
    english, chinese = catalogue("en"), catalogue("zh")
    assert set(english) == set(chinese)
    assert {code for code in english if places(english[code]) != places(chinese[code])} == set()


def test_a_thing_has_one_name_in_chinese() -> None:
    """The journal is 台账 (a log is 日志), a blank is 白卡."""
    assert {code for code, text in CHINESE.items() if "生产日志" in text or "空白卡" in text} == set()
    assert {code for code, text in CHINESE.items() if code.startswith("journal") and "日志" in text} == set()
