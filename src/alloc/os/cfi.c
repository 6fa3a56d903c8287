/* SPDX-License-Identifier: MIT */
/*
 * Unwind tables.
 *
 * Purpose: read one row of .eh_frame: where the caller's frame is, seen from one instruction.
 * Place: frames.c asks once for each return address that it meets.
 * Invariants: what is not understood is CFI_ODD, never a guess.  Only frames are understood
 * whose end is a constant above rsp or rbp, with the return address right below it, and rbp
 * among the first words below that: what compilers make, but for realigned stacks, signal
 * frames and handwritten assembly.
 * Concurrency: any thread; dl_iterate_phdr holds the linker's lock while the object is found,
 * so that it stays while its tables are read.
 * Cost: about 1 us, so frames.c remembers.
 *
 *     .eh_frame_hdr   sorted (function, FDE) pairs, found by the program header GNU_EH_FRAME
 *     FDE             a function's range, and instructions that build its rows
 *     CIE             what many FDEs have in common: factors, and instructions to begin with
 *
 * Source: the formats are those of the Linux Standard Base, Exception Frames, and of DWARF 4, 6.4.
 */
#define _GNU_SOURCE

#include "alloc/os/cfi.h"

#if defined(__x86_64__)

# include <link.h>
# include <string.h>

# define REG_BP 6u
# define REG_SP 7u
# define REG_RA 16u
# define ROWS   8 /* remember_state in remember_state, at most */

/* Bytes to read; what lies behind the end reads as 0, and makes all of it bad. */
struct bytes {
    const uint8_t *at, *end;
    bool bad;
};

enum where { SAME, SAVED, NOWHERE, STRANGE };

struct place {
    enum where where;
    int64_t offset; /* SAVED: from the frame's end */
};

struct row {
    unsigned cfa_reg;
    int64_t cfa_offset;
    bool cfa_strange;
    struct place bp, ra;
};

struct program {
    struct bytes fde, cie; /* the instructions */
    uint64_t code_factor;
    int64_t data_factor;
    unsigned encoding;     /* of the FDE's addresses */
    uintptr_t start, limit;
    struct row first;      /* what the CIE says */
    struct row stack[ROWS];
    unsigned nstack;
};

/* ---- reading ---- */

static uint64_t
read_word(struct bytes *b, size_t n)
{
    uint64_t word = 0;

    if ((size_t)(b->end - b->at) < n) {
        b->bad = true;
        b->at = b->end;
        return 0;
    }
    memcpy(&word, b->at, n); /* little-endian */
    b->at += n;
    return word;
}

static uint64_t
read_leb(struct bytes *b, bool is_signed)
{
    uint64_t value = 0;
    unsigned shift = 0, byte;

    do {
        byte = (unsigned)read_word(b, 1);
        if (shift < 64)
            value |= (uint64_t)(byte & 0x7f) << shift;
        shift += 7;
    } while (byte & 0x80);
    if (is_signed && shift < 64 && (byte & 0x40))
        value |= ~(uint64_t)0 << shift;
    return value;
}

static uint64_t
read_unsigned(struct bytes *b)
{
    return read_leb(b, false);
}

static int64_t
read_signed(struct bytes *b)
{
    return (int64_t)read_leb(b, true);
}

static void
skip(struct bytes *b, uint64_t n)
{
    if ((uint64_t)(b->end - b->at) < n) {
        b->bad = true;
        n = (uint64_t)(b->end - b->at);
    }
    b->at += n;
}

/* Bytes that an encoded address takes; 0: a kind that we do not read. */
static size_t
encoded_bytes(unsigned encoding)
{
    static const uint8_t bytes[16] = { [0] = 8, [2] = 2, [3] = 4, [4] = 8, [10] = 2, [11] = 4,
        [12] = 8 };

    return (encoding & 0x70) == 0x50 ? 0 : bytes[encoding & 0xf]; /* 0x50: aligned */
}

/* A CIE or FDE: what follows its length. */
static struct bytes
read_entry(const uint8_t *at)
{
    struct bytes b = { at, at + 4, false };
    uint32_t n = (uint32_t)read_word(&b, 4);

    b.end = b.at + n;
    b.bad = n == 0 || n >= 0xfffffff0u; /* the end; or the 64-bit format, which nobody writes */
    if (b.bad)
        b.end = b.at;
    return b;
}

/* ---- headers ---- */

/* The letters after the first say what the augmentation data has; false: not understood. */
static bool
read_augmentation(struct program *p, const char *letters, struct bytes *data)
{
    for (; *letters != '\0'; letters++) {
        size_t bytes;

        switch (*letters) {
        case 'L':
            (void)read_word(data, 1);
            break;
        case 'P':
            bytes = encoded_bytes((unsigned)read_word(data, 1));
            if (bytes == 0)
                return false;
            skip(data, bytes);
            break;
        case 'R':
            p->encoding = (unsigned)read_word(data, 1);
            break;
        default: /* S: a signal's frame, whose pc is no return address */
            return false;
        }
    }
    return !data->bad;
}

