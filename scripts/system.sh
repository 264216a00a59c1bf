#!/usr/bin/env bash
# Install what the system lacks: `base` for building, `engine` for the real tests; `python` prints a fit interpreter.
set -euo pipefail

lacking() { # print the packages whose program is not there: program=package…
  local pair
  for pair in "$@"; do command -v "${pair%%=*}" >/dev/null 2>&1 || printf '%s ' "${pair#*=}"; done
}

install() {
  [ "$#" -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: $*; install them (apt-get install $*), or run this as root on Debian" >&2
    exit 3
  fi
  # another apt may be at work: wait for it
  apt-get update -qq -o DPkg::Lock::Timeout=600
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o DPkg::Lock::Timeout=600 --no-install-recommends "$@" >/dev/null
}

fit_python() {
  local candidate
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  return 1
}

case "$1" in
  base)
    # shellcheck disable=SC2046 # one word a package
    install $(lacking git=git gcc=gcc gpg=gnupg) $(fit_python >/dev/null || echo python3 python3-venv)
    [ -d /usr/include/x86_64-linux-gnu ] || [ -d /usr/include/aarch64-linux-gnu ] || install libc6-dev
    ;;
  engine)
    # dockerd and iptables stand in sbin, which is not on everybody's PATH
    export PATH="$PATH:/usr/sbin:/sbin"
    # shellcheck disable=SC2046
    install $(lacking dockerd=docker.io iptables=iptables runc=runc skopeo=skopeo qemu-aarch64-static=qemu-user-static \
      umoci=umoci readelf=binutils ip=iproute2 musl-gcc=musl-tools busybox=busybox-static \
      /usr/bin/tini-static=tini /usr/bin/python3=python3 containerd=containerd \
      podman=podman crun=crun buildah=buildah docker-registry=docker-registry chromium=chromium)
    ;;
  python) fit_python ;;
  *) echo "usage: $0 base|engine|python" >&2; exit 2 ;;
esac
