"""Signing keys: the timeline, and what each action says before it runs."""

import pytest
from tests.admin import NOW
from tests.unit.server.console.visits import done, text, visit

from affiant.server.admin.roles import Role
from affiant.server.console.show import timeline
from affiant.storage.memory import MemoryStore

DAY = 86_400


async def test_rotation() -> None:
    ann = visit(MemoryStore())
    assert "There is no key" in text(await ann.get("/keys"))

    first = await ann.act("signing-key.rotate", then="/console/keys")
    assert "active" in text(await ann.get(done(first)))

    asked = await ann.ask("signing-key.rotate", then="/console/keys")
    assert "Guards of affiant fetch it" in text(asked)
    assert "affiant signing-key rotate --now" in text(asked)
    page = await ann.get(done(await ann.act("signing-key.announce", alg="PS256", then="/console/keys")))
    assert ": announced ." in text(page)
    assert "PS256" in page.text
    assert page.text.count('class="bar-3"') == 2  # of the announced key, and of the legend


async def test_removal_says_what_ends() -> None:
    ann = visit(MemoryStore())
    await ann.act("signing-key.rotate")
    (key,) = (await ann.get("/keys?format=jsonl")).text.splitlines()
    kid = key.split('"kid":"')[1].split('"')[0]

    asked = await ann.ask("signing-key.remove", kid=kid, then="/console/keys")
    assert "Every token that it has signed becomes invalid." in text(asked)
    assert f"affiant signing-key remove {kid}" in text(asked)
    await ann.act("signing-key.remove", kid=kid)
    assert "1 removed" in text(await ann.get("/keys"))


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
async def test_only_owners_rotate(role: Role) -> None:
    store = MemoryStore()
    await visit(store).act("signing-key.rotate")
    bob = visit(store, role)
    assert (await bob.get("/keys")).status_code == 200
    refused = await bob.act("signing-key.rotate")
    assert refused.status_code == 403
    assert "Not done" in text(refused)


def test_spans_of_a_key() -> None:
    key = {"announced_at": NOW, "active_at": NOW + 7 * DAY, "retiring_at": None, "removed_at": None}
    assert list(timeline.spans(key, NOW + 10 * DAY)) == [
        ("announced", NOW, NOW + 7 * DAY),
        ("active", NOW + 7 * DAY, NOW + 10 * DAY),
    ]
    taken_back = key | {"retiring_at": NOW + DAY, "removed_at": NOW + DAY}
    assert list(timeline.spans(taken_back, NOW + 10 * DAY)) == [("announced", NOW, NOW + DAY)]


def test_timeline_escapes() -> None:
    key = {"kid": '"><script>', "alg": "ES256", "state": "active", "announced_at": NOW, "active_at": NOW}
    drawn = timeline.draw([key | {"retiring_at": None, "removed_at": None}], NOW, copy_age=DAY)
    assert "<script>" not in drawn
