// SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only
/*
 * From the records of a batch (struct fp_event in a row, their paths in a row) to events.
 *
 * The event's class is given, and is one with __slots__: an event is made by filling these, without a call of its __init__.
 * What many events have in common (the mask, the process, the path of the directory) is looked up in dictionaries of the
 * caller's; their __missing__ is asked for what is not in them.
 */
#define PY_SSIZE_T_CLEAN
#include "_view.h"

#include <structmember.h>

/* include/linux/fsnotify_backend.h: FS_ISDIR, FS_EVENT_ON_CHILD, FS_RENAME */
#define IS_DIR 0x40000000u
#define ON_CHILD 0x08000000u
#define RENAME 0x10000000u

enum slot { CROSSING, DEV, ENGINE, INODE, DIR, LOST, MASK, PROCESS, OLD_PATH, PATH, TGID, TID, TIME, UNDECIDED, N_SLOTS };

static const char *const slot_names[N_SLOTS] = {
	"crossing", "dev", "engine", "inode", "is_dir", "lost", "mask",
	"process", "raw_old_path", "raw_path", "tgid", "tid", "time_ns", "undecided",
};

enum object { TYPE, ENGINE_NAME, MASKS, PLACES, PROCESSES, DEVICES, CROSSINGS, SPECIAL, N_OBJECTS };

struct maker {
	PyObject_HEAD
	PyObject *objects[N_OBJECTS];
	Py_ssize_t offsets[N_SLOTS];
	unsigned int undecided_flags;
	int with_tid;
};

/* the directory met last, and what its path begins with for the user */
struct place {
	uint32_t dev, mount_id;
	struct text directory;
	/* NULL: none yet; None: it has no path; or a tuple: the prefix, and a dictionary of names with paths of their own */
	PyObject *prefix;
};

/* What a dictionary of the caller's has; its __missing__ is asked for what it has not. The key is taken over. */
static PyObject *remembered(struct maker *self, enum object dictionary, PyObject *key)
{
	PyObject *found = key ? PyObject_GetItem(self->objects[dictionary], key) : NULL;

	Py_XDECREF(key);
	return found;
}

static PyObject *mask_of(struct maker *self, uint32_t mask)
{
	return remembered(self, MASKS, PyLong_FromUnsignedLong(mask & ~(IS_DIR | ON_CHILD)));
}

static PyObject *process_of(struct maker *self, const struct fp_event *event)
{
	struct { uint32_t tgid, uid; char comm[sizeof(event->comm)]; } id = { event->tgid, event->uid, { 0 } };

	memcpy(id.comm, event->comm, sizeof(id.comm));
	return remembered(self, PROCESSES, PyBytes_FromStringAndSize((const char *)&id, sizeof(id)));
}

static int is_with_names(PyObject *prefix)
{
	return PyTuple_Check(prefix) && PyTuple_GET_SIZE(prefix) == 2 && PyBytes_Check(PyTuple_GET_ITEM(prefix, 0)) &&
	       PyDict_Check(PyTuple_GET_ITEM(prefix, 1));
}

/* Let the place be that of another directory. */
static int move_to(struct maker *self, struct place *place, const struct fp_event *event, struct text directory)
{
	PyObject *key = PyBytes_FromStringAndSize(NULL, 8 + directory.length);

	Py_CLEAR(place->prefix);
	if (!key)
		return -1;
	place->dev = event->dev, place->mount_id = event->mount_id, place->directory = directory;
	memcpy(PyBytes_AS_STRING(key), &event->dev, 4);
	memcpy(PyBytes_AS_STRING(key) + 4, &event->mount_id, 4);
	memcpy(PyBytes_AS_STRING(key) + 8, directory.bytes, (size_t)directory.length);
	place->prefix = remembered(self, PLACES, key);
	if (!place->prefix)
		return -1;
	if (place->prefix == Py_None || PyBytes_Check(place->prefix) || is_with_names(place->prefix))
		return 0;
	PyErr_SetString(PyExc_TypeError, "the path of a directory is bytes or None, or bytes with a dictionary of names");
	return -1;
}

