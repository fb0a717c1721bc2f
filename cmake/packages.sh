#!/usr/bin/env bash
# The one list of Debian 12 packages that Weir needs, and the one place that installs them.
#   cmake/packages.sh list GROUP...   prints the packages of the groups
#   cmake/packages.sh need GROUP...   installs those that are missing (and asks apt nothing if none is)
# Groups: build run-time test sanitize tidy scripts sdk container bench
set -euo pipefail

group() {
    case $1 in
    build) # llvm-19: what is optimized as a whole needs its ar
        echo clang-19 lld-19 llvm-19 cmake ninja-build ccache libboost1.81-dev libssl-dev libsqlite3-dev \
            libyaml-cpp-dev nlohmann-json3-dev libsimdjson-dev libfmt-dev libspdlog-dev \
            libcli11-dev libcurl4-openssl-dev libhowardhinnant-date-dev libzstd-dev libmimalloc-dev \
            tzdata \
            ca-certificates
        ;;
    run-time) # what the binary links, without headers
        echo libssl3 libsqlite3-0 libyaml-cpp0.7 libsimdjson14 libfmt9 libspdlog1.10 libcurl4 \
            libstdc++6 libdate-tz3 libzstd1 libmimalloc2.0 tzdata ca-certificates
        ;;
    test) echo libgtest-dev libgmock-dev python3 curl ;;
    sanitize) echo libclang-rt-19-dev ;;
    tidy) echo clang-tidy-19 clang-format-19 ;;
    scripts) echo shellcheck git ;;
    sdk) # any npm will do: it may stand without a package of this name
        command -v npm >/dev/null || echo npm
        ;;
    container)
        command -v docker >/dev/null || echo docker.io
        echo curl
        ;;
    bench) echo nginx-light wrk python3 curl ;;
    *)
        echo "packages.sh: no group '$1'" >&2
        return 2
        ;;
    esac
}

list() {
    local name
    for name in "$@"; do group "$name" || return; done | tr ' ' '\n' | sort -u
}

installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        echo "Not root, and there is no sudo. Install them yourself and start again:" >&2
        echo "    apt-get install --no-install-recommends ${missing[*]}" >&2
        return 1
    fi
}

need() {
    local package wanted
    wanted=$(list "$@")
    missing=()
    if ! command -v dpkg-query >/dev/null; then
        echo "This is no Debian, so nothing is installed here; Weir needs what Debian 12 calls:" >&2
        echo "${wanted//$'\n'/ }" >&2
        return 0
    fi
    for package in $wanted; do installed "$package" || missing+=("$package"); done
    [ ${#missing[@]} -gt 0 ] || return 0

    echo "Installing: ${missing[*]}"
    as_root apt-get update -q
    for package in "${missing[@]}"; do
        [ -n "$(LC_ALL=C apt-cache policy "$package" | sed -n 's/^ *Candidate: *\((none)\)\{0,1\}//p')" ] && continue
        cat >&2 <<TEXT
No package source of this machine has '$package'.
Debian 12 has it: clang 19 came with a point release, the others were there from the start. Give apt
the suites bookworm, bookworm-updates and bookworm-security (component main), for example in
/etc/apt/sources.list.d/debian.sources, then start again.
TEXT
        return 1
    done
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -q --no-install-recommends "${missing[@]}"
}

case ${1:-} in
list | need) "$@" ;;
*)
    sed -n '2,/^set /{/^#/p}' "$0" | cut -c3- >&2
    exit 2
    ;;
esac
