// SPDX-License-Identifier: MIT

// latency.c in Go: one goroutine on a thread of its own, which sleeps as the C program does.
package main

import (
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	cellCount = 37
	marginNs  = 100000
	stepNs    = 5000
)

type leaf struct{ stamp, spare1, spare2 uint64 }

type record struct {
	leaf  [2]*leaf
	key   uint64
	spare [3]uint64
}

type cell struct {
	next  *cell
	value [3]uint64
}

const entryBytes = uint64(8 + unsafe.Sizeof(record{}) + 2*unsafe.Sizeof(leaf{}))

type service struct {
	table    []*record
	seed     random
	sum      uint64
	delayNs  uint64 // waited for a CPU, when last on time
	late     bool   // not on time for the present request
	meter    gaps
	all, own hist
}

func newRecord(key uint64) *record {
	a := &leaf{stamp: key}
	b := &leaf{stamp: ^key}
	return &record{leaf: [2]*leaf{a, b}, key: key}
}

func newCells(key uint64) *cell {
	var cells *cell
	for i := uint64(0); i < cellCount; i++ {
		cells = &cell{cells, [3]uint64{key + i}}
	}
	return cells
}

func useUp(cells *cell) uint64 {
	sum := uint64(0)
	for ; cells != nil; cells = cells.next {
		sum += cells.value[0]
	}
	return sum
}

func (s *service) serve() {
	slot := &s.table[s.seed.below(uint64(len(s.table)))]
	old := *slot
	s.sum += useUp(newCells(old.key + old.leaf[0].stamp))
	*slot = newRecord(old.key)
}

func (s *service) waitUntil(intended uint64) {
	now := nowNs()
	last := now
	if s.late = now >= intended; s.late {
		return
	}
	s.delayNs = s.meter.runDelayNs()
	for now+2*marginNs < intended {
		nap := syscall.NsecToTimespec(int64(intended - marginNs - now))
		syscall.Nanosleep(&nap, nil) // a signal may end it early
		last, now = now, nowNs()
	}
	for now < intended {
		if now-last > stepNs {
			s.delayNs = s.meter.runDelayNs()
		}
		last, now = now, nowNs()
	}
	s.late = now-last > stepNs
}

func less(ns, waited uint64) uint64 {
	if ns > waited {
		return ns - waited
	}
	return 0
}

func (s *service) timed(intended uint64) {
	beginDelay := s.delayNs
	if s.late {
		beginDelay = s.meter.runDelayNs()
	}
	begin := nowNs()
	s.serve()
	end := nowNs()
	delay := s.meter.runDelayNs()
	own, serving := less(end-intended, delay-s.delayNs), less(end-begin, delay-beginDelay)
	if own < serving {
		own = serving
	}
	s.all.add(end - intended)
	s.own.add(own)
}

func (s *service) run(rate, seconds uint64) {
	runtime.LockOSThread()
	s.meter.start()
	s.delayNs = s.meter.runDelayNs()
	step, intended := 1000000000/rate, nowNs()
	for i := uint64(0); i < rate*seconds; i++ {
		intended += step
		s.waitUntil(intended)
		s.timed(intended)
	}
}

func collect(everyMs uint64, stop *int32, done chan<- bool) {
	for atomic.LoadInt32(stop) == 0 {
		until := nowNs() + everyMs*1000000
		runtime.GC()
		for atomic.LoadInt32(stop) == 0 && nowNs() < until {
			time.Sleep(5 * time.Millisecond)
		}
	}
	done <- true
}

func main() {
	args := arguments{"live": 64 << 20, "rate": 5000, "seconds": 10, "every": 500}
	args.parse()
	entries := args["live"] / entryBytes
	if entries < 1 || args["rate"] < 1 || args["rate"] > 1000000 {
		die("live must be at least a record, rate 1 to 1000000")
	}
	s := &service{table: make([]*record, entries), seed: 1}
	for i := range s.table {
		s.table[i] = newRecord(uint64(i) + 1)
	}
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var stop int32
	done := make(chan bool)
	if args["every"] > 0 {
		go collect(args["every"], &stop, done)
	}
	s.run(args["rate"], args["seconds"])
	atomic.StoreInt32(&stop, 1)
	if args["every"] > 0 {
		<-done
	}
	r := begin("latency")
	r.u64("live_bytes", entries*entryBytes)
	r.u64("checksum", s.sum)
	r.hist("all", &s.all)
	r.hist("own", &s.own)
	pauses(r)
	r.heap(before.NumGC)
	r.end()
	for i, rec := range s.table {
		key := uint64(i) + 1
		check(rec.key == key && rec.leaf[0].stamp == key && rec.leaf[1].stamp == ^key,
			"records and leaves after the run")
	}
}
