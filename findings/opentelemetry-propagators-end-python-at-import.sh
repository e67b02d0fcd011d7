#!/usr/bin/env bash
# OTEL_PROPAGATORS with a name that is not installed ends a Python program at import, with OpenTelemetry's API alone
#
# Guess:   the API does nothing without an SDK; a propagator that is not there is passed over with a warning, as an unknown
#          OTEL_TRACES_SAMPLER is.
# Version: opentelemetry-api and opentelemetry-sdk 1.45.2
# Seen:    importing opentelemetry.propagate raises ValueError, also for b3, one of the names of the specification, which
#          needs a package of its own. OTEL_SDK_DISABLED changes nothing. An unknown sampler is logged and replaced.
# So:      a cluster that sets OTEL_PROPAGATORS for all its containers needs opentelemetry-propagator-b3 (or -jaeger) next
#          to opentelemetry-api, or the variable unset for this one.
. "$(dirname "$(readlink -f "$0")")/prelude.bash"
python_with opentelemetry-api==1.45.2 opentelemetry-sdk==1.45.2

cat > ask.sh <<'SH'
result() {
    code='import opentelemetry.propagate'
    [ "$1" = sampler ] && code='from opentelemetry.sdk.trace import TracerProvider; TracerProvider()'
    if seen=$(env -u OTEL_SDK_DISABLED "${@:2}" "$python" -c "$code" 2>&1); then
        echo "${*:2} | goes on"
    else
        echo "${*:2} | $(printf '%s\n' "$seen" | tail -n 1 | cut -d : -f 1)"
    fi
}
result propagator OTEL_PROPAGATORS=tracecontext
result propagator OTEL_PROPAGATORS=tracecontext,b3
result propagator OTEL_PROPAGATORS=b3 OTEL_SDK_DISABLED=true
result sampler OTEL_TRACES_SAMPLER=jaeger_remote
SH
. ./ask.sh > now.txt
expect now.txt <<'SEEN'
OTEL_PROPAGATORS=tracecontext | goes on
OTEL_PROPAGATORS=tracecontext,b3 | ValueError
OTEL_PROPAGATORS=b3 OTEL_SDK_DISABLED=true | ValueError
OTEL_TRACES_SAMPLER=jaeger_remote | goes on
SEEN
