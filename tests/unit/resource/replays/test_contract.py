"""What each store of used proofs promises, and the memory of a process too."""

import asyncio
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from tests.unit.resource.issuer import API, NOW, Check, Issuer, check_in_loop
from tests.unit.resource.replays.proofs import REPLAYED, Sender, outcome

from affiant.errors import Rejected
from affiant.errors.reasons import Reason
from affiant.oauth.binding.dpop import MAX_AGE, DpopProof, Replays
from affiant.resource import waiting
from affiant.resource.replays import RedisReplays, ReplayStore
from affiant.resource.replays.claims import MARGIN_SECONDS, Claims

Make = Callable[[], ReplayStore]


async def test_proof_is_good_for_one_request(check: Check, store: ReplayStore | None) -> None:
    issuer = Issuer()
    guard, sender = issuer.guard(replays=store), Sender(issuer)
    first, second = sender.prove(), sender.prove()
    found = [await outcome(check, guard, sender, proof) for proof in (first, first, second, first, second)]
    assert found == [None, REPLAYED, None, REPLAYED, REPLAYED]


async def test_same_jti_of_another_client_is_another_proof(check: Check, store: ReplayStore | None) -> None:
    issuer = Issuer()
    guard, one, other = issuer.guard(replays=store), Sender(issuer), Sender(issuer)
    assert [await outcome(check, guard, sender, sender.prove(jti="1")) for sender in (one, other)] == [None, None]


@pytest.mark.rfc(9449, "11.1")
async def test_refused_request_uses_no_proof_up(check: Check, store: ReplayStore | None) -> None:
    issuer = Issuer()
    guard, sender = issuer.guard(replays=store), Sender(issuer)
    proof = sender.prove()
    assert await outcome(check, guard, sender, proof, need="b") is Reason.SCOPE_INSUFFICIENT
    assert await outcome(check, guard, sender, proof, need="a") is None
    assert await outcome(check, guard, sender, proof, need="b") is Reason.SCOPE_INSUFFICIENT


async def test_used_proof_is_never_accepted_again(check: Check, store: ReplayStore | None) -> None:
    """While it is young enough it is known, and then it is too old; also by a clock that is set back meanwhile."""
    issuer = Issuer()
    guard, sender = issuer.guard(replays=store), Sender(issuer)
    used = sender.prove()
    found = []
    for now in (0, MAX_AGE, MAX_AGE + 1, 3600, 0, -20):
        issuer.now = float(NOW + now)
        found.append(await outcome(check, guard, sender, used))
        await outcome(check, guard, sender, sender.prove())  # others come, and the old ones may be forgotten
    assert found == [None, REPLAYED, Reason.DPOP_TIME, Reason.DPOP_TIME, REPLAYED, REPLAYED]


async def test_one_of_many_tasks_and_threads_wins(store: ReplayStore | None) -> None:
    claims, proof = Claims(Replays(), store, api=API, clock=lambda: NOW), DpopProof("k", b"d" * 32, NOW + 60.0)

    async def in_task() -> bool:
        return await _wins(lambda: waiting.run(claims.claim(proof)))

    async def in_thread() -> bool:
        return await _wins(lambda: asyncio.to_thread(waiting.run_sync, claims.claim(proof)))

    found = await asyncio.gather(*(way() for _ in range(8) for way in (in_task, in_thread)))
    assert sorted(found) == [*[False] * 15, True]


async def _wins(claim: Callable[[], Any]) -> bool:
    try:
        await claim()
    except Rejected as refusal:
        assert refusal.reason is REPLAYED
        return False
    return True


async def test_apis_share_a_store(make_shared: Make) -> None:
    proof = DpopProof("k", b"d" * 32, NOW + 60.0)
    guards = [Claims(Replays(), make_shared(), api=name, clock=lambda: NOW) for name in ("a", "b", "a")]
    assert [await _wins(partial(waiting.run, claims.claim(proof))) for claims in guards] == [True, True, False]


async def test_processes_of_an_api_may_name_its_identifiers_in_any_order(check: Check, make_shared: Make) -> None:
    issuer, other = Issuer(), "https://old.example"
    sender = Sender(issuer)
    used = sender.prove()
    guards = [issuer.guard(audience=names, replays=make_shared()) for names in ([API, other], [other, API])]
    assert [await outcome(check, guard, sender, used) for guard in guards] == [None, REPLAYED]


