// SPDX-License-Identifier: MIT

// hashmap.c in Go: the same chains and locks, goroutines for threads.
package main

import "sync"

const parts = 256

type value struct{ stamp, spare1, spare2, spare3 uint64 }

type entry struct {
	next  *entry
	value *value
	key   uint64
}

type part struct {
	sync.Mutex
	_ [56]byte
}

type hashmap struct {
	chains []*entry
	mask   uint64
	parts  [parts]part
}

type job struct {
	m                          *hashmap
	index, nthreads, keys, ops uint64
	found, sum                 uint64
}

func mix(key uint64) uint64 {
	key = (key ^ key>>31) * 0x9e3779b97f4a7c15
	return key ^ key>>29
}

func (m *hashmap) lock(key uint64) (*sync.Mutex, **entry) {
	i := mix(key) & m.mask
	lock := &m.parts[i%parts].Mutex
	lock.Lock()
	return lock, &m.chains[i]
}

func find(slot **entry, key uint64) **entry {
	for *slot != nil && (*slot).key != key {
		slot = &(*slot).next
	}
	return slot
}

func (j *job) lookUp(key uint64) {
	lock, slot := j.m.lock(key)
	if e := *find(slot, key); e != nil {
		j.found++
		j.sum += e.value.stamp
	}
	lock.Unlock()
}

func (j *job) insert(key, stamp uint64) {
	v := &value{stamp: stamp}
	fresh := &entry{value: v, key: key}
	lock, slot := j.m.lock(key)
	slot = find(slot, key)
	if *slot == nil {
		*slot = fresh
	} else {
		(*slot).value = v
	}
	lock.Unlock()
}

func (j *job) replace(key, stamp uint64) {
	v := &value{stamp: stamp}
	lock, slot := j.m.lock(key)
	if e := *find(slot, key); e != nil {
		e.value = v
	}
	lock.Unlock()
}

func (j *job) erase(key uint64) {
	lock, slot := j.m.lock(key)
	slot = find(slot, key)
	if e := *slot; e != nil {
		*slot = e.next
	}
	lock.Unlock()
}

func (j *job) run() {
	seed := random(j.index + 1)
	for i := uint64(0); i < j.ops; i++ {
		dice := seed.below(8)
		key := seed.below(j.keys/j.nthreads)*j.nthreads + j.index
		switch {
		case dice < 4:
			j.lookUp((key + i) % j.keys)
		case dice < 6:
			j.insert(key, i)
		case dice < 7:
			j.erase(key)
		default:
			j.replace(key, i)
		}
	}
}

func (m *hashmap) checksum() (sum, entries uint64) {
	for _, e := range m.chains {
		for ; e != nil; e = e.next {
			sum += mix(e.key + e.value.stamp)
			entries++
		}
	}
	return sum, entries
}

func main() {
	args := arguments{"threads": 2, "keys": 1 << 20, "ops": 5000000}
	args.parse()
	n := args["threads"]
	if n < 1 || n > 64 || args["keys"] < n {
		die("threads must be 1 to 64, and not more than keys")
	}
	size := uint64(1)
	for size < args["keys"] {
		size *= 2
	}
	m := &hashmap{chains: make([]*entry, size), mask: size - 1}
	var done sync.WaitGroup
	jobs := make([]job, n)
	for i := range jobs {
		jobs[i] = job{m, uint64(i), n, args["keys"], args["ops"], 0, 0}
		done.Add(1)
		go func(j *job) { j.run(); done.Done() }(&jobs[i])
	}
	done.Wait()
	sum, entries := m.checksum()
	r := begin("hashmap")
	r.u64("threads", n)
	r.u64("entries", entries)
	r.u64("checksum", sum)
	r.heap(0)
	r.end()
}
