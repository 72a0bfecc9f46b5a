/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a handler in C begins with. It says who it is, what it is given and what it remembers, and defines handle():
 *
 *	#include <handler.bpf.h>
 *
 *	HANDLER("ignore-large", "skip events on files over a size");
 *	HANDLER_NEEDS("object");
 *	HANDLER_INTEGER(limit, "bytes");
 *
 *	int handle(struct fp_handler_event *event)
 *	{
 *		if (event->known & FP_OBJECT && event->size > limit)
 *			return FP_SKIP_EVENT;
 *		return FP_SEND_TO_USERSPACE;
 *	}
 *
 * Everything that handle() calls is to be static and __always_inline.
 */
#ifndef HANDLER_BPF_H
#define HANDLER_BPF_H

#ifndef __VMLINUX_H__
#include <linux/types.h>
enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_PERCPU_ARRAY = 6, BPF_MAP_TYPE_LRU_HASH = 9 };
enum { BPF_ANY, BPF_NOEXIST, BPF_EXIST };
typedef _Bool bool;
enum { false, true };
#endif
#include <bpf/bpf_helpers.h>
#include "handler.h"

/* the event that is being decided: one for each CPU */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fp_handler_event);
} handled SEC(".maps");

#ifdef HANDLE_IS_LINKED
extern int handle(struct fp_handler_event *event);
#else
static __always_inline int handle(struct fp_handler_event *event);
#endif

static __always_inline int decide(void)
{
	__u32 key = 0;
	struct fp_handler_event *event = bpf_map_lookup_elem(&handled, &key);

	if (event)
		event->verdict = handle(event);
	return 0;
}

/* as the dispatcher is attached, so are what it calls; which one is wanted is said before the load */
SEC("fentry/fsnotify")
int handle_fentry(void *ctx)
{
	return decide();
}

SEC("kprobe/fsnotify")
int handle_kprobe(void *ctx)
{
	return decide();
}