async def test_event_loops_share_a_store(make_shared: Make) -> None:
    """One loop for each request, as where WSGI calls coroutines."""
    store = make_shared()

    def claim(number: int) -> bool:
        return asyncio.run(store.claim(bytes([number]) * 32, now=NOW, until=NOW + 60.0))

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(claim, [1, 2, 3, 1, 2, 3])).count(True) == 3


_CLAIM_ALL = """
import asyncio, sys
from affiant.resource.replays import RedisReplays, SqliteReplays

async def main():
    store = {code}
    print("ready", flush=True)
    sys.stdin.readline()
    names = [number.to_bytes(32, "big") for number in range({number})]
    print(*[int.from_bytes(n, "big") for n in names if await store.claim(n, now={now}, until={now} + 60)], flush=True)

asyncio.run(main())
"""


def test_one_of_many_processes_wins(code: str) -> None:
    """Three processes claim the same names in the same order, at the same time."""
    text = _CLAIM_ALL.format(code=code, number=200, now=NOW)
    processes = [
        subprocess.Popen([sys.executable, "-c", text], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    won = [process.communicate(timeout=60)[0].split() for process in processes]
    assert sorted(int(name) for names in won for name in names) == list(range(200))


_CLAIM_ON = """
import asyncio, itertools
from affiant.resource.replays import RedisReplays, SqliteReplays

async def main():
    store = {code}
    for number in itertools.count():
        assert await store.claim(number.to_bytes(32, "big"), now={now}, until={now} + 60)
        print(number, flush=True)

asyncio.run(main())
"""


async def test_claims_of_a_killed_process_last(code: str, make_shared: Make) -> None:
    command = [sys.executable, "-c", _CLAIM_ON.format(code=code, now=NOW)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "300\n":
            assert process.poll() is None
        process.kill()
        last = max(map(int, process.stdout.read().splitlines()), default=300)
    store = make_shared()
    found = [await store.claim(number.to_bytes(32, "big"), now=NOW, until=NOW + 60.0) for number in range(last + 100)]
    assert True not in found[: last + 1]
    assert all(found[last + 2 :])  # the one in between may be claimed or not


_FORK = """
import asyncio, os, warnings
from affiant.resource.replays import RedisReplays, SqliteReplays

warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads, which is what this is about

def claim(number):
    return asyncio.run(store.claim(bytes([number]) * 32, now={now}, until={now} + 60))

store = {code}
assert claim(1)
if (child := os.fork()) == 0:
    os._exit(0 if [claim(number) for number in (1, 2, 3)] == [False, True, True] else 1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert [claim(number) for number in (1, 2, 3, 4)] == [False, False, False, True]
"""


def test_forked_process_shares_the_store(code: str) -> None:
    subprocess.run([sys.executable, "-c", _FORK.format(code=code, now=NOW)], check=True, timeout=60)


_FORK_DURING_A_CLAIM = """
import asyncio, os, threading, time, warnings
from affiant.resource.replays.threads import Threads

warnings.simplefilter("ignore", DeprecationWarning)

def work():
    begun.set()
    time.sleep(0.3)
    done.append(True)

begun, done, threads = threading.Event(), [], Threads(1)
other = threading.Thread(target=lambda: asyncio.run(threads.run(work)))
other.start()
begun.wait()
if (child := os.fork()) == 0:
    os._exit(0 if done and asyncio.run(threads.run(lambda: 7)) == 7 else 1)
other.join()
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_fork_waits_for_a_claim() -> None:
    subprocess.run([sys.executable, "-c", _FORK_DURING_A_CLAIM], check=True, timeout=60)


async def test_redis_forgets_a_proof_after_it_is_too_old(redis_url: str) -> None:
    """By a length of time, since the clock of the server may differ from that of the guard."""
    from redis import Redis

    issuer = Issuer()  # its clock is far from that of the server
    guard, sender = issuer.guard(replays=RedisReplays(redis_url)), Sender(issuer)
    assert await outcome(check_in_loop, guard, sender, sender.prove()) is None
    with Redis.from_url(redis_url) as client:
        (key,) = client.keys()
        milliseconds = client.pttl(key)
        assert client.get(key) == b""
    assert 1000 * (MAX_AGE + MARGIN_SECONDS) - 20_000 < milliseconds <= 1000 * (MAX_AGE + MARGIN_SECONDS)
    assert sender.token not in key
