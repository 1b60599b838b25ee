#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The whole gate. Two lanes use two processors; each stops at its first failure. The fleet tests, which want the machine
# for themselves, start when both lanes passed.
set -euo pipefail
# shellcheck source=tests/gate/env.sh
. "$(dirname "$0")/env.sh"
cd "$ROOT"
logs=$(mktemp -d)
# With job control every lane is a process group of its own, which Ctrl-C and a signal to this script can reach as a whole.
# SIGINT, for that is what pytest tidies up on.
set -m
# shellcheck disable=SC2329 # called by the trap
stop() {
  local lane
  for lane in $(jobs -p); do
    kill -INT -- "-$lane" 2>/dev/null || true
  done
  wait
  rm -rf "$logs"
}
trap stop EXIT
trap 'exit 130' INT TERM

steps=(setup lint unit contract integration browser package sanity-oldest sanity-newest fleet)

# step NAME COMMAND...: shows the output when the step has ended, so that steps of two lanes do not mix.
step() {
  local name=$1 status=0 start=$SECONDS
  shift
  "$@" >"$logs/$name.log" 2>&1 || status=$?
  echo "$status $((SECONDS - start))" >"$logs/$name.result"
  {
    flock 9
    printf '\n==== %s\n' "$name"
    cat "$logs/$name.log"
  } 9>"$logs/lock"
  return "$status"
}

# live_step NAME COMMAND...: shows the output as it comes; for a step that runs alone.
live_step() {
  local name=$1 status=0 start=$SECONDS
  shift
  printf '\n==== %s\n' "$name"
  "$@" 2>&1 | tee "$logs/$name.log" || status=$?
  echo "$status $((SECONDS - start))" >"$logs/$name.result"
  return "$status"
}

lane_tests() {
  step lint tests/gate/lint.sh
  step unit python -m pytest tests/unit
  step contract env -u URL -u TOKEN_FILE python -m pytest tests/contract
  step integration python -m pytest tests/integration
}

lane_artefact() {
  step browser python -m pytest tests/browser
  step package tests/gate/package.sh
  step sanity-oldest tests/gate/sanity.sh oldest
  step sanity-newest tests/gate/sanity.sh newest
}

summary() {
  local name status seconds result steps_passed=0 steps_failed=0
  printf '\n%-16s %-8s %8s  %s\n' step result seconds tests
  for name in "${steps[@]}"; do
    if [ ! -e "$logs/$name.result" ]; then
      printf '%-16s %-8s\n' "$name" 'not run'
      continue
    fi
    read -r status seconds <"$logs/$name.result"
    if [ "$status" = 0 ]; then
      result=passed steps_passed=$((steps_passed + 1))
    else
      result=FAILED steps_failed=$((steps_failed + 1))
    fi
    printf '%-16s %-8s %8d  %s\n' "$name" "$result" "$seconds" "$(pytest_line "$logs/$name.log")"
  done
  printf '%-16s %-8s %8d\n' total '' "$SECONDS"
  printf 'tests: %d passed, %d failed; steps: %d passed, %d failed\n' \
    "$(count passed)" "$(($(count failed) + $(count error) + $(count errors)))" "$steps_passed" "$steps_failed"
}

# The closing line of pytest, such as "12 passed, 1 skipped in 0.50s", without its frame.
pytest_line() {
  grep -aoE '[0-9]+ (passed|failed|skipped|deselected|errors?)[^=]* in [0-9.]+s' "$1" | tail -n 1 || true
}

count() {
  local log total=0 number
  for log in "$logs"/*.log; do
    number=$(pytest_line "$log" | grep -oE "[0-9]+ $1\b" | head -n 1 | cut -d' ' -f1)
    total=$((total + ${number:-0}))
  done
  echo "$total"
}

# Sets `status`; in the background so that `set -e` holds inside the lanes.
wait_for() {
  wait "$1" || status=1
}

status=0
live_step setup tests/gate/setup.sh all &
wait_for $!
if [ "$status" = 0 ]; then
  lane_tests &
  tests_lane=$!
  lane_artefact &
  artefact_lane=$!
  wait_for "$tests_lane"
  wait_for "$artefact_lane"
fi
if [ "$status" = 0 ]; then
  live_step fleet python -m pytest tests/fleet &
  wait_for $!
fi
summary
exit "$status"
