// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The consumer of a BPF ring buffer whose records are struct fp_event, each behind its paths.
 *
 * The layout is that of kernel/bpf/ringbuf.c (v6.12): a page with the consumer's position, a page with the producer's, and
 * the data, mapped twice in a row, so that a record that wraps around lies in one piece. All is read under the GIL, which
 * is never given up between looking at the mapping and being done with it.
 *
 * What is in the ring is believed only as far as it is checked: lengths are compared with the producer's position before
 * anything is read, and what was checked once is not read again to find where to copy from.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/types.h>
#include "fp_abi.h"

/* include/uapi/linux/bpf.h: enum of BPF_RINGBUF_* */
#define BUSY_BIT (1u << 31)
#define DISCARD_BIT (1u << 30)
#define HEADER_BYTES 8
#define MAX_RING_BYTES (1ll << 31)

_Static_assert(sizeof(unsigned long) == 8, "positions are of 8 bytes, as the kernel's");

struct ring {
	PyObject_HEAD
	_Atomic(uint64_t) *consumer_pos; /* NULL when closed */
	_Atomic(uint64_t) *producer_pos;
	const char *data;
	size_t size, page;
	unsigned long long n_dropped; /* highest in the records taken */
};

/* a record to be copied: where its struct begins in the data, and how many bytes of paths stand before it */
struct found {
	uint32_t at;
	uint32_t path_bytes;
};

/* what a look at the ring gives */
struct look {
	uint64_t end; /* position after the last record that is done with */
	uint64_t n_dropped; /* highest in these records */
	size_t n;
	size_t path_bytes;
	struct found *found;
	/* why it ended early, if a record cannot be right: what, how much it is, and the limit */
	const char *wrong;
	uint64_t is, limit;
};

/* Raise an error of this package. This runs Python code. */
static void raise_error(const char *name, const char *format, ...)
{
	PyObject *errors = PyImport_ImportModule("fanotify_fastpath.errors");
	PyObject *kind = errors ? PyObject_GetAttrString(errors, name) : NULL;
	va_list arguments;

	va_start(arguments, format);
	if (kind)
		PyErr_FormatV(kind, format, arguments);
	va_end(arguments);
	Py_XDECREF(kind);
	Py_XDECREF(errors);
}

static int check_open(struct ring *self)
{
	if (self->consumer_pos)
		return 0;
	raise_error("Closed", "the reader of the ring buffer is closed");
	return -1;
}

static void unmap(struct ring *self)
{
	if (!self->consumer_pos)
		return;
	munmap((void *)self->consumer_pos, self->page);
	munmap((void *)self->producer_pos, self->page + 2 * self->size);
	self->consumer_pos = NULL;
}

static uint64_t load_producer(struct ring *self)
{
	/* acquire: pairs with smp_store_release(&rb->producer_pos) in __bpf_ringbuf_reserve(); headers up to there are set */
	return atomic_load_explicit(self->producer_pos, memory_order_acquire);
}

static uint64_t load_consumer(struct ring *self)
{
	/* written by nobody else while this is the only reader */
	return atomic_load_explicit(self->consumer_pos, memory_order_relaxed);
}

static void store_consumer(struct ring *self, uint64_t pos)
{
	/* release: pairs with smp_load_acquire(&rb->consumer_pos) in __bpf_ringbuf_reserve(); what is read is read */
	atomic_store_explicit(self->consumer_pos, pos, memory_order_release);
	/*
	 * full: pairs with xchg(&hdr->len) in bpf_ringbuf_commit(), which looks at our position afterwards. Either it sees
	 * that we wait for its record, and wakes us, or whoever looks at the ring next sees the record.
	 */
	atomic_thread_fence(memory_order_seq_cst);
}

static uint32_t load_header(struct ring *self, uint64_t pos)
{
	_Atomic(uint32_t) *header = (_Atomic(uint32_t) *)(self->data + (pos & (self->size - 1)));

	/* acquire: pairs with xchg(&hdr->len) in bpf_ringbuf_commit(), which clears the busy bit; the record is whole */
	return atomic_load_explicit(header, memory_order_acquire);
}

static void raise_malformed(uint64_t pos, const char *wrong, uint64_t is, uint64_t limit)
{
	raise_error("InvalidArgument", "malformed ring buffer at position %llu: %s: %llu, limit %llu",
		    (unsigned long long)pos, wrong, (unsigned long long)is, (unsigned long long)limit);
}

