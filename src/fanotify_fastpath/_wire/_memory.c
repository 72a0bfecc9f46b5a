// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * The producer of a ring in shared memory that is laid out as a BPF ring buffer: kernel/bpf/ringbuf.c (v6.12), and
 * ../_bpf/_ring.c for its consumer.
 *
 * A page with the consumer's position, a page with the producer's, and the data twice. The kernel maps the same pages
 * twice; here they are different ones, and a record is written in one piece from where it begins: what runs past the end
 * of the data is only in the second.
 *
 * The consumer is another process that can write to all of this memory at any time. Nothing is read back but its position,
 * once for each record, and that counts only if it is one that an honest consumer could have. All is done under the GIL.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/types.h>
#include "fp_abi.h"

#define HEADER_BYTES 8
#define EVENT_BYTES ((Py_ssize_t)sizeof(struct fp_event))
#define MAX_RING_BYTES (1ll << 30)

_Static_assert(sizeof(unsigned long) == 8, "positions are of 8 bytes, as the kernel's");

struct writer {
	PyObject_HEAD
	_Atomic(uint64_t) *consumer_pos; /* NULL when closed */
	_Atomic(uint64_t) *producer_pos;
	char *data;
	size_t size, page;
	int wake_fd;
	/* ours, which nobody else can write to: what was put, and how far the consumer was when that could last be believed */
	uint64_t producer, consumer;
};

/* Raise an error of this package. This runs Python code. */
static PyObject *raise_error(const char *name, const char *format, ...)
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
	return NULL;
}

static size_t mapped_bytes(const struct writer *self)
{
	return 2 * self->page + 2 * self->size;
}

static void unmap(struct writer *self)
{
	if (self->consumer_pos)
		munmap((void *)self->consumer_pos, mapped_bytes(self));
	self->consumer_pos = NULL;
}

/* Learn how far the consumer is. Returns -1 if that cannot be right: it goes only forward, and not past the producer. */
static int follow_consumer(struct writer *self)
{
	/* acquire: pairs with the release in store_consumer() of _ring.c; what lies before it has been read */
	const uint64_t pos = atomic_load_explicit(self->consumer_pos, memory_order_acquire);

	if (pos - self->consumer > self->producer - self->consumer || pos % 8)
		return -1;
	self->consumer = pos;
	return 0;
}

/* Write a record of length bytes, which fits, and step bytes with its header and padding. */
static void write_record(struct writer *self, const void *record, size_t length, size_t step)
{
	char *at = self->data + (self->producer & (self->size - 1));
	_Atomic(uint32_t) *header = (_Atomic(uint32_t) *)at;

	memcpy(at + HEADER_BYTES, record, length);
	/* without the busy bit: nobody looks here before the position says so. What follows is the kernel's own, 0 here */
	atomic_store_explicit(header, (uint32_t)length, memory_order_relaxed);
	atomic_store_explicit(header + 1, 0, memory_order_relaxed);
	self->producer += step;
	/* release: pairs with the acquire in load_producer() of _ring.c; the record and its header are written */
	atomic_store_explicit(self->producer_pos, self->producer, memory_order_release);
}

/* Wake a consumer that has read all before the record at pos: it may have found nothing there, and gone to sleep. */
static void wake(struct writer *self, uint64_t pos)
{
	const uint64_t one = 1;

	/*
	 * full: pairs with the fence in store_consumer() of _ring.c. Either we see here that the consumer is done with all
	 * before our record, or it sees our record when it looks next.
	 */
	atomic_thread_fence(memory_order_seq_cst);
	if (atomic_load_explicit(self->consumer_pos, memory_order_relaxed) != pos)
		return;
	/* a full pipe is readable already; one that nobody reads is nobody's loss */
	if (write(self->wake_fd, &one, sizeof(one)) < 0)
		return;
}

