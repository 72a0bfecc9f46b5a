// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/* From the records of a batch to columns: one field of all of them. */
#define PY_SSIZE_T_CLEAN
#include "_view.h"

/* gather(fixed, offset, size) */
static PyObject *gather(PyObject *Py_UNUSED(module), PyObject *args)
{
	Py_ssize_t offset, size, n;
	PyObject *fixed, *made;
	const char *from;
	char *to;

	if (!PyArg_ParseTuple(args, "Snn:gather", &fixed, &offset, &size))
		return NULL;
	if (offset < 0 || size < 1 || offset > EVENT_BYTES - size)
		return PyErr_Format(PyExc_ValueError, "struct fp_event has no %zd bytes at %zd", size, offset);
	n = PyBytes_GET_SIZE(fixed) / EVENT_BYTES;
	made = PyBytes_FromStringAndSize(NULL, n * size);
	if (!made)
		return NULL;
	from = PyBytes_AS_STRING(fixed) + offset;
	to = PyBytes_AS_STRING(made);
	for (; n > 0; n--, from += EVENT_BYTES, to += size)
		switch (size) { /* of known size, a copy is one instruction */
		case 2: memcpy(to, from, 2); break;
		case 4: memcpy(to, from, 4); break;
		case 8: memcpy(to, from, 8); break;
		default: memcpy(to, from, (size_t)size);
		}
	return made;
}

/* split(fixed, paths, starts, is_old) */
static PyObject *split(PyObject *Py_UNUSED(module), PyObject *args)
{
	PyObject *fixed, *paths, *starts, *made;
	struct view view;
	int is_old;

	if (!PyArg_ParseTuple(args, "SSSp:split", &fixed, &paths, &starts, &is_old) ||
	    view_of(fixed, paths, starts, &view) < 0)
		return NULL;
	made = PyList_New(view.n);
	for (Py_ssize_t i = 0; made && i < view.n; i++) {
		struct text path = { 0 }, old = { 0 };
		struct fp_event event;
		PyObject *item = NULL;

		if (record_of(&view, i, &event, &path, &old) == 0)
			item = PyBytes_FromStringAndSize(is_old ? old.bytes : path.bytes, is_old ? old.length : path.length);
		if (!item)
			Py_CLEAR(made);
		else
			PyList_SET_ITEM(made, i, item);
	}
	return made;
}

static PyMethodDef methods[] = {
	{ "gather", gather, METH_VARARGS, "The same bytes of every record, in a row; see _columns.pyi." },
	{ "split", split, METH_VARARGS, "The path of every record, or the old path; see _columns.pyi." },
	{ NULL, NULL, 0, NULL },
};

static PyModuleDef_Slot module_slots[] = {
	{ 0, NULL },
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "fanotify_fastpath._bpf._columns",
	.m_doc = "Columns of a batch; see _columns.pyi.",
	.m_methods = methods,
	.m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__columns(void)
{
	return PyModuleDef_Init(&module);
}
