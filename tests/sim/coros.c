/* SPDX-License-Identifier: MIT */
/*
 * Purpose: coroutines of the simulated host, whose stacks are registered with the heap:
 * they park, and another mutator resumes them, or ends them.
 * Place: host.c performs their operations; fibers.c knows nothing of them: to the scheduler
 * a thread that has switched stacks is the thread that it was.
 * Invariants: the machine's switch keeps registers outside of every stack, as swapcontext
 * may, and lets others run, and signals come, before it, and between the change of the
 * stack pointer and that of the registers.  A coroutine is `busy` from the moment when
 * somebody decides to run it until the switch away from it is complete. A pointer that is
 * carried over a switch is in a callee-saved register alone.
 */
#include "fibers.h"
#include "world.h"

#include <string.h>

#define CORO_STACK ((size_t)64 << 10)
#define LIVES      5 /* or two that end and begin each other go on for ever */

static char memory[COROS_MAX][CORO_STACK] __attribute__((aligned(4096)));
static uint64_t nswitches;

uint64_t
coros_switches(void)
{
    return nswitches;
}

/* ---- programs ---- */

/* Draws of its own, so that programs without coroutines stay what they were. */
void
coros_draw(struct program *p, uint64_t seed)
{
    uint64_t rng = seed ^ 0x636f726f;
    unsigned every = 2 + (unsigned)rand_below(&rng, 10);

    if (rand_below(&rng, 2))
        return;
    p->ncoros = 1 + (unsigned)rand_below(&rng, COROS_MAX);
    p->bound = rand_below(&rng, 3) == 0;
    for (unsigned i = 0; i < p->ncoros; i++) { /* each as some player's, from another place on */
        unsigned as = (unsigned)rand_below(&rng, p->nplayers), n = p->nops[as];
        unsigned at = (unsigned)rand_below(&rng, n), to = p->nplayers + i;

        p->nops[to] = n;
        for (unsigned k = 0; k < n; k++)
            p->ops[to][k] = p->ops[as][(at + k) % n];
    }
    for (unsigned i = 0; i < p->nplayers + p->ncoros; i++)
        for (unsigned k = 0; k < p->nops[i]; k++) {
            static const uint8_t codes[] = { OP_RUN, OP_RUN, OP_RUN, OP_RUN, OP_YIELD, OP_YIELD,
                OP_YIELD, OP_YIELD, OP_POKE, OP_PEEK, OP_KILL };

            if (rand_below(&rng, every) == 0)
                p->ops[i][k].code = codes[rand_below(&rng, ARRAY_LEN(codes))];
        }
}

static bool
is_coro(const struct player *pl)
{
    return pl->index >= pl->world->program->nplayers;
}

/* The player whose thread this runs on. */
static struct player *
carrier_of(struct player *pl)
{
    return is_coro(pl) ? pl->carrier : pl;
}

/* ---- the machine's switch ---- */

/*
 * gc_stack_switch(to), then the switch.  What slot has, if it is not NULL, is in rbx alone
 * until `from` is switched to again.
 */
void sim_transfer(gc_stack *to, void **from, void **into, void *volatile *slot);
void sim_enter(void);
void sim_pause(void) __attribute__((used));
_Noreturn void sim_begin(struct player *pl) __attribute__((used));

