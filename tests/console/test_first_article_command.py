"""A first article is made and shown; the rest waits for somebody who did not make it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from permitcard import stockroom
from permitcard.job import Job
from personalization.errors import PersonalizationError
from personalization.production.acts import Act, Role
from personalization.production.operators import Operator, Roster
from personalization.production.policy import Policy
from personalization.production.reject_reason import RejectReason
from tests.console.conftest import SmallCentre

LI, WANG, ZHAO = (Operator(name, frozenset(Role), name) for name in ("li", "wang", "zhao"))
ROSTER = Roster({one.name: one for one in (LI, WANG, ZHAO)})


def test_one_card_is_made_and_the_rest_after_it_was_looked_at(small_centre: SmallCentre) -> None:
    run = ("batch", "run", small_centre.delivered, "--simulate", "--stations", "2", "--first-article")
    shown = small_centre(*run, code=1).error
    assert shown["code"] == "first-article"
    facts: Any = shown["parameters"]
    status: Any = small_centre("batch", "status").document
    assert (status["state"], status["good"], status["left"]) == ("stopped", 1, 3)
    assert status["stock"]["in-use"] == 0
    assert status["next"] == ["article"]
    assert "approve first-article" in small_centre.prompt("batch", "status", "--centre", "centre").out
    page = small_centre.centre.report(facts["batch"]) / "index.html"
    assert facts["card_id"] in page.read_text("utf-8")
    small_centre("batch", "remake", "--row", str(facts["row"]), "--reason", "printing")
    again: Any = small_centre("batch", "resume", "--lang", "zh", code=1).error
    assert again["parameters"]["card_id"] != facts["card_id"]
    assert "首件" in str(again["text"])
    assert small_centre("batch", "resume").document["good"] == 4
    assert small_centre("stock", "account").document["adds_up"] is True
    assert small_centre("batch", "resume", "--first-article", code=2).error["code"] == "batch-started"


def test_who_made_it_does_not_approve_it(small_centre: SmallCentre) -> None:
    with Job.open(small_centre.centre) as job:
        li, wang, zhao = (replace(job, roster=ROSTER, operator=one) for one in (LI, WANG, ZHAO))
        identifier = job.load(job.check(small_centre.delivered)).identifier
        job.receive_simulated(6)
        with pytest.raises(PersonalizationError, match="no-first-article"):
            wang.approve(Act.FIRST_ARTICLE, identifier)
        with pytest.raises(PersonalizationError, match="first-article"):
            li.run(identifier, Policy(stations=1), first_article=True)
        with pytest.raises(PersonalizationError, match="approval-missing"):
            li.resume(identifier, Policy(stations=1))
        with pytest.raises(PersonalizationError, match="maker-inspects"):
            li.approve(Act.FIRST_ARTICLE, identifier)
        wang.approve(Act.REMAKE, f"{identifier}/2")
        stockroom.remake(li, identifier, 2, RejectReason.PRINTING)
        with pytest.raises(PersonalizationError, match="no-first-article"):
            wang.approve(Act.FIRST_ARTICLE, identifier)
        with pytest.raises(PersonalizationError, match="first-article"):
            li.resume(identifier, Policy(stations=1))
        wang.approve(Act.FIRST_ARTICLE, identifier)
        with pytest.raises(PersonalizationError, match="approval-missing"):
            wang.resume(identifier, Policy(stations=1))  # one's own approval
        assert zhao.resume(identifier, Policy(stations=1)).status.good == 4
