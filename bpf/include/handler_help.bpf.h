/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What helps a handler in C with names, sets, roots, and what it remembers. */
#ifndef HANDLER_HELP_BPF_H
#define HANDLER_HELP_BPF_H

/* --- names: FIELD is name, exe or comm; ITEM points to an item of HANDLER_TEXTS. False when it is not known --- */

#define FP_BEGINS(EVENT, FIELD, ITEM) \
	(FP_HAS_ROOM(EVENT, FIELD, ITEM) && \
	 fp_begins((EVENT)->FIELD, (ITEM)->words, (ITEM)->length, (ITEM)->first_mask, sizeof((ITEM)->words) / 8))
#define FP_ENDS(EVENT, FIELD, ITEM) \
	(FP_HAS_ROOM(EVENT, FIELD, ITEM) && \
	 fp_stands_at((EVENT)->FIELD, (EVENT)->FIELD##_len - (ITEM)->length, (ITEM)->words, (ITEM)->length, \
		      sizeof((ITEM)->words) / 8))
#define FP_EQUALS(EVENT, FIELD, ITEM) \
	((EVENT)->FIELD##_len == (ITEM)->length && FP_BEGINS(EVENT, FIELD, ITEM))

enum { fp_bit_name = FP_NAME, fp_bit_exe = FP_EXE, fp_bit_comm = FP_COMM };

#define FP_HAS_ROOM(EVENT, FIELD, ITEM) \
	((EVENT)->known & fp_bit_##FIELD && (EVENT)->FIELD##_len >= (ITEM)->length)

/* all ones for the bytes of a word that are text, if so many are left */
static __always_inline __u64 fp_mask_of(__u64 n_left)
{
	return n_left >= 8 ? ~0ull : (1ull << 8 * n_left) - 1;
}

/* Are these words, of which length bytes count, what the text begins with? max, their number, is a constant. */
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

/* Do they stand at that byte of the text? */
static __always_inline bool fp_stands_at(const char *text, __u32 begin, const volatile __u64 *words, __u64 length, __u32 max)
{
	for (__u32 n = 0; n < max; n++) {
		__u32 at = begin + 8 * n;

		if (length <= 8 * n)
			return true;
		/* the verifier does not know that a text ends */
		barrier_var(at);
		if (at > FP_NAME_BYTES)
			return false;
		if ((*(const __u64 *)(text + at) ^ words[n]) & fp_mask_of(length - 8 * n))
			return false;
	}
	return true;
}

/* --- sets of integers --- */

#define FP_IS_IN(NAME, VALUE) \
	fp_is_in((NAME).places, (NAME).multiplier, sizeof((NAME).places) / 8 - FP_NEAR, VALUE)

static __always_inline bool fp_is_in(const volatile __u64 *places, __u64 multiplier, __u32 n_places, __u64 value)
{
	__u32 place = value * multiplier >> 32 >> (32 - __builtin_ctz(n_places));

	for (__u32 n = 0; n < FP_NEAR; n++) {
		__u64 found;

		/* else it is bounded once, and the verifier has forgotten that when it is used */
		barrier_var(place);
		found = places[(place & (n_places - 1)) + n];
		if (found == value + 1)
			return true;
		if (!found)
			return false;
	}
	return false;
}

/* --- roots --- */

/* Does it lie in one of these roots? -1 if that cannot be told. */
static __always_inline int fp_lies_in(const struct fp_handler_event *event, const volatile __u64 *slot)
{
	__u64 number = *slot;

	if (!(event->known & FP_PLACE))
		return -1;
	return number < 256 && event->inside[number / 64 & 3] >> (number & 63) & 1;
}

/* --- what it remembers --- */

/* Add to a HANDLER_COUNTER. */
static __always_inline void fp_count(void *counter, __u64 n)
{
	__u32 zero = 0;
	__u64 *value = bpf_map_lookup_elem(counter, &zero);

	if (value)
		__sync_fetch_and_add(value, n);
}

/* What a HANDLER_MAP has for a key (a pointer to its integers), or what you say if it has nothing. */
static __always_inline __u64 fp_value_of(void *map, const void *key, __u64 otherwise)
{
	__u64 *value = bpf_map_lookup_elem(map, key);

	return value ? *value : otherwise;
}

/* Set it. False: the map is full. */
static __always_inline bool fp_put(void *map, const void *key, __u64 value)
{
	return bpf_map_update_elem(map, key, &value, BPF_ANY) == 0;
}

/* Add to it, or begin with n, and tell the sum. False: the map is full. */
static __always_inline bool fp_add(void *map, const void *key, __u64 n, __u64 *sum)
{
	__u64 *value = bpf_map_lookup_elem(map, key);

	*sum = n;
	if (!value) {
		if (bpf_map_update_elem(map, key, &n, BPF_NOEXIST) == 0)
			return true;
		/* another CPU may have been quicker */
		value = bpf_map_lookup_elem(map, key);
	}
	if (!value)
		return false;
	*sum += __sync_fetch_and_add(value, n);
	return true;
}

static __always_inline void fp_remove(void *map, const void *key)
{
	bpf_map_delete_elem(map, key);
}

#endif
