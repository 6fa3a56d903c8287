#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""raw_stores.py [--alloc NAME]... [--cocci] FILE...: plain stores where gc_write belongs.

A lint for hosts; give it all sources and headers of one program. It needs nothing but
Python. The GC_TYPE macros and gc_root_add calls of the files say which fields, tails and
variables hold heap pointers. Found are, outside of gc_write and its relatives:

    x->field = v, x.field += n, x->field++     a plain store to a pointer field or tail
    *x = y, x[i] = y                           a struct copy over an object with pointers
    a[i] = v                                   into an array from gc_alloc_array
    root = v, root[i] = v                      to what gc_root_add registered
    memcpy, memmove, memset, qsort, read, ...  with such memory as their target

Right, and not reported, is the first store into each field of an object fresh from
gc_alloc, a relative, or a function named by --alloc, as long as its address was used for
nothing else. The order is that of the text: loops and jumps are not followed.

This is no compiler. An expression is typed by the declarations in its function and the
struct definitions in the files; where that fails, a field's name decides. A comment
"raw: why" on the line silences it. Status 1 if there is a finding.

--cocci prints the rules as a semantic patch for Coccinelle instead; it finds the same
stores with a compiler's knowledge of types, but also the right first ones.
"""

import argparse
import re
import sys

ALLOCS = {
    f"gc_{t}{a}alloc{k}"
    for t in ("", "try_")
    for a in ("", "arena_")
    for k in ("", "_array", "_flex")
}
# Functions that write through an argument, and which.
WRITERS = {"memcpy": 0, "memmove": 0, "memset": 0, "bzero": 0, "qsort": 0, "fread": 0,
           "read": 1, "recv": 1}
# Their first arguments are looked at, not stored.
HARMLESS = {"gc_copy", "gc_move", "gc_clear", "gc_usable_size", "gc_base", "GC_KEEP_ALIVE",
            "GC_FRAME", "assert", "sizeof", *WRITERS}
TOKEN = re.compile(r"[A-Za-z_]\w*|\d[\w.]*|->|\+\+|--|<<=|>>=|[-+*/%&|^=!<>]=|&&|\|\||<<|>>|\S")
ASSIGN = {"=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>="}
QUALIFIERS = {"const", "volatile", "static", "extern", "register", "_Atomic", "unsigned",
              "signed", "restrict"}
NOT_TYPES = {"return", "case", "goto", "else", "sizeof", "if", "while", "for", "do", "switch",
             "break", "continue", "typedef"}


def blank(text):
    """Comments, strings and preprocessor lines blanked; what they say about raw: is kept."""
    raw = set()

    def comment(match):
        piece = match.group(0)
        if piece[0] in "\"'":
            return piece[0] + "_" * (len(piece) - 2) + piece[-1]
        first = text.count("\n", 0, match.start()) + 1
        if re.search(r"\braw:", piece):
            raw.update(range(first, first + piece.count("\n") + 1))
        return re.sub(r"[^\n]", " ", piece)

    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\''
    code = re.sub(pattern, comment, text, flags=re.S)
    code = re.sub(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", lambda m: re.sub(r"[^\n]", " ", m.group(0)),
                  code, flags=re.M)
    return code, raw


class Token(str):
    line = 0


def tokens_of(code):
    found = []
    line, at = 1, 0
    for match in TOKEN.finditer(code):
        line += code.count("\n", at, match.start())
        at = match.start()
        token = Token(match.group(0))
        token.line = line
        found.append(token)
    return found


def closing(tokens, i):
    """Index of the bracket that closes the one at i."""
    depth = 0
    for j in range(i, len(tokens)):
        if tokens[j] in "([{":
            depth += 1
        elif tokens[j] in ")]}":
            depth -= 1
            if depth == 0:
                return j
    return len(tokens) - 1


def split(tokens, separator=","):
    """The pieces between separators that are in no bracket."""
    pieces, piece, depth = [], [], 0
    for token in tokens:
        if token in "([{":
            depth += 1
        elif token in ")]}":
            depth -= 1
        if token == separator and depth == 0:
            pieces.append(piece)
            piece = []
        else:
            piece.append(token)
    return pieces + [piece]


def spell(tokens):
    return " ".join(t for t in tokens if t not in QUALIFIERS)


class Types:
    """What the files say about types: pointer fields of gc types, members, typedefs."""

    def __init__(self):
        self.fields = {}    # "struct node" -> names of fields that hold heap pointers
        self.by_name = {}   # gc_type variable -> "struct node", or None
        self.members = {}   # "struct node" -> {member: (type, stars and dimensions, stars)}
        self.typedefs = {}  # "node_t" -> "struct node"
        self.roots = {}     # variables and members that are registered -> line

    def resolve(self, name):
        return self.typedefs.get(name, name)

    def is_gc(self, name):
        return self.resolve(name) in self.fields

    def holds(self, owner, member):
        return member in self.fields.get(self.resolve(owner), ())

    def member(self, owner, member):
        found = self.members.get(self.resolve(owner), {}).get(member)
        return found and found[:2]

    def is_array(self, owner, member):
        found = self.members.get(self.resolve(owner), {}).get(member)
        return found is not None and found[1] > found[2]

    def any_holds(self, member):
        return any(member in names for names in self.fields.values())

    def read(self, tokens):
        for i, token in enumerate(tokens[:-1]):
            if token in ("struct", "union") and "{" in tokens[i + 1:i + 3]:
                self.read_struct(tokens, i)
            elif token == "typedef" and tokens[i + 1] in ("struct", "union"):
                self.read_typedef(tokens, i)

    def read_macros(self, tokens):
        for i, token in enumerate(tokens[:-1]):
            if tokens[i + 1] != "(":
                continue
            parts = split(tokens[i + 2:closing(tokens, i + 1)])
            if token.startswith("GC_TYPE") and len(parts) >= 2:
                self.read_macro(token, parts)
            elif token == "gc_root_add" and len(parts) == 2:
                name = [t for t in parts[0] if re.match(r"[A-Za-z_]", t)]
                depth = next((j for j, t in enumerate(parts[0]) if t == "["), None)
                if depth is not None:
                    name = [t for t in parts[0][:depth] if re.match(r"[A-Za-z_]", t)]
                if name:
                    self.roots[str(name[-1])] = "->" in parts[0] or "." in parts[0]

    def read_macro(self, macro, parts):
        owner = self.resolve(spell(parts[1]))
        names = set()
        if macro == "GC_TYPE":
            names = {p[-1] if p[-1] != "]" else p[0] for p in parts[2:] if p}
            names |= {p[0] for p in parts[2:] if p}
        elif macro == "GC_TYPE_TAGGED":
            names = {p[0] for p in parts[3:] if p}
        elif macro.startswith("GC_TYPE_FLEX") and len(parts) >= 4:
            names = {p[-1] for p in parts[4:] if p}
            elem = parts[3][0]
            if elem == "gc_pointer_type" or self.by_name.get(elem):
                names.add(parts[2][0])
        elif macro in ("GC_TYPE_CONSERVATIVE", "GC_TYPE_TRACED"):
            names = {m for m, (_, _, stars) in self.members.get(owner, {}).items() if stars}
        elif macro == "GC_TYPE_NOSCAN":
            self.by_name[parts[0][0]] = None
            return
        else:
            return
        self.by_name[parts[0][0]] = owner
        self.fields.setdefault(owner, set()).update(str(n) for n in names)

    def read_struct(self, tokens, i):
        brace = tokens.index("{", i)
        end = closing(tokens, brace)
        tag = spell(tokens[i:brace]) if brace == i + 2 else None
        members = {}
        for piece in split(tokens[brace + 1:end], ";"):
            self.read_members(piece, members)
        after = tokens[end + 1] if end + 1 < len(tokens) else ";"
        if i > 0 and tokens[i - 1] == "typedef":
            self.typedefs[str(after)] = tag or str(after)
            tag = tag or str(after)
        if tag:
            self.members[tag] = members

    @staticmethod
    def read_members(piece, members):
        if "{" in piece:  # an inner struct: its members count as the outer's
            brace = piece.index("{")
            for inner in split(piece[brace + 1:closing(piece, brace)], ";"):
                Types.read_members(inner, members)
            return
        names = split(piece)
        base = [t for t in names[0] if t not in QUALIFIERS]
        words = 2 if base[:1] and base[0] in ("struct", "union", "enum") else 1
        for declarator in [base[words:]] + names[1:]:
            name = next((t for t in declarator if re.match(r"[A-Za-z_]", t)), None)
            if name:
                stars = declarator.count("*")
                members[str(name)] = (spell(base[:words]), stars + declarator.count("["), stars)

    def read_typedef(self, tokens, i):
        if tokens[i + 3:i + 4] and re.match(r"[A-Za-z_]", tokens[i + 3]):
            self.typedefs[str(tokens[i + 3])] = spell(tokens[i + 1:i + 3])


class Function:
    """One function's body, walked once in the order of the text."""

    def __init__(self, types, allocs, report, parameters, body):
        self.types, self.allocs, self.report, self.body = types, allocs, report, body
        self.vars = {}   # name -> (type, stars)
        self.fresh = {}  # name -> fields stored so far
        self.heap = set()  # names that were given gc_alloc_array's result
        self.values = set()  # structs and arrays on the stack
        for parameter in split(parameters):
            self.declare(parameter)
        self.values.clear()  # an array as a parameter is a pointer

    # -- declarations

    def declare(self, piece):
        """Notes T *name; the index of the name in the piece, or None if it is none."""
        i = 0
        while i < len(piece) and piece[i] in QUALIFIERS:
            i += 1
        start = i
        if i < len(piece) and piece[i] in ("struct", "union", "enum"):
            i += 1
        if i >= len(piece) or not re.match(r"[A-Za-z_]", piece[i]) or piece[i] in NOT_TYPES:
            return None
        i += 1
        base, stars = spell(piece[start:i]), 0
        while i < len(piece) and (piece[i] == "*" or piece[i] in QUALIFIERS):
            stars += piece[i] == "*"
            i += 1
        if i >= len(piece) or not re.match(r"[A-Za-z_]", piece[i]):
            return None
        if piece[i + 1:i + 2] not in ([], ["="], ["["], [";"], [","], [")"]):
            return None
        self.note(piece, i, base, stars)
        return i

    def note(self, piece, i, base, stars):
        name, array = str(piece[i]), "[" in piece[i + 1:i + 2]
        self.vars[name] = (base, stars + array)
        self.values.discard(name)
        if stars == 0:
            self.values.add(name)

    # -- expressions

    def chain(self, tokens):
        """A left side as (stars, base name, [accessors], type); None if it is none.

        An accessor is "[" or a member's name. type is (name, stars), or None if unknown.
        """
        tokens = list(tokens)
        stars, cast = 0, None
        while tokens and tokens[0] in ("*", "("):
            if tokens[0] == "*":
                stars += 1
                tokens = tokens[1:]
                continue
            end = closing(tokens, 0)
            inner = tokens[1:end]
            if end + 1 < len(tokens) and re.match(r"[A-Za-z_(*&]", tokens[end + 1]):
                cast = cast or (spell([t for t in inner if t != "*"]), inner.count("*"))
                tokens = tokens[end + 1:]
            else:
                while inner and inner[0] in ("&", "*"):
                    inner = inner[1:]
                tokens = inner + tokens[end + 1:]
        if not tokens or not re.match(r"[A-Za-z_]", tokens[0]):
            return None
        base, accessors, i = str(tokens[0]), [], 1
        known = cast or self.vars.get(base)
        while i < len(tokens):
            if tokens[i] == "[":
                accessors.append("[")
                known = (known[0], known[1] - 1) if known else None
                i = closing(tokens, i) + 1
            elif tokens[i] in ("->", ".") and i + 1 < len(tokens):
                owner = known[0] if known else None
                accessors.append((str(tokens[i + 1]), owner))
                known = self.types.member(owner, tokens[i + 1]) if owner else None
                i += 2
            elif tokens[i] == "(":  # what a call returns is not known
                known = None
                i = closing(tokens, i) + 1
            else:
                break
        return stars, base, accessors, known

    def pointer_member(self, accessors):
        """The last member, if it holds heap pointers."""
        for accessor in reversed(accessors):
            if accessor == "[":
                continue
            name, owner = accessor
            if name in self.types.roots and self.types.roots[name]:
                return name
            if owner is None:
                return name if self.types.any_holds(name) else None
            return name if self.types.holds(owner, name) else None
        return None

    def target(self, tokens):
        """What a store to this left side would hit, in words; None if nothing of ours."""
        parsed = self.chain(tokens)
        if parsed is None:
            return None
        stars, base, accessors, known = parsed
        members = [a for a in accessors if a != "["]
        if base in self.values and not stars and "->" not in tokens:
            return None
        if not members and not stars and base in self.types.roots and base not in self.vars:
            return f"registered root {base}"
        if members:
            if base in self.types.roots and base not in self.vars and not self.types.roots[base] \
                    and "->" not in tokens:
                return f"registered root {base}"
            name = self.pointer_member(accessors)
            if name and not stars:
                return f"field {name}"
            name, owner = members[-1]
        if known and known[1] - stars <= 0 and self.types.is_gc(known[0]) and (stars or accessors) \
                and self.types.fields[self.types.resolve(known[0])]:
            by_pointer = stars or "->" in tokens or "[" in tokens
            return f"a whole {known[0]}" if by_pointer and known[1] - stars == 0 else None
        if base in self.heap and (stars or accessors == ["["]):
            return f"element of {base}"
        return None

    # -- walking

    def walk(self):
        i = 0
        start = 0
        while i < len(self.body):
            token = self.body[i]
            if token == "{" and self.is_value(i):
                i = closing(self.body, i)
            elif token in (";", "{", "}"):
                self.statement(start, i)
                start = i + 1
            elif token == "(" and i > 0 and self.body[i - 1] == "for":
                end = closing(self.body, i)
                first = i + 1
                for piece in split(self.body[i + 1:end], ";"):
                    self.statement(first, first + len(piece))
                    first += len(piece) + 1
                i, start = end, end + 1
            i += 1
        self.statement(start, len(self.body))

    def is_value(self, brace):
        """An initialiser or a compound literal, not a block."""
        before = self.body[brace - 1] if brace > 0 else ";"
        if before != ")":
            return before in ("=", ",")
        depth = 0
        for j in range(brace - 1, -1, -1):
            depth += (self.body[j] == ")") - (self.body[j] == "(")
            if depth == 0:
                return j > 0 and self.body[j - 1] in ("=", ",", "(", "return", "&", "?", ":")
        return False

    def statement(self, start, end):
        tokens = self.body[start:end]
        while tokens and (tokens[0] in ("else", "do")
                          or (tokens[0] in ("if", "while", "switch") and tokens[1:2] == ["("])):
            if tokens[0] in ("else", "do"):
                tokens = tokens[1:]
                continue
            close = closing(tokens, 1)
            self.expression(tokens[2:close])
            tokens = tokens[close + 1:]
        if not tokens:
            return
        pieces = split(tokens)
        name = self.declare(pieces[0])
        if name is None:
            self.expression(tokens)
            return
        base = self.vars[str(pieces[0][name])][0]
        for j, piece in enumerate(pieces):
            if j == 0:
                piece = piece[name:]
            else:
                at = next((k for k, t in enumerate(piece) if t != "*"), 0)
                if at >= len(piece) or not re.match(r"[A-Za-z_]", piece[at]):
                    continue
                self.note(piece, at, base, at)
                piece = piece[at:]
            self.fresh.pop(str(piece[0]), None)
            self.heap.discard(str(piece[0]))
            if "=" in piece:
                equals = piece.index("=")
                self.uses(piece[equals + 1:], True)
                self.assigned(str(piece[0]), piece[equals + 1:])

    def expression(self, tokens):
        for piece in split(tokens):
            at = self.top_level(piece, ASSIGN)
            if at is None:
                self.steps(piece)
                self.uses(piece)
                continue
            left, right = piece[:at], piece[at + 1:]
            self.store(left)  # first: what is stored may be the object itself
            if self.top_level(right, ASSIGN) is not None:
                self.expression(right)
            else:
                self.uses(right, True)
            self.uses(left[1:])
            if len(left) == 1:
                self.assigned(str(left[0]), right)

    @staticmethod
    def top_level(tokens, wanted):
        depth = 0
        for i, token in enumerate(tokens):
            if token in "([{":
                depth += 1
            elif token in ")]}":
                depth -= 1
            elif depth == 0 and token in wanted:
                return i
        return None

    def assigned(self, name, right):
        self.fresh.pop(name, None)
        self.heap.discard(name)
        while right and right[0] == "(" and closing(right, 0) < len(right) - 1:
            right = right[closing(right, 0) + 1:]  # a cast
        if right and right[0] in self.allocs:
            self.fresh[name] = set()
            if right[0].endswith("_array") and "gc_byte_type" not in right:
                self.heap.add(name)

    def store(self, left):
        """A plain store: right if it is the first into a fresh object."""
        target = self.target(left)
        if target is None:
            return
        parsed = self.chain(left)
        base = parsed[1]
        if base in self.fresh and not target.startswith("a whole") and not parsed[0]:
            path = spell(left[1:])
            if path not in self.fresh[base] or "[" in left:
                self.fresh[base].add(path)
                return
            self.report(left[0].line, f"second plain store to {target} of a fresh object")
            return
        self.report(left[0].line, f"plain store to {target}")

    def steps(self, tokens):
        """x->field++ and --x->field."""
        for i, token in enumerate(tokens):
            if token not in ("++", "--"):
                continue
            operand = tokens[i + 1:] if i == 0 else tokens[:i]
            if operand and self.target(operand):
                self.report(token.line, f"plain store to {self.target(operand)}")

    def uses(self, tokens, stored=False):
        """Calls, and whatever ends an object's freshness; stored: by an assignment."""
        for i, token in enumerate(tokens):
            following = tokens[i + 1:i + 2]
            if following == ["("] and re.match(r"[A-Za-z_]", token):
                self.call(token, split(tokens[i + 2:closing(tokens, i + 1)]))
            if token in self.fresh and following not in (["->"], ["."], ["["]) \
                    and tokens[i - 1:i] not in (["->"], ["."]) \
                    and (stored and len(tokens) == 1 or not self.is_looked_at(tokens, i)):
                del self.fresh[token]
            if token == "(":  # assignments inside of conditions and arguments
                inner = tokens[i + 1:closing(tokens, i)]
                if self.top_level(inner, ASSIGN) is not None and len(split(inner)) == 1:
                    self.expression(inner)

    def is_looked_at(self, tokens, i):
        """Compared, tested, or an argument of a function that keeps no pointer."""
        around = set(tokens[max(i - 1, 0):i]) | set(tokens[i + 1:i + 2])
        if around & {"==", "!=", "!", "&&", "||"} or tokens == [tokens[i]]:
            return True
        depth = 0
        for j in range(i - 1, -1, -1):
            if tokens[j] == ")":
                depth += 1
            elif tokens[j] == "(":
                if depth == 0:
                    return j > 0 and tokens[j - 1] in HARMLESS
                depth -= 1
        return False

    def call(self, name, arguments):
        at = WRITERS.get(name)
        if at is None or at >= len(arguments):
            return
        into = arguments[at]
        by_address = into[:1] == ["&"]
        parsed = self.chain(into[1:] if by_address else into)
        if parsed is None or (name == "memset" and parsed[1] in self.fresh):
            return  # zeroes over zeroes
        target = self.pointed_to(parsed, by_address)
        if target:
            self.report(name.line, f"{name} into {target}")

    def pointed_to(self, parsed, by_address):
        """What a function writes that is given this pointer; None if nothing of ours."""
        _, base, accessors, known = parsed
        members = [a for a in accessors if a != "["]
        if not members and base in self.types.roots and base not in self.vars:
            return f"registered root {base}"
        if members and (by_address or self.types.is_array(members[-1][1], members[-1][0])) \
                and self.pointer_member(accessors):
            return f"field {self.pointer_member(accessors)}"
        if known and known[1] == (0 if by_address else 1) and self.types.fields.get(
                self.types.resolve(known[0])):
            return None if by_address and not accessors else f"a whole {known[0]}"
        return f"elements of {base}" if base in self.heap and not members else None


