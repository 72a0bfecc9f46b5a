// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* What is denied, where the kernel's memory can be read by loads (Linux 6.2). */
#include "vmlinux_min.h"
#include "compat.bpf.h"
#include "deny_hooks.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
