#!/usr/bin/env bash
# Build images of fixtures/hello and run the linux/amd64 one: in an engine if one answers, else in an empty chroot.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
cd fixtures/hello

imagekit build --config imagekit.yaml
echo
echo "== made in fixtures/hello/dist"
(cd dist && find . -type f -not -path './oci/blobs/*' | sort)
echo
if docker version >/dev/null 2>&1; then
  echo "== docker run"
  docker run --rm "$(imagekit build --config imagekit.yaml --target linux/amd64 --output "$(mktemp -d)/dist" --load)"
elif [ "$(id -u)" = 0 ]; then
  echo "== no engine answers: the same program in an empty chroot"
  root=$(mktemp -d)
  trap 'rm -rf "$root"' EXIT
  cp dist/bin/linux_amd64/hello "$root/hello"
  chroot "$root" /hello
else
  echo "== no engine answers and no root for a chroot: the program itself"
  dist/bin/linux_amd64/hello
fi
