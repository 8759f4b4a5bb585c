//! Inodes, in the short form where it suffices.

use std::io::{self, Read};

use super::{BlockSize, NONE_32, malformed, read_u16, read_u32, read_u64};
use crate::tree::Device;

/// What an inode is, by its number in a directory and in an inode of the short form. The long form adds [`LONG`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Type {
    Directory = 1,
    File = 2,
    Symlink = 3,
    BlockDevice = 4,
    CharDevice = 5,
    Fifo = 6,
    Socket = 7,
}

const LONG: u16 = 7;
/// Longest target of a link: a page of the kernel.
pub(crate) const TARGET_LENGTH: u32 = 4096;
/// Longest name in the index of a directory.
const INDEX_NAME_LENGTH: u32 = 256;

impl Type {
    pub(crate) fn from_basic(number: u16) -> Option<Self> {
        Some(match number {
            1 => Self::Directory,
            2 => Self::File,
            3 => Self::Symlink,
            4 => Self::BlockDevice,
            5 => Self::CharDevice,
            6 => Self::Fifo,
            7 => Self::Socket,
            _ => return None,
        })
    }
}

/// An inode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Inode {
    /// Permissions: twelve bits.
    pub(crate) mode: u16,
    /// Place of the owner in the id table.
    pub(crate) uid: u16,
    /// Place of the group in the id table.
    pub(crate) gid: u16,
    /// Seconds since 1970.
    pub(crate) mtime: u32,
    /// From 1 up.
    pub(crate) number: u32,
    /// Number of names; for a directory, that of its subdirectories and 2.
    pub(crate) links: u32,
    /// Place in the xattr table.
    pub(crate) xattr: Option<u32>,
    pub(crate) body: Body,
}

/// What differs from type to type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Body {
    Directory(Directory),
    File(File),
    Symlink(Vec<u8>),
    BlockDevice(Device),
    CharDevice(Device),
    Fifo,
    Socket,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Directory {
    /// Where the listing begins: the stored metadata block, in bytes from the beginning of the directory table ...
    pub(crate) start: u32,
    /// ... and the place in it.
    pub(crate) offset: u16,
    /// Bytes of the listing, and [three](super::directory::EXTRA_SIZE) more.
    pub(crate) size: u32,
    /// Number of the directory it is in; for the root, one more than the number of inodes.
    pub(crate) parent: u32,
    /// For large directories: where to begin to look.
    pub(crate) index: Vec<Index>,
}

/// Where a metadata block of a listing begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Index {
    /// Bytes of the listing before the header there.
    pub(crate) position: u32,
    /// The stored block, in bytes from the beginning of the directory table.
    pub(crate) start: u32,
    /// The first name behind that header.
    pub(crate) name: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct File {
    /// Of the first data block, in bytes from the beginning of the image.
    pub(crate) start: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes of it in blocks that are not stored because they are zero.
    pub(crate) sparse: u64,
    /// Where its end lies.
    pub(crate) fragment: Option<Fragment>,
    /// The stored blocks, which follow each other.
    pub(crate) blocks: Vec<BlockSize>,
}

/// A part of a fragment block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fragment {
    /// Place of the block in the fragment table.
    pub(crate) index: u32,
    /// In the block when it is unpacked.
    pub(crate) offset: u32,
}

impl File {
    /// How many blocks there are: the end that is in a fragment has none.
    pub(crate) fn block_count(size: u64, fragment: bool, block_size: u32) -> u64 {
        let size_of_block = u64::from(block_size);
        if fragment { size / size_of_block } else { size.div_ceil(size_of_block) }
    }
}

impl Inode {
    /// How a directory names the type.
    pub(crate) fn kind(&self) -> Type {
        match self.body {
            Body::Directory(_) => Type::Directory,
            Body::File(_) => Type::File,
            Body::Symlink(_) => Type::Symlink,
            Body::BlockDevice(_) => Type::BlockDevice,
            Body::CharDevice(_) => Type::CharDevice,
            Body::Fifo => Type::Fifo,
            Body::Socket => Type::Socket,
        }
    }

    fn needs_long_form(&self) -> bool {
        self.xattr.is_some()
            || match &self.body {
                Body::Directory(directory) => {
                    !directory.index.is_empty() || directory.size > u32::from(u16::MAX)
                }
                Body::File(file) => {
                    self.links > 1
                        || file.sparse > 0
                        || file.size > u64::from(u32::MAX)
                        || file.start > u64::from(u32::MAX)
                }
                _ => false,
            }
    }

