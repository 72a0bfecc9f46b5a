/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * The security hooks at which operations are denied. Each is attached only while somebody denies what comes by there.
 *
 * A name that is to be made lies where its directory lies; what exists lies where it is.
 */
#ifndef DENY_HOOKS_BPF_H
#define DENY_HOOKS_BPF_H

#include "deny.bpf.h"

#define EPERM 1
#define MAY_READ 4
#define S_IFMT 0170000
#define S_IFDIR 0040000
/* include/linux/fs.h: opened in order to be executed */
#define FMODE_EXEC 0x20
/* include/uapi/asm-generic/fcntl.h: without O_DIRECTORY, which comes with it */
#define O_TMPFILE 020000000
#define ATTR_SIZE (1 << 3)
#define ATTR_FORCE (1 << 9)
#define FS_IOC_SETFLAGS 0x40086602
#define FS_IOC32_SETFLAGS 0x40046602
#define FS_IOC_FSSETXATTR 0x401c5820

/* an argument of the hook; by a call, so that it is a number and no pointer of which the verifier knows the type */
static __always_inline __u64 argument(void *ctx, __u32 n)
{
	__u64 value = 0;

	bpf_get_func_arg(ctx, n, &value);
	return value;
}

static __always_inline int answer(bool denied)
{
	return denied ? -EPERM : 0;
}

/* these two as numbers as well */
static __always_inline __u64 directory_of(__u64 at)
{
	return (__u64)BPF_CORE_READ((const struct dentry *)at, d_parent);
}

static __always_inline __u64 dentry_of_file(__u64 file)
{
	return (__u64)BPF_CORE_READ((const struct file *)file, f_path.dentry);
}

static __always_inline bool is_dir(__u64 file)
{
	struct inode *inode = fp_as(inode, fp_get(fp_as(file, file), f_inode));

	return (fp_get(inode, i_mode) & S_IFMT) == S_IFDIR;
}

SEC("lsm/file_open")
int on_file_open(unsigned long long *ctx)
{
	__u64 file = argument(ctx, 0);
	__u32 flags = fp_get(fp_as(file, file), f_flags);
	__u32 operations = is_dir(file) ? FP_DENY_OPEN_DIR : FP_DENY_OPEN;

	if (flags & FMODE_EXEC)
		operations |= FP_DENY_EXEC;
	if (flags & O_TMPFILE)
		operations |= FP_DENY_CREATE;
	return answer(is_denied(dentry_of_file(file), operations));
}

SEC("lsm/file_permission")
int on_file_permission(unsigned long long *ctx)
{
	__u64 file = argument(ctx, 0);

	if (!(argument(ctx, 1) & MAY_READ))
		return 0;
	return answer(is_denied(dentry_of_file(file), is_dir(file) ? FP_DENY_ACCESS_DIR : FP_DENY_ACCESS));
}

SEC("lsm/mmap_file")
int on_mmap_file(unsigned long long *ctx)
{
	return answer(is_denied(dentry_of_file(argument(ctx, 0)), FP_DENY_ACCESS));
}

SEC("lsm/inode_create")
int on_inode_create(unsigned long long *ctx)
{
	return answer(is_denied(directory_of(argument(ctx, 1)), FP_DENY_CREATE));
}

SEC("lsm/inode_mknod")
int on_inode_mknod(unsigned long long *ctx)
{
	return answer(is_denied(directory_of(argument(ctx, 1)), FP_DENY_CREATE));
}

SEC("lsm/inode_mkdir")
int on_inode_mkdir(unsigned long long *ctx)
{
	return answer(is_denied(directory_of(argument(ctx, 1)), FP_DENY_MKDIR));
}

SEC("lsm/inode_symlink")
int on_inode_symlink(unsigned long long *ctx)
{
	return answer(is_denied(directory_of(argument(ctx, 1)), FP_DENY_SYMLINK));
}

SEC("lsm/inode_unlink")
int on_inode_unlink(unsigned long long *ctx)
{
	return answer(is_denied(argument(ctx, 1), FP_DENY_UNLINK));
}

