//! `livekit bundle list`.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bundles::{Bundle, Kind, Node, NodeId, Tree};
use serde_json::{Map, Value, json};

use super::{from_bundle, kind_name, names};
use crate::cli::bundle::List;
use crate::error::Result;
use crate::output::{Output, shown};
use live::utc;

/// Writes a line for each name.
pub fn list(flags: &List, output: &Output) -> Result<()> {
    let bundle = Bundle::open(&flags.bundle).map_err(|error| from_bundle(&error))?;
    let tree = bundle.tree().map_err(|error| from_bundle(&error))?;
    let chosen = names::chosen(tree, &flags.paths, &flags.bundle)?;
    let form = match (flags.long, flags.json) {
        (true, _) => Form::Long,
        (_, true) => Form::Json,
        _ => Form::Name,
    };
    output.answers(|out| Ok(Listing::new(tree).write(&chosen, form, out)?))
}

/// What is written of each name.
#[derive(Debug, Clone, Copy)]
enum Form {
    Name,
    Long,
    Json,
}

/// A tree as it is listed.
struct Listing<'a> {
    tree: &'a Tree,
    names: Vec<u32>,
    /// The name listed first of those with several.
    first: HashMap<NodeId, PathBuf>,
}

impl<'a> Listing<'a> {
    fn new(tree: &'a Tree) -> Self {
        Listing { tree, names: tree.link_counts(), first: HashMap::new() }
    }

    fn write(mut self, chosen: &[(PathBuf, NodeId)], form: Form, out: &mut dyn Write) -> io::Result<()> {
        for (path, id) in chosen {
            let id = *id;
            let several = self.names[id.index()] > 1 && !self.tree.node(id).is_directory();
            let first = if several { self.first.get(&id).cloned() } else { None };
            match form {
                Form::Name => name(path, out)?,
                Form::Long => self.long(path, id, first.as_deref(), out)?,
                Form::Json => self.json(path, id, first.as_deref(), out)?,
            }
            if several && first.is_none() {
                self.first.insert(id, path.to_owned());
            }
        }
        Ok(())
    }

    fn long(&self, path: &Path, id: NodeId, first: Option<&Path>, out: &mut dyn Write) -> io::Result<()> {
        let node = self.tree.node(id);
        let size = match node.kind {
            Kind::File { size, .. } => size.to_string(),
            Kind::BlockDevice(device) | Kind::CharDevice(device) => {
                format!("{},{}", device.major, device.minor)
            }
            _ => "0".to_owned(),
        };
        write!(
            out,
            "{} {:>3} {:>11} {size:>12} {} ",
            mode(node),
            self.names[id.index()],
            format!("{}/{}", node.uid, node.gid),
            utc::minute(node.mtime)
        )?;
        out.write_all(&shown(path.as_os_str()))?;
        let mut after = |word: &str, name: &OsStr| {
            out.write_all(word.as_bytes())?;
            out.write_all(&shown(name))
        };
        match (&node.kind, first) {
            (_, Some(first)) => after(" link to ", first.as_os_str())?,
            (Kind::Symlink(target), _) => after(" -> ", target)?,
            _ => {}
        }
        out.write_all(b"\n")
    }

    fn json(&self, path: &Path, id: NodeId, first: Option<&Path>, out: &mut dyn Write) -> io::Result<()> {
        serde_json::to_writer(&mut *out, &self.object(path, id, first))?;
        out.write_all(b"\n")
    }

    fn object(&self, path: &Path, id: NodeId, first: Option<&Path>) -> Value {
        let node = self.tree.node(id);
        let mut object = Map::new();
        let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
        put("path", path.to_string_lossy().into());
        put("type", kind_name(&node.kind).into());
        put("mode", format!("{:04o}", node.mode).into());
        put("uid", node.uid.into());
        put("gid", node.gid.into());
        put("mtime", node.mtime.into());
        match &node.kind {
            Kind::File { size, .. } => put("size", (*size).into()),
            Kind::Symlink(target) => put("target", target.to_string_lossy().into()),
            Kind::BlockDevice(device) | Kind::CharDevice(device) => {
                put("major", device.major.into());
                put("minor", device.minor.into());
            }
            Kind::Directory(_) | Kind::Fifo | Kind::Socket => {}
        }
        if let Some(first) = first {
            put("link_to", first.to_string_lossy().into());
        }
        if !node.xattrs.is_empty() {
            let pairs =
                node.xattrs.iter().map(|x| (x.name.to_string_lossy().into_owned(), json!(hex(&x.value))));
            put("xattrs", Value::Object(pairs.collect()));
        }
        Value::Object(object)
    }
}

