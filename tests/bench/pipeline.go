// SPDX-License-Identifier: MIT

// pipeline.c in Go: channels for queues, goroutines for threads.
package main

const (
	itemCount = 16
	queueSize = 64
)

type item struct {
	next    *item
	payload []byte
}

type message struct {
	items *item
	id    uint64
}

func produce(id uint64, seed *random) *message {
	var items *item
	for i := 0; i < itemCount; i++ {
		payload := make([]byte, 16+seed.below(128))
		for k := range payload {
			payload[k] = byte(id + uint64(k))
		}
		items = &item{items, payload}
	}
	return &message{items, id}
}

func transform(m *message) *message {
	var items *item
	for old := m.items; old != nil; old = old.next {
		payload := make([]byte, len(old.payload))
		for k, c := range old.payload {
			payload[k] = c ^ 0x5a
		}
		items = &item{items, payload}
	}
	return &message{items, m.id}
}

func consume(m *message) uint64 {
	sum := m.id
	for i := m.items; i != nil; i = i.next {
		n := len(i.payload)
		sum = sum*31 + uint64(n) + uint64(i.payload[0]) + uint64(i.payload[n-1])
	}
	return sum
}

func producer(n uint64, to chan<- *message) {
	seed := random(1)
	for i := uint64(0); i < n; i++ {
		to <- produce(i, &seed)
	}
	close(to)
}

func stage(from <-chan *message, to chan<- *message) {
	for m := range from {
		to <- transform(m)
	}
	close(to)
}

func main() {
	args := arguments{"messages": 300000, "stages": 2}
	args.parse()
	if args["stages"] > 16 {
		die("stages must be 0 to 16")
	}
	queue := make(chan *message, queueSize)
	go producer(args["messages"], queue)
	for i := uint64(0); i < args["stages"]; i++ {
		next := make(chan *message, queueSize)
		go stage(queue, next)
		queue = next
	}
	sum := uint64(0)
	for m := range queue {
		sum = sum*31 + consume(m)
	}
	r := begin("pipeline")
	r.u64("messages", args["messages"])
	r.u64("checksum", sum)
	r.heap(0)
	r.end()
}
