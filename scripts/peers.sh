#!/usr/bin/env bash
# Build pinned foreign tools into $IMAGEKIT_PEERS/bin, each once a version: `oracles` for tests, `benchmarks`.
set -euo pipefail
: "${IMAGEKIT_PEERS:=${XDG_CACHE_HOME:-$HOME/.cache}/imagekit-peers}"
PATH="$(cd "$(dirname "$0")/.." && pwd)/.venv/bin:$PATH"

oracles=(
  github.com/google/go-containerregistry/cmd/crane@v0.22.1
  github.com/google/go-containerregistry/cmd/registry@v0.22.1
  honnef.co/go/tools/cmd/staticcheck@v0.8.2
)
benchmarks=(
  github.com/google/ko@v0.19.1
  github.com/goreleaser/goreleaser/v2@v2.16.0
)

mkdir -p "$IMAGEKIT_PEERS/bin" "$IMAGEKIT_PEERS/built"
for group in "$@"; do
  declare -n tools="$group"
  for tool in "${tools[@]}"; do
    stamp="$IMAGEKIT_PEERS/built/${tool//\//_}"
    [ -e "$stamp" ] && continue
    echo "building $tool" >&2
    GOFLAGS='' GOBIN="$IMAGEKIT_PEERS/bin" CGO_ENABLED=0 go install "$tool"
    touch "$stamp"
  done
done
