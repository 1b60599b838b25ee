#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Builds the collection from a clean copy of the tracked files and has the artefact checked by galaxy-importer.
set -euo pipefail
"$(dirname "$0")/setup.sh" main galaxy
# shellcheck source=tests/gate/env.sh
. "$(dirname "$0")/env.sh"
galaxy=$(venv_path galaxy "$ROOT/tests/requirements-galaxy.txt")
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

copy_tracked "$scratch/tree"
ansible-galaxy collection build "$scratch/tree" --output-path "$scratch" >/dev/null
artefact=$(echo "$scratch"/meshfleet-kuma-*.tar.gz)
echo "package: $(basename "$artefact"), $(stat -c %s "$artefact") bytes, $(tar -tzf "$artefact" | wc -l) entries"

missing=$(git -C "$ROOT" ls-files plugins roles playbooks meta docs | sort | comm -23 - <(tar -tzf "$artefact" | sort))
if [ -n "$missing" ]; then
  printf 'package: the manifest of galaxy.yml leaves these files out:\n%s\n' "$missing" >&2
  exit 1
fi

cd "$scratch"
status=0
PATH=$galaxy/bin:/usr/bin:/bin PYTHONPATH='' ANSIBLE_COLLECTIONS_PATH='' GALAXY_IMPORTER_CHECK_REQUIRED_TAGS=true \
  "$galaxy/bin/python" -m galaxy_importer.main "$artefact" >importer.log 2>&1 || status=$?
if [ "$status" != 0 ] || grep -E '^(WARNING|ERROR|CRITICAL)' importer.log; then
  cat importer.log
  echo 'package: galaxy-importer has findings' >&2
  exit 1
fi
echo 'package: galaxy-importer has no findings'
