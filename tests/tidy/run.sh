#!/usr/bin/env bash
# clang-tidy over every file of src.   tests/tidy/run.sh BUILD_DIR JOBS [FILE...]
# The static analyzer takes minutes on a file full of Asio templates and finds nothing in them that
# is ours, so it runs on the rooms without sockets only, and gives a function up after some 20000
# states instead of 225000: a fifth of the time.
set -euo pipefail
self=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/run.sh
cd "$(dirname "$self")/../.."

if [ "$1" = --one ]; then
    build=$2 file=$3 options=() began=$SECONDS
    if [[ $file =~ ^src/(upstream|proxy|server|app)/ ]] ||
        grep -qE 'co_await|boost/(asio|beast)|weir/(base/(awaitable|signal|watchdog)|cache/flight)' "$file"; then
        options=(--checks=-clang-analyzer-*)
    else
        options=(--extra-arg={-Xclang,-analyzer-config,-Xclang,max-nodes=20000})
    fi
    if found=$(clang-tidy-19 -p "$build" --quiet "${options[@]}" "$file" 2>/dev/null); then
        printf 'ok    %3d s  %s\n' $((SECONDS - began)) "$file"
    else
        printf 'FOUND %3d s  %s\n%s\n' $((SECONDS - began)) "$file" "$found"
        exit 1
    fi
    exit 0
fi

build=$1 jobs=$2
shift 2
cmake --preset dev --log-level=WARNING >/dev/null # for compile_commands.json
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files 'src/*.cpp' ':!src/base/asio.cpp'); fi
printf '%s\0' "${files[@]}" | xargs -0 -P "$jobs" -n 1 "$self" --one "$build"
