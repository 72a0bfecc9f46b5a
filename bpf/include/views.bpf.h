/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What is done at each call of fsnotify() (dispatch.bpf.h), with views: only where a record would go into a ring, another
 * thing is done. The headers know nothing of it, so that the programs without views are byte for byte what they are.
 */
#ifndef VIEWS_BPF_H
#define VIEWS_BPF_H

#include "viewing.bpf.h"

/* in put_out(), which has "work" */
#define bpf_ringbuf_output(ring, record, size, flags) put_out_shown(ring, work, begin, size)
#include "dispatch.bpf.h"
#undef bpf_ringbuf_output

#endif
