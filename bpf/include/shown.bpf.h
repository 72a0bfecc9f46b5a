/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/* What handlers are shown of an event: filled in as far as one of them needs it. */
#ifndef SHOWN_BPF_H
#define SHOWN_BPF_H

#include "handler_event.bpf.h"
#include "namespace.bpf.h"

/* an executable's path is put together from its end; a name is copied at once, so there is room for one more */
struct exe_path {
	char text[3 * 256];
	const void *dentry;
	const void *mount;
	__u32 begin;
	bool has_arrived;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct exe_path);
} exe_paths SEC(".maps");

#define FP_EXE_END 512
/* directories and mounts on the way up from an executable */
#define FP_EXE_STEPS 128

static __always_inline struct fp_handler_event *shown_event(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&handled, &zero);
}

static __always_inline void put_exe_text(struct exe_path *path, const void *from, __u32 len)
{
	__u32 begin = path->begin;

	if (len > 255 || begin < len || begin > FP_EXE_END) {
		path->begin = 0;
		return;
	}
	begin -= len;
	if (begin > FP_EXE_END)
		return;
	bpf_probe_read_kernel(&path->text[begin], len, from);
	path->begin = begin;
}

/* one step; called by bpf_loop, which ends when this returns 1. As prepend_path() in fs/d_path.c, without locks */
static long exe_step(__u32 n, struct exe_path **at)
{
	struct exe_path *path = *at;
	struct dentry *dentry = fp_as(dentry, path->dentry);
	struct mount *mount = fp_as(mount, path->mount);
	const void *parent;

	if (path->dentry == fp_get(mount, mnt.mnt_root)) {
		parent = fp_get(mount, mnt_parent);
		if (parent == path->mount) {
			path->has_arrived = true;
			return 1;
		}
		path->dentry = fp_get(mount, mnt_mountpoint);
		path->mount = parent;
		return 0;
	}
	parent = fp_get(dentry, d_parent);
	if (parent == path->dentry || !path->begin)
		return 1;
	put_exe_text(path, fp_get(dentry, d_name.name), fp_get(dentry, d_name.len));
	put_exe_text(path, "/", 1);
	path->dentry = parent;
	return 0;
}

/* The path of the executable of this process, as readlink() tells it of /proc/PID/exe. */
__noinline int show_exe(void)
{
	struct fp_handler_event *event = shown_event();
	struct exe_path *path;
	const void *task = (const void *)bpf_get_current_task(), *mm, *file;
	__u32 zero = 0, len;

	path = bpf_map_lookup_elem(&exe_paths, &zero);
	if (!event || !path)
		return 0;
	mm = fp_get(fp_as(task_struct, task), mm);
	file = mm ? fp_get(fp_as(mm_struct, mm), exe_file) : 0;
	if (!file)
		return 0;
	path->dentry = fp_get(fp_as(file, file), f_path.dentry);
	path->mount = (const void *)fp_get(fp_as(file, file), f_path.mnt) - bpf_core_field_offset(struct mount, mnt);
	path->begin = FP_EXE_END;
	path->has_arrived = false;
	if (!fp_get(fp_as(dentry, path->dentry), d_hash.pprev))
		put_exe_text(path, " (deleted)", 10);
	bpf_loop(FP_EXE_STEPS, exe_step, &path, 0);
	len = FP_EXE_END - path->begin;
	if (!path->has_arrived || len > FP_EXE_BYTES || path->begin > FP_EXE_END)
		return 0;
	__builtin_memset(event->exe, 0, sizeof(event->exe));
	bpf_probe_read_kernel(event->exe, len, &path->text[path->begin]);
	event->exe_len = len;
	event->known |= FP_EXE;
	return 0;
}

/* The parent of the process, its parent, and so on. */
__noinline int show_ancestors(void)
{
	struct fp_handler_event *event = shown_event();
	struct task_struct *task = fp_as(task_struct, bpf_get_current_task());
	int n;

	if (!event)
		return 0;
	for (n = 0; n < FP_N_ANCESTORS; n++) {
		const struct task_struct *leader;
		__u32 tgid;

		task = fp_as(task_struct, fp_get(task, real_parent));
		leader = fp_as(task_struct, fp_get(task, group_leader));
		tgid = tables.settings.pid_level ? number_for_listener(fp_get(leader, thread_pid)) : fp_get(leader, pid);
		if (!tgid)
			break;
		event->ancestors[n] = tgid;
	}
	event->n_ancestors = n;
	event->known |= FP_ANCESTORS;
	return 0;
}

