#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Usage: setup.sh packages|main|lab|browser|galaxy|core-oldest|core-newest|debian13|all ...
# Prepares what the other commands need and nothing that is there already. Safe to run several times at once.
set -euo pipefail
# shellcheck source=tests/gate/env.sh
. "$(dirname "$0")/env.sh"

BASE_PACKAGES=(python3 python3-venv git ca-certificates)
LAB_PACKAGES=(debootstrap debian-archive-keyring systemd-container openssh-client iproute2 nftables iptables postgresql rsync)
BROWSER_PACKAGES=(chromium fonts-dejavu-core)
ROOTFS_PACKAGES=(debootstrap debian-archive-keyring)

mkdir -p "$CACHE"

# step LABEL COMMAND...: one line with its seconds; the command's output only when it fails.
step() {
  local label=$1 log start=$SECONDS status=0
  shift
  log=$(mktemp)
  # A subshell in the background keeps `set -e` in force inside the command, which `if` and `||` would switch off.
  ("$@") >"$log" 2>&1 &
  wait $! || status=$?
  if [ "$status" = 0 ]; then
    printf 'setup: %s (%d s)\n' "$label" $((SECONDS - start))
  else
    printf 'setup: %s FAILED after %d s\n' "$label" $((SECONDS - start)) >&2
    cat "$log" >&2
  fi
  rm -f "$log"
  return "$status"
}

# locked NAME FUNCTION ARGUMENTS...: the lock goes with the subshell, whatever happens.
locked() {
  local name=$1
  shift
  (
    flock 9
    "$@"
  ) 9>"$CACHE/.lock-$name"
}

missing_packages() {
  local package
  for package in "$@"; do
    [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || echo "$package"
  done
}

install_packages() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q
  apt-get install -q -y --no-install-recommends "$@"
}

need_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ]; then
    echo "setup: not root; install these packages first: ${missing[*]}" >&2
    return 1
  fi
  step "packages ${missing[*]}" install_packages "${missing[@]}"
}

make_venv() {
  local path=$1 requirements=$2
  rm -rf "$path"
  /usr/bin/python3 -m venv "$path"
  PIP_DISABLE_PIP_VERSION_CHECK=1 "$path/bin/pip" install -q -r "$requirements"
  touch "$path/.complete"
}

need_venv() {
  local name=$1 requirements=$2 path
  path=$(venv_path "$name" "$requirements")
  [ -e "$path/.complete" ] || step "virtual environment $name" make_venv "$path" "$requirements"
  ln -sfn "$(basename "$path")" "$CACHE/venv-$name"
}

# Ansible finds the working tree under its collection name through this link; being relative it survives a move.
need_collection_link() {
  local namespace=$ROOT/.build/collections/ansible_collections/meshfleet
  mkdir -p "$namespace"
  [ -L "$namespace/kuma" ] || ln -sfn ../../../.. "$namespace/kuma"
}

make_rootfs() {
  local path=$1
  rm -rf "$path" "$path.new"
  debootstrap --variant=minbase --include=python3,python3-venv,git,ca-certificates trixie "$path.new"
  rm -rf "$path.new"/var/cache/apt/archives/*.deb "$path.new"/var/lib/apt/lists/*
  mv "$path.new" "$path"
}

need_debian13() {
  [ -d "$CACHE/debian13" ] || step "Debian 13 root filesystem" make_rootfs "$CACHE/debian13"
}

make_inner_venv() {
  local venv=$1
  cp "$ROOT/tests/requirements-core-newest.txt" "$CACHE/debian13/root/requirements.txt"
  "$ROOT/tests/gate/debian13.sh" rm -rf "$venv"
  "$ROOT/tests/gate/debian13.sh" /usr/bin/python3 -m venv "$venv"
  "$ROOT/tests/gate/debian13.sh" "$venv/bin/pip" install -q -r /root/requirements.txt
  touch "$CACHE/debian13$venv/.complete"
}

need_core_newest() {
  local venv
  need_debian13
  venv=$(inner_venv)
  [ -e "$CACHE/debian13$venv/.complete" ] || step "virtual environment core-newest" make_inner_venv "$venv"
}

setup() {
  case $1 in
    packages)
      locked packages need_packages "${BASE_PACKAGES[@]}" "${LAB_PACKAGES[@]}" "${BROWSER_PACKAGES[@]}" "${ROOTFS_PACKAGES[@]}"
      ;;
    main)
      locked packages need_packages "${BASE_PACKAGES[@]}"
      locked venv-main need_venv main "$ROOT/tests/requirements.txt"
      locked collection need_collection_link
      ;;
    lab)
      setup main
      locked packages need_packages "${LAB_PACKAGES[@]}"
      ;;
    browser)
      setup main
      locked packages need_packages "${BROWSER_PACKAGES[@]}"
      ;;
    galaxy)
      locked packages need_packages "${BASE_PACKAGES[@]}"
      locked venv-galaxy need_venv galaxy "$ROOT/tests/requirements-galaxy.txt"
      ;;
    core-oldest)
      locked packages need_packages "${BASE_PACKAGES[@]}"
      locked venv-core-oldest need_venv core-oldest "$ROOT/tests/requirements-core-oldest.txt"
      ;;
    debian13)
      locked packages need_packages "${ROOTFS_PACKAGES[@]}"
      locked debian13 need_debian13
      ;;
    core-newest)
      locked packages need_packages "${ROOTFS_PACKAGES[@]}"
      locked debian13 need_core_newest
      ;;
    all)
      local target
      for target in main lab browser galaxy core-oldest core-newest; do
        setup "$target"
      done
      ;;
    *)
      echo "usage: $0 packages|main|lab|browser|galaxy|core-oldest|core-newest|debian13|all ..." >&2
      return 2
      ;;
  esac
}

[ $# -gt 0 ] || set -- all
for target in "$@"; do
  setup "$target"
done
