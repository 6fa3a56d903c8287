# SPDX-License-Identifier: MIT
"""A heap snapshot is a graph that a viewer can walk, and it is the program's."""

import json
import subprocess
import sys
import tempfile
from collections import Counter

NODE = ("type", "name", "id", "self_size", "edge_count", "trace_node_id", "detachedness")


def load(path):
    with open(path, encoding="utf-8") as file:
        snap = json.load(file)
    meta = snap["snapshot"]["meta"]
    assert tuple(meta["node_fields"]) == NODE
    assert meta["edge_fields"] == ["type", "name_or_index", "to_node"]
    numbers, width = snap["nodes"], len(NODE)
    nodes = [dict(zip(NODE, numbers[i : i + width])) for i in range(0, len(numbers), width)]
    assert len(nodes) == snap["snapshot"]["node_count"]
    assert len(snap["edges"]) == 3 * snap["snapshot"]["edge_count"]
    at = 0
    for node in nodes:
        node["kind"] = meta["node_types"][0][node["type"]]
        node["text"] = snap["strings"][node["name"]]
        node["edges"] = []
        for _ in range(node["edge_count"]):
            kind, name, to = snap["edges"][at : at + 3]
            assert to % width == 0 and to // width < len(nodes)
            node["edges"].append((meta["edge_types"][0][kind], name, nodes[to // width]))
            at += 3
    assert at == len(snap["edges"]), "edges that belong to no node"
    assert len({node["id"] for node in nodes}) == len(nodes), "an id occurs twice"
    return snap, nodes


def reach(root):
    seen, todo = {root["id"]}, [root]
    while todo:
        for _, _, to in todo.pop()["edges"]:
            if to["id"] not in seen:
                seen.add(to["id"])
                todo.append(to)
    return seen


def target(node, word):
    return next(to for kind, name, to in node["edges"] if name == word)


def main():
    with tempfile.TemporaryDirectory() as folder:
        path = folder + "/graph.heapsnapshot"
        subprocess.run([sys.argv[1], path], check=True)
        snap, nodes = load(path)
    assert len(reach(nodes[0])) == len(nodes), "something is reached from no root"
    assert [n["kind"] for n in nodes[:7]] == ["synthetic"] * 7
    groups = {to["text"]: to for _, _, to in nodes[0]["edges"]}
    assert set(groups) == {"(globals)", "(handles)", "(cleanups)", "(due callbacks)", "(pools)",
                           "(thread stacks)"}
    count = Counter(n["text"] for n in nodes[7:])
    assert count == {"struct entry": 1000, "char": 1001, "void *": 1, "struct odd": 2,
                     "struct talker": 1, "gc_ephemeron": 2, "struct mark": 73}, count
    sizes = {name: [to["text"] for _, _, to in groups[name]["edges"]] for name in groups}
    assert sizes["(cleanups)"] == ["struct mark"] * 2, sizes
    assert sizes["(due callbacks)"] == ["struct mark"], sizes
    assert sizes["(pools)"] == ["struct mark"] * 70, sizes
    (first,) = [to for _, _, to in groups["(globals)"]["edges"]]
    length, entry = 1, first
    while len(entry["edges"]) == 2:
        assert target(entry, 8)["self_size"] in (40, 48)
        entry, length = target(entry, 0), length + 1
    assert length == 1000
    (array,) = [to for _, _, to in groups["(handles)"]["edges"]]
    assert [name for _, name, _ in array["edges"]] == [8, 16, 24, 56]
    assert target(array, 56) is first
    assert [(name, to["text"]) for _, name, to in target(array, 8)["edges"]] == [(8, "struct odd")]
    assert not target(array, 16)["edges"], "the value of a dead key"
    talks = target(array, 24)["edges"]
    assert len(talks) == 530000 and all(to is first for _, _, to in talks)
    (odd,) = [to for _, _, to in groups["(thread stacks)"]["edges"]]
    ((kind, name, large),) = odd["edges"]
    assert (kind, snap["strings"][name], large["self_size"]) == ("property", "(traced)", 100000)
    print(f"snapshot: {len(nodes)} nodes, {len(snap['edges']) // 3} edges")


main()
