#!/usr/bin/env bash
# The image builds, runs as a user without rights on a read-only file system, answers and stops.
# Where no images can be pulled, the tool beside the clone makes the base image itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
tool=../shared/tools/container_try.sh
if [ -f "$tool" ]; then exec bash "$tool" --compose --path /healthz .; fi

image=weir:check
name=weir-check-$$
docker build -t "$image" .
trap 'docker rm -f -v "$name" >/dev/null' EXIT
docker run -d --name "$name" --read-only --cap-drop ALL --security-opt no-new-privileges \
    -p 127.0.0.1::8080 "$image" >/dev/null
for _ in $(seq 60); do
    state=$(docker inspect -f '{{.State.Health.Status}}' "$name")
    [ "$state" = healthy ] && break
    sleep 1
done
[ "$state" = healthy ] || {
    docker logs "$name"
    echo "not healthy: $state" >&2
    exit 1
}
curl -fsS "http://$(docker port "$name" 8080/tcp | head -1)/healthz"
docker stop -t 10 "$name" >/dev/null
[ "$(docker inspect -f '{{.State.ExitCode}}' "$name")" = 0 ]
