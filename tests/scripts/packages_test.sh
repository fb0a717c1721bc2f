#!/usr/bin/env bash
# cmake/packages.sh on a machine that lacks every package and whose user reads German. Nothing is
# installed: dpkg-query, apt-get and apt-cache are fakes.
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

fake() {
    printf '#!/usr/bin/env bash\n%s\n' "$2" >"$scratch/$1"
    chmod +x "$scratch/$1"
}
fake dpkg-query 'exit 1'
fake id 'echo 0'
fake apt-get 'echo "apt-get $*"'
# As apt does it: words in the language of the user, unless that is C.
# shellcheck disable=SC2016  # they expand in the fake
fake apt-cache '
word=Installationskandidat none="(keine)"
[ "${LC_ALL:-}" = C ] && word=Candidate none="(none)"
echo "$2:"
[ "$2" = "${ABSENT:-}" ] && echo "  $word: $none" || echo "  $word: 1.0-1"'

export PATH="$scratch:$PATH" LANG=de_DE.UTF-8 LANGUAGE=de

installed=$("$home/cmake/packages.sh" need scripts 2>&1) || {
    echo "packages that are there were not found: $installed" >&2
    exit 1
}
grep -q '^apt-get install .*shellcheck' <<<"$installed"

if refused=$(ABSENT=shellcheck "$home/cmake/packages.sh" need scripts 2>&1); then
    echo "a package that is nowhere was taken for one that is there" >&2
    exit 1
fi
grep -q "No package source of this machine has 'shellcheck'" <<<"$refused"
