// SPDX-License-Identifier: MIT

// alloc.c in Go: the same loops, new and make for the allocation.
package main

import (
	"sync"
	"unsafe"
)

const ringMax = 1024

type header struct{ left, right unsafe.Pointer }
type plainHeader struct{ left, right uintptr }

// words is what stands behind the two words of an object; [0]uint64 makes 16 bytes.
type words interface {
	[0]uint64 | [1]uint64 | [2]uint64 | [4]uint64 | [6]uint64 | [10]uint64 | [14]uint64 |
		[22]uint64 | [30]uint64 | [46]uint64 | [62]uint64
}

type object[W words] struct {
	rest W // first: an empty last field would cost a word
	header
}

type plain[W words] struct {
	rest W
	plainHeader
}

type job struct {
	count, size, ring, keep, kept uint64
	scan                          bool
	table                         []unsafe.Pointer
	ns, sum                       uint64
}

// leave lets the object that leaves the ring die, or displace an old survivor.
func (j *job) leave(p unsafe.Pointer, i uint64) {
	if j.keep != 0 && i%j.keep == 0 && p != nil {
		j.table[i/j.keep%j.kept] = p
	}
}

func churn[W words](j *job, n uint64) uint64 {
	var ring [ringMax]*object[W]
	mask := (j.ring - 1) & (ringMax - 1)
	for i := uint64(0); i < n; i++ {
		o := new(object[W])
		o.left, o.right = unsafe.Pointer(o), unsafe.Pointer(o)
		if unsafe.Sizeof(o.rest) > 0 {
			*(*uint64)(unsafe.Pointer(&o.rest)) = i
		}
		if j.keep != 0 {
			j.leave(unsafe.Pointer(ring[i&mask]), i)
		}
		ring[i&mask] = o
	}
	sum := uint64(0)
	for _, o := range ring[:j.ring] {
		sum += count(o.left == unsafe.Pointer(o) && o.right == unsafe.Pointer(o))
	}
	return sum
}

func churnPlain[W words](j *job, n uint64) uint64 {
	var ring [ringMax]*plain[W]
	mask := (j.ring - 1) & (ringMax - 1)
	for i := uint64(0); i < n; i++ {
		o := new(plain[W])
		self := uintptr(unsafe.Pointer(o))
		o.left, o.right = self, self
		if unsafe.Sizeof(o.rest) > 0 {
			*(*uint64)(unsafe.Pointer(&o.rest)) = i
		}
		if j.keep != 0 {
			j.leave(unsafe.Pointer(ring[i&mask]), i)
		}
		ring[i&mask] = o
	}
	sum := uint64(0)
	for _, o := range ring[:j.ring] {
		self := uintptr(unsafe.Pointer(o))
		sum += count(o.left == self && o.right == self)
	}
	return sum
}

type maker func() *header

func one[W words]() *header { return &new(object[W]).header }

// churnAny takes a maker at random: Go has no call that takes a type.
func churnAny(j *job, n uint64) uint64 {
	makers := []maker{one[[0]uint64], one[[1]uint64], one[[2]uint64], one[[4]uint64],
		one[[6]uint64], one[[10]uint64], one[[14]uint64], one[[22]uint64], one[[30]uint64],
		one[[46]uint64], one[[62]uint64]}
	var ring [ringMax]*header
	mask := (j.ring - 1) & (ringMax - 1)
	seed := random(1)
	for i := uint64(0); i < n; i++ {
		o := makers[seed.below(uint64(len(makers)))]()
		o.left, o.right = unsafe.Pointer(o), unsafe.Pointer(o)
		j.leave(unsafe.Pointer(ring[i&mask]), i)
		ring[i&mask] = o
	}
	sum := uint64(0)
	for _, o := range ring[:j.ring] {
		sum += count(o.left == unsafe.Pointer(o) && o.right == unsafe.Pointer(o))
	}
	return sum
}

func churnAnyPlain(j *job, n uint64) uint64 {
	var ring [ringMax]*plainHeader
	mask := (j.ring - 1) & (ringMax - 1)
	seed := random(1)
	for i := uint64(0); i < n; i++ {
		o := (*plainHeader)(unsafe.Pointer(&make([]byte, 16+seed.below(497))[0]))
		o.left, o.right = uintptr(unsafe.Pointer(o)), uintptr(unsafe.Pointer(o))
		j.leave(unsafe.Pointer(ring[i&mask]), i)
		ring[i&mask] = o
	}
	sum := uint64(0)
	for _, o := range ring[:j.ring] {
		self := uintptr(unsafe.Pointer(o))
		sum += count(o.left == self && o.right == self)
	}
	return sum
}

func pick[W words](scan bool) func(*job, uint64) uint64 {
	if scan {
		return churn[W]
	}
	return churnPlain[W]
}

func (j *job) loop() func(*job, uint64) uint64 {
	if j.size == 0 && j.scan {
		return churnAny
	}
	loops := map[uint64]func(*job, uint64) uint64{
		0: churnAnyPlain, 16: pick[[0]uint64](j.scan), 24: pick[[1]uint64](j.scan),
		32: pick[[2]uint64](j.scan), 48: pick[[4]uint64](j.scan), 64: pick[[6]uint64](j.scan),
		96: pick[[10]uint64](j.scan), 128: pick[[14]uint64](j.scan),
		192: pick[[22]uint64](j.scan), 256: pick[[30]uint64](j.scan),
		384: pick[[46]uint64](j.scan), 512: pick[[62]uint64](j.scan),
	}
	loop, known := loops[j.size]
	if !known {
		die("no such size")
	}
	return loop
}

func (j *job) run(ready, start *sync.WaitGroup) {
	if j.keep != 0 {
		j.table = make([]unsafe.Pointer, j.kept)
	}
	loop := j.loop()
	loop(j, j.count/10)
	ready.Done()
	start.Wait()
	begin := nowNs()
	j.sum = loop(j, j.count)
	j.ns = nowNs() - begin
}

func main() {
	args := arguments{"size": 24, "threads": 1, "count": 100000000, "ring": 64, "scan": 1,
		"keep": 0, "kept": 65536}
	args.parse()
	n, ring := args["threads"], args["ring"]
	if n < 1 || n > 64 || ring < 1 || ring > ringMax || ring&(ring-1) != 0 {
		die("threads must be 1 to 64, ring a power of two")
	}
	var ready, start, done sync.WaitGroup
	jobs := make([]job, n)
	cpu := cpuNs()
	start.Add(1)
	for i := range jobs {
		jobs[i] = job{count: args["count"], size: args["size"], ring: ring,
			keep: args["keep"], kept: args["kept"], scan: args["scan"] != 0}
		ready.Add(1)
		done.Add(1)
		go func(j *job) { j.run(&ready, &start); done.Done() }(&jobs[i])
	}
	ready.Wait()
	start.Done()
	done.Wait()
	worst, objects := uint64(0), uint64(0)
	for i := range jobs {
		check(jobs[i].sum == ring, "what the ring's objects hold")
		objects += jobs[i].count
		if jobs[i].ns > worst {
			worst = jobs[i].ns
		}
	}
	r := begin("alloc")
	r.u64("size", args["size"])
	r.u64("threads", n)
	r.u64("objects", objects)
	r.f64("ns_per_object", float64(worst)/float64(args["count"]))
	r.f64("cpu_ns_per_object", float64(cpuNs()-cpu)/float64(objects+objects/10))
	r.heap(0)
	r.end()
}
