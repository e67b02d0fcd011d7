"""The worker of the guards: one thread in each process, whoever needs it."""

import asyncio
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from affiant.resource.issuer.worker import Worker


async def _thread() -> threading.Thread:
    return threading.current_thread()


def test_starts_when_it_is_needed() -> None:
    before = threading.active_count()
    idle = Worker()
    assert threading.active_count() == before
    assert idle.submit(_thread()).result(5).daemon


def test_all_threads_and_event_loops_share_one() -> None:
    new = Worker()
    with ThreadPoolExecutor(20) as pool:
        loops = set(pool.map(lambda _: new.loop(), range(20)))
    assert len(loops) == 1

    async def ask() -> threading.Thread:
        return await asyncio.wrap_future(new.submit(_thread()))

    assert len({asyncio.run(ask()), asyncio.run(ask()), new.submit(_thread()).result(5)}) == 1


FORKED = """
import os, threading, warnings
from affiant.resource.issuer.worker import worker

async def pid():
    return os.getpid()

warnings.simplefilter("ignore")  # since Python 3.12 about each fork of a process with threads
assert worker.submit(pid()).result(5) == os.getpid()
stop, busy = threading.Event(), threading.Thread(target=lambda: [worker.loop() for _ in iter(stop.is_set, True)])
busy.start()
for _ in range(20):  # the lock is taken and released all the time by the other thread
    child = os.fork()
    if not child:
        os._exit(0 if worker.submit(pid()).result(5) == os.getpid() and worker.forks == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0
stop.set()
assert worker.submit(pid()).result(5) == os.getpid()
"""


def test_starts_again_in_a_forked_process() -> None:
    """As in a server that loads the API before it makes its processes."""
    subprocess.run([sys.executable, "-c", FORKED], check=True, timeout=60)


IMPORTING = """
import asyncio, os, signal, sys, warnings
from affiant.resource.issuer.worker import worker

async def load():
    if sys.argv[1] == "thread":
        return __import__("slow")
    await asyncio.to_thread(__import__, "slow")

warnings.simplefilter("ignore")
future = worker.submit(load())
sys.started.wait(5)
child = os.fork()
if not child:
    signal.alarm(10)
    import slow
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0, "the new process waits for a thread that it does not have"
future.result(5)
"""


@pytest.mark.parametrize("where", ["thread", "executor"])
def test_a_fork_waits_until_nothing_is_being_imported(where: str, tmp_path: Path) -> None:
    """The first fetch imports its HTTP client, while a server that loaded the API first makes its processes."""
    (tmp_path / "slow.py").write_text("import sys, time\nsys.started.set()\ntime.sleep(0.3)\n")
    program = f"import sys, threading; sys.started = threading.Event(); sys.path.append({str(tmp_path)!r})\n{IMPORTING}"
    subprocess.run([sys.executable, "-c", program, where], check=True, timeout=60)


FORKING = """
import os, warnings
from affiant.resource.issuer.worker import worker

async def fork():
    if not (child := os.fork()):
        os._exit(0)
    return os.waitpid(child, 0)[1]

warnings.simplefilter("ignore")
assert worker.submit(fork()).result(3) == 0
"""


def test_the_worker_itself_may_fork() -> None:
    subprocess.run([sys.executable, "-c", FORKING], check=True, timeout=60)
