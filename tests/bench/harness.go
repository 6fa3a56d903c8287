// SPDX-License-Identifier: MIT

// The Go side of support/bench.c: arguments, one JSON line, histograms, gap meters.
// See there for what the names mean.
package main

import (
	"fmt"
	"math/bits"
	"os"
	"runtime"
	"runtime/metrics"
	"sort"
	"strconv"
	"strings"
	"syscall"
	"time"
)

var epoch = time.Now()

func nowNs() uint64 { return uint64(time.Since(epoch)) }

func cpuNs() uint64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		die(err.Error())
	}
	return uint64(usage.Utime.Nano() + usage.Stime.Nano())
}

func die(what string) {
	fmt.Fprintln(os.Stderr, "bench:", what)
	os.Exit(2)
}

func check(holds bool, what string) {
	if !holds {
		fmt.Fprintln(os.Stderr, "bench: wrong result:", what)
		os.Exit(1)
	}
}

type random uint64

func (r *random) next() uint64 {
	x := uint64(*r)
	x ^= x >> 12
	x ^= x << 25
	x ^= x >> 27
	*r = random(x)
	return x * 0x2545f4914f6cdd1d
}

func (r *random) below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.next(), n)
	return hi
}

type arguments map[string]uint64

// parse replaces the defaults by name=value words.
func (a arguments) parse() {
	shift := map[byte]uint{'k': 10, 'm': 20, 'g': 30}
	for _, word := range os.Args[1:] {
		name, text, found := strings.Cut(word, "=")
		if _, known := a[name]; !known || !found || text == "" {
			die("unknown argument " + word)
		}
		by := shift[text[len(text)-1]]
		if by != 0 {
			text = text[:len(text)-1]
		}
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			die("not a number: " + word)
		}
		a[name] = n << by
	}
}

type result struct{ text strings.Builder }

func begin(program string) *result {
	r := &result{}
	fmt.Fprintf(&r.text, `{"program": "%s", "peer": "go"`, program)
	r.str("version", runtime.Version())
	return r
}

func (r *result) u64(name string, value uint64)  { fmt.Fprintf(&r.text, `, "%s": %d`, name, value) }
func (r *result) f64(name string, value float64) { fmt.Fprintf(&r.text, `, "%s": %.6g`, name, value) }
func (r *result) str(name, value string)         { fmt.Fprintf(&r.text, `, "%s": "%s"`, name, value) }

func (r *result) heap(cyclesBefore uint32) {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	r.u64("cycles", uint64(stats.NumGC-cyclesBefore))
	r.u64("heap_live_bytes", stats.HeapAlloc)
	r.u64("heap_sys_bytes", stats.HeapSys)
}

func (r *result) end() {
	status, _ := os.ReadFile("/proc/self/status")
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	if fields := strings.Fields(rest); len(fields) > 0 {
		peak, _ := strconv.ParseUint(fields[0], 10, 64)
		r.u64("peak_rss_kib", peak)
	}
	fmt.Println(r.text.String() + "}")
}

type hist struct {
	counts     [496]uint64
	total, max uint64
}

func (h *hist) add(ns uint64) {
	top := 63 - bits.LeadingZeros64(ns|8)
	h.counts[uint64(top-3)*8+ns>>(uint(top)-3)]++
	h.total++
	if ns > h.max {
		h.max = ns
	}
}

func (h *hist) merge(from *hist) {
	for i, n := range from.counts {
		h.counts[i] += n
	}
	h.total += from.total
	if from.max > h.max {
		h.max = from.max
	}
}

func bucketUpper(i uint64) uint64 {
	shift := uint64(0)
	if i >= 16 {
		shift = i/8 - 1
	}
	return (i-shift*8+1)<<shift - 1
}

func (h *hist) quantile(q float64) uint64 {
	want := uint64(q * float64(h.total))
	seen := uint64(0)
	for i, n := range h.counts {
		seen += n
		if n > 0 && (seen > want || seen == h.total) {
			if upper := bucketUpper(uint64(i)); upper < h.max {
				return upper
			}
			return h.max
		}
	}
	return h.max
}

func (r *result) hist(prefix string, h *hist) {
	r.u64(prefix+"_p50_ns", h.quantile(0.5))
	r.u64(prefix+"_p99_ns", h.quantile(0.99))
	r.u64(prefix+"_p999_ns", h.quantile(0.999))
	r.u64(prefix+"_p9999_ns", h.quantile(0.9999))
	r.u64(prefix+"_max_ns", h.max)
	r.u64(prefix+"_samples", h.total)
}