SEC("lsm/inode_rmdir")
int on_inode_rmdir(unsigned long long *ctx)
{
	return answer(is_denied(argument(ctx, 1), FP_DENY_RMDIR));
}

/* the file has a name on one side, and gets one on the other */
SEC("lsm/inode_link")
int on_inode_link(unsigned long long *ctx)
{
	return answer(is_denied(argument(ctx, 0), FP_DENY_LINK) ||
		      is_denied(directory_of(argument(ctx, 2)), FP_DENY_LINK));
}

/* what has the new name already is overwritten; for an exchange the hook is called for both ways */
SEC("lsm/inode_rename")
int on_inode_rename(unsigned long long *ctx)
{
	__u64 to = argument(ctx, 3);
	struct dentry *dentry = fp_as(dentry, to);

	if (!fp_get(dentry, d_inode))
		to = directory_of(to);
	return answer(is_denied(argument(ctx, 1), FP_DENY_RENAME) || is_denied(to, FP_DENY_RENAME));
}

/* newer kernels have put an argument in front; what is forced is the kernel's own: it takes set-user-id bits away */
SEC("lsm/inode_setattr")
int on_inode_setattr(unsigned long long *ctx)
{
	__u32 n = bpf_get_func_arg_cnt(ctx);
	struct iattr *attributes = fp_as(iattr, argument(ctx, n - 1));
	__u32 valid = fp_get(attributes, ia_valid);

	if (valid & ATTR_SIZE)
		return answer(is_denied(argument(ctx, n - 2), FP_DENY_TRUNCATE));
	if (valid & ATTR_FORCE)
		return 0;
	return answer(is_denied(argument(ctx, n - 2), FP_DENY_SETATTR));
}

SEC("lsm/inode_setxattr")
int on_inode_setxattr(unsigned long long *ctx)
{
	return answer(is_denied(argument(ctx, 1), FP_DENY_SETATTR));
}

SEC("lsm/inode_removexattr")
int on_inode_removexattr(unsigned long long *ctx)
{
	return answer(is_denied(argument(ctx, 1), FP_DENY_SETATTR));
}

/* these two since Linux 6.2, before they were extended attributes like others */
SEC("lsm/inode_set_acl")
int on_inode_set_acl(unsigned long long *ctx)
{
	return answer(is_denied(argument(ctx, 1), FP_DENY_SETATTR));
}

SEC("lsm/inode_remove_acl")
int on_inode_remove_acl(unsigned long long *ctx)
{
	return answer(is_denied(argument(ctx, 1), FP_DENY_SETATTR));
}

static __always_inline int judge_ioctl(void *ctx)
{
	__u32 command = argument(ctx, 1);

	if (command != FS_IOC_SETFLAGS && command != FS_IOC32_SETFLAGS && command != FS_IOC_FSSETXATTR)
		return 0;
	return answer(is_denied(dentry_of_file(argument(ctx, 0)), FP_DENY_SETATTR));
}

SEC("lsm/file_ioctl")
int on_file_ioctl(unsigned long long *ctx)
{
	return judge_ioctl(ctx);
}

/* Linux 6.8 has made it a hook of its own */
SEC("lsm/file_ioctl_compat")
int on_file_ioctl_compat(unsigned long long *ctx)
{
	return judge_ioctl(ctx);
}

/* The filesystem is being unmounted for good: its device may stand for another one from now on. */
SEC("lsm/sb_delete")
int on_sb_delete(unsigned long long *ctx)
{
	__u32 place = find_superblock(fp_get(fp_as(super_block, argument(ctx, 0)), s_dev));

	if (place < FP_N_SUPERBLOCKS)
		tables.guarded[place].deny = 0;
	return 0;
}

/* Our process has ended, perhaps while a child of it still holds the programs: nothing is denied any more. */
SEC("raw_tp/sched_process_exit")
int on_exit(unsigned long long *ctx)
{
	struct task_struct *task = fp_as(task_struct, ctx[0]);
	struct signal_struct *process = fp_as(signal_struct, fp_get(task, signal));

	if ((__u32)fp_get(task, tgid) == tables.settings.own_tgid && !fp_get(process, live.counter))
		tables.settings.is_over = 1;
	return 0;
}

#endif