/* for BPF_PROG_RUN */
SEC("raw_tp/sys_enter")
int handle_run(void *ctx)
{
	return decide();
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* --- who it is: lines of text in the object, which user space reads --- */

#define HANDLER_GLUED(a, b) a##b
#define HANDLER_GLUE(a, b) HANDLER_GLUED(a, b)
#define HANDLER_LINE(line)                                                                                    \
	const char HANDLER_GLUE(manifest_, __COUNTER__)[] SEC(".rodata.manifest") __attribute__((used)) = line "\n"

/* NAME: at most 63 bytes; DESC: one line */
#define HANDLER(NAME, DESC)           \
	HANDLER_LINE("name " NAME);   \
	HANDLER_LINE("desc " DESC)
/* "UNPRIVILEGED" */
#define HANDLER_FLAGS(WORDS) HANDLER_LINE("flags " WORDS)
/* of enum fp_field, in lower case: "name object"; what is not asked for is not told */
#define HANDLER_NEEDS(WORDS) HANDLER_LINE("needs " WORDS)

/* --- what it is given: constants, set before the load --- */

#define HANDLER_ARGUMENT(NAME, KIND, DESC) \
	HANDLER_LINE("argument " #NAME " " KIND " " DESC); \
	const volatile struct NAME##_argument NAME SEC(".rodata.attributes") __attribute__((aligned(8))) = {}

#define FP_WORDS(BYTES) (((BYTES) + 7) / 8)

/* one integer: NAME.value */
#define HANDLER_INTEGER(NAME, DESC)          \
	struct NAME##_argument {             \
		__s64 value;                 \
	};                                   \
	HANDLER_ARGUMENT(NAME, "integer", DESC)

/* a list of byte strings, each as struct fp_text: FP_TEXT(NAME, n) */
#define HANDLER_TEXTS(NAME, ITEMS, BYTES, DESC)                                          \
	struct NAME##_argument {                                                        \
		__u64 count;                                                           \
		struct {                                                               \
			__u64 length;                                                  \
			__u64 first_mask;                                              \
			__u64 words[FP_WORDS(BYTES)];                                  \
		} items[ITEMS];                                                        \
	};                                                                              \
	HANDLER_ARGUMENT(NAME, "texts " #ITEMS " " #BYTES, DESC)

/* places in the table of a set: a power of two, at least twice as many as integers */
#define FP_PLACES_OF(ITEMS)                                                                                   \
	((ITEMS) <= 4 ? 8 : (ITEMS) <= 8 ? 16 : (ITEMS) <= 16 ? 32 : (ITEMS) <= 32 ? 64 : (ITEMS) <= 64 ? 128 \
	 : (ITEMS) <= 128 ? 256 : (ITEMS) <= 256 ? 512 : (ITEMS) <= 512 ? 1024 : 2048)
/* what is in the table stands so near to its place */
#define FP_NEAR 8

/* a set of integers below 2^64 - 1, at most 1,024: FP_IS_IN(NAME, value) */
#define HANDLER_INTEGERS(NAME, ITEMS, DESC)                                     \
	struct NAME##_argument {                                                \
		__u64 count;                                                   \
		__u64 multiplier;                                              \
		__u64 places[FP_PLACES_OF(ITEMS) + FP_NEAR];                   \
	};                                                                      \
	HANDLER_ARGUMENT(NAME, "integers " #ITEMS, DESC)

/* roots: fp_lies_in(event, &NAME.slot) */
#define HANDLER_ROOTS(NAME, ITEMS, DESC)  \
	struct NAME##_argument {          \
		__u64 slot;               \
	};                                \
	HANDLER_ARGUMENT(NAME, "roots " #ITEMS, DESC)

/* --- what it remembers, for each attach; user space reads and writes it while it runs --- */

#define HANDLER_COUNTER(NAME)                                                          \
	HANDLER_LINE("counter " #NAME);                                                \
	struct {                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                     \
		__uint(max_entries, 1);                                               \
		__type(key, __u32);                                                   \
		__type(value, __u64);                                                 \
	} NAME SEC(".maps")

/* keys of so many integers */
#define HANDLER_MAP(NAME, ENTRIES, KEY_WORDS)                                          \
	HANDLER_LINE("map " #NAME " " #ENTRIES " " #KEY_WORDS);                        \
	struct {                                                                       \
		__uint(type, BPF_MAP_TYPE_HASH);                                      \
		__uint(max_entries, ENTRIES);                                         \
		__uint(key_size, 8 * (KEY_WORDS));                                    \
		__uint(value_size, 8);                                                \
	} NAME SEC(".maps")

/* --- help with these --- */

/* all ones for the bytes of a word that are text, if so many are left */
static __always_inline __u64 fp_mask_of(__u64 n_left)
{
	return n_left >= 8 ? ~0ull : (1ull << 8 * n_left) - 1;
}

/* Are these words, of which length bytes count, what the text begins with? max is their number, a constant. */
static __always_inline bool fp_begins(const char *text, const volatile __u64 *words, __u64 length, __u64 first_mask,
				      __u32 max)
{
	const __u64 *at = (const __u64 *)text;

	if ((at[0] ^ words[0]) & first_mask)
		return false;
	for (__u32 n = 1; n < max; n++) {
		if (length <= 8 * n)
			return true;
		if ((at[n] ^ words[n]) & fp_mask_of(length - 8 * n))
			return false;
	}
	return true;
}

/* Does the event's name begin with that item of a list? Also when nothing is known of it: a name is empty then. */
#define FP_NAME_BEGINS(EVENT, ITEM) \
	fp_begins((EVENT)->name, (ITEM)->words, (ITEM)->length, (ITEM)->first_mask, sizeof((ITEM)->words) / 8)

static __always_inline bool fp_is_in(const volatile __u64 *places, __u64 multiplier, __u32 n_places, __u64 value)
{
	__u32 place = value * multiplier >> 32 >> (32 - __builtin_ctz(n_places));

	for (__u32 n = 0; n < FP_NEAR; n++) {
		__u64 found = places[(place & (n_places - 1)) + n];

		if (found == value + 1)
			return true;
		if (!found)
			return false;
	}
	return false;
}

#define FP_IS_IN(NAME, VALUE) \
	fp_is_in((NAME).places, (NAME).multiplier, sizeof((NAME).places) / 8 - FP_NEAR, VALUE)

/* Does it lie in one of the roots? -1 if that cannot be told. */
static __always_inline int fp_lies_in(const struct fp_handler_event *event, const volatile __u64 *slot)
{
	__u64 number = *slot;

	if (!(event->known & FP_PLACE))
		return -1;
	return number < 256 && event->inside[number / 64 & 3] >> (number & 63) & 1;
}

#endif
