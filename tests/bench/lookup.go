// SPDX-License-Identifier: MIT

// The lookup service (examples/lookup) in Go: the same data set, index, replacer, requests and
// answers, so that the same load generator can drive both (lookup.py).
//
// A goroutine for each connection reads requests from a buffer and answers each by one write,
// without net/http, which would take more time and memory for what is not compared here.  An
// answer is built in memory of its own, as there.  Only what the load generator sends is
// understood: GET with the path first, keep-alive.  See examples/lookup for what the parts mean.
package main

import (
	"bufio"
	"encoding/binary"
	"flag"
	"fmt"
	"math"
	"net"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ---- the data set (gen.c) ----

type record struct {
	key, version, owner  uint64
	createdUs, updatedUs int64
	score                float64
	quantity             uint32
	name, city           string
	payload              []byte
	sum                  uint64
}

const (
	epochUs  = 1577836800000000
	spanUs   = 126230400000000
	alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
)

var syllables = [16]string{"ba", "den", "fi", "gor", "ha", "kel", "lo", "mar",
	"ni", "ost", "per", "qui", "ru", "sol", "ti", "ver"}

var cities = [16]string{"Aarhus", "Bergen", "Cadiz", "Dresden", "Evora", "Fukuoka", "Ghent",
	"Hobart", "Izmir", "Jaipur", "Krakow", "Lima", "Montevideo", "Nantes", "Oulu", "Porto"}

func mix64(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

type stream uint64

func (s *stream) next() uint64 {
	*s += 0x9e3779b97f4a7c15
	return mix64(uint64(*s))
}

func makeName(bits uint64) string {
	var text [32]byte
	name := text[:0]
	for i := 0; i < 5; i++ {
		if i == 2 {
			name = append(name, ' ')
		}
		start := len(name)
		name = append(name, syllables[bits&15]...)
		if i == 0 || i == 2 {
			name[start] -= 'a' - 'A'
		}
		bits >>= 4
	}
	return string(name)
}

func makePayload(length int, s *stream) []byte {
	payload := make([]byte, length)
	for i := 0; i < length; {
		bits := s.next()
		for stop := i + 10; i < stop && i < length; i++ {
			payload[i] = alphabet[bits&63]
			bits >>= 6
		}
	}
	return payload
}

func makeRecord(seed, key, version uint64, payload int) *record {
	mixed := mix64(seed ^ mix64(key+1))
	fixed, state := stream(mixed), stream(mix64(mixed^mix64(version+1)))
	r := &record{key: key, version: version, owner: fixed.next()}
	r.createdUs = epochUs + int64(fixed.next()%spanUs)
	r.updatedUs = r.createdUs + int64(version*1000)
	r.score = float64(state.next()%1000000) / 1000
	r.quantity = uint32(state.next())
	r.name = makeName(fixed.next())
	r.city = strings.Clone(cities[state.next()&15])
	r.payload = makePayload(payload, &state)
	r.sum = r.checksum()
	return r
}

func sumWord(sum, word uint64) uint64 {
	sum = (sum ^ word) * 0x9fb21c651e98df25
	return sum ^ sum>>32
}

func sumBytes[T string | []byte](sum uint64, text T) uint64 {
	n := uint64(len(text))
	for ; len(text) >= 8; text = text[8:] {
		sum = sumWord(sum, uint64(text[0])|uint64(text[1])<<8|uint64(text[2])<<16|
			uint64(text[3])<<24|uint64(text[4])<<32|uint64(text[5])<<40|
			uint64(text[6])<<48|uint64(text[7])<<56)
	}
	word := uint64(0)
	for i := 0; i < len(text); i++ {
		word |= uint64(text[i]) << (8 * i)
	}
	return sumWord(sum, word^(n&7)<<56)
}

func (r *record) checksum() uint64 {
	sum := sumWord(0x5bd1e9955bd1e995, r.key)
	sum = sumWord(sum, r.version)
	sum = sumWord(sum, r.owner)
	sum = sumWord(sum, uint64(r.createdUs))
	sum = sumWord(sum, uint64(r.updatedUs))
	sum = sumWord(sum, math.Float64bits(r.score))
	sum = sumWord(sum, uint64(r.quantity)<<32|uint64(len(r.payload)))
	sum = sumBytes(sum, r.name)
	sum = sumBytes(sum, r.city)
	return sumBytes(sum, r.payload)
}

// ---- the index (index.c): readers take no lock ----

const shardBits = 6

type table struct {
	mask  uint64
	slots []atomic.Pointer[record]
}

type shard struct {
	lock  sync.Mutex
	count atomic.Uint64
	table atomic.Pointer[table]
}

type index [1 << shardBits]shard

func newTable(slots uint64) *table {
	return &table{slots - 1, make([]atomic.Pointer[record], slots)}
}

func (t *table) find(key, hash uint64) *atomic.Pointer[record] {
	for i := hash & t.mask; ; i = (i + 1) & t.mask {
		if r := t.slots[i].Load(); r == nil || r.key == key {
			return &t.slots[i]
		}
	}
}

func newIndex(expect uint64) *index {
	ix, slots := new(index), uint64(16)
	for slots < expect>>shardBits*2 {
		slots *= 2
	}
	for i := range ix {
		ix[i].table.Store(newTable(slots))
	}
	return ix
}

func (ix *index) get(key uint64) *record {
	hash := mix64(key)
	return ix[hash>>(64-shardBits)].table.Load().find(key, hash).Load()
}

func (s *shard) grow() {
	old := s.table.Load()
	grown := newTable((old.mask + 1) * 2)
	for i := range old.slots {
		if r := old.slots[i].Load(); r != nil {
			grown.find(r.key, mix64(r.key)).Store(r)
		}
	}
	s.table.Store(grown)
}

func (ix *index) put(r *record) {
	hash := mix64(r.key)
	s := &ix[hash>>(64-shardBits)]
	s.lock.Lock()
	defer s.lock.Unlock()
	slot := s.table.Load().find(r.key, hash)
	if slot.Load() == nil {
		if (s.count.Load()+1)*2 > s.table.Load().mask+1 {
			s.grow()
			slot = s.table.Load().find(r.key, hash)
		}
		s.count.Add(1)
	}
	slot.Store(r)
}

// ---- answers (render.c, response.c) ----

func (r *record) json(out []byte) []byte {
	milli := uint64(r.score*1000 + 0.5)
	out = append(out, `{"key":`...)
	out = strconv.AppendUint(out, r.key, 10)
	out = append(out, `,"version":`...)
	out = strconv.AppendUint(out, r.version, 10)
	out = append(out, `,"owner":`...)
	out = strconv.AppendUint(out, r.owner, 10)
	out = append(out, `,"created_us":`...)
	out = strconv.AppendInt(out, r.createdUs, 10)
	out = append(out, `,"updated_us":`...)
	out = strconv.AppendInt(out, r.updatedUs, 10)
	out = append(out, `,"score":`...)
	out = strconv.AppendUint(out, milli/1000, 10)
	out = append(out, '.', byte('0'+milli/100%10), byte('0'+milli/10%10), byte('0'+milli%10))
	out = append(out, `,"quantity":`...)
	out = strconv.AppendUint(out, uint64(r.quantity), 10)
	out = append(append(out, `,"name":"`...), r.name...)
	out = append(append(out, `","city":"`...), r.city...)
	out = append(append(out, `","payload":"`...), r.payload...)
	out = append(out, `","checksum":"`...)
	for shift := 60; shift >= 0; shift -= 4 {
		out = append(out, "0123456789abcdef"[r.sum>>uint(shift)&15])
	}
	return append(out, "\"}\n"...)
}

func (r *record) binary(out []byte) []byte {
	le := binary.LittleEndian
	out = append(out, "GCLOOK01"...)
	out = le.AppendUint64(out, r.key)
	out = le.AppendUint64(out, r.version)
	out = le.AppendUint64(out, r.owner)
	out = le.AppendUint64(out, uint64(r.createdUs))
	out = le.AppendUint64(out, uint64(r.updatedUs))
	out = le.AppendUint64(out, math.Float64bits(r.score))
	out = le.AppendUint32(out, r.quantity)
	out = le.AppendUint32(out, uint32(len(r.name)))
	out = le.AppendUint32(out, uint32(len(r.city)))
	out = le.AppendUint32(out, uint32(len(r.payload)))
	out = append(append(append(out, r.name...), r.city...), r.payload...)
	return le.AppendUint64(out, r.sum)
}

const headMax = 160

// answer puts the head before a body that begins at headMax; what comes back is one write.
func answer(status, kind string, whole []byte) []byte {
	var text [headMax]byte
	head := append(text[:0], "HTTP/1.1 "...)
	head = append(head, status...)
	head = append(head, "\r\nContent-Type: "...)
	head = append(head, kind...)
	head = append(head, "\r\nContent-Length: "...)
	head = strconv.AppendInt(head, int64(len(whole)-headMax), 10)
	head = append(head, "\r\n\r\n"...)
	start := headMax - len(head)
	copy(whole[start:], head)
	return whole[start:]
}

func answerText(status, kind, body string) []byte {
	return answer(status, kind, append(make([]byte, headMax, headMax+len(body)), body...))
}

func fail(status, why string) []byte {
	return answerText(status, "application/json",
		fmt.Sprintf("{\"error\":\"%s\",\"status\":%s}\n", why, status[:3]))
}

// ---- the service ----

type service struct {
	ix            *index
	seed, records uint64
	payload       int
	requests      atomic.Uint64
	replaced      atomic.Uint64
	damaged       atomic.Uint64
}

func (s *service) lookup(query string) []byte {
	keyText, format, _ := strings.Cut(strings.TrimPrefix(query, "key="), "&fmt=")
	key, err := strconv.ParseUint(keyText, 10, 64)
	if err != nil {
		return fail("400 Bad Request", "parameter key must be a whole number")
	}
	r := s.ix.get(key)
	if r == nil {
		return fail("404 Not Found", "no record has this key")
	}
	if r.checksum() != r.sum {
		s.damaged.Add(1)
		return fail("500 Internal Server Error", "the record is damaged")
	}
	room := len(r.name) + len(r.city) + len(r.payload)
	if format == "bin" {
		out := make([]byte, headMax, headMax+room+80)
		return answer("200 OK", "application/octet-stream", r.binary(out))
	}
	out := make([]byte, headMax, headMax+room+284)
	return answer("200 OK", "application/json", r.json(out))
}

func (s *service) health() []byte {
	keys := uint64(0)
	for i := range s.ix {
		keys += s.ix[i].count.Load()
	}
	return answerText("200 OK", "application/json",
		fmt.Sprintf("{\"status\":\"ok\",\"records\":%d,\"seed\":%d,\"payload\":%d,\"keys\":%d}\n",
			s.records, s.seed, s.payload, keys))
}

func (s *service) route(line string) []byte {
	s.requests.Add(1)
	path, _, whole := strings.Cut(strings.TrimPrefix(line, "GET "), " HTTP/1.1\r\n")
	switch {
	case !whole || !strings.HasPrefix(line, "GET "):
		return fail("400 Bad Request", "not a request that this program knows")
	case strings.HasPrefix(path, "/lookup?"):
		return s.lookup(path[len("/lookup?"):])
	case path == "/healthz":
		return s.health()
	}
	return fail("404 Not Found", "no such path: there are /lookup and /healthz")
}

func (s *service) serve(conn net.Conn) {
	defer conn.Close()
	in := bufio.NewReaderSize(conn, 2048)
	for {
		line, err := in.ReadString('\n')
		for rest := []byte(line); err == nil && len(rest) > 2; {
			rest, err = in.ReadSlice('\n')
		}
		if err != nil {
			return
		}
		if _, err = conn.Write(s.route(line)); err != nil {
			return
		}
	}
}

// load makes version 0 of all records; returns the sum over them that the C server prints too.
func (s *service) load() uint64 {
	sum := uint64(0)
	for key := uint64(0); key < s.records; key++ {
		r := makeRecord(s.seed, key, 0, s.payload)
		sum += mix64(r.sum)
		s.ix.put(r)
	}
	return sum
}

func (s *service) replace(rate uint64) {
	random := stream(mix64(s.seed ^ 0x7265706c61636572))
	start, planned := time.Now(), uint64(0)
	for range time.Tick(5 * time.Millisecond) {
		due := uint64(time.Since(start).Seconds() * float64(rate))
		if due-planned > rate {
			planned = due - rate
		}
		for ; planned < due; planned++ {
			old := s.ix.get(random.next() % s.records)
			s.ix.put(makeRecord(s.seed, old.key, old.version+1, s.payload))
			s.replaced.Add(1)
		}
	}
}

// ---- main (main.c, stats.c) ----

func writePort(path string, port int) {
	check(os.WriteFile(path+".new", []byte(fmt.Sprintln(port)), 0o644) == nil, "port file")
	check(os.Rename(path+".new", path) == nil, "port file")
}

func (s *service) writeStats(path string, since *runtime.MemStats, cpuSince uint64) {
	var now runtime.MemStats
	worst := uint64(0)
	cpu := cpuNs() - cpuSince
	runtime.ReadMemStats(&now)
	for i := 0; i < len(now.PauseNs) && i < int(now.NumGC); i++ {
		if now.PauseNs[i] > worst {
			worst = now.PauseNs[i]
		}
	}
	text := fmt.Sprintf("cpu_s %.6f\ngc_cycles %d\ngc_cycles_loading %d\nalloc_bytes %d\n"+
		"pause_max_ns %d\nrequests %d\ndamaged %d\nreplaced %d\n", float64(cpu)*1e-9,
		now.NumGC-since.NumGC, since.NumGC, now.TotalAlloc-since.TotalAlloc, worst,
		s.requests.Load(), s.damaged.Load(), s.replaced.Load())
	check(os.WriteFile(path, []byte(text), 0o644) == nil, "stats file")
}

func main() {
	var s service
	var before runtime.MemStats
	flag.Uint64Var(&s.records, "records", 100000, "number of records")
	flag.Uint64Var(&s.seed, "seed", 1, "data set")
	flag.IntVar(&s.payload, "payload", 512, "payload bytes in a record")
	rate := flag.Uint64("replace-rate", 100000, "records replaced a second; 0: none")
	port := flag.Int("port", 8080, "port on 127.0.0.1; 0: any free one")
	portFile := flag.String("port-file", "", "write the port there")
	stats := flag.String("stats", "", "write name value lines there at the end")
	flag.Parse()
	ending := make(chan os.Signal, 1)
	signal.Notify(ending, syscall.SIGTERM, syscall.SIGINT)
	s.ix = newIndex(s.records)
	sum := s.load()
	fmt.Printf("loaded %d records: checksum %016x\n", s.records, sum)
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	check(err == nil, "listen")
	runtime.ReadMemStats(&before)
	cpuBefore := cpuNs()
	go func() {
		for {
			conn, err := listener.Accept()
			check(err == nil, "accept")
			go s.serve(conn)
		}
	}()
	if *rate > 0 {
		go s.replace(*rate)
	}
	if *portFile != "" {
		writePort(*portFile, listener.Addr().(*net.TCPAddr).Port)
	}
	<-ending
	if *stats != "" {
		s.writeStats(*stats, &before, cpuBefore)
	}
	if s.damaged.Load() > 0 {
		os.Exit(3)
	}
}
