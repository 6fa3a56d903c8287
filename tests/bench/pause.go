// SPDX-License-Identifier: MIT

// pause.c in Go: the same table, the same operations, one OS thread per goroutine.
package main

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

type leaf struct{ stamp, spare1, spare2 uint64 }

type record struct {
	leaf  [2]*leaf
	key   uint64
	spare [3]uint64
}

const entryBytes = uint64(8 + unsafe.Sizeof(record{}) + 2*unsafe.Sizeof(leaf{}))

type job struct {
	table  []*record
	part   []*record
	seed   random
	sum    uint64
	gaps   gaps
	finish *int32
}

func newRecord(key uint64) *record {
	a := &leaf{stamp: key}
	b := &leaf{stamp: ^key}
	return &record{leaf: [2]*leaf{a, b}, key: key}
}

func swapLeaves(a, b *record) {
	old := a.leaf[0]
	a.leaf[0] = b.leaf[1]
	b.leaf[1] = old
}

func (j *job) pick() *(*record) { return &j.part[j.seed.below(uint64(len(j.part)))] }

func (j *job) mutate() {
	runtime.LockOSThread()
	j.gaps.start()
	for atomic.LoadInt32(j.finish) == 0 {
		*j.pick() = newRecord(j.gaps.all.total + 1)
		swapLeaves(*j.pick(), *j.pick())
		j.gaps.tick()
	}
}

func (j *job) spin() {
	runtime.LockOSThread()
	j.gaps.start()
	for atomic.LoadInt32(j.finish) == 0 {
		j.sum += uint64(uintptr(unsafe.Pointer(*j.pick())))
		j.gaps.tick()
	}
}

func isStamp(n uint64) bool { return n-1 < 1<<40 || ^n-1 < 1<<40 }

func checkTable(table []*record) {
	bad := 0
	for _, r := range table {
		if !isStamp(r.key) || r.leaf[0] == r.leaf[1] ||
			!isStamp(r.leaf[0].stamp) || !isStamp(r.leaf[1].stamp) {
			bad++
		}
	}
	check(bad == 0, "records and leaves after the run")
}

func main() {
	args := arguments{"live": 64 << 20, "mutators": 1, "spinners": 1, "seconds": 10, "seed": 1}
	args.parse()
	entries := args["live"] / entryBytes
	mutators, all := args["mutators"], args["mutators"]+args["spinners"]
	table := make([]*record, entries)
	for i := range table {
		table[i] = newRecord(uint64(i) + 1)
	}
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	var finish int32
	var done sync.WaitGroup
	jobs := make([]*job, all)
	start, cpu := nowNs(), cpuNs()
	for i := range jobs {
		j := &job{table: table, part: table, finish: &finish}
		j.seed = random(args["seed"]*0x9e3779b97f4a7c15 + uint64(i) + 1)
		run := j.spin
		if uint64(i) < mutators {
			part := entries / mutators
			j.part = table[uint64(i)*part : (uint64(i)+1)*part]
			run = j.mutate
		}
		jobs[i] = j
		done.Add(1)
		go func() { run(); done.Done() }()
	}
	time.Sleep(time.Duration(args["seconds"]) * time.Second)
	atomic.StoreInt32(&finish, 1)
	done.Wait()
	wall := nowNs() - start
	var op, spin gaps
	for i, j := range jobs {
		if uint64(i) < mutators {
			op.merge(&j.gaps)
		} else {
			spin.merge(&j.gaps)
		}
	}
	r := begin("pause")
	r.u64("live_bytes", entries*entryBytes)
	r.u64("mutators", mutators)
	r.u64("spinners", all-mutators)
	r.f64("wall_s", float64(wall)/1e9)
	r.f64("cpu_s", float64(cpuNs()-cpu)/1e9)
	r.f64("ops_per_s", float64(op.all.total)*1e9/float64(wall))
	r.gaps("op", &op)
	r.gaps("spin", &spin)
	pauses(r)
	r.heap(before.NumGC)
	r.end()
	checkTable(table)
}