static bool
read_cie(struct program *p, const uint8_t *at)
{
    struct bytes b = read_entry(at), data;
    uint64_t id = read_word(&b, 4), version = read_word(&b, 1), bytes, return_register;
    const char *letters = (const char *)b.at;

    while (read_word(&b, 1) != 0)
        ;
    p->code_factor = read_unsigned(&b);
    p->data_factor = read_signed(&b);
    return_register = version == 1 ? read_word(&b, 1) : read_unsigned(&b);
    if (b.bad || id != 0 || (version != 1 && version != 3) || letters[0] != 'z'
            || return_register != REG_RA)
        return false;
    bytes = read_unsigned(&b);
    data = b;
    skip(&b, bytes);
    data.end = b.at;
    p->cie = b;
    return !b.bad && read_augmentation(p, letters + 1, &data);
}

static bool
read_fde(struct program *p, const uint8_t *at, uintptr_t start)
{
    struct bytes b = read_entry(at);
    const uint8_t *from = b.at;
    uint64_t back = read_word(&b, 4);
    size_t bytes;

    if (b.bad || back == 0 || !read_cie(p, from - back))
        return false;
    bytes = encoded_bytes(p->encoding);
    skip(&b, bytes); /* where the function starts: the sorted table said it */
    p->start = start;
    p->limit = start + read_word(&b, bytes);
    skip(&b, read_unsigned(&b));
    p->fde = b;
    return !b.bad && bytes != 0;
}

/* ---- rows ---- */

static void
set_place(struct row *row, uint64_t reg, enum where where, int64_t offset)
{
    struct place place = { where, offset };

    if (reg == REG_BP)
        row->bp = place;
    else if (reg == REG_RA)
        row->ra = place;
    else if (reg == REG_SP)
        row->cfa_strange = true; /* the frame's end is not the caller's rsp */
}

static void
set_saved(const struct program *p, struct row *row, uint64_t reg, int64_t factored)
{
    set_place(row, reg, SAVED, factored * p->data_factor);
}

static void
set_as_first(const struct program *p, struct row *row, uint64_t reg)
{
    if (reg == REG_BP)
        row->bp = p->first.bp;
    else if (reg == REG_RA)
        row->ra = p->first.ra;
}

static void
set_cfa(struct row *row, uint64_t reg, int64_t offset)
{
    row->cfa_reg = (unsigned)reg;
    row->cfa_offset = offset;
    row->cfa_strange = false;
}

/* Instructions about places whose operands are a register and perhaps an offset. */
static bool
step_place(struct program *p, struct row *row, unsigned op, struct bytes *b)
{
    uint64_t reg = read_unsigned(b);

    switch (op) {
    case 0x05: /* offset_extended */
        set_saved(p, row, reg, (int64_t)read_unsigned(b));
        return true;
    case 0x11: /* offset_extended_sf */
        set_saved(p, row, reg, read_signed(b));
        return true;
    case 0x06: /* restore_extended */
        set_as_first(p, row, reg);
        return true;
    case 0x07: /* undefined */
        set_place(row, reg, NOWHERE, 0);
        return true;
    case 0x08: /* same_value */
        set_place(row, reg, SAME, 0);
        return true;
    case 0x10: /* expression, val_expression */
    case 0x16:
        set_place(row, reg, STRANGE, 0);
        skip(b, read_unsigned(b));
        return true;
    case 0x09: /* register, val_offset, val_offset_sf */
    case 0x14:
    case 0x15:
        set_place(row, reg, STRANGE, 0);
        (void)read_unsigned(b);
        return true;
    default:
        return false;
    }
}

/* Instructions about the frame's end, and the row as a whole. */
static bool
step_row(struct program *p, struct row *row, unsigned op, struct bytes *b)
{
    uint64_t reg;

    switch (op) {
    case 0x0a: /* remember_state */
        if (p->nstack == ROWS)
            return false;
        p->stack[p->nstack++] = *row;
        return true;
    case 0x0b: /* restore_state */
        if (p->nstack == 0)
            return false;
        *row = p->stack[--p->nstack];
        return true;
    case 0x0c: /* def_cfa, def_cfa_sf */
    case 0x12:
        reg = read_unsigned(b);
        set_cfa(row, reg, op == 0x0c ? (int64_t)read_unsigned(b)
                                     : read_signed(b) * p->data_factor);
        return true;
    case 0x0d: /* def_cfa_register */
        row->cfa_reg = (unsigned)read_unsigned(b);
        return true;
    case 0x0e: /* def_cfa_offset, def_cfa_offset_sf */
        row->cfa_offset = (int64_t)read_unsigned(b);
        return true;
    case 0x13:
        row->cfa_offset = read_signed(b) * p->data_factor;
        return true;
    case 0x0f: /* def_cfa_expression */
        row->cfa_strange = true;
        skip(b, read_unsigned(b));
        return true;
    case 0x2e: /* args_size, of no use to us */
        (void)read_unsigned(b);
        return true;
    default:
        return step_place(p, row, op, b);
    }
}

