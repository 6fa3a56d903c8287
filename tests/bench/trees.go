// SPDX-License-Identifier: MIT

// trees.c in Go: the same loops, goroutines for threads.
package main

import "sync"

const minDepth = 4

type node struct{ left, right *node }

func build(depth uint64) *node {
	if depth == 0 {
		return &node{}
	}
	left := build(depth - 1)
	right := build(depth - 1)
	return &node{left, right}
}

func (n *node) count() uint64 {
	if n.left == nil {
		return 1
	}
	return 1 + n.left.count() + n.right.count()
}

func treeNodes(depth uint64) uint64 { return 2<<depth - 1 }

func share(n, index, nthreads uint64) uint64 {
	if index < n%nthreads {
		return n/nthreads + 1
	}
	return n / nthreads
}

func worker(depth, index, nthreads uint64) uint64 {
	nodes := uint64(0)
	for d := uint64(minDepth); d <= depth; d += 2 {
		n := share(1<<(depth-d+minDepth), index, nthreads)
		for i := uint64(0); i < n; i++ {
			nodes += build(d).count()
		}
	}
	return nodes
}

func shortLived(depth, nthreads uint64) uint64 {
	counts := make([]uint64, nthreads)
	var done sync.WaitGroup
	for i := uint64(0); i < nthreads; i++ {
		done.Add(1)
		go func(i uint64) {
			counts[i] = worker(depth, i, nthreads)
			done.Done()
		}(i)
	}
	done.Wait()
	sum := uint64(0)
	for _, n := range counts {
		sum += n
	}
	return sum
}

func expectedNodes(depth uint64) uint64 {
	nodes := uint64(0)
	for d := uint64(minDepth); d <= depth; d += 2 {
		nodes += treeNodes(d) << (depth - d + minDepth)
	}
	return nodes
}

func main() {
	args := arguments{"depth": 18, "threads": 1}
	args.parse()
	depth, nthreads := args["depth"], args["threads"]
	if depth < minDepth || depth > 30 || nthreads < 1 || nthreads > 64 {
		die("depth must be 4 to 30, threads 1 to 64")
	}
	start := nowNs()
	check(build(depth+1).count() == treeNodes(depth+1), "the stretch tree")
	longLived := build(depth)
	check(shortLived(depth, nthreads) == expectedNodes(depth), "the short-lived trees")
	check(longLived.count() == treeNodes(depth), "the long-lived tree")
	r := begin("trees")
	r.u64("depth", depth)
	r.u64("threads", nthreads)
	r.u64("objects", treeNodes(depth+1)+treeNodes(depth)+expectedNodes(depth))
	r.f64("wall_s", float64(nowNs()-start)/1e9)
	r.f64("cpu_s", float64(cpuNs())/1e9)
	r.heap(0)
	r.end()
}
