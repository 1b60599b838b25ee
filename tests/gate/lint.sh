#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# All static checks; every one runs, so that one look shows all findings.
set -euo pipefail
"$(dirname "$0")/setup.sh" main
# shellcheck source=tests/gate/env.sh
. "$(dirname "$0")/env.sh"
cd "$ROOT"
failed=()

check() {
  local name=$1 start=$SECONDS
  shift
  printf -- '-- %s\n' "$name"
  "$@" || failed+=("$name")
  printf -- '-- %s: %d s\n' "$name" $((SECONDS - start))
}

mapfile -t shell_files < <(git ls-files '*.sh' .ci/run)
check ruff ruff check --quiet --output-format concise .
check 'ruff format' ruff format --check --quiet --output-format concise .
check "long lines" ruff check --quiet --select E501 --config line-length=160
check mypy mypy --no-error-summary plugins/module_utils plugins/plugin_utils plugins/modules plugins/filter plugins/callback plugins/action
# What is sent to virtual machines must run on Python 3.8; ruff knows its syntax, vermin its standard library.
check 'Python 3.8' vermin --quiet --no-tips --eval-annotations --violations --target=3.8- plugins/modules plugins/module_utils tests/double/kuma_dp
check shellcheck shellcheck --external-sources "${shell_files[@]}"
check ansible-lint ansible-lint --offline --strict -q
check antsibull-docs antsibull-docs lint-collection-docs --plugin-docs --validate-collection-refs self .
check antsibull-changelog antsibull-changelog lint

if [ ${#failed[@]} -gt 0 ]; then
  printf 'lint: failed: %s\n' "${failed[*]}" >&2
  exit 1
fi
echo 'lint: all checks passed'
