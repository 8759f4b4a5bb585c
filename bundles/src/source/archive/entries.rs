//! The entries of a tar archive, in all forms that are met: V7, ustar, pax, GNU's and star's.
//!
//! POSIX.1-2001, pax, "ustar Interchange Format"; GNU tar manual, "Tar Internals"; star(5). Extended headers are parsed
//! here and not by the crate `tar`, because attributes have values with newlines in them.

use std::io::{self, Read};

use tar::Header;

use super::pax::Records;
use super::sparse::{self, Extent};
use super::stream::Input;
use crate::{Device, Xattr};

/// Bytes of a long name at most.
const LONGEST_NAME: u64 = 64 << 10;
/// Bytes of an extended header at most: a file has no more than 64 KiB of names and a few values of 64 KiB.
const LONGEST_RECORDS: u64 = 16 << 20;

/// Why an archive cannot be read on.
#[derive(Debug)]
pub(in crate::source) struct Broken {
    /// Where, in bytes of the unpacked archive.
    pub(in crate::source) offset: u64,
    pub(in crate::source) reason: String,
}

/// An error of reading, in words.
pub(in crate::source) fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it is cut off".to_owned(),
        _ => error.to_string(),
    }
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::source) enum EntryKind {
    File(Data),
    /// A further name of the file of that name.
    Link(Vec<u8>),
    Symlink(Vec<u8>),
    Directory,
    BlockDevice(Device),
    CharDevice(Device),
    Fifo,
    /// Nothing that is a file, by its letter.
    Other(char),
}

/// Where the bytes of a file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::source) struct Data {
    /// Of the first byte, in the unpacked archive.
    pub(in crate::source) offset: u64,
    /// Length of the file.
    pub(in crate::source) size: u64,
    /// What is stored of a sparse file; of others it is all.
    pub(in crate::source) extents: Option<Box<[Extent]>>,
}

/// A file in an archive.
#[derive(Debug)]
pub(in crate::source) struct Entry {
    /// Of its first header.
    pub(in crate::source) offset: u64,
    /// Its name as it is written.
    pub(in crate::source) name: Vec<u8>,
    pub(in crate::source) kind: EntryKind,
    pub(in crate::source) mode: u16,
    pub(in crate::source) uid: u32,
    pub(in crate::source) gid: u32,
    pub(in crate::source) mtime: i64,
    pub(in crate::source) xattrs: Vec<Xattr>,
    /// Whether it has an access control list.
    pub(in crate::source) acl: bool,
}

/// Reads the entries of an archive one by one.
pub(in crate::source) struct Entries {
    input: Input,
    /// Bytes read so far.
    position: u64,
    /// Where the next header is.
    next: u64,
    /// What global extended headers have said so far.
    global: Records,
    /// Whether the archive has the end mark it should.
    pub(in crate::source) ended: bool,
}

/// What precedes the header of an entry and is about it.
#[derive(Default)]
struct Before {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Option<Records>,
}

impl Entries {
    pub(in crate::source) fn new(input: Input) -> Self {
        Self { input, position: 0, next: 0, global: Records::default(), ended: false }
    }

    /// The next entry; none at the end.
    pub(in crate::source) fn next(&mut self) -> Result<Option<Entry>, Broken> {
        let mut before = Before::default();
        let mut first = None;
        loop {
            self.skip_to(self.next)?;
            let offset = self.next;
            let Some(block) = self.header()? else {
                return match first {
                    None => self.input.drain().map(|()| None).map_err(|e| self.broken(&reason(&e))),
                    Some(_) => Err(self.broken("its end follows a header that announces a file")),
                };
            };
            let header = Header::from_byte_slice(&block);
            let start = *first.get_or_insert(offset);
            let fail = |reason| Broken { offset, reason };
            let size = number(&header.as_old().size, "size").map_err(fail)?;
            let size = u64::try_from(size).map_err(|_| fail("a file of a negative size".to_owned()))?;
            self.next = self.position;
            match header.as_old().linkflag[0] {
                b'L' => before.name = Some(until_zero(&self.payload(size, LONGEST_NAME)?).to_vec()),
                b'K' => before.link = Some(until_zero(&self.payload(size, LONGEST_NAME)?).to_vec()),
                b'x' | b'X' => before.records = Some(self.records(size)?),
                b'g' => {
                    let records = self.records(size)?;
                    self.global.extend(records);
                    if before.name.is_none() && before.link.is_none() && before.records.is_none() {
                        first = None;
                    }
                }
                flag => return self.entry(header, flag, size, start, before).map(Some),
            }
        }
    }