static int is_at(const struct place *place, const struct fp_event *event, struct text directory)
{
	return place->prefix && place->dev == event->dev && place->mount_id == event->mount_id &&
	       place->directory.length == directory.length &&
	       memcmp(place->directory.bytes, directory.bytes, (size_t)directory.length) == 0;
}

/* prefix, a slash, and the name */
static PyObject *joined(PyObject *prefix, struct text name)
{
	const Py_ssize_t length = PyBytes_GET_SIZE(prefix);
	PyObject *made;

	/* the root directory itself has no name */
	if (!name.length && length)
		return Py_NewRef(prefix);
	made = PyBytes_FromStringAndSize(NULL, length + 1 + name.length);
	if (made) {
		memcpy(PyBytes_AS_STRING(made), PyBytes_AS_STRING(prefix), (size_t)length);
		PyBytes_AS_STRING(made)[length] = '/';
		memcpy(PyBytes_AS_STRING(made) + length + 1, name.bytes, (size_t)name.length);
	}
	return made;
}

/* The path of a name that may have one of its own. */
static PyObject *own_or_joined(PyObject *prefix, struct text name)
{
	PyObject *key = PyBytes_FromStringAndSize(name.bytes, name.length), *own;

	if (!key)
		return NULL;
	own = PyDict_GetItemWithError(PyTuple_GET_ITEM(prefix, 1), key);
	Py_DECREF(key);
	if (own)
		return Py_NewRef(own);
	return PyErr_Occurred() ? NULL : joined(PyTuple_GET_ITEM(prefix, 0), name);
}

/* The path as the user knows it; None when the directory has none there. The root directory's is empty in the record. */
static PyObject *path_of(struct maker *self, struct place *place, const struct fp_event *event, struct text path)
{
	struct text directory, name;
	const char *slash;

	/* what lacks its beginning has no slash before it */
	if (event->flags & FP_TRUNCATED && path.length && *path.bytes == '/')
		path.bytes++, path.length--;
	/* no path at all is that of the root directory, unless nothing was found out */
	if (!path.length && event->flags & (FP_UNDECIDED | FP_TRUNCATED))
		Py_RETURN_NONE;
	if (event->flags & FP_TRUNCATED)
		return PyBytes_FromStringAndSize(path.bytes, path.length);
	slash = path.length ? memrchr(path.bytes, '/', (size_t)path.length) : NULL;
	directory = (struct text){ path.bytes, slash ? slash - path.bytes : 0 };
	name = (struct text){ path.bytes + directory.length + !!slash, path.length - directory.length - !!slash };
	if (!is_at(place, event, directory) && move_to(self, place, event, directory) < 0)
		return NULL;
	if (place->prefix == Py_None)
		Py_RETURN_NONE;
	return PyTuple_Check(place->prefix) ? own_or_joined(place->prefix, name) : joined(place->prefix, name);
}

/* Asked for by device, what the object lies in, and what it lay in. */
static PyObject *crossing_of(struct maker *self, const struct fp_event *event)
{
	char key[sizeof(event->dev) + 2 * sizeof(struct fp_slots)];

	if (!(event->mask & RENAME))
		Py_RETURN_NONE;
	memcpy(key, &event->dev, sizeof(event->dev));
	memcpy(key + sizeof(event->dev), &event->inside, sizeof(event->inside));
	memcpy(key + sizeof(event->dev) + sizeof(event->inside), &event->old_inside, sizeof(event->old_inside));
	return remembered(self, CROSSINGS, PyBytes_FromStringAndSize(key, sizeof(key)));
}

/* Fill the slots of a new event. What could not be made leaves an exception. */
static PyObject *event_of(struct maker *self, struct place *place, const struct fp_event *event, struct text path,
			  struct text old)
{
	PyTypeObject *type = (PyTypeObject *)self->objects[TYPE];
	PyObject *made = type->tp_alloc(type, 0);