    /// Appends its bytes.
    pub(crate) fn write(&self, bytes: &mut Vec<u8>) {
        let long = self.needs_long_form();
        let number = self.kind() as u16 + if long { LONG } else { 0 };
        for short in [number, self.mode, self.uid, self.gid] {
            bytes.extend(short.to_le_bytes());
        }
        for word in [self.mtime, self.number] {
            bytes.extend(word.to_le_bytes());
        }
        let xattr = self.xattr.unwrap_or(NONE_32);
        let mut words = |words: &[u32]| words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        match &self.body {
            Body::Directory(directory) => {
                directory.write(self.links, long.then_some(xattr), bytes);
                return;
            }
            Body::File(file) => {
                file.write(self.links, long.then_some(xattr), bytes);
                return;
            }
            Body::Symlink(target) => {
                #[expect(clippy::cast_possible_truncation, reason = "no longer than a page")]
                words(&[self.links, target.len() as u32]);
                bytes.extend(target);
            }
            Body::BlockDevice(device) | Body::CharDevice(device) => {
                words(&[self.links, encode_device(*device)]);
            }
            Body::Fifo | Body::Socket => words(&[self.links]),
        }
        if long {
            bytes.extend(xattr.to_le_bytes());
        }
    }

    /// Reads an inode of an image with blocks of `block_size`.
    pub(crate) fn read(bytes: &mut impl Read, block_size: u32) -> io::Result<Self> {
        let number = read_u16(bytes)?;
        let long = number > LONG;
        let kind = Type::from_basic(if long { number - LONG } else { number })
            .ok_or_else(|| malformed("unknown type of inode"))?;
        let mode = read_u16(bytes)? & 0o7777;
        let [uid, gid] = [read_u16(bytes)?, read_u16(bytes)?];
        let [mtime, number] = [read_u32(bytes)?, read_u32(bytes)?];
        let (links, mut xattr, body) = match kind {
            Type::Directory => Directory::read(bytes, long)?,
            Type::File => File::read(bytes, long, block_size)?,
            _ => (read_u32(bytes)?, NONE_32, Body::read_small(bytes, kind)?),
        };
        if long && !matches!(kind, Type::Directory | Type::File) {
            xattr = read_u32(bytes)?;
        }
        let xattr = (xattr != NONE_32).then_some(xattr);
        Ok(Self { mode, uid, gid, mtime, number, links, xattr, body })
    }
}

impl Body {
    fn read_small(bytes: &mut impl Read, kind: Type) -> io::Result<Self> {
        Ok(match kind {
            Type::Symlink => {
                let length = read_u32(bytes)?;
                if length > TARGET_LENGTH {
                    return Err(malformed("the target of a link is too long"));
                }
                let mut target = vec![0; length as usize];
                bytes.read_exact(&mut target)?;
                Self::Symlink(target)
            }
            Type::BlockDevice => Self::BlockDevice(decode_device(read_u32(bytes)?)),
            Type::CharDevice => Self::CharDevice(decode_device(read_u32(bytes)?)),
            Type::Fifo => Self::Fifo,
            _ => Self::Socket,
        })
    }
}

impl Directory {
    fn write(&self, links: u32, long: Option<u32>, bytes: &mut Vec<u8>) {
        let mut words = |words: &[u32]| words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
        #[expect(clippy::cast_possible_truncation, reason = "the long form is chosen where it would not fit")]
        let Some(xattr) = long else {
            words(&[self.start, links]);
            bytes.extend((self.size as u16).to_le_bytes());
            bytes.extend(self.offset.to_le_bytes());
            bytes.extend(self.parent.to_le_bytes());
            return;
        };
        words(&[links, self.size, self.start, self.parent]);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "an entry for every 8 KiB of at most 4 GiB at most"
        )]
        bytes.extend((self.index.len() as u16).to_le_bytes());
        bytes.extend(self.offset.to_le_bytes());
        bytes.extend(xattr.to_le_bytes());
        for entry in &self.index {
            #[expect(clippy::cast_possible_truncation, reason = "names have 255 bytes at most")]
            for word in [entry.position, entry.start, entry.name.len() as u32 - 1] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(&entry.name);
        }
    }

    fn read(bytes: &mut impl Read, long: bool) -> io::Result<(u32, u32, Body)> {
        if !long {
            let [start, links] = [read_u32(bytes)?, read_u32(bytes)?];
            let [size, offset] = [read_u16(bytes)?, read_u16(bytes)?];
            let parent = read_u32(bytes)?;
            let directory = Self { start, offset, size: size.into(), parent, index: Vec::new() };
            return Ok((links, NONE_32, Body::Directory(directory)));
        }
        let [links, size, start, parent] =
            [read_u32(bytes)?, read_u32(bytes)?, read_u32(bytes)?, read_u32(bytes)?];
        let [count, offset] = [read_u16(bytes)?, read_u16(bytes)?];
        let xattr = read_u32(bytes)?;
        let mut index = Vec::new();
        for _ in 0..count {
            let [position, start, length] = [read_u32(bytes)?, read_u32(bytes)?, read_u32(bytes)?];
            if length >= INDEX_NAME_LENGTH {
                return Err(malformed("a name in the index of a directory is too long"));
            }
            let mut name = vec![0; length as usize + 1];
            bytes.read_exact(&mut name)?;
            index.push(Index { position, start, name });
        }
        Ok((links, xattr, Body::Directory(Self { start, offset, size, parent, index })))
    }
}