/* rsp, rbx, rbp, r12, r13, r14, r15 of who does not run are in its `context`. */
__asm__(".text\n"
        ".globl sim_transfer\n"
        ".type sim_transfer, @function\n"
        "sim_transfer:\n"
        "    pushq %rbp\n"
        "    pushq %rbx\n"
        "    pushq %r12\n"
        "    pushq %r13\n"
        "    pushq %r14\n"
        "    pushq %r15\n"
        "    subq $8, %rsp\n"
        "    movq %rcx, %r14\n"
        "    movq %rsi, %r12\n"
        "    movq %rdx, %r13\n"
        "    xorl %ebx, %ebx\n"
        "    testq %r14, %r14\n"
        "    jz 1f\n"
        "    movq (%r14), %rbx\n"
        "    movq $0, (%r14)\n"
        "1:  call gc_stack_switch\n"
        "    movq %rsp, 0(%r12)\n"
        "    movq %rbx, 8(%r12)\n"
        "    movq %rbp, 16(%r12)\n"
        "    movq %r12, 24(%r12)\n"
        "    movq %r13, 32(%r12)\n"
        "    movq %r14, 40(%r12)\n"
        "    movq %r15, 48(%r12)\n"
        "    xorl %ebx, %ebx\n"
        "    call sim_pause\n" /* on the old stack, and no pointer in a register any more */
        "    movq 0(%r13), %rsp\n"
        "    call sim_pause\n" /* on the new one, and its registers are not there yet */
        "    movq %r13, %rdx\n"
        "    movq 8(%rdx), %rbx\n"
        "    movq 16(%rdx), %rbp\n"
        "    movq 24(%rdx), %r12\n"
        "    movq 32(%rdx), %r13\n"
        "    movq 40(%rdx), %r14\n"
        "    movq 48(%rdx), %r15\n"
        "    movq $0, 8(%rdx)\n"
        "    movq %rbx, %rax\n"
        "    testq %r14, %r14\n"
        "    jz 2f\n"
        "    movq %rbx, (%r14)\n"
        "2:\n"
        "    addq $8, %rsp\n"
        "    popq %r15\n"
        "    popq %r14\n"
        "    popq %r13\n"
        "    popq %r12\n"
        "    popq %rbx\n"
        "    popq %rbp\n"
        "    ret\n"
        ".size sim_transfer, .-sim_transfer\n"
        ".globl sim_enter\n"
        ".type sim_enter, @function\n"
        "sim_enter:\n" /* a coroutine's first return address */
        "    movq %rax, %rdi\n"
        "    call sim_begin\n"
        "    ud2\n"
        ".size sim_enter, .-sim_enter\n");

void
sim_pause(void)
{
    /* Now and then for long enough for a whole handshake, and its signal. */
    for (uint64_t n = sched_dice(8) == 0 ? sched_dice(40) : 0; n > 0; n--)
        sched_yield_now();
    sim_point();
}

/* The switch away from whoever ran before is complete. */
static void
landed(struct player *pl)
{
    struct player *thread = carrier_of(pl);

    thread->left->busy = false;
    thread->left = NULL;
}

static __attribute__((noinline)) void
hide(struct player *pl, void *volatile *slot)
{
    pl->hidden = slot == NULL ? ~(uintptr_t)0 : ~(uintptr_t)*slot;
}

/* pl keeps the register `carried`, or none, in the machine's alone; `to` is busy already. */
static void
transfer(struct player *pl, struct player *to, int carried)
{
    struct player *thread = carrier_of(pl);
    void *volatile *slot = carried < 0 ? NULL : &pl->registers[carried];

    if (is_coro(to))
        to->carrier = thread;
    thread->left = pl;
    nswitches++;
    hide(pl, slot);
    sim_transfer(to->stack, pl->context, to->context, slot);
    hide(pl, NULL);
    landed(pl);
}

/* ---- a coroutine's life ---- */

/* Its registers lie on its stack, precise threads' in a frame. */
_Noreturn void
sim_begin(struct player *pl)
{
    void *volatile registers[REGISTERS + 1] = { NULL }; /* the last one is junk */
    struct gc_impl_local local = { (void *)(uintptr_t)registers, pl->world->program->nregisters };
    struct gc_impl_frame frame = { NULL, &local, 1 };

    pl->registers = registers;
    landed(pl);
    if (pl->world->program->precise)
        gc_impl_frame_enter(&frame);
    player_perform_all(pl);
    if (pl->world->program->precise)
        gc_impl_frame_leave(&frame);
    pl->registers = NULL;
    pl->over = true;
    transfer(pl, pl->carrier, -1);
    sched_fail("a coroutine that is over runs on");
}

static void
prepare(struct player *pl)
{
    char *lo = memory[pl->index - pl->world->program->nplayers];
    void **top = (void **)(void *)(lo + CORO_STACK - 128);

    memset(lo, 0, CORO_STACK);
    top[7] = (void *)(uintptr_t)sim_enter; /* above a pad and six registers */
    memset(pl->context, 0, sizeof pl->context);
    pl->context[0] = top;
    pl->context[1] = pl;
    pl->over = false;
    pl->lives--;
}

static void
enrol(struct player *pl)
{
    char *lo = memory[pl->index - pl->world->program->nplayers];

    if (gc_stack_register(lo, CORO_STACK, &pl->stack) != GC_OK)
        sched_fail("gc_stack_register: %s", gc_last_error());
    prepare(pl);
}