/* Executes b until the row is the one of pc; false: something was not understood. */
static bool
run_to(struct program *p, struct bytes b, struct row *row, uintptr_t pc)
{
    uintptr_t at = p->start;

    while (b.at < b.end && !b.bad) {
        unsigned op = (unsigned)read_word(&b, 1), low = op & 0x3f;
        uint64_t ahead = 0;

        switch (op >> 6) {
        case 1: /* advance_loc */
            ahead = low;
            break;
        case 2: /* offset */
            set_saved(p, row, low, (int64_t)read_unsigned(&b));
            break;
        case 3: /* restore */
            set_as_first(p, row, low);
            break;
        default:
            if (op >= 0x02 && op <= 0x04) /* advance_loc1, 2, 4 */
                ahead = read_word(&b, (size_t)1 << (op - 2));
            else if (op != 0 && !step_row(p, row, op, &b))
                return false;
        }
        at += ahead * p->code_factor;
        if (at > pc)
            break;
    }
    return !b.bad;
}

/* The caller's rbp: how many words below the return address; 0: as it is, -1: none of these. */
static int
saved_of(const struct row *row)
{
    int64_t below = -row->bp.offset - 8;

    if (row->bp.where == SAME)
        return 0;
    if (row->bp.where != SAVED || below % 8 != 0 || below <= 0 || below / 8 > CFI_SAVED)
        return -1;
    return (int)(below / 8);
}

static unsigned
rule_of(const struct row *row)
{
    int saved = saved_of(row);

    if (row->ra.where == NOWHERE)
        return CFI_END;
    if (row->cfa_strange || (row->cfa_reg != REG_SP && row->cfa_reg != REG_BP)
            || row->cfa_offset % 8 != 0 || row->cfa_offset <= 0 || row->cfa_offset > CFI_BYTES
            || row->ra.where != SAVED || row->ra.offset != -8 || saved < 0)
        return CFI_ODD;
    return (unsigned)row->cfa_offset | (unsigned)saved
            | (row->cfa_reg == REG_BP ? CFI_FROM_BP : 0);
}

static unsigned
rule_in(const uint8_t *fde, uintptr_t start, uintptr_t pc)
{
    struct program p = { .encoding = 0 };
    struct row row = { .cfa_strange = true };

    if (!read_fde(&p, fde, start) || pc >= p.limit || !run_to(&p, p.cie, &row, UINTPTR_MAX))
        return CFI_ODD;
    p.first = row;
    return run_to(&p, p.fde, &row, pc) ? rule_of(&row) : CFI_ODD;
}

/* ---- objects ---- */

struct search {
    uintptr_t pc;
    unsigned rule;
    uint64_t loads;
};

/* One entry of .eh_frame_hdr, relative to it. */
struct entry {
    int32_t start, fde;
};

struct table {
    uint8_t version, frame_encoding, count_encoding, table_encoding;
    int32_t frame;
    uint32_t n;
    struct entry entries[];
};

# define HEADER_VERSION 1
# define PCREL_SDATA4   0x1b
# define UDATA4         0x03
# define DATAREL_SDATA4 0x3b

/* The last entry that starts at pc or before. */
static unsigned
rule_from(const struct table *t, uintptr_t pc)
{
    uintptr_t base = (uintptr_t)t;
    uint32_t from = 0, to = t->n;

    if (t->version != HEADER_VERSION || t->frame_encoding != PCREL_SDATA4
            || t->count_encoding != UDATA4 || t->table_encoding != DATAREL_SDATA4)
        return CFI_ODD;
    while (to - from > 1) {
        uint32_t middle = from + (to - from) / 2;

        if (base + (uintptr_t)(intptr_t)t->entries[middle].start <= pc)
            from = middle;
        else
            to = middle;
    }
    if (t->n == 0 || base + (uintptr_t)(intptr_t)t->entries[from].start > pc)
        return CFI_ODD;
    return rule_in((const uint8_t *)t + t->entries[from].fde,
            base + (uintptr_t)(intptr_t)t->entries[from].start, pc);
}

static int
visit_object(struct dl_phdr_info *info, size_t size, void *arg)
{
    struct search *s = arg;
    const struct table *table = NULL;
    bool is_in = false;

    (void)size;
    s->loads = info->dlpi_adds + info->dlpi_subs;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
        uintptr_t start = info->dlpi_addr + ph->p_vaddr;

        if (ph->p_type == PT_LOAD && s->pc - start < ph->p_memsz)
            is_in = true;
        if (ph->p_type == PT_GNU_EH_FRAME)
            table = (const struct table *)start;
    }
    if (is_in && table != NULL)
        s->rule = rule_from(table, s->pc);
    return is_in || s->pc == UINTPTR_MAX;
}

unsigned
gcrt_cfi_find(uintptr_t pc, uint64_t *ret_loads)
{
    struct search s = { .pc = pc, .rule = CFI_ODD };

    (void)dl_iterate_phdr(visit_object, &s);
    *ret_loads = s.loads;
    return s.rule;
}

#else

unsigned
gcrt_cfi_find(uintptr_t pc, uint64_t *ret_loads)
{
    (void)pc;
    *ret_loads = 0;
    return CFI_ODD;
}

#endif
