#!/usr/bin/env python3
"""A room includes only itself and rooms on lower floors; CMake links nothing else.

check_floors.py [ROOT]      checks the includes of include/ and src/, and the ROOMS in CMake lists
check_floors.py --self-test proves that each kind of breach is found
Exit 1 with one line for each breach.
"""

import pathlib
import re
import sys
import tempfile

FLOORS = {
    "base": 0,
    "config": 1, "metrics": 1, "sqlite": 1, "http": 1,
    "keys": 2, "quota": 2, "cache": 2, "upstream": 2,
    "proxy": 3, "admin": 3,
    "server": 4,
    "app": 5,
}  # fmt: skip

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.MULTILINE)
ROOMS = re.compile(r"^\s*ROOMS\s+([a-z_ \n]+?)(?=^\s*[A-Z_]+|\))", re.MULTILINE)


def fault(room: str, other: str) -> str | None:
    """Why `room` may not use `other`; None if it may."""
    if other not in FLOORS:
        return f"there is no room '{other}'"
    if other == room or FLOORS[other] < FLOORS[room]:
        return None
    where = "the same floor" if FLOORS[other] == FLOORS[room] else "a higher floor"
    return f"{other} (floor {FLOORS[other]}) is on {where} than {room} (floor {FLOORS[room]})"


def rooms_below(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []


def breaches(root: pathlib.Path) -> tuple[list[str], int]:
    """Every breach under `root`, and how many includes were looked at."""
    found: list[str] = []
    seen = 0
    for tree in (root / "include" / "weir", root / "src"):
        for folder in rooms_below(tree):
            room = folder.name
            if room not in FLOORS:
                found.append(f"{folder.relative_to(root)}: there is no room '{room}'")
                continue
            for path in sorted(folder.rglob("*")):
                if path.suffix not in (".hpp", ".cpp", ".h", ".ipp"):
                    continue
                text = path.read_text(encoding="utf-8")
                for match in INCLUDE.finditer(text):
                    target = match.group(1)
                    line = text.count("\n", 0, match.start(1)) + 1
                    where = f"{path.relative_to(root)}:{line}"
                    parts = target.split("/")
                    if parts[0] == "weir" and len(parts) > 1:
                        seen += 1
                        why = fault(room, parts[1])
                        if why:
                            found.append(f"{where}: {why}")
                    elif ".." in parts or (parts[0] in ("src", "include")):
                        found.append(f"{where}: '{target}' reaches past its room")
    for folder in rooms_below(root / "src"):
        lists = folder / "CMakeLists.txt"
        if folder.name not in FLOORS or not lists.is_file():
            continue
        for match in ROOMS.finditer(lists.read_text(encoding="utf-8")):
            for other in match.group(1).split():
                why = fault(folder.name, other)
                if why or other == folder.name:
                    found.append(f"{lists.relative_to(root)}: ROOMS: {why or 'itself'}")
    return found, seen


def self_test() -> int:
    cases = [
        # (file, text, breaches)
        ("src/quota/a.cpp", '#include "weir/base/error.hpp"\n#include "weir/quota/w.hpp"\n', 0),
        ("src/quota/a.cpp", '#include "weir/config/cap.hpp"\n#include <weir/sqlite/w.hpp>\n', 0),
        ("src/quota/a.cpp", '#include "weir/keys/key_table.hpp"\n', 1),
        ("src/quota/a.cpp", '#include "weir/proxy/exchange.hpp"\n', 1),
        ("src/quota/a.cpp", '  #  include <weir/server/server.hpp>\n', 1),
        ("src/quota/deep/a.cpp", '#include "weir/app/gateway.hpp"\n', 1),
        ("include/weir/base/a.hpp", '#include "weir/config/cap.hpp"\n', 1),
        ("include/weir/proxy/a.hpp", '#include "weir/admin/admin.hpp"\n', 1),
        ("include/weir/app/a.hpp", '#include "weir/server/server.hpp"\n', 0),
        ("src/server/a.cpp", '#include "weir/app/gateway.hpp"\n', 1),
        ("src/quota/a.cpp", '#include "weir/nowhere/a.hpp"\n', 1),
        ("src/quota/a.cpp", '#include "../keys/secret.hpp"\n', 1),
        ("src/quota/a.cpp", '// #include "weir/keys/key_table.hpp" is not allowed\n', 0),
        ("src/attic/a.cpp", "", 1),
        ("src/quota/CMakeLists.txt", "weir_room(quota\n    ROOMS base config\n)\n", 0),
        ("src/quota/CMakeLists.txt", "weir_room(quota\n    ROOMS base cache\n)\n", 1),
        (
            "src/quota/CMakeLists.txt",
            "weir_room(quota\n    ROOMS base\n        proxy\n    LIBRARIES x\n)\n",
            1,
        ),
    ]
    wrong = 0
    for name, text, expected in cases:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / name
            path.parent.mkdir(parents=True)
            path.write_text(text, encoding="utf-8")
            found, _ = breaches(pathlib.Path(folder))
        if len(found) != expected:
            wrong += 1
            print(f"self-test: {name} {text!r}: {len(found)} breaches, not {expected}: {found}")
    print(f"floors self-test: {len(cases) - wrong} of {len(cases)} cases right")
    return 1 if wrong else 0


def main(arguments: list[str]) -> int:
    if arguments == ["--self-test"]:
        return self_test()
    root = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).parents[2]
    found, seen = breaches(root)
    for line in found:
        print(line)
    print(f"floors: {seen} includes of rooms looked at, {len(found)} breaches")
    # No include at all means that the wrong folder was looked at.
    return 1 if found or not seen else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
