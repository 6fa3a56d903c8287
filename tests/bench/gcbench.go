// SPDX-License-Identifier: MIT

// gcbench.c in Go.
package main

const (
	minDepth = 4
	arrayLen = 500000
)

type node struct {
	left, right  *node
	label, depth uint32
}

func newNode(left, right *node, depth uint64) *node {
	return &node{left, right, uint32(3*depth + 1), uint32(depth)}
}

func (n *node) populate(depth uint64) {
	if depth == 0 {
		return
	}
	n.left = newNode(nil, nil, depth-1)
	n.right = newNode(nil, nil, depth-1)
	n.left.populate(depth - 1)
	n.right.populate(depth - 1)
}

func topDown(depth uint64) *node {
	root := newNode(nil, nil, depth)
	root.populate(depth)
	return root
}

func bottomUp(depth uint64) *node {
	if depth == 0 {
		return newNode(nil, nil, 0)
	}
	left := bottomUp(depth - 1)
	right := bottomUp(depth - 1)
	return newNode(left, right, depth)
}

func useUp(root *node) uint64 {
	sum := uint64(0)
	for n := root; n != nil; n = n.left {
		sum += uint64(n.label)
	}
	return sum
}

func (n *node) sum() uint64 {
	if n == nil {
		return 0
	}
	return uint64(n.label) + n.left.sum() + n.right.sum()
}

func treeSize(depth uint64) uint64 { return 2<<depth - 1 }

func shortLived(depth uint64) (sum, nodes uint64) {
	for d := uint64(minDepth); d <= depth; d += 2 {
		n := 2 * treeSize(depth+2) / treeSize(d)
		for i := uint64(0); i < n; i++ {
			sum += useUp(topDown(d))
		}
		for i := uint64(0); i < n; i++ {
			sum += useUp(bottomUp(d))
		}
		nodes += 2 * n * treeSize(d)
	}
	return sum, nodes
}

func newArray() []float64 {
	array := make([]float64, arrayLen)
	for i := 0; i < arrayLen/2; i++ {
		array[i] = 1.0 / float64(i+1)
	}
	return array
}

func main() {
	args := arguments{"depth": 18}
	args.parse()
	depth := args["depth"]
	if depth < minDepth || depth > 28 {
		die("depth must be 4 to 28")
	}
	sum := useUp(bottomUp(depth + 2))
	longLived := topDown(depth)
	array := newArray()
	more, nodes := shortLived(depth)
	sum += more + longLived.sum() + uint64(1000*array[999]+0.5)
	r := begin("gcbench")
	r.u64("depth", depth)
	r.u64("objects", nodes+treeSize(depth+2)+treeSize(depth))
	r.u64("checksum", sum)
	r.heap(0)
	r.end()
}