impl File {
    fn write(&self, links: u32, long: Option<u32>, bytes: &mut Vec<u8>) {
        let fragment = self.fragment.map_or([NONE_32, 0], |fragment| [fragment.index, fragment.offset]);
        if let Some(xattr) = long {
            for word in [self.start, self.size, self.sparse] {
                bytes.extend(word.to_le_bytes());
            }
            for word in [links, fragment[0], fragment[1], xattr] {
                bytes.extend(word.to_le_bytes());
            }
        } else {
            #[expect(
                clippy::cast_possible_truncation,
                reason = "the long form is chosen where it would not fit"
            )]
            for word in [self.start as u32, fragment[0], fragment[1], self.size as u32] {
                bytes.extend(word.to_le_bytes());
            }
        }
        for block in &self.blocks {
            bytes.extend(block.0.to_le_bytes());
        }
    }

    fn read(bytes: &mut impl Read, long: bool, block_size: u32) -> io::Result<(u32, u32, Body)> {
        let (mut sparse, mut links, mut xattr) = (0, 1, NONE_32);
        let (start, size, index, offset);
        if long {
            [start, size, sparse] = [read_u64(bytes)?, read_u64(bytes)?, read_u64(bytes)?];
            [links, index, offset, xattr] =
                [read_u32(bytes)?, read_u32(bytes)?, read_u32(bytes)?, read_u32(bytes)?];
        } else {
            start = read_u32(bytes)?.into();
            [index, offset] = [read_u32(bytes)?, read_u32(bytes)?];
            size = read_u32(bytes)?.into();
        }
        let fragment = (index != NONE_32).then_some(Fragment { index, offset });
        // Not reserved at once: a size is easily claimed, the blocks have to be there.
        let mut blocks = Vec::new();
        for _ in 0..Self::block_count(size, fragment.is_some(), block_size) {
            blocks.push(BlockSize(read_u32(bytes)?));
        }
        Ok((links, xattr, Body::File(Self { start, size, sparse, fragment, blocks })))
    }
}

/// As `new_encode_dev` of the kernel's include/linux/kdev_t.h.
fn encode_device(device: Device) -> u32 {
    (device.minor & 0xff) | (device.major << 8) | ((device.minor & !0xff) << 12)
}

fn decode_device(bits: u32) -> Device {
    Device { major: (bits >> 8) & 0xfff, minor: (bits & 0xff) | ((bits >> 12) & 0xf_ff00) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u32 = 4096;

    fn inode(body: Body) -> Inode {
        Inode { mode: 0o4755, uid: 1, gid: 2, mtime: 3, number: 4, links: 1, xattr: None, body }
    }

    fn bodies() -> Vec<Body> {
        let directory = Directory { start: 5, offset: 6, size: 7, parent: 8, index: Vec::new() };
        let index = vec![Index { position: 1, start: 2, name: b"name".to_vec() }];
        let blocks = vec![BlockSize::new(77, true), BlockSize::HOLE, BlockSize::new(4096, false)];
        let file = File { start: 96, size: 3 * 4096, sparse: 0, fragment: None, blocks };
        let fragment = Some(Fragment { index: 9, offset: 10 });
        vec![
            Body::Directory(directory.clone()),
            Body::Directory(Directory { size: 70_000, ..directory.clone() }),
            Body::Directory(Directory { index, ..directory }),
            Body::File(file.clone()),
            Body::File(File { sparse: 4096, ..file.clone() }),
            Body::File(File { start: 1 << 40, ..file.clone() }),
            Body::File(File { size: 3 * 4096 + 1, fragment, ..file }),
            Body::File(File { size: 100, fragment, ..File::default() }),
            Body::Symlink(b"../target".to_vec()),
            Body::BlockDevice(Device { major: 0xfff, minor: 0xf_ffff }),
            Body::CharDevice(Device::WHITEOUT),
            Body::CharDevice(Device { major: 5, minor: 257 }),
            Body::Fifo,
            Body::Socket,
        ]
    }

    #[test]
    fn every_form_comes_back() {
        for body in bodies() {
            for (links, xattr) in [(1, None), (3, None), (1, Some(0)), (2, Some(70_000))] {
                let inode = Inode { links, xattr, ..inode(body.clone()) };
                let mut bytes = Vec::new();
                inode.write(&mut bytes);
                let mut rest = bytes.as_slice();
                assert_eq!(Inode::read(&mut rest, BLOCK).unwrap(), inode);
                assert!(rest.is_empty(), "{inode:?}");
                for length in 0..bytes.len() {
                    assert!(Inode::read(&mut &bytes[..length], BLOCK).is_err(), "{length} of {inode:?}");
                }
            }
        }
    }

    #[test]
    fn sizes_that_are_only_claimed_cost_nothing() {
        let mut bytes = Vec::new();
        let file = File { start: 1 << 40, size: u64::MAX / 2, ..File::default() };
        inode(Body::File(file)).write(&mut bytes);
        assert!(Inode::read(&mut bytes.as_slice(), BLOCK).is_err());
    }

    #[test]
    fn devices_as_the_kernel_has_them() {
        for (major, minor, bits) in [(8, 1, 0x801), (259, 300, 0x11_032c), (0, 0, 0)] {
            let device = Device { major, minor };
            assert_eq!((encode_device(device), decode_device(bits)), (bits, device));
        }
    }
}