/* The positions, if they can be right. */
static int positions(struct ring *self, uint64_t *consumer, uint64_t *producer)
{
	*consumer = load_consumer(self);
	*producer = load_producer(self);
	if (*producer - *consumer <= self->size && *consumer % 8 == 0)
		return 0;
	raise_malformed(*consumer, "bytes up to the producer", *producer - *consumer, self->size);
	return -1;
}

static int is_wrong(struct look *look, const char *wrong, uint64_t is, uint64_t limit)
{
	look->wrong = wrong, look->is = is, look->limit = limit;
	return -1;
}

/* Check a record of length bytes behind its header at pos, and note it. */
static int note_record(struct ring *self, uint64_t pos, uint32_t length, struct look *look)
{
	struct fp_event event;
	size_t at, path_bytes;

	if (length < sizeof(event))
		return is_wrong(look, "bytes of a record, less than struct fp_event", length, sizeof(event));
	at = (pos & (self->size - 1)) + HEADER_BYTES + length - sizeof(event);
	memcpy(&event, self->data + at, sizeof(event));
	if (event.version != FP_VERSION)
		return is_wrong(look, "version of a record", event.version, FP_VERSION);
	path_bytes = (size_t)event.path_len + event.old_path_len;
	if (path_bytes > length - sizeof(event))
		return is_wrong(look, "bytes of paths, more than their record has", path_bytes, length - sizeof(event));
	look->found[look->n++] = (struct found){ (uint32_t)at, (uint32_t)path_bytes };
	look->path_bytes += path_bytes;
	if (event.n_dropped > look->n_dropped)
		look->n_dropped = event.n_dropped;
	return 0;
}

/* Go from record to record until one is busy or wrong, or enough are found. */
static void look_at_records(struct ring *self, uint64_t producer, size_t max, struct look *look)
{
	while (look->end != producer && look->n < max) {
		const uint32_t header = load_header(self, look->end);
		const uint32_t length = header & ~(BUSY_BIT | DISCARD_BIT);
		const uint64_t step = ((uint64_t)length + HEADER_BYTES + 7) / 8 * 8, left = producer - look->end;

		if (header & BUSY_BIT)
			return;
		if (step > left) {
			is_wrong(look, "bytes of a record, which runs past the producer", step, left);
			return;
		}
		if (!(header & DISCARD_BIT) && note_record(self, look->end, length, look) < 0)
			return;
		look->end += step;
	}
}

/* Copy what was found into three bytes objects. Nothing here runs Python code. */
static int copy_records(struct ring *self, const struct look *look, PyObject *copies[3])
{
	const size_t sizes[3] = { look->n * sizeof(struct fp_event), look->path_bytes, (look->n + 1) * sizeof(uint32_t) };
	char *fixed, *paths, *first;
	uint32_t *starts;

	for (int i = 0; i < 3; i++) {
		copies[i] = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)sizes[i]);
		if (!copies[i])
			return -1;
	}
	fixed = PyBytes_AS_STRING(copies[0]);
	first = paths = PyBytes_AS_STRING(copies[1]);
	starts = (uint32_t *)PyBytes_AS_STRING(copies[2]);
	for (size_t i = 0; i < look->n; i++) {
		const char *event = self->data + look->found[i].at;
		const uint32_t path_bytes = look->found[i].path_bytes;

		memcpy(fixed + i * sizeof(struct fp_event), event, sizeof(struct fp_event));
		memcpy(paths, event - path_bytes, path_bytes);
		starts[i] = (uint32_t)(paths - first);
		paths += path_bytes;
	}
	starts[look->n] = (uint32_t)(paths - first);
	return 0;
}

/* Find, copy, free the space. Returns 0, or -1 with an exception. */
static int take_records(struct ring *self, size_t max, struct look *look, PyObject *copies[3])
{
	uint64_t consumer, producer;
	size_t possible;

	if (positions(self, &consumer, &producer) < 0)
		return -1;
	possible = (producer - consumer) / (HEADER_BYTES + sizeof(struct fp_event));
	look->found = PyMem_New(struct found, (max < possible ? max : possible) + 1);
	if (!look->found) {
		PyErr_NoMemory();
		return -1;
	}
	look->end = consumer;
	look_at_records(self, producer, max, look);
	if (copy_records(self, look, copies) < 0)
		return -1;
	if (look->end != consumer)
		store_consumer(self, look->end);
	else if (look->wrong) { /* what comes before it has been given out by earlier calls */
		raise_malformed(consumer, look->wrong, look->is, look->limit);
		return -1;
	}
	return 0;
}