    /// The block at the position, if it is a header; none at the end of the archive.
    fn header(&mut self) -> Result<Option<[u8; 512]>, Broken> {
        let mut block = [0; 512];
        let mut filled = 0;
        while filled < block.len() {
            match self.input.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(self.broken("it is cut off")),
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.broken(&reason(&e))),
            }
        }
        if block.iter().all(|&b| b == 0) {
            self.ended = true;
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        let stored = number(&header.as_old().cksum, "checksum").map_err(|e| self.broken(&e))?;
        let bytes = block.iter().enumerate().map(|(n, &b)| if (148..156).contains(&n) { b' ' } else { b });
        let (unsigned, signed) =
            bytes.fold((0, 0), |(u, s), b| (u + i64::from(b), s + i64::from(b.cast_signed())));
        // Some old programs added up signed bytes.
        if stored != unsigned && stored != signed {
            let what =
                if self.position == 0 { "it is no tar archive" } else { "the checksum of a header is wrong" };
            return Err(self.broken(what));
        }
        self.position += 512;
        Ok(Some(block))
    }

    fn entry(
        &mut self,
        header: &Header,
        flag: u8,
        size: u64,
        start: u64,
        before: Before,
    ) -> Result<Entry, Broken> {
        let fail = |reason| Broken { offset: start, reason };
        let mut records = self.global.clone();
        records.extend(before.records.unwrap_or_default());
        let old = header.as_old();
        // Links have no data, whatever size is written (GNU tar does the same).
        let size = if matches!(flag, b'1' | b'2') {
            0
        } else {
            records.number("size").unwrap_or(Ok(size)).map_err(fail)?
        };
        let name = records.get("GNU.sparse.name").or_else(|| records.get("path")).map(<[u8]>::to_vec);
        let name = name.or(before.name).unwrap_or_else(|| header.path_bytes().into_owned());
        let link = records.get("linkpath").map(<[u8]>::to_vec).or(before.link);
        let link = || link.unwrap_or_else(|| until_zero(&old.linkname).to_vec());
        let kind = match flag {
            // Before ustar, only the name told a directory.
            b'0' | 0 | b'7' if name.ends_with(b"/") && size == 0 => EntryKind::Directory,
            b'0' | 0 | b'7' | b'S' => EntryKind::File(self.data(header, flag, size, &records, start)?),
            b'1' => EntryKind::Link(link()),
            b'2' => EntryKind::Symlink(link()),
            b'3' => EntryKind::CharDevice(device(header, &records).map_err(fail)?),
            b'4' => EntryKind::BlockDevice(device(header, &records).map_err(fail)?),
            b'5' | b'D' => EntryKind::Directory,
            b'6' => EntryKind::Fifo,
            other => EntryKind::Other(char::from(other)),
        };
        if !matches!(kind, EntryKind::File(_)) {
            self.set_next(self.position, size, start)?;
        }
        let owner = |key, field: &[u8]| -> Result<u32, Broken> {
            let number = records.number(key).unwrap_or_else(|| {
                number(field, key).and_then(|n| u64::try_from(n).map_err(|_| format!("a negative {key}")))
            });
            let number = number.map_err(fail)?;
            u32::try_from(number).map_err(|_| fail(format!("the {key} {number} is too large")))
        };
        let mode = number(&old.mode, "mode").map_err(fail)? & 0o7777;
        let mode = u16::try_from(mode).unwrap_or_default();
        let acl = records.acl();
        let mtime = records.mtime().map_or_else(|| number(&old.mtime, "time"), Ok).map_err(fail)?;
        Ok(Entry {
            offset: start,
            name,
            kind,
            mode: acl.map_or(mode, |acl| acl.apply(mode)),
            uid: owner("uid", &old.uid)?,
            gid: owner("gid", &old.gid)?,
            mtime,
            xattrs: records.xattrs(),
            acl: acl.is_some(),
        })
    }

    /// Where the `stored` bytes of a file are, which follow.
    fn data(
        &mut self,
        header: &Header,
        flag: u8,
        stored: u64,
        records: &Records,
        start: u64,
    ) -> Result<Data, Broken> {
        let fail = |reason| Broken { offset: start, reason };
        let written = |key| records.number(key).transpose().map_err(fail);
        let (size, extents, map) = if flag == b'S' {
            let (extents, size) = self.old_map(header)?;
            (size, extents, 0)
        } else if records.get("GNU.sparse.major") == Some(b"1") {
            let map = sparse::of_data(|| self.block().map_err(|broken| broken.reason));
            let (extents, map) = map.map_err(|reason| self.broken(&reason))?;
            (written("GNU.sparse.realsize")?.unwrap_or(stored), extents, map)
        } else if let Some(extents) = sparse::of_records(records).map_err(fail)? {
            (written("GNU.sparse.size")?.unwrap_or(stored), extents, 0)
        } else {
            let offset = self.position;
            self.set_next(offset, stored, start)?;
            return Ok(Data { offset, size: stored, extents: None });
        };
        let offset = self.position;
        let left = stored.checked_sub(map).ok_or_else(|| fail("a map larger than its file".to_owned()))?;
        sparse::check(&extents, size, left).map_err(fail)?;
        self.set_next(offset, left, start)?;
        Ok(Data { offset, size, extents: Some(extents.into()) })
    }

    /// GNU's old form: four stretches in the header, more in blocks that follow it.
    fn old_map(&mut self, header: &Header) -> Result<(Vec<Extent>, u64), Broken> {
        let Some(gnu) = header.as_gnu() else {
            return Err(self.broken("a sparse file without GNU's header"));
        };
        let parse = |offset: &[u8], length: &[u8]| -> Result<Option<Extent>, String> {
            let number = |field| {
                let number = number(field, "map of a sparse file")?;
                u64::try_from(number).map_err(|_| "a sparse file of a negative size".to_owned())
            };
            let extent = Extent { offset: number(offset)?, length: number(length)? };
            Ok((extent.length > 0).then_some(extent))
        };
        let mut extents = Vec::new();
        for slot in &gnu.sparse {
            extents.extend(parse(&slot.offset, &slot.numbytes).map_err(|e| self.broken(&e))?);
        }
        let size = number(&gnu.realsize, "size").ok().and_then(|size| u64::try_from(size).ok());
        let size = size.ok_or_else(|| self.broken("a sparse file of no size"))?;
        let mut more = gnu.isextended[0] == 1;
        while more {
            if extents.len() > sparse::MOST {
                return Err(self.broken("a sparse file of too many stretches"));
            }
            let block = self.block()?;
            for slot in block[..504].as_chunks::<24>().0 {
                extents.extend(parse(&slot[..12], &slot[12..]).map_err(|e| self.broken(&e))?);
            }
            more = block[504] == 1;
        }
        Ok((extents, size))
    }

    /// The next block, which belongs to the entry.
    fn block(&mut self) -> Result<[u8; 512], Broken> {
        let mut block = [0; 512];
        self.input.read_exact(&mut block).map_err(|e| self.broken(&reason(&e)))?;
        self.position += 512;
        Ok(block)
    }

    fn records(&mut self, size: u64) -> Result<Records, Broken> {
        let offset = self.position;
        let records = Records::parse(&self.payload(size, LONGEST_RECORDS)?);
        records.ok_or_else(|| Broken { offset, reason: "an extended header that is none".to_owned() })
    }

    /// The bytes of an entry that is about the next one.
    fn payload(&mut self, size: u64, most: u64) -> Result<Vec<u8>, Broken> {
        if size > most {
            return Err(self.broken(&format!("a header of {size} bytes")));
        }
        self.set_next(self.position, size, self.position)?;
        let mut bytes = Vec::new();
        let read = (&mut self.input).take(size).read_to_end(&mut bytes);
        read.map_err(|e| self.broken(&reason(&e)))?;
        self.position += bytes.len() as u64;
        if bytes.len() as u64 == size { Ok(bytes) } else { Err(self.broken("it is cut off")) }
    }

    /// The next header is behind `size` bytes, rounded up to a block, from `from` on.
    fn set_next(&mut self, from: u64, size: u64, start: u64) -> Result<(), Broken> {
        let next = size.checked_next_multiple_of(512).and_then(|size| from.checked_add(size));
        let next = next.filter(|&next| i64::try_from(next).is_ok());
        self.next =
            next.ok_or_else(|| Broken { offset: start, reason: "a file of an absurd size".to_owned() })?;
        Ok(())
    }

    fn skip_to(&mut self, offset: u64) -> Result<(), Broken> {
        let bytes = offset - self.position;
        self.input.skip(bytes).map_err(|e| self.broken(&reason(&e)))?;
        self.position = offset;
        Ok(())
    }

    fn broken(&self, reason: &str) -> Broken {
        Broken { offset: self.position, reason: reason.to_owned() }
    }
}

