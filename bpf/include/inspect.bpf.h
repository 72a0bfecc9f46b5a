/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the kernel calls an open file: user space asks, by an iterator over its own descriptors. Only so can it know the
 * numbers by which the programs tell objects, for those of stat() are others on some filesystems.
 */
#ifndef INSPECT_BPF_H
#define INSPECT_BPF_H

#include "climb.bpf.h"
#include "namespace.bpf.h"

SEC("iter/task_file")
int inspect(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct workspace *work = workspace_of(FOR_INSPECT);
	struct fp_inspection told = {};
	struct dentry *dentry;
	struct inode *inode;
	struct fp_key key;
	const struct pid *pid;
	const void *mount;
	__u32 begin;

	if (!task || !file || !work || ctx->fd != tables.settings.inspect_fd)
		return 0;
	inode = fp_as(inode, fp_get(fp_as(file, file), f_inode));
	dentry = fp_as(dentry, fp_get(fp_as(file, file), f_path.dentry));
	mount = (const void *)fp_get(fp_as(file, file), f_path.mnt) - bpf_core_field_offset(struct mount, mnt);
	told.tgid = fp_get(fp_as(task_struct, task), tgid);
	pid = fp_get(fp_as(task_struct, task), thread_pid);
	told.pid_level = fp_get(fp_as(pid, pid), level);
	number_at(pid, told.pid_level, &told.pid_namespace);
	told.mount_id = fp_get(fp_as(mount, mount), mnt_id);
	told.mode = fp_get(inode, i_mode);
	told.dev = fp_get(fp_as(super_block, fp_get(inode, i_sb)), s_dev);
	key_of(&key, inode, told.dev);
	told.inode = key.inode;
	told.generation = key.generation;
	work->climb.dev = told.dev;
	work->climb.superblock_epoch = 0;
	work->climb.settings_epoch = 0;
	work->climb.may_ask_answers = false;
	work->climb.counts_depth = false;
	for (int n = 0; n < FP_TRIES; n++) {
		__u32 sequence = rename_sequence();

		work->climb.flags = 0;
		work->climb.begin = FP_PATHS;
		work->climb.limit = FP_PATHS - FP_PATH_MAX;
		begin_climb(&work->climb, dentry);
		if (!climb_up(FOR_INSPECT))
			work->climb.flags |= FP_UNDECIDED;
		if (!(sequence & 1) && sequence == rename_sequence())
			break;
		if (n == FP_TRIES - 1)
			work->climb.flags |= FP_TORN;
	}
	told.flags = work->climb.flags;
	told.inside = work->climb.inside;
	begin = work->climb.begin;
	told.path_len = FP_PATHS - begin;
	bpf_seq_write(ctx->meta->seq, &told, sizeof(told));
	if (begin <= FP_PATHS && told.path_len <= FP_PATHS)
		bpf_seq_write(ctx->meta->seq, &work->paths[begin], told.path_len);
	return 0;
}

#endif
