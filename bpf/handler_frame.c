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
