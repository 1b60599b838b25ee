#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Usage: run.sh everyday|nightly
# The whole gate: prepares what its runner needs, which then starts the steps.
set -euo pipefail
# shellcheck source=tests/gate/env.sh
. "$(dirname "$0")/env.sh"
cd "$ROOT"
tests/gate/setup.sh packages main
exec python -m tests.gate.run "$1" --prepared "$SECONDS"
