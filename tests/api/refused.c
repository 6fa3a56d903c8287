/* SPDX-License-Identifier: MIT */
/*
 * Purpose: stores of the wrong type that a C compiler must complain of; refused.py compiles
 * this file with warnings as errors, once as it is, and once with each REFUSE_ name defined:
 * the latter must fail and say the words behind it.
 */
#include <gcrt/gcrt.h>

struct leaf {
    long value;
};

struct node {
    struct node *left;
    uint64_t word;
    long key;
};

#ifdef REFUSE_a_misaligned_field /* is not one or more aligned pointer words */
struct packed {
    char c;
    struct node *p;
} __attribute__((packed));
GC_TYPE(packed_type, struct packed, p);
#endif

static const gc_decode decode = { 1, 1, ~(uint64_t)1 };

void uses(struct node *n, struct leaf *l);
void
uses(struct node *n, struct leaf *l)
{
    gc_write(&n->left, n);
    gc_write(&n->left, NULL);
    gc_write_release(&n->left, n);
    (void)gc_exchange(&n->left, n);
    (void)gc_cas(&n->left, NULL, n);
    gc_write_word(&decode, &n->word, 1);
#ifdef REFUSE_write_of_another_type /* incompatible pointer type */
    gc_write(&n->left, l);
#endif
#ifdef REFUSE_write_of_a_number /* without a cast | integer to pointer conversion */
    gc_write(&n->left, 5);
#endif
#ifdef REFUSE_write_of_a_double /* incompatible type */
    gc_write(&n->left, 5.0);
#endif
#ifdef REFUSE_write_of_const /* discards */
    gc_write(&n->left, (const struct node *)n);
#endif
#ifdef REFUSE_write_of_the_object_itself /* incompatible type */
    gc_write(&n->left, *n);
#endif
#ifdef REFUSE_write_to_a_number /* without a cast | pointer to integer conversion */
    gc_write(&n->key, n);
#endif
#ifdef REFUSE_release_of_another_type /* incompatible pointer type */
    gc_write_release(&n->left, l);
#endif
#ifdef REFUSE_exchange_of_another_type /* incompatible pointer type */
    (void)gc_exchange(&n->left, l);
#endif
#ifdef REFUSE_cas_of_another_type /* incompatible pointer type */
    (void)gc_cas(&n->left, n, l);
#endif
#ifdef REFUSE_cas_expecting_another_type /* incompatible pointer type */
    (void)gc_cas(&n->left, l, n);
#endif
#ifdef REFUSE_word_to_half_a_word /* negative */
    gc_write_word(&decode, (int *)(void *)n, 1);
#endif
    (void)l;
}