def functions_of(tokens):
    """(parameters, body) of each function."""
    i = 0
    while i < len(tokens):
        if tokens[i] == "(":
            end = closing(tokens, i)
            if tokens[end + 1:end + 2] == ["{"]:
                close = closing(tokens, end + 1)
                yield tokens[i + 1:end], tokens[end + 2:close]
                i = close
            else:
                i = end
        elif tokens[i] == "{":
            i = closing(tokens, i)
        i += 1


def read_types(files):
    types = Types()
    for tokens, _ in files.values():
        types.read(tokens)
    for _ in range(2):  # a tail's element type may come later
        for tokens, _ in files.values():
            types.read_macros(tokens)
    return types


def find(paths, allocs):
    """All findings, sorted, as (path, line, text)."""
    files = {}
    for path in paths:
        with open(path, encoding="utf-8") as f:
            code, raw = blank(f.read())
        files[path] = (tokens_of(code), raw)
    types = read_types(files)
    found = set()
    for path, (tokens, raw) in files.items():
        for parameters, body in functions_of(tokens):
            def report(line, text):
                if line not in raw:
                    found.add((path, line, text))
            Function(types, ALLOCS | set(allocs), report, parameters, body).walk()
    return types, sorted(found)


COCCI_FIELD = """@@
{typedef}{owner} *x;
expression e, i;
@@
(
* x->{field} = e
|
* x->{field}[i] = e
)
"""
COCCI_WHOLE = """@@
{typedef}{owner} *x;
expression e, n;
@@
(
* *x = e
|
* memcpy(x, e, n)
|
* memmove(x, e, n)
|
* memset(x, e, n)
)
"""
COCCI_ROOT = """@@
expression e, i;
@@
(
* {root} = e
|
* {root}[i] = e
)
"""


def cocci(types):
    print("// Printed by raw_stores.py --cocci: plain stores to heap pointers.")
    for owner in sorted(types.fields):
        typedef = "" if " " in owner else f"typedef {owner};\n"
        for field in sorted(types.fields[owner]):
            print(COCCI_FIELD.format(typedef=typedef, owner=owner, field=field))
            typedef = ""
        if types.fields[owner]:
            print(COCCI_WHOLE.format(typedef=typedef, owner=owner))
    for root in sorted(r for r, is_member in types.roots.items() if not is_member):
        print(COCCI_ROOT.format(root=root))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--alloc", action="append", default=[], metavar="NAME")
    parser.add_argument("--cocci", action="store_true")
    parser.add_argument("files", nargs="+", metavar="FILE")
    options = parser.parse_args()
    types, found = find(options.files, options.alloc)
    if options.cocci:
        cocci(types)
        return
    for path, line, text in found:
        print(f"{path}:{line}: {text}, without gc_write")
    print(f"raw_stores: {len(types.fields)} types, {len(types.roots)} roots, "
          f"{len(found)} plain stores")
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
