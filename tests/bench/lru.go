// SPDX-License-Identifier: MIT

// lru.c in Go: the same table and list, not the language's own map.
package main

import "strconv"

type entry struct {
	prev, next, chain *entry
	key               string
	value             []byte
	hash              uint64
}

type cache struct {
	buckets               []*entry
	ends                  *entry
	mask, count, capacity uint64
}

type tally struct{ hits, misses, checksum uint64 }

func skewed(seed *random, n uint64) uint64 {
	for i := 0; i < 3; i++ {
		n = 1 + seed.below(n)
	}
	return n - 1
}

func keyText(text []byte, n uint64) []byte {
	text = append(text[:0], "user/"...)
	text = strconv.AppendUint(text, n, 10)
	return append(text, "/profile"...)
}

func hashOf(text []byte) uint64 {
	hash := uint64(0xcbf29ce484222325)
	for _, c := range text {
		hash = (hash ^ uint64(c)) * 0x100000001b3
	}
	return hash
}

func newCache(capacity uint64) *cache {
	n := uint64(1)
	for n < capacity {
		n *= 2
	}
	ends := &entry{}
	ends.next, ends.prev = ends, ends
	return &cache{make([]*entry, n), ends, n - 1, 0, capacity}
}

func (e *entry) unlink() {
	e.prev.next = e.next
	e.next.prev = e.prev
}

func (c *cache) linkFirst(e *entry) {
	e.next = c.ends.next
	e.prev = c.ends
	c.ends.next.prev = e
	c.ends.next = e
}

func (c *cache) find(key []byte, hash uint64) *entry {
	e := c.buckets[hash&c.mask]
	for e != nil && (e.hash != hash || e.key != string(key)) {
		e = e.chain
	}
	return e
}

func newValue(hash, stamp uint64) []byte {
	value := make([]byte, 64+(hash>>32)%192)
	for i := range value {
		value[i] = byte(stamp)
	}
	return value
}

func (c *cache) evictLast() {
	last := c.ends.prev
	slot := &c.buckets[last.hash&c.mask]
	for *slot != last {
		slot = &(*slot).chain
	}
	*slot = last.chain
	last.unlink()
	last.prev, last.next, last.chain = nil, nil, nil
	c.count--
}

func (c *cache) insert(key []byte, hash, stamp uint64) {
	bucket := &c.buckets[hash&c.mask]
	e := &entry{key: string(key), value: newValue(hash, stamp), hash: hash, chain: *bucket}
	*bucket = e
	c.linkFirst(e)
	if c.count++; c.count > c.capacity {
		c.evictLast()
	}
}

func (c *cache) hit(e *entry, t *tally, stamp uint64) {
	t.checksum += uint64(e.value[len(e.value)-1]) + t.hits%7
	if t.hits++; t.hits%8 == 0 {
		e.value = newValue(e.hash, stamp)
	}
	if c.ends.next != e {
		e.unlink()
		c.linkFirst(e)
	}
}

func (c *cache) run(keys, ops uint64, t *tally) {
	seed := random(1)
	var text [48]byte
	for i := uint64(0); i < ops; i++ {
		n := skewed(&seed, keys)
		key := keyText(text[:], n*0x9e3779b1%4294967291)
		hash := hashOf(key)
		if e := c.find(key, hash); e != nil {
			c.hit(e, t, i)
		} else {
			c.insert(key, hash, i)
			t.misses++
		}
	}
}

func main() {
	args := arguments{"capacity": 200000, "keys": 1000000, "ops": 6000000}
	args.parse()
	if args["capacity"] < 1 || args["keys"] < 1 {
		die("capacity and keys must be at least 1")
	}
	var t tally
	c := newCache(args["capacity"])
	c.run(args["keys"], args["ops"], &t)
	r := begin("lru")
	r.u64("hits", t.hits)
	r.u64("misses", t.misses)
	r.u64("checksum", t.checksum)
	r.heap(0)
	r.end()
}
