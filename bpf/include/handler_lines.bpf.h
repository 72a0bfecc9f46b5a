/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What a handler in C declares: lines of text in its object, which user space reads, and the memory that belongs to them.
 * Numbers in them are written as such, or as macros: text is made of them.
 */
#ifndef HANDLER_LINES_BPF_H
#define HANDLER_LINES_BPF_H

#define HANDLER_GLUED(a, b) a##b
#define HANDLER_GLUE(a, b) HANDLER_GLUED(a, b)
#define HANDLER_QUOTED(...) #__VA_ARGS__
#define HANDLER_QUOTE(...) HANDLER_QUOTED(__VA_ARGS__)
#define HANDLER_LINE(LINE)                                                                               \
	const char HANDLER_GLUE(manifest_, __COUNTER__)[] SEC(".rodata.manifest") __attribute__((used)) = \
		LINE "\n"

/* --- who it is --- */

/* NAME: at most 63 bytes; DESC: one line. It must be there, once */
#define HANDLER(NAME, DESC)                                            \
	HANDLER_LINE("version " HANDLER_QUOTE(FP_HANDLER_VERSION));    \
	HANDLER_LINE("name " NAME);                                    \
	HANDLER_LINE("desc " DESC)
/* "unprivileged" */
#define HANDLER_FLAGS(WORDS) HANDLER_LINE("flags " WORDS)
/* of enum fp_field, in lower case: "name object"; what is not asked for is not told */
#define HANDLER_NEEDS(WORDS) HANDLER_LINE("needs " WORDS)
/* what the verdict depends on: of "directory name object process mask", or "nothing"; if it is not said, on all of it */
#define HANDLER_DEPENDS(WORDS) HANDLER_LINE("depends " WORDS)

/* --- what it is given: constants, set before the load --- */

#define HANDLER_ARGUMENT(NAME, KIND, DESC)                         \
	HANDLER_LINE("argument " #NAME " " KIND " " DESC);         \
	const volatile struct NAME##_argument NAME SEC(".rodata.attributes") __attribute__((aligned(8))) = {}

#define FP_WORDS(BYTES) (((BYTES) + 7) / 8)

/* one integer: NAME.value */
#define HANDLER_INTEGER(NAME, DESC)   \
	struct NAME##_argument {      \
		__s64 value;          \
	};                            \
	HANDLER_ARGUMENT(NAME, "integer", DESC)

/* at most so many byte strings, each of at most so many bytes: NAME.count of NAME.items; see FP_BEGINS */
#define HANDLER_TEXTS(NAME, ITEMS, BYTES, DESC)             \
	struct NAME##_argument {                            \
		__u64 count;                                \
		struct {                                    \
			__u64 length;                       \
			__u64 first_mask;                   \
			__u64 words[FP_WORDS(BYTES)];       \
		} items[ITEMS];                             \
	};                                                  \
	HANDLER_ARGUMENT(NAME, "texts " HANDLER_QUOTE(ITEMS) " " HANDLER_QUOTE(BYTES), DESC)

/* places in the table of a set: a power of two, at least twice as many as integers */
#define FP_PLACES_OF(ITEMS)                                                                                     \
	((ITEMS) <= 1 ? 2 : (ITEMS) <= 2 ? 4 : (ITEMS) <= 4 ? 8 : (ITEMS) <= 8 ? 16 : (ITEMS) <= 16 ? 32        \
	 : (ITEMS) <= 32 ? 64 : (ITEMS) <= 64 ? 128 : (ITEMS) <= 128 ? 256 : (ITEMS) <= 256 ? 512               \
	 : (ITEMS) <= 512 ? 1024 : 2048)
/* what is in the table stands so near to its place */
#define FP_NEAR 8

/* a set of at most so many 32-bit integers, up to 1,023: FP_IS_IN(NAME, value) */
#define HANDLER_INTEGERS(NAME, ITEMS, DESC)                  \
	struct NAME##_argument {                             \
		__u64 count;                                 \
		__u64 multiplier;                            \
		__u64 places[FP_PLACES_OF(ITEMS) + FP_NEAR]; \
	};                                                   \
	HANDLER_ARGUMENT(NAME, "integers " HANDLER_QUOTE(ITEMS), DESC)

/* a set of roots, at most so many at first: fp_lies_in(event, &NAME.slot) */
#define HANDLER_ROOTS(NAME, ITEMS, DESC)  \
	struct NAME##_argument {          \
		__u64 slot;               \
	};                                \
	HANDLER_ARGUMENT(NAME, "roots " HANDLER_QUOTE(ITEMS), DESC)

/* --- what it remembers, for each attach; user space reads and writes it while it runs --- */

/* a number: fp_count(&NAME, n) */
#define HANDLER_COUNTER(NAME)                         \
	HANDLER_LINE("counter " #NAME);               \
	struct {                                      \
		__uint(type, BPF_MAP_TYPE_ARRAY);     \
		__uint(max_entries, 1);               \
		__type(key, __u32);                   \
		__type(value, __u64);                 \
	} NAME SEC(".maps")

#define HANDLER_STATE(NAME, TYPE, ENTRIES, KEY_SIZE)  \
	struct {                                      \
		__uint(type, TYPE);                   \
		__uint(max_entries, ENTRIES);         \
		__uint(key_size, KEY_SIZE);           \
		__uint(value_size, 8);                \
	} NAME SEC(".maps")

/* from one to four integers of 64 bits to a number: fp_value_of(), fp_put(), fp_add(), fp_remove() */
#define HANDLER_MAP(NAME, ENTRIES, KEY_WORDS)                                                         \
	HANDLER_LINE("map " #NAME " hash " HANDLER_QUOTE(ENTRIES) " " HANDLER_QUOTE(KEY_WORDS));      \
	HANDLER_STATE(NAME, BPF_MAP_TYPE_HASH, ENTRIES, 8 * (KEY_WORDS))
/* when it is full, what has not been used for longest makes room */
#define HANDLER_LRU_MAP(NAME, ENTRIES, KEY_WORDS)                                                     \
	HANDLER_LINE("map " #NAME " lru " HANDLER_QUOTE(ENTRIES) " " HANDLER_QUOTE(KEY_WORDS));       \
	HANDLER_STATE(NAME, BPF_MAP_TYPE_LRU_HASH, ENTRIES, 8 * (KEY_WORDS))

#endif
