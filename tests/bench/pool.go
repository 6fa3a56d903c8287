// SPDX-License-Identifier: MIT

// pool.c in Go: pool is sync.Pool, list a slice that one goroutine owns.
package main

import (
	"sync"
	"sync/atomic"
)

type item struct {
	next  *item
	value [3]uint64
}

var items = sync.Pool{New: func() any { return new(item) }}

func poolPairs(count, batch uint64, held []*item) float64 {
	start := nowNs()
	for i := uint64(0); i < count/batch; i++ {
		for k := range held {
			it := items.Get().(*item)
			it.value[0] = i
			held[k] = it
		}
		for k := range held {
			items.Put(held[k])
		}
	}
	return float64(nowNs()-start) / float64(count)
}

func listPairs(count, batch uint64, held []*item) float64 {
	var free *item
	start := nowNs()
	for i := uint64(0); i < count/batch; i++ {
		for k := range held {
			it := free
			if it == nil {
				it = new(item)
			} else {
				free = it.next
			}
			it.value[0] = i
			held[k] = it
		}
		for k := range held {
			held[k].next = free
			free = held[k]
		}
	}
	return float64(nowNs()-start) / float64(count)
}

func atOnce(threads uint64, f func() float64) float64 {
	var wait sync.WaitGroup
	var worst atomic.Uint64
	for t := uint64(0); t < threads; t++ {
		wait.Add(1)
		go func() {
			ps := uint64(f() * 1000)
			for old := worst.Load(); ps > old && !worst.CompareAndSwap(old, ps); old = worst.Load() {
			}
			wait.Done()
		}()
	}
	wait.Wait()
	return float64(worst.Load()) / 1000
}

func main() {
	args := arguments{"threads": 1, "batch": 1, "count": 20000000, "rounds": 11}
	args.parse()
	list, pool := make([]uint64, args["rounds"]), make([]uint64, args["rounds"])
	for i := range list {
		list[i] = uint64(1000 * atOnce(args["threads"], func() float64 {
			return listPairs(args["count"], args["batch"], make([]*item, args["batch"]))
		}))
		pool[i] = uint64(1000 * atOnce(args["threads"], func() float64 {
			return poolPairs(args["count"], args["batch"], make([]*item, args["batch"]))
		}))
	}
	l, p := median(list), median(pool)
	r := begin("pool")
	r.u64("threads", args["threads"])
	r.u64("batch", args["batch"])
	r.f64("list_ns", float64(l)/1000)
	r.f64("pool_ns", float64(p)/1000)
	r.f64("ratio", float64(p)/float64(l))
	r.end()
}
