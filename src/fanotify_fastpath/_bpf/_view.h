/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* The three bytes objects that a batch is, as _ring.c makes them: read, and believed only as far as it is checked. */
#ifndef FP_VIEW_H
#define FP_VIEW_H

#include <Python.h>

#include <stdint.h>

#include <linux/types.h>
#include "fp_abi.h"

#define EVENT_BYTES ((Py_ssize_t)sizeof(struct fp_event))

/* the bytes of a batch; they belong to the caller */
struct view {
	const char *fixed, *paths;
	const uint32_t *starts;
	Py_ssize_t n, paths_len;
};

struct text {
	const char *bytes;
	Py_ssize_t length;
};

static int do_not_fit(void)
{
	PyErr_SetString(PyExc_ValueError, "the parts of a batch do not belong together");
	return -1;
}

static int view_of(PyObject *fixed, PyObject *paths, PyObject *starts, struct view *view)
{
	view->fixed = PyBytes_AS_STRING(fixed);
	view->n = PyBytes_GET_SIZE(fixed) / EVENT_BYTES;
	view->paths = PyBytes_AS_STRING(paths);
	view->paths_len = PyBytes_GET_SIZE(paths);
	view->starts = (const uint32_t *)PyBytes_AS_STRING(starts);
	if (PyBytes_GET_SIZE(fixed) % EVENT_BYTES || PyBytes_GET_SIZE(starts) != (view->n + 1) * (Py_ssize_t)sizeof(uint32_t))
		return do_not_fit();
	return 0;
}

/* One record, and its paths. */
static int record_of(const struct view *view, Py_ssize_t i, struct fp_event *event, struct text *path, struct text *old)
{
	const uint32_t start = view->starts[i], end = view->starts[i + 1];

	memcpy(event, view->fixed + i * EVENT_BYTES, sizeof(*event));
	if (start > end || end > view->paths_len || end - start != (uint32_t)event->path_len + event->old_path_len)
		return do_not_fit();
	*old = (struct text){ view->paths + start, event->old_path_len };
	*path = (struct text){ view->paths + end - event->path_len, event->path_len };
	return 0;
}

#endif