// gaps needs a goroutine that is locked to its OS thread.
type gaps struct {
	all                      hist
	last, ticks, ownMaxNs    uint64
	over100us, over1ms       uint64
	ownOver100us, ownOver1ms uint64
	delayNs                  uint64
	fd                       int
}

func (g *gaps) runDelayNs() uint64 {
	var text [96]byte
	if g.fd < 0 {
		return 0
	}
	n, err := syscall.Pread(g.fd, text[:], 0)
	for err == syscall.EINTR {
		n, err = syscall.Pread(g.fd, text[:], 0)
	}
	if err != nil {
		die("cannot read schedstat")
	}
	delay, field := uint64(0), 0
	for _, c := range text[:n] {
		if c == ' ' {
			field++
		} else if field == 1 {
			delay = delay*10 + uint64(c-'0')
		}
	}
	return delay
}

func (g *gaps) start() {
	fd, err := syscall.Open("/proc/thread-self/schedstat", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	g.fd = fd
	if err != nil {
		g.fd = -1
	}
	g.delayNs = g.runDelayNs()
	g.last = nowNs()
}

func (g *gaps) tick() {
	now := nowNs()
	gap := now - g.last
	g.all.add(gap)
	g.ticks++
	if gap > 50000 || g.ticks&1023 == 0 {
		g.slow(gap)
		return
	}
	g.last = now
}

func count(holds bool) uint64 {
	if holds {
		return 1
	}
	return 0
}

func (g *gaps) slow(gap uint64) {
	delay := g.runDelayNs()
	own := uint64(0)
	if waited := delay - g.delayNs; gap > waited {
		own = gap - waited
	}
	g.delayNs = delay
	g.over100us += count(gap > 100000)
	g.over1ms += count(gap > 1000000)
	g.ownOver100us += count(own > 100000)
	g.ownOver1ms += count(own > 1000000)
	if own > g.ownMaxNs {
		g.ownMaxNs = own
	}
	g.last = nowNs()
}

func (g *gaps) merge(from *gaps) {
	g.all.merge(&from.all)
	if from.ownMaxNs > g.ownMaxNs {
		g.ownMaxNs = from.ownMaxNs
	}
	g.over100us += from.over100us
	g.over1ms += from.over1ms
	g.ownOver100us += from.ownOver100us
	g.ownOver1ms += from.ownOver1ms
}

func (r *result) gaps(prefix string, g *gaps) {
	r.hist(prefix, &g.all)
	r.u64(prefix+"_own_max_ns", g.ownMaxNs)
	r.u64(prefix+"_over_100us", g.over100us)
	r.u64(prefix+"_over_1ms", g.over1ms)
	r.u64(prefix+"_own_over_100us", g.ownOver100us)
	r.u64(prefix+"_own_over_1ms", g.ownOver1ms)
}

func median(values []uint64) uint64 {
	sort.Slice(values, func(i, k int) bool { return values[i] < values[k] })
	return values[len(values)/2]
}

// pauses adds what the runtime knows of its own pauses.
func pauses(r *result) {
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	worst := uint64(0)
	for _, ns := range stats.PauseNs {
		if ns > worst {
			worst = ns
		}
	}
	r.u64("pause_last256_max_ns", worst)
	r.u64("pause_total_ns", stats.PauseTotalNs)
	sample := []metrics.Sample{{Name: "/gc/pauses:seconds"}}
	metrics.Read(sample)
	h := sample[0].Value.Float64Histogram()
	r.u64("pause_p50_ns", bucketQuantile(h, 0.5))
	r.u64("pause_p99_ns", bucketQuantile(h, 0.99))
	r.u64("pause_p999_ns", bucketQuantile(h, 0.999))
	r.u64("pause_max_ns", bucketQuantile(h, 1))
}

// bucketQuantile returns the upper bound of the bucket in which the share q is reached.
func bucketQuantile(h *metrics.Float64Histogram, q float64) uint64 {
	total, seen := uint64(0), uint64(0)
	for _, n := range h.Counts {
		total += n
	}
	want := uint64(q * float64(total))
	for i, n := range h.Counts {
		seen += n
		if n > 0 && (seen > want || seen == total) {
			return uint64(h.Buckets[i+1] * 1e9)
		}
	}
	return 0
}
