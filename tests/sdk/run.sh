#!/usr/bin/env bash
# Official SDKs against gateways that this starts.   tests/sdk/run.sh WEIR_BINARY
# Node 22, the SDKs and a mock of others come from package-lock.json: Debian 12's own Node 18 is too old for them.
set -euo pipefail
weir=$(realpath "$1")
cd "$(dirname "${BASH_SOURCE[0]}")"

# npm writes what it installed into node_modules; the copy of the lock file says from which lock.
if ! cmp -s package-lock.json node_modules/.installed-lock.json; then
    npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
    cp package-lock.json node_modules/.installed-lock.json
fi
WEIR_BINARY=$weir exec node_modules/.bin/node --test --test-concurrency=1 --test-timeout=60000 \
    --test-reporter=spec ./*.test.mjs
