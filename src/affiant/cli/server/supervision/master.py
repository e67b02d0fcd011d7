"""The supervisor: it starts workers, replaces them, and reports to systemd."""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from affiant.cli.server.supervision import activation
from affiant.cli.server.supervision.process import Process
from affiant.cli.server.supervision.reports import Reports
from affiant.cli.server.supervision.signals import Signals

TICK_SECONDS = 0.5
START_SECONDS = 360.0  # of new workers: a migration may take 300
HUNG_SECONDS = 20.0  # without a report of a worker, which makes one each second
LEAVE_SECONDS = 30.0  # of a worker that was asked to end
_INTERRUPTED = 130


@dataclass
class Generation:
    """The workers of one start or reload: the same code and settings."""

    workers: list[Process]
    begun: float
    decided: dict[str, Any] | None = None  # by the first of them, for the others
    sockets: list[socket.socket] = field(default_factory=list)  # that the first of them opened

    def may_serve(self, *, is_alone: bool) -> bool:
        """Whether it can take over: all its workers serve; or one does, if there is no other generation."""
        serve = [worker.why is not None for worker in self.workers]
        return self.decided is not None and (any(serve) if is_alone else all(serve))


class Supervisor:
    """Keeps the sockets, and a generation of workers."""

    def __init__(self, arguments: Sequence[str]) -> None:
        """Take inherited sockets.

        Raises:
            ConfigError: they cannot be used.
        """
        self._arguments = arguments
        self._sockets = activation.take()
        self._is_activated = bool(self._sockets)
        self._reports = Reports()
        self._serving: Generation | None = None
        self._coming: Generation | None = None
        self._leaving: dict[Process, float] = {}  # with the time when each is killed
        self._is_reload_wanted = False
        self._code: int | None = None  # with which this process ends, once it is asked to
        self._start_again_at = 0.0
        self._looked_at = time.monotonic()

    def run(self) -> int:
        """Serve until a signal ends it, and return the exit code.

        Raises:
            KeyboardInterrupt: the signal was SIGINT.
        """
        with Signals() as signals:
            self._coming = self._begin()
            while self._code is None or self._all():
                self._wait(signals)
                self._judge()
        self._reports.close()
        if self._code != -signal.SIGINT:
            return self._code
        if self._reports.logs_json:
            return _INTERRUPTED
        raise KeyboardInterrupt

    def _begin(self) -> Generation:
        return Generation([self._start(None)], time.monotonic())

    def _start(self, generation: Generation | None) -> Process:
        """Start a worker of this generation, or the first of a new one."""
        first = {
            "decided": generation and generation.decided,
            "is_activated": self._is_activated,
            "is_first": self._serving is None,
            "place": self._serving and self._serving.decided and self._serving.decided["place"],
        }
        started = Process(self._arguments, (generation and generation.sockets) or self._sockets, first)
        if started.failure:
            self._reports.say(f"a worker cannot be started: {started.failure}")
        return started

    def _all(self) -> list[Process]:
        generations = filter(None, (self._serving, self._coming))
        return [*self._leaving, *(worker for generation in generations for worker in generation.workers)]

    def _wait(self, signals: Signals) -> None:
        """Wait for signals and messages of workers, a tick at most."""
        links = {worker.link.fileno(): worker for worker in self._all() if worker.link.is_open}
        ready, _, _ = select.select([signals.fileno(), *links], [], [], TICK_SECONDS)
        for number in signals.take():
            self._react(number)
        for file in ready:
            if file in links:
                self._hear(links[file])

    def _react(self, number: int) -> None:
        if number == signal.SIGHUP:
            self._is_reload_wanted = True
        elif number in (signal.SIGINT, signal.SIGTERM):
            is_again = self._code is not None
            self._stop(-number if number == signal.SIGINT else 0)
            if is_again and number == signal.SIGINT:
                for worker in self._leaving:
                    worker.end(signal.SIGKILL)

    def _hear(self, worker: Process) -> None:
        messages = worker.link.receive()
        if messages is None:
            worker.link.close()
            return
        for message in messages:
            if "why" in message:
                worker.why, worker.silence = message["why"], 0.0
                self._reports.hear()
            if "decided" in message and self._coming is not None and worker in self._coming.workers:
                self._decide(self._coming, message["decided"], worker)

    def _decide(self, coming: Generation, decided: dict[str, Any], first: Process) -> None:
        self._reports.logs_json = decided["logs_json"]
        coming.decided, coming.sockets = decided, first.link.take_sockets()
        coming.workers += [self._start(coming) for _ in range(decided["workers"] - 1)]

    def _judge(self) -> None:
        """Start, promote, replace and bury workers, and report their state."""
        now = time.monotonic()
        # Not longer: this process may have been stopped itself.
        passed, self._looked_at = min(now - self._looked_at, 2 * TICK_SECONDS), now
        self._bury_leaving(now)
        if self._coming is not None:
            self._judge_coming(self._coming, now)
        if self._serving is not None and self._code is None:
            self._judge_serving(self._serving, now, passed)
        if self._is_reload_wanted and self._coming is None and self._code is None:
            self._is_reload_wanted = False
            self._reports.reloading()
            self._coming = self._begin()
        if self._code is None and self._serving is not None:
            self._reports.report(
                [worker.why for worker in self._serving.workers], is_reloading=self._coming is not None
            )

    def _bury_leaving(self, now: float) -> None:
        for worker, until in list(self._leaving.items()):
            if worker.ended() is not None:
                worker.link.close()
                del self._leaving[worker]
            elif now > until:
                worker.end(signal.SIGKILL)

    def _judge_coming(self, coming: Generation, now: float) -> None:
        code = next((code for worker in coming.workers if (code := worker.ended()) is not None), None)
        if code is None and coming.may_serve(is_alone=self._serving is None):
            self._follow(coming)
        elif self._serving is None:
            if code is not None:
                self._stop(code)
        elif code is not None or now - coming.begun > START_SECONDS:
            why = "did not start in time" if code is None else f"ended with exit code {code}"
            self._coming = None
            self._leave(coming, now)
            for each in coming.sockets:
                each.close()
            self._reports.say(f"the reload failed, and the old workers keep serving: a new worker {why}")

    def _follow(self, coming: Generation) -> None:
        """Let new workers take over."""
        before, self._serving, self._coming = self._serving, coming, None
        if coming.sockets:
            for each in self._sockets:
                each.close()
            self._sockets = coming.sockets
        if before is not None:
            self._leave(before, time.monotonic(), is_followed=True)
            count = len(coming.workers)
            self._reports.say("reloaded: a new worker serves" if count == 1 else f"reloaded: {count} new workers serve")

    def _leave(self, generation: Generation, now: float, *, is_followed: bool = False) -> None:
        for worker in generation.workers:
            worker.follow() if is_followed else worker.end()
            self._leaving[worker] = now + LEAVE_SECONDS

    def _judge_serving(self, serving: Generation, now: float, passed: float) -> None:
        """Replace workers that ended or hang."""
        for place, worker in enumerate(serving.workers):
            if worker.why is not None:
                worker.silence += passed
            if worker.silence > min(HUNG_SECONDS, self._reports.patience):
                self._reports.say(f"worker {worker.pid} hung for {worker.silence:.0f} s: it is killed and replaced")
                worker.end(signal.SIGKILL)
                worker.silence = 0.0
            code = worker.ended()
            if code is None or now < self._start_again_at:
                continue
            if worker.why is None:
                if all(each.why is None or each.ended() is not None for each in serving.workers):
                    self._stop(code or 1)  # no worker serves: systemd or the container must restart all
                    return
                self._start_again_at = now + 1
            worker.link.close()
            serving.workers[place] = self._start(serving)
            self._reports.say(f"worker {worker.pid} ended with exit code {code}: another takes its place")

    def _stop(self, code: int) -> None:
        if self._code is not None:
            return
        self._code = code
        self._reports.stopping()
        # Order: a successor can listen on the port only when this process has closed it too.
        for each in (*self._sockets, *(self._coming.sockets if self._coming else ())):
            each.close()
        now = time.monotonic()
        for generation in filter(None, (self._serving, self._coming)):
            # systemd keeps an activated socket for the successor.
            self._leave(generation, now, is_followed=self._is_activated)
        self._serving = self._coming = None


def supervise(arguments: Sequence[str]) -> int:
    """Become the supervisor of `affiant serve`, and return the exit code."""
    _open_standard_files()
    return Supervisor(arguments).run()


def _open_standard_files() -> None:
    """Open those that the caller has closed: the log would go into whatever gets their numbers."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest free number
            os.set_inheritable(number, True)
