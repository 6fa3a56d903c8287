# SPDX-License-Identifier: MIT
"""gdb commands for gcrt heaps, in running programs and in core files.

    (gdb) source .../gcrt-gdb.py
    (gdb) help gcrt

Purpose: look at a heap whose program has stopped or died: nothing is called in it.
Place: reads the library's structs by its debugging information (-g; -O3 does no harm), which the
program itself need not have.  What debugging information does not have, values of enums and
macros, stands below with the header that it is from.
Invariants: objects are read as src/gc/walk.c reads them, field by field of their types; slots
that a cache has taken for objects to come are not told from objects.  What trace functions would
say is not known here: such an object's words are all taken for pointers, an ephemeron's but for
its key, and what root callbacks would report is left out.
Cost: `gcrt why` walks what is reachable at some 10 us a word, in Python, and keeps what it has
read: for heaps up to some 100 MiB.
"""

import struct

import gdb

WORD = 8
MAGIC = 0x6763727468656170  # gc/heap.h
FREE, INTERIOR, SMALL, LARGE = range(4)  # alloc/mspan.h
SPAN_GROUP = 512  # pages, the same
SIDE_CLASSES, SIDE_WORDS = (1, 2), 16  # the same: classes with bitmaps of their own
FIELDS, NOSCAN, CONSERVATIVE, TRACED, FLEX = range(1, 6)  # gcrt/type.h
FORMS = {FIELDS: "fields", NOSCAN: "no pointers", CONSERVATIVE: "every word may be a pointer",
         TRACED: "traced by a function", FLEX: "fields and a tail"}
TAGGED = 1  # the same: GC_IMPL_TAGGED
STATES = {1: "inside", 2: "outside", 3: "held"}  # gc/mutator.h
PARKED = range(4, 7)  # gc/fiber.h: STACK_PARKED, STACK_READ, STACK_AWAITED
PRECISE = 2  # the same: STACK_PRECISE
CLEANUP, FINALIZER = 1, 2  # gc/special.h
PHASES = ("idle", "starting", "marking", "ending", "sweeping")  # gc/heap.h
SWEPT = {-2: "not swept", -1: "being swept", 0: "swept", 1: "cached, not swept",
         3: "swept, cached"}  # alloc/mcentral.h: the span's number less the heap's
HOT_UNIT = 256  # gcrt/thread.h: GC_IMPL_HOT_UNIT
RED_ZONE = 128
ENDS = 6  # steps of a path that are shown at either end


class Missing(gdb.GdbError):
    """What the user is told."""


# ---- memory and values ----


def read(at, size):
    return bytes(gdb.selected_inferior().read_memory(at, size))


