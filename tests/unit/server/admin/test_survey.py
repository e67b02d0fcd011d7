"""A read of all clients is shared by those who ask for it, and keeps none of them waiting."""

import asyncio
from types import SimpleNamespace

import pytest

from affiant.errors import StoreError
from affiant.server.admin import reads
from affiant.server.admin.reads import Survey


class Slow:
    """A read that ends when it may; each returns the next number."""

    def __init__(self) -> None:
        self.begun = 0
        self.has_begun, self.may_end = asyncio.Event(), asyncio.Event()

    async def read(self) -> int:
        self.begun += 1
        number = self.begun
        self.has_begun.set()
        await self.may_end.wait()
        return number


async def test_a_slow_read_goes_on_without_its_callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """They get nothing, or what the read before returned; all wait for the same one."""
    monkeypatch.setattr(reads, "PROMPT_SECONDS", 0.01)
    monkeypatch.setattr(reads, "REST", 0.0)
    survey, slow = Survey[int](), Slow()
    assert await asyncio.gather(*(survey.get(1, slow.read) for _ in range(3))) == [None] * 3
    slow.may_end.set()
    monkeypatch.setattr(reads, "PROMPT_SECONDS", 60.0)
    assert await survey.get(1, slow.read) == 1
    assert await survey.get(1, slow.read) == 1
    slow.may_end.clear()
    monkeypatch.setattr(reads, "PROMPT_SECONDS", 0.01)
    assert await survey.get(2, slow.read) == 1
    slow.may_end.set()
    monkeypatch.setattr(reads, "PROMPT_SECONDS", 60.0)
    assert (await survey.get(2, slow.read), slow.begun) == (2, 2)


async def test_nobody_waits_for_a_read_that_is_known_to_be_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(reads, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(reads, "PROMPT_SECONDS", 60.0)
    monkeypatch.setattr(reads, "REST", 0.0)
    survey, slow = Survey[int](), Slow()
    first = asyncio.create_task(survey.get(1, slow.read))
    await slow.has_begun.wait()
    now = 61.0
    async with asyncio.timeout(30):
        assert await survey.get(1, slow.read) is None
    slow.may_end.set()
    assert await first == 1
    slow.may_end.clear()
    async with asyncio.timeout(30):
        assert await survey.get(2, slow.read) == 1
    slow.may_end.set()


async def test_it_rests_after_a_long_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "REST", 1e9)
    survey, slow = Survey[int](), Slow()
    slow.may_end.set()
    assert [await survey.get(version, slow.read) for version in range(5)] == [1] * 5


async def test_a_store_that_fails_spoils_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "REST", 0.0)
    survey, slow = Survey[int](), Slow()
    slow.may_end.set()

    async def fail() -> int:
        raise StoreError("away")

    assert await survey.get(1, fail) is None
    assert [await survey.get(1, slow.read), await survey.get(2, fail), await survey.get(2, slow.read)] == [1, 1, 2]