void
coros_begin(struct world *w)
{
    for (unsigned i = 0; i < w->program->nplayers + w->program->ncoros; i++) {
        w->players[i].world = w;
        w->players[i].index = i;
        w->players[i].hidden = ~(uintptr_t)0;
        w->players[i].lives = LIVES;
        if (i >= w->program->nplayers)
            enrol(&w->players[i]);
    }
}

void
coros_end(struct world *w)
{
    for (unsigned i = 0; i < w->program->ncoros; i++) {
        struct player *pl = &w->players[w->program->nplayers + i];

        if (pl->busy)
            sched_fail("coroutine %u is busy in the end", i);
        pl->registers = NULL;
        pl->hidden = ~(uintptr_t)0;
        gc_stack_unregister(pl->stack);
    }
}

/* ---- operations ---- */

/* A coroutine that nobody runs, and that pl may use; the caller makes it busy at once. */
static struct player *
choose(struct player *pl, uint8_t which)
{
    const struct program *p = pl->world->program;
    struct player *to;

    if (p->ncoros == 0)
        return NULL;
    to = &pl->world->players[p->nplayers + which % p->ncoros];
    if (to->busy || (p->bound && to->index % p->nplayers != carrier_of(pl)->index))
        return NULL;
    return to;
}

/* Precise threads' registers are the machine's alone nowhere. */
static int
carried_by(const struct player *pl, const struct op *op)
{
    if (pl->world->program->precise || (op->c & 1))
        return -1;
    return (int)(op->b % pl->world->program->nregisters);
}

static void
run(struct player *pl, const struct op *op)
{
    struct player *to = choose(pl, op->a);

    if (to == NULL || (to->over && to->lives == 0))
        return;
    to->busy = true;
    if (to->over) {
        gc_stack_reset(to->stack);
        prepare(to);
    }
    transfer(pl, to, carried_by(pl, op));
}

static void
go_back(struct player *pl, const struct op *op)
{
    if (!is_coro(pl))
        return;
    transfer(pl, pl->carrier, carried_by(pl, op));
}

/* It is ended in the middle of what it did; one of its pointers may be saved. */
static void
end_coro(struct player *pl, const struct op *op)
{
    struct player *to = choose(pl, op->a);

    if (to == NULL || to->registers == NULL)
        return;
    to->busy = true;
    if (op->b & 1)
        pl->registers[op->c % pl->world->program->nregisters]
                = to->registers[op->b % pl->world->program->nregisters];
    to->registers = NULL;
    to->hidden = ~(uintptr_t)0;
    to->over = true;
    if ((op->b & 2) && to->lives != 0) {
        gc_stack_unregister(to->stack);
        enrol(to);
        to->over = false;
    }
    to->busy = false;
}

/* What lies on a stack that stays with its thread may be read by others of this thread. */
static void
peek(struct player *pl, const struct op *op)
{
    struct player *to = choose(pl, op->a);

    if (to != NULL && to->registers != NULL && pl->world->program->bound)
        pl->registers[op->b % pl->world->program->nregisters]
                = to->registers[op->c % pl->world->program->nregisters];
}

/* And written, on a parked stack, with a barrier. */
static void
poke(struct player *pl, const struct op *op)
{
    struct player *to = choose(pl, op->a);
    void **slot;

    if (to == NULL || to->registers == NULL)
        return;
    to->busy = true;
    slot = (void **)(uintptr_t)&to->registers[op->c % pl->world->program->nregisters];
    if (pl->world->program->stw)
        __atomic_store_n(slot, pl->registers[op->b % pl->world->program->nregisters],
                __ATOMIC_RELAXED);
    else
        gc_write(slot, pl->registers[op->b % pl->world->program->nregisters]);
    to->busy = false;
}

void
coros_perform(struct player *pl, const struct op *op)
{
    switch ((enum op_code)op->code) {
    case OP_RUN:
        run(pl, op);
        break;
    case OP_YIELD:
        go_back(pl, op);
        break;
    case OP_KILL:
        end_coro(pl, op);
        break;
    case OP_PEEK:
        peek(pl, op);
        break;
    case OP_POKE:
        poke(pl, op);
        break;
    default:
        break;
    }
}
