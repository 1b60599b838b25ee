#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Usage: sanity.sh [oldest|newest ...]
# ansible-test sanity on a copy of the tracked files, with the oldest and the newest supported ansible-core.
set -euo pipefail
# shellcheck source=tests/gate/env.sh
. "$(dirname "$0")/env.sh"

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
[ $# -gt 0 ] || set -- oldest newest
for core in "$@"; do
  "$ROOT/tests/gate/setup.sh" "core-$core"
  # ansible-test wants a git work tree at .../ansible_collections/<namespace>/<name>.
  tree=$scratch/$core/ansible_collections/meshfleet/kuma
  copy_tracked "$tree"
  git -C "$tree" init -q
  git -C "$tree" add -A
  case $core in
    oldest)
      "$ROOT/tests/gate/ansible_test.sh" "$(venv_path core-oldest "$ROOT/tests/requirements-core-oldest.txt")" \
        "$scratch/oldest"
      ;;
    newest)
      "$ROOT/tests/gate/debian13.sh" --bind "$scratch/newest" /srv \
        /srv/ansible_collections/meshfleet/kuma/tests/gate/ansible_test.sh "$(inner_venv)" /srv
      ;;
  esac
done
