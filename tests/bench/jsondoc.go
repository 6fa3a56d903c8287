// SPDX-License-Identifier: MIT

// jsondoc.c in Go: the same text, the same tree.
package main

import (
	"bytes"
	"runtime"
	"strconv"
)

const (
	kindNull = iota
	kindFalse
	kindTrue
	kindNumber
	kindText
	kindList
	kindObject
)

type value struct {
	first, next *value
	name, text  string
	number      int64
	kind        uint64
}

// ---- the text ----

type writer struct{ bytes.Buffer }

func (w *writer) put(words string)   { w.WriteString(words) }
func (w *writer) putNumber(n uint64) { w.WriteString(strconv.FormatUint(n, 10)) }

var words = []string{"heap", "of", "small", "things", "\\\"quoted\\\"", "and\\n", "some",
	"more", "which", "nobody", "reads"}

func (w *writer) putWords(seed *random) {
	n := 1 + seed.below(6)
	w.put("\"")
	for i := uint64(0); i < n; i++ {
		w.put(words[seed.below(11)])
		if i+1 < n {
			w.put(" ")
		}
	}
	w.put("\"")
}

func (w *writer) putRecord(id uint64, seed *random) {
	ntags := seed.below(5)
	w.put("{\"id\": ")
	w.putNumber(id)
	w.put(", \"name\": ")
	w.putWords(seed)
	w.put(", \"price\": ")
	w.putNumber(seed.below(1000))
	w.put(".")
	w.putNumber(1 + seed.below(9))
	w.put(", \"tags\": [")
	for i := uint64(0); i < ntags; i++ {
		w.putWords(seed)
		if i+1 < ntags {
			w.put(", ")
		}
	}
	if seed.below(2) != 0 {
		w.put("], \"on\": true")
	} else {
		w.put("], \"on\": false")
	}
	w.put(", \"parent\": null, \"at\": {\"x\": -")
	w.putNumber(seed.below(500))
	w.put(", \"y\": ")
	w.putNumber(seed.below(500))
	w.put("}}")
}

func makeText(size uint64) []byte {
	w, seed := &writer{}, random(1)
	w.put("[")
	for id := uint64(0); uint64(w.Len()) < size; id++ {
		if id == 0 {
			w.put("\n")
		} else {
			w.put(",\n")
		}
		w.putRecord(id, &seed)
	}
	w.put("\n]\n")
	return w.Bytes()
}

// ---- the parser ----

type parser struct {
	text []byte
	at   int
}

func (p *parser) skipSpace() byte {
	for p.text[p.at] == ' ' || p.text[p.at] == '\n' {
		p.at++
	}
	return p.text[p.at]
}

func (p *parser) expect(words string) {
	p.skipSpace()
	check(string(p.text[p.at:p.at+len(words)]) == words, words)
	p.at += len(words)
}

func (p *parser) parseText() string {
	p.expect("\"")
	from, end, n := p.at, p.at, 0
	for ; p.text[end] != '"'; end, n = end+1, n+1 {
		if p.text[end] == '\\' {
			end++
		}
	}
	p.at = end + 1
	if n == end-from {
		return string(p.text[from:end])
	}
	text := make([]byte, n)
	for i := range text {
		text[i] = p.text[from]
		if text[i] == '\\' {
			from++
			if text[i] = p.text[from]; text[i] == 'n' {
				text[i] = '\n'
			}
		}
		from++
	}
	return string(text)
}

func (p *parser) parseNumber() int64 {
	negative, digits, n := p.text[p.at] == '-', -1, int64(0)
	if negative {
		p.at++
	}
	for ; p.text[p.at] >= '0' && p.text[p.at] <= '9' || p.text[p.at] == '.'; p.at++ {
		if p.text[p.at] == '.' {
			digits = 0
			continue
		}
		n = 10*n + int64(p.text[p.at]-'0')
		if digits >= 0 {
			digits++
		}
	}
	if digits < 0 {
		digits = 0
	}
	for ; digits < 3; digits++ {
		n *= 10
	}
	if negative {
		return -n
	}
	return n
}

func (p *parser) parseChildren(end byte) *value {
	var first, last *value
	for p.at++; p.skipSpace() != end; {
		name := ""
		if end == '}' {
			name = p.parseText()
			p.expect(":")
		}
		v := p.parseValue()
		v.name = name
		if last == nil {
			first = v
		} else {
			last.next = v
		}
		last = v
		if p.skipSpace() == ',' {
			p.at++
		}
	}
	p.at++
	return first
}

func (p *parser) parseWord(word string, kind uint64) *value {
	p.expect(word)
	return &value{kind: kind}
}

func (p *parser) parseValue() *value {
	switch p.skipSpace() {
	case '[':
		return &value{kind: kindList, first: p.parseChildren(']')}
	case '{':
		return &value{kind: kindObject, first: p.parseChildren('}')}
	case '"':
		return &value{kind: kindText, text: p.parseText()}
	case 't':
		return p.parseWord("true", kindTrue)
	case 'f':
		return p.parseWord("false", kindFalse)
	case 'n':
		return p.parseWord("null", kindNull)
	}
	return &value{kind: kindNumber, number: p.parseNumber()}
}

// ---- what is done with documents ----

func sumOfText(sum uint64, text string) uint64 {
	for i := 0; i < len(text); i++ {
		sum = sum*31 + uint64(text[i])
	}
	return sum
}

func walk(sum uint64, v *value, values *uint64) uint64 {
	for ; v != nil; v = v.next {
		sum = sumOfText(sumOfText(sum, v.name), v.text)
		sum = (sum^uint64(v.number))*31 + v.kind
		sum = walk(sum, v.first, values)
		*values++
	}
	return sum
}

func main() {
	args := arguments{"bytes": 2 << 20, "docs": 60, "held": 4}
	args.parse()
	if args["held"] < 1 || args["held"] > 64 {
		die("held must be 1 to 64")
	}
	text := makeText(args["bytes"])
	held := make([]*value, args["held"])
	sum, values := uint64(0), uint64(0)
	for i := uint64(0); i < args["docs"]; i++ {
		oldest := &held[i%args["held"]]
		*oldest = nil
		*oldest = (&parser{text: text}).parseValue()
		sum = walk(sum, *oldest, &values)
	}
	runtime.KeepAlive(held)
	r := begin("jsondoc")
	r.u64("text_bytes", uint64(len(text)))
	r.u64("values", values)
	r.u64("checksum", sum)
	r.heap(0)
	r.end()
}