fn until_zero(bytes: &[u8]) -> &[u8] {
    bytes.split(|&b| b == 0).next().unwrap_or_default()
}

/// A number in a header: octal between blanks, nothing for 0, or in binary with the highest bit set.
fn number(field: &[u8], what: &str) -> Result<i64, String> {
    let bad = || format!("a {what} that is no number");
    if field[0] & 0x80 != 0 {
        let negative = field[0] & 0x40 != 0;
        let first = if negative { field[0].cast_signed() } else { (field[0] & 0x3f).cast_signed() };
        let mut rest = field[1..].iter();
        return rest
            .try_fold(i64::from(first), |n, &b| n.checked_mul(256)?.checked_add(i64::from(b)))
            .ok_or_else(bad);
    }
    let text = std::str::from_utf8(until_zero(field)).map_err(|_| bad())?.trim();
    if text.is_empty() { Ok(0) } else { i64::from_str_radix(text, 8).map_err(|_| bad()) }
}

fn device(header: &Header, records: &Records) -> Result<Device, String> {
    let fields = header.as_ustar().map(|u| (u.dev_major, u.dev_minor));
    let fields = fields.or_else(|| header.as_gnu().map(|g| (g.dev_major, g.dev_minor)));
    let (major, minor) = fields.ok_or("a device without a number")?;
    let part = |key, field: &[u8], bits: u32| -> Result<u32, String> {
        let number = match records.number(key) {
            Some(number) => number?,
            None => u64::try_from(number(field, "device number")?).unwrap_or(u64::MAX),
        };
        let number = u32::try_from(number).ok().filter(|&n| n >> bits == 0);
        number.ok_or_else(|| "a device number that Linux does not have".to_owned())
    };
    Ok(Device { major: part("SCHILY.devmajor", &major, 12)?, minor: part("SCHILY.devminor", &minor, 20)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let table: &[(&[u8], Option<i64>)] = &[
            (b"0000755\0", Some(0o755)),
            (b"   755 \0", Some(0o755)),
            (b"77777777777\0", Some(0o77_777_777_777)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"        ", Some(0)),
            (b"\x80\0\0\0\0\x01\0\0\0\0\0\0", Some(1 << 48)),
            (b"\x80\0\0\0\x00\x10\0\0", Some(1 << 20)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe", Some(-2)),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
            (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
            (b"12345abc", None),
            (b"00000-1\0", None),
        ];
        for (field, expected) in table {
            assert_eq!(number(field, "x").ok(), *expected, "{field:?}");
        }
    }
}