	if (!made)
		return NULL;
#define SET(slot, value)                                                                        \
	do {                                                                                    \
		PyObject *object = (value);                                                     \
		if (!object) {                                                                  \
			Py_DECREF(made);                                                        \
			return NULL;                                                            \
		}                                                                               \
		*(PyObject **)((char *)made + self->offsets[slot]) = object;                    \
	} while (0)
	SET(PATH, path_of(self, place, event, path));
	SET(OLD_PATH, event->mask & RENAME ? path_of(self, place, event, old) : Py_NewRef(Py_None));
	SET(MASK, mask_of(self, event->mask));
	SET(PROCESS, process_of(self, event));
	SET(CROSSING, crossing_of(self, event));
	SET(DEV, remembered(self, DEVICES, PyLong_FromUnsignedLong(event->dev)));
	SET(INODE, PyLong_FromUnsignedLongLong(event->inode));
	SET(TIME, PyLong_FromUnsignedLongLong(event->boot_ns));
	SET(TGID, PyLong_FromUnsignedLong(event->tgid));
	SET(TID, self->with_tid ? PyLong_FromUnsignedLong(event->tid) : Py_NewRef(Py_None));
	SET(DIR, PyBool_FromLong(!!(event->mask & IS_DIR)));
	SET(UNDECIDED, PyBool_FromLong(!!(event->flags & self->undecided_flags)));
	SET(LOST, PyLong_FromLong(0));
	SET(ENGINE, Py_NewRef(self->objects[ENGINE_NAME]));
#undef SET
	return made;
}

/* Let the caller make something of record i, and of the records lost before it; None: nothing. */
static PyObject *special_of(struct maker *self, Py_ssize_t i, uint64_t n_lost)
{
	return PyObject_CallFunction(self->objects[SPECIAL], "nK", i, (unsigned long long)n_lost);
}

/* Append what is not None. Takes the item over. */
static int append(PyObject *list, PyObject *item)
{
	int result = !item ? -1 : item == Py_None ? 0 : PyList_Append(list, item);

	Py_XDECREF(item);
	return result;
}

static int make_one(struct maker *self, const struct view *view, Py_ssize_t i, struct place *place, uint64_t *n_dropped,
		    PyObject *list)
{
	struct text path = { 0 }, old = { 0 };
	struct fp_event event;

	if (record_of(view, i, &event, &path, &old) < 0)
		return -1;
	/* records of several processors may carry the counter out of order; only its growth means a loss */
	if (event.n_dropped > *n_dropped) {
		const uint64_t n_lost = event.n_dropped - *n_dropped;

		*n_dropped = event.n_dropped;
		if (append(list, special_of(self, i, n_lost)) < 0)
			return -1;
	}
	if (event.kind != FP_EVENT)
		return append(list, special_of(self, i, 0));
	return append(list, event_of(self, place, &event, path, old));
}

/* make(fixed, paths, starts, n_dropped) */
static PyObject *maker_make(struct maker *self, PyObject *args)
{
	PyObject *fixed, *paths, *starts, *list;
	struct place place = { 0 };
	unsigned long long given;
	uint64_t n_dropped;
	struct view view;

	if (!PyArg_ParseTuple(args, "SSSK:make", &fixed, &paths, &starts, &given) ||
	    view_of(fixed, paths, starts, &view) < 0)
		return NULL;
	n_dropped = given;
	list = PyList_New(0);
	for (Py_ssize_t i = 0; list && i < view.n; i++)
		if (make_one(self, &view, i, &place, &n_dropped, list) < 0)
			Py_CLEAR(list);
	Py_XDECREF(place.prefix);
	return list;
}

/* Where a class keeps one of its own slots, -1 if it has no such slot. */
static Py_ssize_t offset_of(PyTypeObject *type, const char *name)
{
	PyObject *slot = PyObject_GetAttrString((PyObject *)type, name);
	Py_ssize_t offset = -1;

	if (!slot)
		PyErr_Clear();
	else if (Py_IS_TYPE(slot, &PyMemberDescr_Type) && PyDescr_TYPE(slot) == type)
		offset = ((PyMemberDescrObject *)slot)->d_member->offset;
	Py_XDECREF(slot);
	return offset;
}

