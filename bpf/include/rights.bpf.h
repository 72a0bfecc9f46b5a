/* SPDX-License-Identifier: BSD-2-Clause OR GPL-2.0-only */
/*
 * What the user of a view may do with an object, as the kernel would find: generic_permission() in fs/namei.c,
 * posix_acl_permission() in fs/posix_acl.c (v6.12). No capabilities count, and where that is not all that would be asked,
 * the answer is no.
 */
#ifndef RIGHTS_BPF_H
#define RIGHTS_BPF_H

#include "tables.bpf.h"
#include "fp_views.h"
#include "view_types.h"

/* include/uapi/linux/stat.h, include/linux/fs.h */
#define S_IFMT 0170000
#define S_IFDIR 0040000
#define S_IRWXG 0070
#define SB_POSIXACL (1 << 16)
#define MAY_READ 4
#define MAY_EXEC 1
/* include/uapi/linux/magic.h: its own permission() only looks at whether something is to be written */
#define BTRFS_SUPER_MAGIC 0x9123683E

/* include/uapi/linux/posix_acl.h */
enum { ACL_USER_OBJ = 0x01, ACL_USER = 0x02, ACL_GROUP_OBJ = 0x04, ACL_GROUP = 0x08, ACL_MASK = 0x10, ACL_OTHER = 0x20 };

/* by group: for whom it is held */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FP_N_GROUPS);
	__type(key, __u32);
	__type(value, struct fp_view);
} views SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FP_N_VIEW_GIDS);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct fp_view_gid);
	__type(value, __u32);
} view_gids SEC(".maps");

/* an access control list, and how far it was followed */
struct acl {
	struct posix_acl_entry entries[FP_N_ACL_ENTRIES];
	__u32 n_entries;
	__u32 wanted;
	/* group of the object */
	__u32 gid;
	/* of the entry that counts, which a mask may still limit */
	__u32 permitted;
	bool is_in_group;
	bool is_found;
	bool is_over;
	bool is_allowed;
	/* not on the stack, of which little is left */
	struct fp_view_gid key;
	__u64 list;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct acl);
} acls SEC(".maps");

/* what may_use() returns; the last one: what the kernel would say is not known */
enum right { RIGHT_NO, RIGHT_YES, RIGHT_UNSURE };

/* Whether the user is in that group, too; acl->key.group is set. */
static __always_inline bool is_in_group(struct acl *acl, const struct fp_view *view, __u32 gid)
{
	acl->key.gid = gid;
	return view->gid == gid || bpf_map_lookup_elem(&view_gids, &acl->key);
}

static __always_inline void find_acl_entry(struct acl *acl, const struct fp_view *view,
					   const struct posix_acl_entry *entry)
{
	__u32 permitted = entry->e_perm;

	switch (entry->e_tag) {
	case ACL_USER:
		acl->is_found = entry->e_uid.val == view->uid;
		break;
	case ACL_GROUP_OBJ:
	case ACL_GROUP:
		if (is_in_group(acl, view, entry->e_tag == ACL_GROUP ? entry->e_gid.val : acl->gid)) {
			acl->is_in_group = true;
			acl->is_found = (permitted & acl->wanted) == acl->wanted;
		}
		break;
	case ACL_OTHER:
		acl->is_over = true;
		acl->is_allowed = !acl->is_in_group && (permitted & acl->wanted) == acl->wanted;
		break;
	}
	acl->permitted = permitted;
}

/* Returns whether it allows what is wanted. The owner is not asked by it. */
static __always_inline bool follow_acl(struct acl *acl, const struct fp_view *view)
{
	acl->is_in_group = acl->is_found = acl->is_over = acl->is_allowed = false;
	for (__u32 n = 0; n < FP_N_ACL_ENTRIES; n++) {
		const struct posix_acl_entry *entry = &acl->entries[n];

		if (n >= acl->n_entries || acl->is_over)
			break;
		if (!acl->is_found) {
			find_acl_entry(acl, view, entry);
		} else if (entry->e_tag == ACL_MASK) {
			acl->permitted &= entry->e_perm;
			break;
		}
	}
	if (acl->is_over)
		return acl->is_allowed;
	return acl->is_found && (acl->permitted & acl->wanted) == acl->wanted;
}

static __always_inline enum right ask_acl(struct acl *acl, const struct fp_view *view, __u32 gid, __u32 wanted)
{
	__u32 n_entries = fp_get(fp_as(posix_acl, acl->list), a_count);

	if (n_entries > FP_N_ACL_ENTRIES)
		return RIGHT_UNSURE;
	if (bpf_probe_read_kernel(acl->entries, n_entries * sizeof(acl->entries[0]),
				  (const void *)(acl->list + bpf_core_field_offset(struct posix_acl, a_entries))))
		return RIGHT_UNSURE;
	acl->n_entries = n_entries;
	acl->wanted = wanted;
	acl->gid = gid;
	return follow_acl(acl, view) ? RIGHT_YES : RIGHT_NO;
}

/* May the user of that group's view list and search a directory, or read what is none? Returns an enum right. */
__noinline int may_use(__u64 object, __u32 group)
{
	struct inode___view *inode = fp_as(inode___view, object);
	const struct fp_view *view = bpf_map_lookup_elem(&views, &group);
	struct super_block___view *sb;
	__u32 mode, wanted, zero = 0;
	struct acl *acl = bpf_map_lookup_elem(&acls, &zero);

	if (!view || !object || !acl)
		return RIGHT_UNSURE;
	if (view->flags & FP_SEES_ALL)
		return RIGHT_YES;
	sb = fp_as(super_block___view, fp_get(inode, i_sb));
	if (fp_get(fp_as(user_namespace, fp_get(sb, s_user_ns)), level))
		return RIGHT_UNSURE;
	if (fp_get(fp_as(inode_operations, fp_get(inode, i_op)), permission) && fp_get(sb, s_magic) != BTRFS_SUPER_MAGIC)
		return RIGHT_UNSURE;
	acl->key.group = group;
	mode = fp_get(inode, i_mode);
	wanted = (mode & S_IFMT) == S_IFDIR ? MAY_READ | MAY_EXEC : MAY_READ;
	if (fp_get(inode, i_uid.val) == view->uid)
		return !(wanted & ~(mode >> 6));
	if (fp_get(sb, s_flags) & SB_POSIXACL && mode & S_IRWXG) {
		/* as a number: of a pointer the verifier does not let the low bit be looked at */
		if (bpf_core_read(&acl->list, sizeof(acl->list), &inode->i_acl))
			return RIGHT_UNSURE;
		/* ACL_NOT_CACHED, or being read: nobody but the owner has come by here since the inode is in memory */
		if (acl->list & 1)
			return RIGHT_UNSURE;
		if (acl->list)
			return ask_acl(acl, view, fp_get(inode, i_gid.val), wanted);
	}
	if (is_in_group(acl, view, fp_get(inode, i_gid.val)))
		mode >>= 3;
	return !(wanted & ~mode);
}

#endif
