#!/usr/bin/env bash
# Put pinned foreign tools into $IMAGEKIT_PEERS/bin, each once a version: `oracles` and `pythons` for tests, `benchmarks`.
set -euo pipefail
: "${IMAGEKIT_PEERS:=${XDG_CACHE_HOME:-$HOME/.cache}/imagekit-peers}"
home="$(cd "$(dirname "$0")/.." && pwd)"
PATH="$home/.venv/bin:$PATH"

oracles=(
  github.com/google/go-containerregistry/cmd/crane@v0.22.1
  github.com/google/go-containerregistry/cmd/registry@v0.22.1
  distribution=github.com/distribution/distribution/v3/cmd/registry@v3.1.2 # of the same name: NAME=… gives another
  honnef.co/go/tools/cmd/staticcheck@v0.8.2
  oras.land/oras/cmd/oras@v1.3.6
)
# modules whose go.mod has `replace` or `exclude`, which `go install …@version` refuses: built from a module of our own
own_module=(
  github.com/moby/buildkit/cmd/buildkitd@v0.34.2
  github.com/moby/buildkit/cmd/buildctl@v0.34.2
  github.com/docker/buildx/cmd/buildx@v0.38.2
)
# programs of our own around a module's packages: folders of fixtures/, each with what its files are
own_program=("referrers@$(cat "$home"/fixtures/referrers/{main.go,go.mod,go.sum} | sha256sum | cut -c1-16)")
benchmarks=(
  github.com/google/ko@v0.19.1
  github.com/goreleaser/goreleaser/v2@v2.16.0
  github.com/anchore/syft/cmd/syft@v1.57.0
)
# CPython of other Debian releases and of another architecture, each with the locked wheels that packing a layer imports
locked() { awk '/^[^ ]/ {wanted = /^(isal|msgspec|zstandard)==/} wanted' "$home/requirements-dev.lock"; }
wheels="$(locked | sed -n 's/ .*//; s/==/-/p' | paste -sd,)"
pythons=(
  "python3.13@trixie/amd64/$wheels"
  "python3.14@forky/amd64/$wheels"
  "python3.13@trixie/arm64/$wheels"
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

compile() {
  (cd "$home/fixtures/${1%@*}" && GOFLAGS='' CGO_ENABLED=0 go build -trimpath -o "$IMAGEKIT_PEERS/bin/" .)
}

unpack() { # NAME@RELEASE/ARCHITECTURE/WHEELS: packages and all that they need, without installing them, run by their own loader
  local name="${1%%@*}" release architecture place machine loader emulator=''
  IFS=/ read -r release architecture _ <<<"${1#*@}"
  case "$architecture" in
    amd64) machine=x86_64 loader=ld-linux-x86-64.so.2 ;;
    arm64) machine=aarch64 loader=ld-linux-aarch64.so.1 ;;
  esac
  [ "$machine" = "$(uname -m)" ] || emulator="qemu-$machine-static"
  place="$IMAGEKIT_PEERS/pythons/$name-$architecture"
  rm -rf "$place"
  mkdir -p "$place/root"
  debian "$release" "$architecture" "$(mktemp -d)" "$place/root" "$name-minimal" "lib$name-stdlib"
  rm -r "$place/root/usr/share" "$place/root/var" "$place/root/usr/lib/$machine-linux-gnu/gconv"
  locked >"$place/wheels.txt"
  python -m pip install -q --disable-pip-version-check --no-deps --require-hashes --only-binary=:all: \
    --python-version "${name#python}" --platform "manylinux_2_28_$machine" --platform "manylinux_2_17_$machine" \
    --target "$place/wheels" -r "$place/wheels.txt"
  cat >"$IMAGEKIT_PEERS/bin/$name-$architecture" <<EOF
#!/bin/sh
lib="$place/root/usr/lib/$machine-linux-gnu"
PYTHONHOME="$place/root/usr" PYTHONPATH="$place/wheels\${PYTHONPATH:+:\$PYTHONPATH}" \\
  exec ${emulator:+$emulator }"\$lib/$loader" --library-path "\$lib" "$place/root/usr/bin/$name" "\$@"
EOF
  chmod +x "$IMAGEKIT_PEERS/bin/$name-$architecture"
}

debian() { # RELEASE ARCHITECTURE SCRATCH ROOT PACKAGE…: from where this Debian has its own packages, checked by the same keys
  local release="$1" architecture="$2" scratch="$3" root="$4" mirror package
  shift 4
  # shellcheck disable=SC2016 # apt's own variables
  mirror="$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' |
    awk -v codename="$(. /etc/os-release && echo "$VERSION_CODENAME")" '$1 == codename {print $2; exit}')"
  [ -n "$mirror" ] || { echo "$*: only to be had on Debian, by apt-get" >&2 && exit 3; }
  mkdir -p "$scratch"/{lists,archives}/partial
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $release main" >"$scratch/sources"
  cat >"$scratch/conf" <<EOF
Dir::Etc::SourceList "$scratch/sources";
Dir::Etc::SourceParts "/dev/null";
Dir::State::Lists "$scratch/lists";
Dir::State::Status "/dev/null";
Dir::Cache "$scratch";
APT::Architecture "$architecture";
APT::Architectures { "$architecture"; };
APT::Sandbox::User "";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
Acquire::Languages "none";
EOF
  APT_CONFIG="$scratch/conf" apt-get update -qq
  APT_CONFIG="$scratch/conf" apt-get install -qq --download-only --no-install-recommends "$@" >/dev/null
  for package in "$scratch"/archives/*.deb; do dpkg-deb -x "$package" "$root"; done
  rm -r "$scratch"
}

mkdir -p "$IMAGEKIT_PEERS/bin" "$IMAGEKIT_PEERS/built"
for group in "$@"; do
  declare -n tools="$group"
  how=install
  [ "$group" = own_module ] && how=build
  [ "$group" = own_program ] && how=compile
  [ "$group" = pythons ] && how=unpack
  for tool in "${tools[@]}"; do
    stamp="$IMAGEKIT_PEERS/built/${tool//\//_}"
    [ -e "$stamp" ] && continue
    echo "building $tool" >&2
    "$how" "$tool"
    touch "$stamp"
  done
done
