//! POSIX access control lists, which squashfs cannot store: what is left of them in the mode must not allow more.
//!
//! Where there is a list, the group bits of a mode are not the group's permissions but the mask: the most that any named
//! user or group may (acl(5)). Without the list they would be given to the owning group. The form of the attribute is that
//! of include/uapi/linux/posix_acl_xattr.h of the kernel.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use crate::Node;

const ACCESS: &str = "system.posix_acl_access";
const VERSION: [u8; 4] = [2, 0, 0, 0];
const ENTRY_SIZE: usize = 8;
const OWNING_GROUP: u16 = 0x04;
const MASK: u16 = 0x10;

/// Whether an attribute of that name is such a list.
pub(super) fn is_list(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b"system.posix_acl_")
}

/// A node's mode as it is without its list.
pub(super) fn mode_without(node: &Node) -> u16 {
    let list = node.xattrs.iter().find(|xattr| xattr.name == ACCESS);
    match list {
        // Of a list that is not understood, nothing is known of what the group may.
        Some(list) => node.mode & !0o070 | group_bits(&list.value).unwrap_or(0) << 3 & node.mode,
        None => node.mode,
    }
}

/// What the list allows the owning group.
fn group_bits(list: &[u8]) -> Option<u16> {
    let entries = list.strip_prefix(&VERSION)?;
    let permissions = |tag: u16| {
        let mut entries = entries.chunks_exact(ENTRY_SIZE);
        let entry = entries.find(|entry| entry[..2] == tag.to_le_bytes())?;
        Some(u16::from_le_bytes([entry[2], entry[3]]) & 0o7)
    };
    Some(permissions(OWNING_GROUP)? & permissions(MASK).unwrap_or(0o7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Xattr;

    fn list(entries: &[(u16, u16)]) -> Vec<u8> {
        let mut bytes = VERSION.to_vec();
        for (tag, permissions) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(permissions.to_le_bytes());
            bytes.extend(u32::MAX.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn losing_a_list_allows_nothing_more() {
        let (user, named, other) = ((0x01, 6), (0x02, 6), (0x20, 4));
        for (mode, value, expected) in [
            (0o4664, Some(list(&[user, named, (OWNING_GROUP, 4), (MASK, 6), other])), 0o4644),
            (0o660, Some(list(&[user, named, (OWNING_GROUP, 0), (MASK, 6), other])), 0o600),
            (0o640, Some(list(&[user, named, (OWNING_GROUP, 7), (MASK, 4), other])), 0o640),
            (0o660, Some(list(&[user, (OWNING_GROUP, 6), other])), 0o660),
            (0o664, Some(vec![1, 0, 0, 0]), 0o604),
            (0o664, None, 0o664),
        ] {
            let xattrs = value.map(|value| Xattr { name: ACCESS.into(), value }).into_iter().collect();
            let node = Node { mode, xattrs, ..Node::directory() };
            assert_eq!(mode_without(&node), expected, "{mode:o}");
        }
    }
}
