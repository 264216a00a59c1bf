#!/usr/bin/env bash
# Build pinned foreign tools into $IMAGEKIT_PEERS/bin, each once a version: `oracles` for tests, `benchmarks`.
set -euo pipefail
: "${IMAGEKIT_PEERS:=${XDG_CACHE_HOME:-$HOME/.cache}/imagekit-peers}"
PATH="$(cd "$(dirname "$0")/.." && pwd)/.venv/bin:$PATH"

oracles=(
  github.com/google/go-containerregistry/cmd/crane@v0.22.1
  github.com/google/go-containerregistry/cmd/registry@v0.22.1
  distribution=github.com/distribution/distribution/v3/cmd/registry@v3.1.2 # of the same name: NAME=… gives another
  honnef.co/go/tools/cmd/staticcheck@v0.8.2
)
# modules whose go.mod has `replace` or `exclude`, which `go install …@version` refuses: built from a module of our own
own_module=(
  github.com/moby/buildkit/cmd/buildkitd@v0.34.2
  github.com/moby/buildkit/cmd/buildctl@v0.34.2
  github.com/docker/buildx/cmd/buildx@v0.38.2
)
benchmarks=(
  github.com/google/ko@v0.19.1
  github.com/goreleaser/goreleaser/v2@v2.16.0
  github.com/anchore/syft/cmd/syft@v1.57.0
)

install() {
  local package="${1#*=}" folder
  folder="$(mktemp -d)"
  GOFLAGS='' GOBIN="$folder" CGO_ENABLED=0 go install "$package"
  [ "$package" = "$1" ] || mv "$folder"/* "$folder/${1%%=*}"
  mv "$folder"/* "$IMAGEKIT_PEERS/bin/"
  rmdir "$folder"
}

build() {
  local package="${1%@*}" version="${1#*@}" folder
  folder="$(mktemp -d)"
  (
    cd "$folder"
    printf '//go:build tools\n\npackage tools\n\nimport _ "%s"\n' "$package" >tools.go
    printf 'module imagekit.local/peers\n\ngo 1.26\n\nrequire %s %s\n' "${package%%/cmd/*}" "$version" >go.mod
    GOFLAGS='' go mod tidy 2>/dev/null
    GOFLAGS='' CGO_ENABLED=0 go build -o "$IMAGEKIT_PEERS/bin/" "$package"
  )
  rm -r "$folder"
}

mkdir -p "$IMAGEKIT_PEERS/bin" "$IMAGEKIT_PEERS/built"
for group in "$@"; do
  declare -n tools="$group"
  how=install
  [ "$group" = own_module ] && how=build
  for tool in "${tools[@]}"; do
    stamp="$IMAGEKIT_PEERS/built/${tool//\//_}"
    [ -e "$stamp" ] && continue
    echo "building $tool" >&2
    "$how" "$tool"
    touch "$stamp"
  done
done