def words_of(data):
    return struct.unpack(f"<{len(data) // WORD}Q", data[:len(data) // WORD * WORD])


def readable_words(start, end):
    """(address, word) of a range, but for pages that are not there."""
    start = (start + WORD - 1) // WORD * WORD
    while start + WORD <= end:
        stop = min(end, (start // 4096 + 1) * 4096)
        try:
            for i, word in enumerate(words_of(read(start, stop - start))):
                yield start + i * WORD, word
        except gdb.MemoryError:
            pass
        start = stop


def raw(value):
    """Of an aword or ahalf."""
    return int(value["raw"])


def offset_of(kind, name):
    return next(f.bitpos // 8 for f in kind.fields() if f.name == name)


def global_of(name):
    symbol = gdb.lookup_global_symbol(name) or gdb.lookup_static_symbol(name)
    if symbol is None:
        raise Missing(f"gcrt: no symbol {name}: the library's own debugging information is needed "
                      "(build it with -g and do not strip it), and the library has to be loaded")
    return symbol.value()


def type_beside(function, name):
    """A type as the file has it that the function is in: the program may have one of that name."""
    symbol = gdb.lookup_global_symbol(function)
    if symbol is None:
        raise Missing(f"gcrt: no symbol {function}: the library's debugging information is needed")
    return gdb.lookup_type(name, symbol.symtab.static_block())


def chain(value, link):
    """The elements of a list that ends with NULL."""
    while int(value) != 0:
        yield value.dereference()
        value = value[link]


def ring(head, kind, link):
    """The elements of a ring of struct cds_list_head."""
    offset, end, at = offset_of(kind, link), int(head.address), head["next"]
    while int(at) != end:
        yield gdb.Value(int(at) - offset).cast(kind.pointer()).dereference()
        at = at["next"]


def symbol_at(address):
    text = gdb.execute(f"info symbol {address:#x}", to_string=True)
    return "" if text.startswith("No symbol") else ", " + text.split(" in section")[0]


# ---- types ----


class Type:
    """A struct gc_type."""

    def __init__(self, value):
        self.address = int(value.address)
        self.name = value["name"].string(errors="replace")
        self.size, self.form, self.tail = (int(value[f]) for f in ("size", "form", "tail"))
        names = value["names"].string().split(",") if int(value["names"]) != 0 else []
        self.fields = [(int(value["fields"][i]["offset"]), int(value["fields"][i]["bytes"]),
                        names[i].strip() if i < len(names) else "")
                       for i in range(int(value["nfields"]))]
        self.decode, self.elem = None, None
        if int(value["flags"]) & TAGGED:
            self.decode = struct.unpack("<3Q", read(int(value["elem"]), 3 * WORD))
        elif int(value["elem"]) != 0:
            self.elem = Type(value["elem"].dereference())

    def words(self, data, start, end, name=""):
        for i, word in enumerate(words_of(data[start:end])):
            if self.decode:
                mask, want, keep = self.decode
                if word & mask != want:
                    continue
                word &= keep
            yield word, start + i * WORD, name

    def field_words(self, data, at):
        for offset, size, name in self.fields:
            yield from self.words(data, at + offset, at + offset + size, name)

    def element_words(self, data, at):
        """As walk_elements of gc/walk.c."""
        if self.form in (CONSERVATIVE, TRACED):
            yield from self.words(data, at, len(data))
        elif self.form == FIELDS:
            for start in range(at, len(data) - self.size + 1, self.size):
                yield from self.field_words(data, start)

    def edges(self, data):
        """(word, its offset, the field's name) of each pointer of an object."""
        if self.form == FLEX:
            yield from self.field_words(data, 0)
            yield from self.elem.element_words(data, self.tail)
        else:
            yield from self.element_words(data, 0)


# ---- the heap ----


class Span:
    """A span, by the bytes of its descriptor."""

    def __init__(self, heap, page):
        get, at = heap.get, page * heap.descriptor.sizeof
        self.heap, self.page = heap, page
        self.sizeclass, self.nelems = get("sizeclass", at), get("nelems", at)
        self.kind, self.sweepgen = get("kind", at), get("sweepgen", at)
        self.freeindex, self.noscan = get("freeindex", at), get("noscan", at)
        self.start = heap.base + page * heap.page_bytes
        self.bytes = heap.class_bytes[self.sizeclass]
        self.npages = heap.class_pages[self.sizeclass]
        mark, alloc = heap.bits
        self.marks, self.allocs = (heap.raw[at + o:at + o + 6 * WORD] for o in (mark, alloc))
        if self.sizeclass == 0:
            self.npages, self.bytes = struct.unpack_from("<QQ", heap.raw, at + heap.large)
        elif self.sizeclass in SIDE_CLASSES:
            size = (SIDE_WORDS >> (self.sizeclass - 1)) * WORD
            side = read(words_of(self.marks)[0], 2 * size)
            self.marks, self.allocs = side[:size], side[size:]

    def is_allocated(self, index):
        return index < self.freeindex or bool(self.allocs[index // 8] >> index % 8 & 1)

    def is_marked(self, index):
        return bool(self.marks[index // 8] >> index % 8 & 1)

    def allocated(self):
        if self.sizeclass == 0:
            return 1
        return sum(self.is_allocated(i) for i in range(self.nelems))

    def object(self, index):
        return self.start + index * self.bytes

    def index(self, address):
        return (address - self.start) // self.bytes

    def swept(self):
        delta = (self.sweepgen - self.heap.sweepgen + 2**31) % 2**32 - 2**31
        return SWEPT.get(delta, f"sweepgen {delta:+d}")

    def data(self, index):
        at = self.object(index) - self.start
        return self.heap.pages_of(self)[at:at + self.bytes]


class Heap:
    """A struct gc_heap and the descriptors of its spans, as they are now."""

    def __init__(self, value):
        self.value, self.mheap = value, value["mheap"]
        if int(value["magic"]) != MAGIC:
            raise Missing(f"gcrt: there is no heap at {int(value.address):#x}, or it has ended")
        self.base, self.limit = int(self.mheap["base"]), raw(self.mheap["limit"])
        self.sweepgen = raw(self.mheap["sweepgen"])
        for name in ("bytes", "pages", "nelems"):
            table = global_of(f"gcrt_class_{name}")
            entries = range(table.type.range()[1] + 1)
            setattr(self, f"class_{name}", [int(table[i]) for i in entries])
        # Class 1 fills its pages.
        self.page_bytes = self.class_bytes[1] * self.class_nelems[1] // self.class_pages[1]
        self.describe_descriptors()
        self.kinds, self.contents = {}, {}

    def describe_descriptors(self):
        self.descriptor = self.mheap["spans"].type.target().strip_typedefs()
        self.fields = {}
        for field in self.descriptor.fields():
            code = {1: "<B", 2: "<H", 4: "<I"}.get(field.type.sizeof)
            self.fields[field.name] = field.bitpos // 8, code
        self.bits = self.fields["mark"][0], self.fields["alloc"][0]
        large = self.descriptor["alloc"].type["large"].type
        self.large = self.bits[1] + offset_of(large, "npages")
        size = self.limit // self.page_bytes * self.descriptor.sizeof
        self.raw = read(int(self.mheap["spans"]), size)

    def get(self, name, at):
        offset, code = self.fields[name]
        return struct.unpack_from(code, self.raw, at + offset)[0]

    def state(self, page):
        head = self.get("head", page * self.descriptor.sizeof)
        return head & 3, head >> 2

    def spans(self):
        for page in range(self.limit // self.page_bytes):
            if self.state(page)[0] >= SMALL:
                yield Span(self, page)

    def span_of(self, address):
        if not 0 <= address - self.base < self.limit:
            return None
        page = (address - self.base) // self.page_bytes
        state, back = self.state(page)
        if state == FREE:
            return self.large_span_of(page)
        if state == INTERIOR:
            page -= back
            state = self.state(page)[0]
        return Span(self, page) if state >= SMALL else None

    def large_span_of(self, page):
        """For most of a large span's pages its group's first one answers (mspan.h)."""
        first = page // SPAN_GROUP * SPAN_GROUP
        state, back = self.state(first)
        if state == INTERIOR:
            first -= back
        span = Span(self, first) if self.state(first)[0] == LARGE else None
        return span if span is not None and page < first + span.npages else None

    def find(self, address):
        """The span and index of the object that the address lies in, or None."""
        span = self.cached_span(address)
        if span is None:
            return None
        index = span.index(address)
        return (span, index) if index < span.nelems and span.is_allocated(index) else None

    def cached_span(self, address):
        if not 0 <= address - self.base < self.limit:
            return None
        page = (address - self.base) // self.page_bytes
        if page not in self.contents:
            self.contents[page] = self.span_of(address)
        return self.contents[page]

    def pages_of(self, span):
        key = "data", span.page
        if key not in self.contents:
            self.contents[key] = read(span.start, span.npages * self.page_bytes)
        return self.contents[key]

    def type_of(self, span):
        if span.kind not in self.kinds:
            kind = type_beside("gcrt_kind_get", "struct kind").pointer()
            value = self.mheap["centrals"][span.kind].cast(kind)
            self.kinds[span.kind] = Type(value["type"].dereference())
        return self.kinds[span.kind]

    def mutators(self):
        kind = self.value["registry"]["spare"].type.target()
        return ring(self.value["registry"]["mutators"], kind, "node")


def all_heaps():
    symbol = gdb.lookup_static_symbol("gcrt_default_heap")
    if symbol is None:
        raise Missing("gcrt: the library is not loaded, or was built without debugging information "
                      "(-g); `gcrt heap ADDRESS` needs the latter too")
    default = symbol.value()
    if int(default) != 0:
        yield default.dereference()
    for forks in gdb.lookup_static_symbols("forks"):
        if forks.symtab.filename.endswith("gc/fork.c"):
            for heap in ring(forks.value()["heaps"], default.type.target(), "in_process"):
                if heap.address != default:
                    yield heap


def the_heap(address=None):
    """The heap that the address lies in or is that of; else the first."""
    heaps = [Heap(h) for h in all_heaps()]
    for heap in heaps:
        if address is not None and (heap.span_of(address) or int(heap.value.address) == address):
            return heap
    if not heaps:
        raise Missing("gcrt: the program has no heap")
    return heaps[0]


# ---- roots ----


def handle_roots(heap):
    for found in chain(heap.value["roots"]["ranges"], "next"):
        for at, word in readable_words(int(found["start"]), int(found["end"])):
            yield word, f"a root range, word at {at:#x}", at
    for found in chain(heap.value["roots"]["chunks"], "next"):
        handles = found["handles"]
        for i in range(handles.type.range()[1] + 1):
            if int(handles[i]["heap"]) != 0:
                yield (int(handles[i]["object"]), f"a handle, {int(handles[i].address):#x}", None)


def segments(nbuckets):
    """The segments of linear hashing: number, first bucket, bucket behind the last."""
    first, end, segment = 0, 16, 0
    while first < nbuckets:
        yield segment, first, min(end, nbuckets)
        first, end, segment = end, 2 * end, segment + 1


def specials(heap, kind):
    shards = heap.value["specials"]["shards"]
    for i in range(shards.type.range()[1] + 1):
        chains = shards[i]["kinds"][kind]
        if int(chains["count"]) == 0:
            continue
        for segment, first, end in segments(int(chains["nbuckets"])):
            for bucket in range(end - first):
                yield from chain(chains["segments"][segment][bucket], "next")


def special_roots(heap):
    for kind, name in ((CLEANUP, "cleanup"), (FINALIZER, "finalizer")):
        for record in specials(heap, kind):
            yield (int(record["arg"]), f"the argument of a {name} of {int(record['object']):#x}",
                   None)
    for record in specials(heap, FINALIZER):
        found = heap.find(int(record["object"]))
        if found:
            what = f"an object with a finalizer, {int(record['object']):#x}"
            for word, _, _ in heap.type_of(found[0]).edges(found[0].data(found[1])):
                yield word, what, None
    queue = heap.value["runner"]["queue"]
    job = heap.value["runner"]["cursor"].type
    for waiting in ring(queue, job, "node"):
        for i in range(waiting["words"].type.range()[1] + 1):
            yield int(waiting["words"][i]), "a callback that is due", None


def pool_roots(heap):
    for pool in chain(heap.value["pools"]["all"], "next"):
        name = pool["options"]["name"]
        name = name.string() if int(name) != 0 else "unnamed"
        what = f"the pool {name}, {int(pool.address):#x}"
        for part in chain(pool["parts"], "next"):
            rack, items = part["rack"], part["rack"]["items"]
            size = items.type.range()[1] + 1
            for i in range(int(rack["head"]), int(rack["tail"])):
                yield int(items[i % size]), what, None
            for i in range(int(part["nvictims"])):
                yield int(part["victims"][i]), what, None
            for name in ("ring", "victim_ring", "waiting_ring"):
                yield int(part[name]), what, None


def frame_roots(frames, scopes, what):
    for frame in chain(frames, "prev"):
        for i in range(int(frame["n"]) if int(frame["locals"]) != 0 else 0):
            start, count = int(frame["locals"][i]["start"]), int(frame["locals"][i]["words"])
            for at, word in readable_words(start, start + count * WORD):
                yield word, f"a local in a frame of {what}, {at:#x}", None
    used = int(scopes["used"])
    for chunk in chain(scopes["chunk"], "prev"):
        for i in range(used):
            yield int(chunk["cells"][i]), f"a cell of a scope of {what}", None
        used = chunk["cells"].type.range()[1] + 1


def array_roots(array, count, what):
    for i in range(count):
        yield int(array[i]), what, None


def stack_words(start, end, what):
    for at, word in readable_words(start, end):
        yield word, f"the stack of {what}, word at {at:#x}", None


def parked_roots(stack, what):
    yield from frame_roots(stack["frames"], stack["scopes"], what)
    if int(stack["manners"]) == PRECISE:
        return
    registers = stack["regs"]
    yield from array_roots(registers, registers.type.range()[1] + 1, f"a saved register of {what}")
    yield from array_roots(stack["window"], int(stack["nwindow"]), f"the stack of {what}")
    yield from stack_words(int(stack["sp"]), int(stack["extent"]["hi"]), what)


def register_word(frame, register):
    """0 if it is of another size, or the core file does not have it."""
    try:
        value = frame.read_register(register)
        long = gdb.lookup_type("unsigned long")
        return int(value.cast(long)) if value.type.sizeof == WORD else 0
    except gdb.error:
        return 0


def live_stack(mutator, what):
    """Of a thread that ran in managed code: gdb has its registers."""
    low, high = int(mutator["stack_lo"]), int(mutator["stack_hi"])
    selected = gdb.selected_thread()
    for thread in gdb.selected_inferior().threads():
        if thread.ptid[1] != int(mutator["tid"]):
            continue
        thread.switch()
        frame = gdb.newest_frame()
        for register in frame.architecture().registers("general"):
            word = register_word(frame, register)
            yield word, f"register {register.name} of {what}", None
        pointer = int(frame.read_register("sp")) - RED_ZONE
        low = pointer if low <= pointer < high else low
    if selected is not None:
        selected.switch()
    yield from stack_words(low, high, what)


def thread_roots(heap, mutator):
    what, own = f"thread {int(mutator['tid'])}", mutator["own"]
    yield from frame_roots(mutator["self"]["frames"], own["scopes"], what)
    for value in (own["result"], own["held"]):
        yield int(value), f"a call of {what}", None
    items, height = mutator["self"]["hot_items"], int(mutator["self"]["hot_n"]) % HOT_UNIT
    height = min(height + int(mutator["interrupted"]), items.type.range()[1])
    for i in range(1, height + 1):
        yield int(items[i]), f"an item of a pool that {what} keeps", None
    if int(own["callbacks"]) != 0:
        print(f"{what} has root callbacks, which cannot be called here: what they hold is missing")
    if mutator["current"] != mutator["native"].address:
        yield from parked_roots(mutator["native"], what)
    if bool(mutator["precise"]):
        return
    if STATES.get(raw(mutator["state"])) == "inside":
        yield from live_stack(mutator, what)
        return
    registers = mutator["regs"]
    yield from array_roots(registers, registers.type.range()[1] + 1, f"a saved register of {what}")
    yield from array_roots(mutator["window"], int(mutator["nwindow"]), f"the stack of {what}")
    yield from stack_words(int(mutator["sp"]), int(mutator["stack_hi"]), what)


def stack_roots(heap):
    for mutator in heap.mutators():
        yield from thread_roots(heap, mutator)
    for found in chain(heap.value["fibers"]["chunks"], "next"):
        stacks = found["stacks"]
        for i in range(stacks.type.range()[1] + 1):
            if raw(stacks[i]["state"]) in PARKED:
                low = int(stacks[i]["extent"]["lo"])
                yield from parked_roots(stacks[i], f"the parked fiber at {low:#x}")


# ---- why ----


class Search:
    """Breadth first, so a path has the fewest steps there are."""

    def __init__(self, heap, wanted):
        self.heap, self.wanted = heap, wanted
        self.parent = {}   # object: (the object before, offset, field) or (None, text, address)
        self.waiting = {}  # key: ephemerons, which hold their values once it is reached
        self.todo = []
        self.ephemeron = global_of("gcrt_ephemeron_type").address
        kind = type_beside("gc_ephemeron_key", "struct gc_ephemeron")
        self.key, self.kept = offset_of(kind, "key"), offset_of(kind, "value")

    def reach(self, word, parent):
        found = self.heap.find(word)
        if found is None:
            return
        at = found[0].object(found[1])
        if at in self.parent:
            return
        self.parent[at] = parent
        self.todo.append((at, found))
        for value, ephemeron in self.waiting.pop(at, ()):
            self.reach(value, (ephemeron, self.kept, "value, whose key lives"))

    def look_at_ephemeron(self, at, data):
        key, = struct.unpack_from("<Q", data, self.key)
        value, = struct.unpack_from("<Q", data, self.kept)
        found = self.heap.find(key)
        if found is None:
            return
        key = found[0].object(found[1])
        if key in self.parent:
            self.reach(value, (at, self.kept, "value, whose key lives"))
        else:
            self.waiting.setdefault(key, []).append((value, at))

    def drain(self):
        done = 0
        while done < len(self.todo) and self.wanted not in self.parent:
            at, (span, index) = self.todo[done]
            done += 1
            if span.noscan:
                continue
            kind, data = self.heap.type_of(span), span.data(index)
            if kind.address == int(self.ephemeron):
                self.look_at_ephemeron(at, data)
                continue
            for word, offset, name in kind.edges(data):
                self.reach(word, (at, offset, name))
        del self.todo[:done]

    def look(self):
        """What lasts before stacks, as gc_why_alive does."""
        for roots in ((handle_roots, special_roots, pool_roots), (stack_roots,)):
            for source in roots:
                for word, text, address in source(self.heap):
                    if 0 <= word - self.heap.base < self.heap.limit:
                        self.reach(word, (None, text, address))
            self.drain()
            if self.wanted in self.parent:
                return True
        return False

    def path(self):
        """From the root to the object."""
        steps, at = [], self.wanted
        while at is not None:
            steps.append(at)
            at = self.parent[at][0]
        return steps[::-1]


def step_text(search, at, following):
    text = f"{search.heap.type_of(search.heap.find(at)[0]).name} at {at:#x}"
    if following is None:
        return text
    _, offset, name = search.parent[following]
    return f"{text}, its word at +{offset}" + (f" ({name})" if name else "")


def print_path(search):
    steps = search.path()
    _, text, address = search.parent[steps[0]]
    print(text + (symbol_at(address) if address else ""))
    for i, at in enumerate(steps):
        if ENDS <= i < len(steps) - ENDS:
            if i == ENDS:
                print(f"({len(steps) - 2 * ENDS} more)")
            continue
        print(step_text(search, at, steps[i + 1] if i + 1 < len(steps) else None))


# ---- the commands ----


def address_of(text, command):
    if not text.strip():
        raise Missing(f"gcrt {command}: which address?")
    return int(gdb.parse_and_eval(f"(unsigned long)({text})"))


def object_of(argument, command):
    """The address, and the object that it lies in: heap, span, slot.  If none: says so, None."""
    address = address_of(argument, command)
    heap = the_heap(address)
    found = heap.find(address)
    if found is None:
        print(f"{address:#x} lies in no object of a heap")
        return None
    return address, heap, *found


class Gcrt(gdb.Command):
    """Look at a gcrt heap."""

    def __init__(self):
        super().__init__("gcrt", gdb.COMMAND_DATA, prefix=True)


class GcrtHeap(gdb.Command):
    """gcrt heap [ADDRESS]: what a heap consists of.

    The first heap of the process, or the one at the address or that the address lies in."""

    def __init__(self):
        super().__init__("gcrt heap", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        heap = the_heap(address_of(argument, "heap") if argument else None)
        value, cycles, mheap = heap.value, heap.value["cycles"], heap.mheap
        print(f"heap at {int(value.address):#x}: objects from {heap.base:#x} to "
              f"{heap.base + heap.limit:#x}")
        print(f"{PHASES[raw(cycles['phase'])]}, {raw(cycles['started'])} cycles begun, "
              f"{raw(value['counters']['cycles_forced'])} forced ones complete")
        for text, bytes_ in (("in spans", mheap["in_use"]), ("grown", mheap["grown"]),
                             ("not backed", mheap["released"]), ("external", mheap["external"]),
                             ("live after the last cycle", value["counters"]["marked_last"]),
                             ("marked and allocated since", mheap["live"]),
                             ("the next trigger", cycles["trigger"]), ("goal", cycles["goal"])):
            print(f"{raw(bytes_):20} bytes {text}")
        print(f"{int(value['registry']['count']):20} threads, {int(value['ps']['count'])} caches")
        self.print_types(heap)

    @staticmethod
    def print_types(heap):
        """The types that have the most, slots that caches have taken for more of them included."""
        sums = {}
        for span in heap.spans():
            row = sums.setdefault(heap.type_of(span).name, [0, 0, 0])
            n = span.allocated()
            row[0] += n * span.bytes
            row[1] += n
            row[2] += 1
        print(f"{'bytes':>20} {'objects':>10} {'spans':>7}  type")
        for name, row in sorted(sums.items(), key=lambda item: -item[1][0])[:20]:
            print(f"{row[0]:20} {row[1]:10} {row[2]:7}  {name}")


class GcrtSpan(gdb.Command):
    """gcrt span ADDRESS: the span of pages that the address lies in."""

    def __init__(self):
        super().__init__("gcrt span", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        address = address_of(argument, "span")
        heap = the_heap(address)
        span = heap.span_of(address)
        if span is None:
            inside = 0 <= address - heap.base < heap.limit
            print(f"{address:#x} lies in {'a free page' if inside else 'no heap'}")
            return
        kind = heap.type_of(span)
        print(f"span at {span.start:#x}, {span.npages} pages, {span.swept()}")
        print(f"type {kind.name} ({FORMS.get(kind.form, kind.form)}), "
              + ("one large object" if span.sizeclass == 0 else f"size class {span.sizeclass}")
              + f", slots of {span.bytes} bytes")
        marked = sum(span.is_marked(i) for i in range(span.nelems))
        print(f"{span.nelems} slots, {span.allocated()} allocated, {marked} marked, all below "
              f"{span.freeindex} handed out")


class GcrtObject(gdb.Command):
    """gcrt object ADDRESS: the object that the address lies in, and what it points to."""

    def __init__(self):
        super().__init__("gcrt object", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        found = object_of(argument, "object")
        if found is None:
            return
        address, heap, span, index = found
        at, kind = span.object(index), heap.type_of(span)
        print(f"{kind.name} at {at:#x}, {span.bytes} bytes, slot {index} of the span at "
              f"{span.start:#x}" + (f"; the address is +{address - at}" if address != at else ""))
        print(f"{'marked' if span.is_marked(index) else 'not marked'}, "
              f"{FORMS.get(kind.form, kind.form)}")
        for word, offset, name in kind.edges(span.data(index)):
            to = heap.find(word)
            if to is None and (word == 0 or kind.form in (CONSERVATIVE, TRACED)):
                continue
            text = f"{heap.type_of(to[0]).name} at {to[0].object(to[1]):#x}" if to \
                else f"{word:#x}, no object"
            print(f"  +{offset} {name}{' ' if name else ''}-> {text}")


class GcrtWhy(gdb.Command):
    """gcrt why ADDRESS: a shortest path from a root to the object that the address lies in.

    Registered roots, handles, cleanups and pools first, then stacks.  An object that a trace
    function reads is taken for a row of pointers, so what it leads to may be a mere number."""

    def __init__(self):
        super().__init__("gcrt why", gdb.COMMAND_DATA, gdb.COMPLETE_EXPRESSION)

    def invoke(self, argument, from_tty):
        found = object_of(argument, "why")
        if found is None:
            return
        _, heap, span, index = found
        search = Search(heap, span.object(index))
        if search.look():
            print_path(search)
        else:
            print(f"no root leads to the object at {search.wanted:#x}")


class GcrtThreads(gdb.Command):
    """gcrt threads: the threads that are attached, and the handshake that they have to answer."""

    def __init__(self):
        super().__init__("gcrt threads", gdb.COMMAND_DATA)

    def invoke(self, argument, from_tty):
        for heap in [Heap(h) for h in all_heaps()]:
            handshake = heap.value["handshake"]
            print(f"heap at {int(heap.value.address):#x}: handshake {raw(handshake['epoch'])}, "
                  f"{handshake['action']}, {raw(handshake['pending'])} have not answered")
            for m in heap.mutators():
                late = raw(m["answered"]) != raw(handshake["epoch"]) \
                    and raw(handshake["pending"]) != 0
                print(f"  thread {int(m['tid'])}: {STATES.get(raw(m['state']), '?')}"
                      + (", precise" if bool(m["precise"]) else "")
                      + (", critical" if int(m["self"]["critical"]) else "")
                      + (", has not answered" if late else "")
                      + f", stack {int(m['stack_lo']):#x} to {int(m['stack_hi']):#x}, "
                      f"{int(m['account']['bytes'])} bytes allocated, "
                      f"{int(m['account']['pauses'])} pauses of {int(m['account']['pause_ns'])} ns")


for command in (Gcrt, GcrtHeap, GcrtSpan, GcrtObject, GcrtWhy, GcrtThreads):
    command()
