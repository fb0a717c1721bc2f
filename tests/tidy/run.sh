#!/usr/bin/env bash
# clang-tidy over every file of src.   tests/tidy/run.sh BUILD_DIR JOBS [FILE...]
# BUILD_DIR: one of its own. Files of a room are read together, up to 8 at a time: most of the time goes
# into Boost's headers, once for each reading. Those that cannot (weir_alone) are read alone.
# The static analyzer takes minutes on a file full of Asio templates and finds nothing in them that
# is ours, so it runs on files without sockets only, and gives a function up after some 20000 states
# instead of 225000: a fifth of the time.
set -euo pipefail
self=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/run.sh
cd "$(dirname "$self")/../.."

# --one BUILD_DIR with|without FILE: FILE is a batch; its flags are those of the first file in it.
if [ "$1" = --one ]; then
    build=$2 analyzer=$3 batch=$4 options=() began=$SECONDS
    mapfile -t files < <(sed -n 's/^#include "\(.*\)"$/\1/p' "$batch")
    if [ "$analyzer" = without ]; then
        options=("--checks=-clang-analyzer-*,-bugprone-suspicious-include")
    else
        options=(--checks=-bugprone-suspicious-include
            --extra-arg={-Xclang,-analyzer-config,-Xclang,max-nodes=20000})
    fi
    mapfile -t flags < <(python3 - "$build/compile_commands.json" "${files[0]}" <<'PY'
import json, shlex, sys
command = next(c["command"] for c in json.load(open(sys.argv[1])) if c["file"] == sys.argv[2])
words = shlex.split(command)[1:]
print("\n".join(words[:words.index("-o")]))
PY
    )
    word=ok status=0
    found=$(clang-tidy-19 --quiet "${options[@]}" "$batch" -- "${flags[@]}" 2>/dev/null) || word=FOUND status=1
    printf '%-5s %3d s  %s\n' "$word" $((SECONDS - began)) "${files[*]#"$PWD/"}"
    [ $status = 0 ] || printf '%s\n' "$found"
    exit $status
fi

build=$1 jobs=$2
shift 2
cmake --preset dev -B "$build" -DWEIR_TESTS=OFF -DWEIR_PRECOMPILE=ON --log-level=WARNING >/dev/null
cmake --build "$build" --target weir_pch_rooms >/dev/null
if [ $# -gt 0 ]; then files=("$@"); else mapfile -t files < <(git ls-files 'src/*.cpp' ':!src/base/asio.cpp'); fi

batches=$build/batches
rm -rf "$batches"
mkdir -p "$batches"
declare -A filled
for file in "${files[@]}"; do
    room=$(dirname "$file") analyzer=with
    if [[ $file =~ ^src/(upstream|proxy|server|app)/ ]] ||
        grep -qE 'co_await|boost/(asio|beast)|weir/(base/(awaitable|signal|watchdog)|cache/flight)' "$file"; then
        analyzer=without
    fi
    name=$analyzer-${room//\//_}
    if sed -n '/^weir_alone(/,/)/p' "$room/CMakeLists.txt" | grep -qw "${file##*/}"; then
        name+=-alone_${file##*/}
    else
        number=${filled[$name]:-0}
        filled[$name]=$((number + 1))
        name+=-$((number / 8))
    fi
    printf '#include "%s"\n' "$PWD/$file" >>"$batches/$name.cxx"
done
# The longest first.
status=0
for analyzer in with without; do
    find "$batches" -name "$analyzer-*.cxx" -printf '%s %p\0' | sort -znr | sed -z 's/^[0-9]* //' |
        xargs -0 -r -P "$jobs" -n 1 "$self" --one "$build" "$analyzer" || status=1
done
exit $status
