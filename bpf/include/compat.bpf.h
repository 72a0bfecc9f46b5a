/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * How the programs read the kernel's memory, and what differs between kernels: one accessor for each difference.
 *
 * fp_as(type, address) makes a typed pointer of an address, fp_get(pointer, field) follows it. With FP_PROBE_READ each
 * access is a call of a helper, which every kernel has. Without it they are loads: that needs bpf_rdonly_cast (Linux 6.2)
 * and costs a quarter. Either way a bad address reads as zero.
 */
#ifndef COMPAT_BPF_H
#define COMPAT_BPF_H

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#ifdef FP_PROBE_READ
#define fp_as(type, address) ((struct type *)(address))
#define fp_get(pointer, field)                                                                   \
	({                                                                                         \
		typeof(pointer) fp_from = (pointer);                                               \
		BPF_CORE_READ(fp_from, field);                                                     \
	})
#define fp_copy16(to, from) bpf_probe_read_kernel(to, 16, from)
#else
extern void *bpf_rdonly_cast(const void *address, __u32 type_id) __ksym;
#define fp_as(type, address)                                                                      \
	((struct type *)bpf_rdonly_cast((const void *)(address), bpf_core_type_id_kernel(struct type)))
#define fp_get(pointer, field) ((pointer)->field)
/* any kernel type of two words will do */
#define fp_copy16(to, from)                                                                        \
	({                                                                                         \
		struct list_head *fp_words = fp_as(list_head, from);                               \
		((__u64 *)(to))[0] = (__u64)fp_words->next;                                        \
		((__u64 *)(to))[1] = (__u64)fp_words->prev;                                        \
	})
#endif

/*
 * fs/dcache.c; its sequence count is odd while a dentry is being moved, and another one afterwards. A kernel without
 * CONFIG_KALLSYMS_ALL does not tell where it is: then this reads as zero, and a torn climb is not noticed.
 */
extern const void rename_lock __ksym __weak;

static __always_inline __u32 rename_sequence(void)
{
	return fp_get(fp_as(seqcount, &rename_lock), sequence);
}

/* Of these the numbers differ: Linux 6.14 has put FSNOTIFY_EVENT_FILE_RANGE in front */
#define FP_DATA_PATH bpf_core_enum_value(enum fsnotify_data_type, FSNOTIFY_EVENT_PATH)
#define FP_DATA_INODE bpf_core_enum_value(enum fsnotify_data_type, FSNOTIFY_EVENT_INODE)
#define FP_DATA_DENTRY bpf_core_enum_value(enum fsnotify_data_type, FSNOTIFY_EVENT_DENTRY)

#endif
