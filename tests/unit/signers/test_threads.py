"""A thread for calls that may hang: in order, one at a time, and nobody waits for longer than was said."""

import asyncio
import gc
import threading
import time
from functools import partial

import pytest

from affiant.errors import StoreError
from affiant.signers.threads import CallThreads


async def test_calls_run_in_order_in_one_thread_that_is_not_ours() -> None:
    thread, seen = CallThreads("it"), list[int]()

    def work(n: int) -> int:
        seen.append(n)
        return threading.get_ident()

    names = await asyncio.gather(*(thread.run(partial(work, n), seconds=5) for n in range(20)))
    assert seen == list(range(20))
    assert len(set(names)) == 1
    assert names[0] != threading.get_ident()


async def test_what_a_call_raises_is_for_who_called() -> None:
    def fail() -> None:
        raise KeyError("x")

    thread = CallThreads("it")
    with pytest.raises(KeyError):
        await thread.run(fail, seconds=5)
    assert await thread.run(lambda: 1, seconds=5) == 1


async def test_a_call_that_hangs_costs_each_caller_its_time_and_then_none_at_all() -> None:
    """While it hangs, others are refused at once; when it comes back, all is well; what was given up never runs."""
    thread, end, late = CallThreads("the token"), threading.Event(), list[str]()
    calls = thread.run(end.wait, seconds=0.2), thread.run(lambda: late.append("queued"), seconds=0.2)
    given_up = await asyncio.gather(*calls, return_exceptions=True)
    assert [str(error) for error in given_up] == ["the token did not answer within 0.2 s"] * 2
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(StoreError, match="the token does not answer"):
            await thread.run(lambda: late.append("refused"), seconds=5)
    assert time.monotonic() - began < 1
    end.set()
    for _ in range(200):
        try:
            assert await thread.run(lambda: "back", seconds=5) == "back"
            break
        except StoreError:
            await asyncio.sleep(0.01)
    assert late == []


async def test_who_is_cancelled_leaves_the_thread_in_order() -> None:
    thread, end = CallThreads("it"), threading.Event()
    waiting = asyncio.create_task(thread.run(end.wait, seconds=5))
    await asyncio.sleep(0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    end.set()
    assert await thread.run(lambda: 2, seconds=5) == 2


async def test_a_cancellation_in_the_moment_of_the_result_is_none_that_is_lost() -> None:
    """Or what repeats such calls would go on, and a server that ends would wait for it without end."""
    thread = CallThreads("it")
    for _ in range(200):
        task = asyncio.create_task(thread.run(lambda: 1, seconds=5))
        await asyncio.sleep(0)
        time.sleep(0.001)  # noqa: ASYNC251 - the result is there before the loop turns again
        await asyncio.sleep(0)
        if task.cancel():
            with pytest.raises(asyncio.CancelledError):
                await task


async def test_threads_end_with_what_made_them() -> None:
    """Attack: an owner who names keys in a KMS again and again leaves a thread behind with each."""

    class Key:
        def __init__(self) -> None:
            self.calls = CallThreads("of the key", 3)

        def sign(self) -> int:
            return 1

    def running() -> int:
        return sum(thread.name == "of the key" for thread in threading.enumerate())

    made = [Key() for _ in range(4)]
    for key in made:
        assert await key.calls.run(key.sign, seconds=5) == 1
        assert key.calls.wait(key.sign, seconds=5) == 1
        del key
    made.clear()
    end = time.monotonic() + 10
    while running() and time.monotonic() < end:
        gc.collect()
        await asyncio.sleep(0.01)
    assert running() == 0