/* The name by which something happened; a directory's own when it is told of itself, unless it is the top. */
static __always_inline void show_name(struct fp_handler_event *event, const struct workspace *work)
{
	const void *name = work->incident.name;
	struct qstr *qstr;
	__u32 len;

	if (!name) {
		const void *directory = work->incident.directory;

		if (!directory || fp_get(fp_as(dentry, directory), d_parent) == directory)
			return;
		name = directory + bpf_core_field_offset(struct dentry, d_name);
	}
	qstr = fp_as(qstr, name);
	len = fp_get(qstr, len);
	if (len > FP_NAME_BYTES)
		return;
	__builtin_memset(event->name, 0, sizeof(event->name));
	bpf_probe_read_kernel(event->name, len, fp_get(qstr, name));
	event->name_len = len;
	event->known |= FP_NAME;
}

static __always_inline void show_directory(struct fp_handler_event *event, const struct workspace *work)
{
	const void *directory = work->incident.directory, *parent;

	if (!directory)
		return;
	parent = work->incident.name ? directory : fp_get(fp_as(dentry, directory), d_parent);
	if (!work->incident.name && parent == directory)
		return;
	event->dir_inode = fp_get(fp_as(inode, fp_get(fp_as(dentry, parent), d_inode)), i_ino);
	event->known |= FP_DIR_INODE;
}

static __always_inline void show_comm(struct fp_handler_event *event, const struct workspace *work)
{
	__u32 len = 0;

	__builtin_memcpy(event->comm, work->event.comm, sizeof(event->comm));
	for (__u32 n = 0; n < FP_COMM_BYTES; n++) {
		if (!event->comm[n])
			break;
		len = n + 1;
	}
	event->comm_len = len;
	event->known |= FP_COMM;
}

static __always_inline void show_object(struct fp_handler_event *event, const struct workspace *work)
{
	struct inode *inode = fp_as(inode, work->incident.inode);

	event->size = fp_get(inode, i_size);
	event->mode = work->event.mode;
	event->owner_uid = fp_get(inode, i_uid.val);
	event->owner_gid = fp_get(inode, i_gid.val);
	event->n_links = fp_get(inode, i_nlink);
	event->known |= FP_OBJECT;
}

/* How far below its nearest root that the group counts from. */
static __always_inline void show_depth(struct fp_handler_event *event, const struct workspace *work,
				       const struct fp_chain *chain)
{
	for (__u32 n = 0; n < FP_N_NEAREST; n++) {
		const struct nearest *nearest = &work->nearest[n];
		__u64 common = 0;

		if (n >= work->n_nearest)
			return;
		for (int w = 0; w < FP_SLOT_WORDS; w++)
			common |= nearest->slots.words[w] & chain->counted.words[w];
		if (common) {
			event->depth = nearest->n_steps;
			event->known |= FP_DEPTH;
			return;
		}
	}
}

/* What costs next to nothing, for each event. */
static __always_inline void begin_showing(struct fp_handler_event *event, const struct workspace *work)
{
	const struct fp_event *told = &work->event;

	event->time_ns = told->boot_ns;
	event->tgid = told->tgid;
	event->tid = told->tid;
	event->uid = told->uid;
	event->gid = told->gid;
	event->inode = told->inode;
	event->generation = told->generation;
	event->dev = tables.superblocks[work->incident.superblock & (FP_N_SUPERBLOCKS - 1)].user_dev;
	event->cgroup_id = told->cgroup_id;
	event->n_ancestors = 0;
	event->known = FP_INODE | FP_USER | FP_CGROUP;
	if (told->flags & FP_UNDECIDED)
		return;
	for (int w = 0; w < FP_SLOT_WORDS; w++)
		event->inside[w] = told->inside.words[w] | told->old_inside.words[w];
	event->known |= FP_PLACE;
}

/* What a group's handlers need to know, as far as it is not told yet. */
__noinline int show(__u32 missing, const struct fp_chain *chain)
{
	struct fp_handler_event *event = shown_event();
	struct workspace *work = workspace_of(FOR_DISPATCH);

	if (!event || !work || !chain)
		return 0;
	if (!work->handing.filled)
		begin_showing(event, work);
	if (missing & FP_NAME)
		show_name(event, work);
	if (missing & FP_DIR_INODE)
		show_directory(event, work);
	if (missing & FP_OBJECT && work->incident.inode)
		show_object(event, work);
	if (missing & FP_COMM)
		show_comm(event, work);
	if (missing & FP_EXE)
		show_exe();
	if (missing & FP_ANCESTORS)
		show_ancestors();
	if (missing & FP_DEPTH) {
		event->known &= ~FP_DEPTH;
		show_depth(event, work, chain);
	}
	/* depth is another one for the next group */
	work->handing.filled |= (missing & ~FP_DEPTH) | FP_SHOWN;
	return 0;
}

#endif
