#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# To be sourced. Sets where things are and a PATH that holds only the main virtual environment and Debian's own
# directories: shims of Python version managers make ansible-test find interpreters that do not run.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
CACHE=${MESHFLEET_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/meshfleet-kuma}

# venv_path NAME REQUIREMENTS: a changed requirements file or Debian Python gives a new directory.
venv_path() {
  local key
  key=$({ /usr/bin/python3 --version; cat "$2"; } 2>/dev/null | sha256sum | cut -c1-12)
  printf '%s/venv-%s-%s\n' "$CACHE" "$1" "$key"
}

# The virtual environment of the newest ansible-core, as seen inside the Debian 13 root filesystem.
inner_venv() {
  printf '/opt/venv-%s\n' "$(sha256sum "$ROOT/tests/requirements-core-newest.txt" | cut -c1-12)"
}

# copy_tracked DIRECTORY: the tracked files as they are now, committed or not, and nothing else.
copy_tracked() {
  mkdir -p "$1"
  git -C "$ROOT" ls-files -z --deduplicate | while IFS= read -r -d '' file; do
    [ ! -e "$ROOT/$file" ] || printf '%s\0' "$file"
  done | tar -C "$ROOT" --null --files-from=- -cf - | tar -C "$1" -xf -
}

VENV=$(venv_path main "$ROOT/tests/requirements.txt")
PATH=$VENV/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C.UTF-8
ANSIBLE_COLLECTIONS_PATH=$ROOT/.build/collections
PYTHONPATH=$ROOT/.build/collections:$ROOT
export ROOT CACHE VENV PATH LC_ALL ANSIBLE_COLLECTIONS_PATH PYTHONPATH
