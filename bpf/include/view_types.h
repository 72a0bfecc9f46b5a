/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * More of the kernel's types than vmlinux_min.h has, for views. What follows three underscores is no part of a name for
 * libbpf: so these are the same types, with other fields.
 */
#ifndef VIEW_TYPES_H
#define VIEW_TYPES_H

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct user_namespace {
	/* 0: the first */
	int level;
};

struct super_block___view {
	unsigned long s_flags;
	unsigned long s_magic;
	struct user_namespace *s_user_ns;
};

struct inode_operations {
	const void *permission;
};

struct posix_acl_entry {
	short e_tag;
	unsigned short e_perm;
	union {
		kuid_t e_uid;
		kgid_t e_gid;
	};
};

struct posix_acl {
	unsigned int a_count;
	struct posix_acl_entry a_entries[];
};

struct inode___view {
	__u16 i_mode;
	kuid_t i_uid;
	kgid_t i_gid;
	struct posix_acl *i_acl;
	const struct inode_operations *i_op;
	struct super_block *i_sb;
};

#pragma clang attribute pop

#endif
