// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * What a compiled handler is linked with: the programs that call it, the map with the event, and its state.
 *
 * It is compiled to bitcode, not to an object: handle() comes from the compiler of handlers.
 */
#define HANDLE_IS_LINKED
#include "vmlinux_min.h"
#include "handler.bpf.h"

/* user space reshapes those that the handler has, and leaves out the others */
#define STATE(n)                                 \
	struct {                                 \
		__uint(type, BPF_MAP_TYPE_HASH); \
		__uint(max_entries, 1);          \
		__uint(key_size, 8);             \
		__uint(value_size, 8);           \
	} state_##n SEC(".maps")

STATE(0);
STATE(1);
STATE(2);
STATE(3);
STATE(4);
STATE(5);
STATE(6);
STATE(7);

/* of the compiler: the constants, and how many bytes they have */
extern const __u8 attributes[];
extern const __u64 attributes_size;

/* the number that is compared with a bound is to be the one that is added to an address */
#define KEEP(number) asm("" : "+r"(number))

/* the tables of a glob, as the compiler packs them */
struct glob {
	/* places of the pattern, one bit each: where any byte leaves the state as it is, and the end */
	__u64 stars;
	__u64 accept;
	/* places from which a byte leads on */
	__u64 table[256];
};

/*
 * Whether bytes of the event fit a glob. A function that others could call too is verified by itself, once: inside of a
 * handler the verifier would go on to the end of the handler from each byte at which this may be over.
 */
__noinline int fits_glob(const struct fp_handler_event *event, __u32 offset, __u32 length, __u32 at)
{
	const struct glob *glob;
	__u64 state = 1;
	__u32 n;

	if (!event || at > attributes_size - sizeof(*glob))
		return 0;
	glob = (const struct glob *)(attributes + at);
	for (n = 0; n <= FP_NAME_BYTES && n < length && state; n++) {
		__u64 place = (__u64)offset + n;

		KEEP(place);
		if (place >= sizeof(*event))
			return 0;
		state = (state & glob->table[((const __u8 *)event)[place]]) << 1 | (state & glob->stars);
	}
	return (state & glob->accept) != 0;
}

/* Whether bytes of the event are the ones that stand among the constants; verified by itself, too. */
__noinline int same_bytes(const struct fp_handler_event *event, __u32 offset, __u32 at, __u32 length)
{
	__u32 n;

	if (!event)
		return 0;
	for (n = 0; n <= FP_EXE_BYTES && n < length; n += sizeof(__u64)) {
		__u64 place = (__u64)offset + n, other = (__u64)at + n, differing;
		__u32 rest = length - n;

		KEEP(place);
		KEEP(other);
		if (place > sizeof(*event) - sizeof(__u64) || other > attributes_size - sizeof(__u64))
			return 0;
		differing = *(const __u64 *)((const char *)event + place) ^ *(const __u64 *)(attributes + other);
		if (rest < sizeof(__u64))
			differing <<= 64 - 8 * rest;
		if (differing)
			return 0;
	}
	return 1;
}

/* The same for at most a word. The loop goes on in but one way, else the verifier would follow each. */
static __always_inline int contains_word(const struct fp_handler_event *event, __u32 offset,
					 __u32 length, __u64 word, __u32 wanted)
{
	__u32 n;

	for (n = 0; n <= FP_EXE_BYTES && n + wanted <= length; n++) {
		__u64 place = (__u64)offset + n;

		KEEP(place);
		if (place > sizeof(*event) - sizeof(__u64))
			return 0;
		if (!((*(const __u64 *)((const char *)event + place) ^ word) << (64 - 8 * wanted)))
			return 1;
	}
	return 0;
}

/* Whether bytes of the event have those somewhere that stand among the constants; likewise. */
__noinline int contains(const struct fp_handler_event *event, __u32 offset, __u32 length, __u32 at,
			__u32 wanted)
{
	__u64 begin = at;
	__u32 n;

	KEEP(begin);
	if (!event || begin > attributes_size - sizeof(__u64))
		return 0;
	if (!wanted)
		return 1;
	if (wanted <= sizeof(__u64))
		return contains_word(event, offset, length, *(const __u64 *)(attributes + begin), wanted);
	for (n = 0; n <= FP_EXE_BYTES && n + wanted <= length; n++)
		if (same_bytes(event, offset + n, at, wanted))
			return 1;
	return 0;
}