static PyObject *put_buffer(struct writer *self, const Py_buffer *record)
{
	const size_t step = ((size_t)record->len + HEADER_BYTES + 7) / 8 * 8;
	const uint64_t pos = self->producer;

	if (!self->consumer_pos)
		return raise_error("Closed", "the ring is closed");
	if (record->len < EVENT_BYTES)
		return raise_error("InvalidArgument", "a record of %zd bytes, less than struct fp_event, which has %zd",
				   record->len, EVENT_BYTES);
	if (step > self->size)
		return raise_error("InvalidArgument", "a record of %zd bytes does not fit into a ring of %zu", record->len,
				   self->size);
	if (follow_consumer(self) < 0 || pos - self->consumer + step > self->size)
		Py_RETURN_FALSE;
	write_record(self, record->buf, (size_t)record->len, step);
	wake(self, pos);
	Py_RETURN_TRUE;
}

static PyObject *writer_put(struct writer *self, PyObject *argument)
{
	Py_buffer record;
	PyObject *result;

	if (PyObject_GetBuffer(argument, &record, PyBUF_SIMPLE) < 0)
		return NULL;
	result = put_buffer(self, &record);
	PyBuffer_Release(&record);
	return result;
}

static PyObject *writer_close(struct writer *self, PyObject *Py_UNUSED(unused))
{
	unmap(self);
	Py_RETURN_NONE;
}

static int map(struct writer *self, int fd)
{
	struct stat status;
	void *memory;

	if (fstat(fd, &status) < 0)
		return -1;
	/* writing past the end of a file would end the process with SIGBUS */
	if ((uint64_t)status.st_size < mapped_bytes(self)) {
		errno = EINVAL;
		return -1;
	}
	memory = mmap(NULL, mapped_bytes(self), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -1;
	self->consumer_pos = memory;
	self->producer_pos = (void *)((char *)memory + self->page);
	self->data = (char *)memory + 2 * self->page;
	return 0;
}

static PyObject *writer_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	const long page = sysconf(_SC_PAGESIZE);
	struct writer *self;
	long long size;
	int fd, wake_fd;

	if (!PyArg_ParseTuple(args, "iiL:Writer", &fd, &wake_fd, &size))
		return NULL;
	if (size < page || size > MAX_RING_BYTES || size & (size - 1))
		return raise_error("InvalidArgument", "a ring has no %lld bytes, but a power of 2, from %ld to %lld", size, page,
				   MAX_RING_BYTES);
	self = (struct writer *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	self->page = (size_t)page;
	self->size = (size_t)size;
	self->wake_fd = wake_fd;
	if (map(self, fd) < 0) {
		PyErr_SetFromErrno(PyExc_OSError);
		Py_DECREF(self);
		return NULL;
	}
	return (PyObject *)self;
}

static void writer_dealloc(struct writer *self)
{
	PyTypeObject *type = Py_TYPE(self);

	unmap(self);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef writer_methods[] = {
	{ "put", (PyCFunction)writer_put, METH_O, "Write one record; see _memory.pyi." },
	{ "close", (PyCFunction)writer_close, METH_NOARGS, "Unmap; closing twice is fine." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot writer_slots[] = {
	{ Py_tp_new, writer_new },
	{ Py_tp_dealloc, writer_dealloc },
	{ Py_tp_methods, writer_methods },
	{ Py_tp_doc, "A ring in shared memory, mapped; see _memory.pyi." },
	{ 0, NULL },
};

static PyType_Spec writer_spec = {
	.name = "fanotify_fastpath._wire._memory.Writer",
	.basicsize = sizeof(struct writer),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
	.slots = writer_slots,
};

static int module_exec(PyObject *module)
{
	PyObject *type = PyType_FromModuleAndSpec(module, &writer_spec, NULL);
	int result;

	if (!type)
		return -1;
	result = PyModule_AddType(module, (PyTypeObject *)type);
	Py_DECREF(type);
	if (result < 0 || PyModule_AddIntConstant(module, "EVENT_BYTES", EVENT_BYTES) < 0)
		return -1;
	return PyModule_AddIntConstant(module, "VERSION", FP_VERSION);
}

static PyModuleDef_Slot module_slots[] = {
	{ Py_mod_exec, module_exec },
	{ 0, NULL },
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "fanotify_fastpath._wire._memory",
	.m_doc = "The producer of a ring in shared memory; see _memory.pyi.",
	.m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__memory(void)
{
	return PyModuleDef_Init(&module);
}