/* The class must have the slots that are filled here, and no others. */
static int find_slots(struct maker *self)
{
	PyTypeObject *type = (PyTypeObject *)self->objects[TYPE];
	PyObject *slots = PyObject_GetAttrString((PyObject *)type, "__slots__");
	int is_right = slots && PyObject_Size(slots) == N_SLOTS;

	Py_XDECREF(slots);
	for (int i = 0; i < N_SLOTS; i++) {
		self->offsets[i] = offset_of(type, slot_names[i]);
		is_right &= self->offsets[i] >= 0;
	}
	if (!is_right)
		PyErr_Format(PyExc_TypeError, "%s has other slots than events are made with", type->tp_name);
	return is_right ? 0 : -1;
}

static PyObject *maker_new(PyTypeObject *type, PyObject *args, PyObject *Py_UNUSED(kwargs))
{
	PyObject *given[N_OBJECTS];
	struct maker *self;
	unsigned int flags;
	int with_tid;

	if (!PyArg_ParseTuple(args, "O!UO!O!O!O!O!OIp:EventMaker", &PyType_Type, &given[TYPE], &given[ENGINE_NAME], &PyDict_Type,
			      &given[MASKS], &PyDict_Type, &given[PLACES], &PyDict_Type, &given[PROCESSES], &PyDict_Type,
			      &given[DEVICES], &PyDict_Type, &given[CROSSINGS], &given[SPECIAL], &flags, &with_tid))
		return NULL;
	self = (struct maker *)type->tp_alloc(type, 0);
	if (!self)
		return NULL;
	self->undecided_flags = flags;
	self->with_tid = with_tid;
	for (int i = 0; i < N_OBJECTS; i++)
		self->objects[i] = Py_NewRef(given[i]);
	if (find_slots(self) < 0)
		Py_CLEAR(self);
	return (PyObject *)self;
}

static int maker_traverse(struct maker *self, visitproc visit, void *arg)
{
	Py_VISIT(Py_TYPE(self));
	for (int i = 0; i < N_OBJECTS; i++)
		Py_VISIT(self->objects[i]);
	return 0;
}

static int maker_clear(struct maker *self)
{
	for (int i = 0; i < N_OBJECTS; i++)
		Py_CLEAR(self->objects[i]);
	return 0;
}

static void maker_dealloc(struct maker *self)
{
	PyTypeObject *type = Py_TYPE(self);

	PyObject_GC_UnTrack(self);
	maker_clear(self);
	type->tp_free(self);
	Py_DECREF(type);
}

static PyMethodDef maker_methods[] = {
	{ "make", (PyCFunction)maker_make, METH_VARARGS, "Make the events of a batch; see _events.pyi." },
	{ NULL, NULL, 0, NULL },
};

static PyType_Slot maker_slots[] = {
	{ Py_tp_new, maker_new },
	{ Py_tp_traverse, maker_traverse },
	{ Py_tp_clear, maker_clear },
	{ Py_tp_dealloc, maker_dealloc },
	{ Py_tp_methods, maker_methods },
	{ Py_tp_doc, "Makes events; see _events.pyi." },
	{ 0, NULL },
};

static PyType_Spec maker_spec = {
	.name = "fanotify_fastpath._bpf._events.EventMaker",
	.basicsize = sizeof(struct maker),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_HAVE_GC,
	.slots = maker_slots,
};

static int module_exec(PyObject *module)
{
	PyObject *type = PyType_FromModuleAndSpec(module, &maker_spec, NULL);
	const int result = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;

	Py_XDECREF(type);
	return result;
}

static PyModuleDef_Slot module_slots[] = {
	{ Py_mod_exec, module_exec },
	{ 0, NULL },
};

static struct PyModuleDef module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "fanotify_fastpath._bpf._events",
	.m_doc = "From the records of a batch to events; see _events.pyi.",
	.m_slots = module_slots,
};

PyMODINIT_FUNC PyInit__events(void)
{
	return PyModuleDef_Init(&module);
}