fn name(path: &Path, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&shown(path.as_os_str()))?;
    out.write_all(b"\n")
}

/// `drwxr-xr-x`, as `ls -l` writes it.
fn mode(node: &Node) -> String {
    let letter = match node.kind {
        Kind::Directory(_) => 'd',
        Kind::File { .. } => '-',
        Kind::Symlink(_) => 'l',
        Kind::BlockDevice(_) => 'b',
        Kind::CharDevice(_) => 'c',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
    };
    let mut text = String::from(letter);
    for (shift, special, letters) in
        [(6, 0o4000, ['s', 'S']), (3, 0o2000, ['s', 'S']), (0, 0o1000, ['t', 'T'])]
    {
        let bits = node.mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (node.mode & special != 0, bits & 1 != 0) {
            (true, runs) => letters[usize::from(!runs)],
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use bundles::{ContentId, Device, Xattr};

    fn tree() -> Tree {
        let mut tree = Tree::new(Node::directory());
        let node = |kind| Node { kind, mode: 0o644, mtime: 1_700_000_000, ..Node::directory() };
        let file = node(Kind::File { size: 5, content: ContentId(0) });
        let xattrs = vec![Xattr { name: "user.note".into(), value: vec![0x61, 0xff] }];
        let id = tree.insert(Path::new("a"), Node { uid: 1000, gid: 50, xattrs, ..file }).unwrap();
        tree.link(Path::new("b"), id).unwrap();
        tree.insert(Path::new("d"), Node { mode: 0o1777, ..Node::directory() }).unwrap();
        tree.insert(Path::new("d/gone"), node(Kind::CharDevice(Device::WHITEOUT))).unwrap();
        tree.insert(Path::new("l"), node(Kind::Symlink("d/gone".into()))).unwrap();
        tree
    }

    fn listed(form: Form, paths: &[&str]) -> String {
        let tree = tree();
        let paths: Vec<PathBuf> = paths.iter().map(PathBuf::from).collect();
        let mut out = Vec::new();
        let chosen = names::chosen(&tree, &paths, Path::new("x.sb")).unwrap();
        Listing::new(&tree).write(&chosen, form, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names() {
        assert_eq!(listed(Form::Name, &[]), "a\nb\nd\nd/gone\nl\n");
        assert_eq!(listed(Form::Name, &["/d"]), "d\nd/gone\n");
    }

    #[test]
    fn long_lines() {
        let expected = "\
-rw-r--r--   2     1000/50            5 2023-11-14 22:13 a
-rw-r--r--   2     1000/50            5 2023-11-14 22:13 b link to a
drwxrwxrwt   1         0/0            0 1970-01-01 00:00 d
crw-r--r--   1         0/0          0,0 2023-11-14 22:13 d/gone
lrw-r--r--   1         0/0            0 2023-11-14 22:13 l -> d/gone
";
        assert_eq!(listed(Form::Long, &[]), expected);
        // The first name that is listed is the first.
        assert!(listed(Form::Long, &["b"]).ends_with(" b\n"));
    }

    #[test]
    fn objects() {
        let text = listed(Form::Json, &["b", "l", "d/gone"]);
        let values: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expected = [
            json!({"path": "b", "type": "file", "mode": "0644", "uid": 1000, "gid": 50, "mtime": 1_700_000_000,
                "size": 5, "xattrs": {"user.note": "61ff"}}),
            json!({"path": "d/gone", "type": "whiteout", "mode": "0644", "uid": 0, "gid": 0,
                "mtime": 1_700_000_000, "major": 0, "minor": 0}),
            json!({"path": "l", "type": "symlink", "mode": "0644", "uid": 0, "gid": 0, "mtime": 1_700_000_000,
                "target": "d/gone"}),
        ];
        assert_eq!(values, expected);
    }

    #[test]
    fn modes() {
        for (bits, text) in [
            (0o4755, "drwsr-xr-x"),
            (0o4644, "drwSr--r--"),
            (0o2010, "d-----s---"),
            (0o1000, "d--------T"),
            (0, "d---------"),
        ] {
            assert_eq!(mode(&Node { mode: bits, ..Node::directory() }), text);
        }
    }
}
