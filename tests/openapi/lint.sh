#!/usr/bin/env bash
# Has redocly and spectral (npm) judge config/openapi.yaml. A warning is a failure.
#
#   tests/openapi/lint.sh
#
# Where one of them is missing it is skipped, visibly; with CI=true it must be there.
set -euo pipefail
cd "$(dirname "$0")/../.."
# Nothing is reported to anyone.
export REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true

lint() { # PROGRAM ARGUMENTS...
    if command -v "$1" >/dev/null; then
        "$@"
    elif [ "${CI:-}" = true ]; then
        echo "$1 is needed: npm install @redocly/cli @stoplight/spectral-cli" >&2
        exit 1
    else
        echo "SKIPPED: $1 is not here (npm install @redocly/cli @stoplight/spectral-cli)" >&2
    fi
}
lint redocly lint --config tests/openapi/redocly.yaml config/openapi.yaml
lint spectral lint --ruleset tests/openapi/spectral.yaml --fail-severity=warn config/openapi.yaml
