// SPDX-License-Identifier: MIT

// mark.c in Go: the same graphs, runtime.GC() for the collection.
package main

import (
	"runtime"
	"unsafe"
)

const (
	arrayLength = 1000
	fanout      = 62
)

type graphNode struct {
	out [4]*graphNode
	key [2]uint64
}

type treeNode struct {
	left, right *treeNode
	key         uint64
}

type cell struct {
	next *cell
	key  uint64
}

type blob struct{ key [8]uint64 }

type record struct {
	name    *[32]byte
	payload *[128]byte
	key     [3]uint64
}

type entry struct {
	next   *entry
	record *record
	key    [2]uint64
}

type wideNode struct {
	child [fanout]unsafe.Pointer
	key   [2]uint64
}

type leaf struct {
	none [2]*leaf
	key  [2]uint64
}

type built struct {
	root           interface{}
	objects, bytes uint64
}

func buildGraph(bytes uint64, seed *random) built {
	n := bytes / uint64(unsafe.Sizeof(graphNode{}))
	nodes := make([]*graphNode, n)
	for i := range nodes {
		nodes[i] = &graphNode{key: [2]uint64{uint64(i), 0}}
	}
	for i := n - 1; i > 0; i-- {
		j := seed.below(i + 1)
		nodes[i], nodes[j] = nodes[j], nodes[i]
	}
	for i, node := range nodes {
		for k := uint64(0); k < 2; k++ {
			if child := 2*uint64(i) + k + 1; child < n {
				node.out[k] = nodes[child]
			}
		}
		for k := 2; k < 4; k++ {
			node.out[k] = nodes[seed.below(n)]
		}
	}
	return built{nodes[0], n, n * uint64(unsafe.Sizeof(graphNode{}))}
}

func buildSubtree(nodes uint64) *treeNode {
	var left, right *treeNode
	if nodes > 1 {
		left = buildSubtree((nodes - 1) / 2)
	}
	if nodes > 2 {
		right = buildSubtree(nodes - 1 - (nodes-1)/2)
	}
	return &treeNode{left, right, nodes}
}

func buildTree(bytes uint64) built {
	n := bytes / uint64(unsafe.Sizeof(treeNode{}))
	return built{buildSubtree(n), n, n * uint64(unsafe.Sizeof(treeNode{}))}
}

func buildList(bytes uint64) built {
	n := bytes / uint64(unsafe.Sizeof(cell{}))
	var head *cell
	for i := uint64(0); i < n; i++ {
		head = &cell{head, i}
	}
	return built{head, n, n * uint64(unsafe.Sizeof(cell{}))}
}

func buildArrays(bytes uint64) built {
	perArray := arrayLength * uint64(8+unsafe.Sizeof(blob{}))
	n := bytes / perArray
	top := make([]*[arrayLength]*blob, n)
	for i := range top {
		top[i] = new([arrayLength]*blob)
		for k := range top[i] {
			top[i][k] = &blob{key: [8]uint64{uint64(k)}}
		}
	}
	return built{top, 1 + n*(1+arrayLength), n * (perArray + 8)}
}

func buildMap(bytes uint64, seed *random) built {
	perEntry := 8 + uint64(unsafe.Sizeof(entry{})+unsafe.Sizeof(record{})) + 160
	n := bytes / perEntry
	chains := make([]*entry, n)
	for i := uint64(0); i < n; i++ {
		k := seed.below(n)
		r := &record{new([32]byte), new([128]byte), [3]uint64{i}}
		r.name[0], r.payload[0], r.payload[64] = 1, 1, 1
		chains[k] = &entry{chains[k], r, [2]uint64{i}}
	}
	return built{chains, 1 + 4*n, n * perEntry}
}

func shuffle(level []unsafe.Pointer, seed *random) {
	for i := uint64(len(level)) - 1; i > 0; i-- {
		j := seed.below(i + 1)
		level[i], level[j] = level[j], level[i]
	}
}

func buildFanout(bytes uint64, seed *random) built {
	leafSize, nodeSize := uint64(unsafe.Sizeof(leaf{})), uint64(unsafe.Sizeof(wideNode{}))
	n := bytes / (leafSize + nodeSize/fanout)
	objects, all := n, n*leafSize
	level := make([]unsafe.Pointer, n)
	for i := range level {
		level[i] = unsafe.Pointer(&leaf{key: [2]uint64{uint64(i)}})
	}
	for n > 1 {
		shuffle(level[:n], seed)
		parents := (n + fanout - 1) / fanout
		for i := uint64(0); i < parents; i++ {
			node := &wideNode{}
			end := (i + 1) * fanout
			if end > n {
				end = n
			}
			copy(node.child[:], level[i*fanout:end])
			level[i] = unsafe.Pointer(node)
		}
		n = parents
		objects += n
		all += n * nodeSize
	}
	return built{level[0], objects, all}
}

func main() {
	args := arguments{"shape": 0, "bytes": 256 << 20, "reps": 7, "seed": 1}
	args.parse()
	names := []string{"graph", "tree", "list", "arrays", "map", "fanout"}
	if args["shape"] > 5 || args["reps"] < 1 {
		die("shape must be 0 to 5")
	}
	seed := random(args["seed"])
	var b built
	switch args["shape"] {
	case 0:
		b = buildGraph(args["bytes"], &seed)
	case 1:
		b = buildTree(args["bytes"])
	case 2:
		b = buildList(args["bytes"])
	case 3:
		b = buildArrays(args["bytes"])
	case 4:
		b = buildMap(args["bytes"], &seed)
	case 5:
		b = buildFanout(args["bytes"], &seed)
	}
	runtime.GC()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	wall, cpu := make([]uint64, args["reps"]), make([]uint64, args["reps"])
	for i := range wall {
		wallStart, cpuStart := nowNs(), cpuNs()
		runtime.GC()
		wall[i], cpu[i] = nowNs()-wallStart, cpuNs()-cpuStart
	}
	runtime.ReadMemStats(&after)
	check(uint64(after.NumGC-before.NumGC) >= args["reps"], "the number of collections")
	wallNs, cpuMedian := median(wall), median(cpu)
	r := begin("mark")
	r.str("shape", names[args["shape"]])
	r.u64("objects", b.objects)
	r.u64("bytes", b.bytes)
	r.u64("wall_min_ns", wall[0])
	r.u64("wall_ns", wallNs)
	r.u64("cpu_ns", cpuMedian)
	r.f64("gb_per_s", float64(b.bytes)/float64(wallNs))
	r.f64("ns_per_object", float64(wallNs)/float64(b.objects))
	r.f64("cpu_ns_per_object", float64(cpuMedian)/float64(b.objects))
	r.f64("mobjects_per_cpu_s", 1e3*float64(b.objects)/float64(cpuMedian))
	r.heap(0)
	r.end()
	runtime.KeepAlive(b)
}
