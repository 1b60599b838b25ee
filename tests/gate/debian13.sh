#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Usage: debian13.sh [--bind SOURCE TARGET] COMMAND...
# Runs a command as root in the Debian 13 root filesystem that setup.sh made, with this machine's network.
# Mounts and processes live in namespaces of their own, so that nothing of them is left afterwards.
set -euo pipefail
# shellcheck source=tests/gate/env.sh
. "$(dirname "$0")/env.sh"

inside() {
  local rootfs=$1 path name settings=()
  shift
  bind() {
    if [ -d "$1" ]; then mkdir -p "$rootfs$2"; else touch "$rootfs$2"; fi
    mount --rbind "$1" "$rootfs$2"
  }
  mount --make-rprivate /
  mount -t proc proc "$rootfs/proc"
  bind /dev /dev
  mount -t tmpfs tmpfs "$rootfs/tmp"
  # Names, certificates and pip's settings are this machine's: it may sit behind a proxy or a mirror.
  for path in /etc/resolv.conf /etc/hosts /etc/ssl/certs /usr/local/share/ca-certificates /etc/pip.conf; do
    [ ! -e "$path" ] || bind "$(realpath "$path")" "$path"
  done
  if [ "${1:-}" = --bind ]; then
    bind "$2" "$3"
    shift 3
  fi
  for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY PIP_INDEX_URL PIP_CERT; do
    [ -z "${!name:-}" ] || settings+=("$name=${!name}")
  done
  exec env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin PIP_DISABLE_PIP_VERSION_CHECK=1 \
    "${settings[@]}" chroot "$rootfs" "$@"
}

export -f inside
exec unshare --mount --pid --fork --kill-child -- bash -euo pipefail -c 'inside "$@"' inside "$CACHE/debian13" "$@"
