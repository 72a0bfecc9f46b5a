// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* What is denied, for kernels whose memory is read by calls of a helper. */
#define FP_PROBE_READ
#include "vmlinux_min.h"
#include "compat.bpf.h"
#include "deny_hooks.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