static PyObject *ring_take(struct ring *self, PyObject *argument)
{
	PyObject *copies[3] = { NULL, NULL, NULL }, *result = NULL;
	const Py_ssize_t max = PyLong_AsSsize_t(argument);
	const unsigned long long before = self->n_dropped;
	struct look look = { .n_dropped = before };

	if (max == -1 && PyErr_Occurred())
		return NULL;
	if (max < 1)
		raise_error("InvalidArgument", "at least 1 record is asked for, not %zd", max);
	else if (check_open(self) == 0 && take_records(self, (size_t)max, &look, copies) == 0) {
		self->n_dropped = look.n_dropped;
		/* when Python code runs again, it may close this ring: nothing of it is used from here on */
		result = Py_BuildValue("OOOKK", copies[0], copies[1], copies[2], before, self->n_dropped);
	}
	PyMem_Free(look.found);
	for (int i = 0; i < 3; i++)
		Py_XDECREF(copies[i]);
	return result;
}

static PyObject *ring_n_pending_bytes(struct ring *self, PyObject *Py_UNUSED(unused))
{
	uint64_t consumer, producer;

	if (check_open(self) < 0 || positions(self, &consumer, &producer) < 0)
		return NULL;
	return PyLong_FromUnsignedLongLong(producer - consumer);
}

static PyObject *ring_close(struct ring *self, PyObject *Py_UNUSED(unused))
{
	unmap(self);
	Py_RETURN_NONE;
}

static int map(struct ring *self, int fd)
{
	const size_t produced = self->page + 2 * self->size;
	void *consumer, *producer;
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -1;
	/* a file shorter than what is mapped of it would end the process with SIGBUS */
	if (S_ISREG(status.st_mode) && (uint64_t)status.st_size < self->page + produced) {
		errno = EINVAL;
		return -1;
	}
	consumer = mmap(NULL, self->page, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (consumer == MAP_FAILED)
		return -1;
	/* read-only: the kernel refuses anything else */
	producer = mmap(NULL, produced, PROT_READ, MAP_SHARED, fd, (off_t)self->page);
	if (producer == MAP_FAILED) {
		const int code = errno;

		munmap(consumer, self->page);
		errno = code;
		return -1;
	}
	self->consumer_pos = consumer;
	self->producer_pos = producer;
	self->data = (const char *)producer + self->page;
	return 0;
}

static PyObject *ring_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	const long page = sysconf(_SC_PAGESIZE);
	struct ring *self;
	long long size;
	int fd;

	if (!PyArg_ParseTuple(args, "iL:Ring", &fd, &size))
		return NULL;
	if (size < page || size > MAX_RING_BYTES || size & (size - 1)) {
		raise_error("InvalidArgument", "a ring buffer has no %lld bytes, but a power of 2, from %ld", size, page);
		return NULL;
	}
	self = (struct ring *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	self->page = (size_t)page;
	self->size = (size_t)size;
	if (map(self, fd) < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static void ring_dealloc(struct ring *self)
{
	PyTypeObject *type = Py_TYPE(self);

	unmap(self);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef ring_methods[] = {
	{ "take", (PyCFunction)ring_take, METH_O, "Take up to so many records; see _ring.pyi." },
	{ "n_pending_bytes", (PyCFunction)ring_n_pending_bytes, METH_NOARGS, "Bytes not yet taken, with headers." },
	{ "close", (PyCFunction)ring_close, METH_NOARGS, "Unmap; closing twice is fine." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot ring_slots[] = {
	{ Py_tp_new, ring_new },
	{ Py_tp_dealloc, ring_dealloc },
	{ Py_tp_methods, ring_methods },
	{ Py_tp_doc, "A ring buffer, mapped; see _ring.pyi." },
	{ 0, NULL },
};

static PyType_Spec ring_spec = {
	.name = "fanotify_fastpath._bpf._ring.Ring",
	.basicsize = sizeof(struct ring),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = ring_slots,
};

static int module_exec(PyObject *module)
{
	PyObject *type = PyType_FromModuleAndSpec(module, &ring_spec, NULL);
	int result;

	if (!type)
		return -1;
	result = PyModule_AddType(module, (PyTypeObject *)type);
	Py_DECREF(type);
	if (result < 0 || PyModule_AddIntConstant(module, "EVENT_BYTES", sizeof(struct fp_event)) < 0)
		return -1;
	return PyModule_AddIntConstant(module, "VERSION", FP_VERSION);
}

static PyModuleDef_Slot module_slots[] = {
	{ Py_mod_exec, module_exec },
	{ 0, NULL },
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "fanotify_fastpath._bpf._ring",
	.m_doc = "The consumer of a BPF ring buffer; see _ring.pyi.",
	.m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__ring(void)
{
	return PyModuleDef_Init(&module);
}
