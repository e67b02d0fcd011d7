"""The methods by which a guard says what it does."""

from __future__ import annotations

import time
from collections.abc import Callable
from copy import copy
from functools import partial

from affiant.errors import ConfigError, Rejected, RemoteError
from affiant.oauth.binding.mtls import Certificate
from affiant.oauth.parameters import need as needs
from affiant.oauth.parameters.need import Need, Needed
from affiant.resource import waiting
from affiant.resource.caller import Caller
from affiant.resource.checks import Checks
from affiant.resource.diagnosis import metrics, readiness
from affiant.resource.diagnosis.counts import Counts
from affiant.resource.diagnosis.explanation import Explanation
from affiant.resource.diagnosis.metrics import Metrics
from affiant.resource.diagnosis.readiness import Readiness
from affiant.resource.diagnosis.rehearsal import Rehearsal
from affiant.resource.waiting import Steps
from affiant.telemetry import Telemetry, Traces


class Diagnosed(Checks):
    """The checks of a guard, with what it says about them."""

    telemetry: Telemetry | None = None

    def measure(self, telemetry: Telemetry | None, traces: Traces | None = None) -> None:
        """Measure and trace each check from now on, if there is something to do it with."""
        self.telemetry, self._traces = telemetry, traces
        if telemetry is None:
            return
        telemetry.watch(lambda: metrics.samples(self.metrics()))
        observe = telemetry.times("affiant_guard_check_seconds", self.audience).observe
        vars(self)["_check"] = partial(_timed, self._check, observe)

    def metrics(self) -> Metrics:
        """Return what this guard has done in this process, and what it knows; ``.text()`` is for Prometheus."""
        return metrics.measure(self.audience, self._counts, len(self._seen), self.trusted())

    def readiness(self) -> Readiness:
        """Return the response to a readiness probe, without waiting.

        It is 503 until the keys are known, and the revocations where they are required. What is missing is fetched in
        the background, so a probe alone makes a guard ready.
        """
        return readiness.judge(self.trusted())

    def is_ready(self) -> bool:
        """Whether tokens can be checked now, as `readiness` says."""
        return self.readiness().is_ready

    async def explain(
        self, token: str, need: Needed | Need = (), *, certificate: Certificate | None = None
    ) -> Explanation:
        """Return each step of a check of this token, and where it stops. For development: the text has its claims.

        A token that is bound to a key is explained without a proof. Nothing is counted, and no caller is admitted.

        Args:
            token: an access token, or the value of an Authorization header.
            need: the scopes that it must have, as in `check`.
            certificate: the client certificate of the request, for a token that is bound to one.

        Raises:
            ConfigError: the guard is not in development mode, or `need` is no scope.
        """
        return await waiting.run(self._explain(token, needs.parse(need), certificate))

    def explain_sync(
        self, token: str, need: Needed | Need = (), *, certificate: Certificate | None = None
    ) -> Explanation:
        """Return each step of a check of this token, as `explain` does, in a thread without an event loop."""
        return waiting.run_sync(self._explain(token, needs.parse(need), certificate))

    def _explain(self, token: str, wanted: Need, certificate: Certificate | None) -> Steps[Explanation]:
        if not self._challenges.is_development:
            raise ConfigError("explain shows the claims of tokens: it is for Guard(..., development=True)")
        value = token.strip()
        text = value.rpartition(" ")[2]
        rehearsal, rehearsing = Rehearsal(), copy(self)
        vars(rehearsing).pop("_check", None)  # that of this object, which counts
        vars(rehearsing).update(_counts=Counts(), _admit=rehearsal.admit)
        header = value if " " in value else f"Bearer {value}"
        try:
            yield from rehearsing._check([header.encode()], wanted, None, certificate)  # noqa: SLF001 - a copy of this object
        except (Rejected, RemoteError) as error:
            rehearsal.end(error)
        return rehearsal.explain(text, several=len(self.trusted()) > 1)


def _timed(check: Callable[..., Steps[Caller]], observe: Callable[[float], None], *request: object) -> Steps[Caller]:
    began = time.perf_counter()
    try:
        return (yield from check(*request))
    finally:
        observe(time.perf_counter() - began)
