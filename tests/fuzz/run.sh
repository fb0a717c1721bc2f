#!/usr/bin/env bash
# Runs every fuzz target of a build for some seconds.   tests/fuzz/run.sh BUILD_DIR SECONDS JOBS
# Seeds come from tests/*/corpus/<target>; what is found lies in BUILD_DIR/fuzz/<target>.found.
set -euo pipefail
self=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/run.sh
cd "$(dirname "$self")/../.."

if [ "$1" = --one ]; then
    seconds=$2 program=$3
    name=$(basename "$program")
    mkdir -p "$program.found" "$program.corpus"
    seeds=()
    for folder in tests/*/corpus/"$name"; do [ -d "$folder" ] && seeds+=("$folder"); done
    if "$program" -max_total_time="$seconds" -timeout=25 -rss_limit_mb=2048 -print_final_stats=1 \
        -artifact_prefix="$program.found/" "$program.corpus" "${seeds[@]}" >"$program.log" 2>&1; then
        printf 'ok    %s: %s runs\n' "$name" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$program.log")"
    else
        tail -40 "$program.log"
        printf 'FOUND %s\n' "$name"
        exit 1
    fi
    exit 0
fi

build=$1 seconds=$2 jobs=$3
mapfile -t programs < <(find "$build/fuzz" -maxdepth 1 -type f -perm -u+x | sort)
[ ${#programs[@]} -gt 0 ] || {
    echo "no fuzz targets in $build/fuzz" >&2
    exit 1
}
printf '%s\0' "${programs[@]}" | xargs -0 -P "$jobs" -n 1 "$self" --one "$seconds"
