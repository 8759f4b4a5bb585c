//! The indices of the included modules, in kmod's text formats (modules.dep(5)).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;

/// The texts of /lib/modules/VERSION as the initramfs has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Indices {
    pub(super) dep: String,
    pub(super) alias: String,
    pub(super) softdep: String,
    pub(super) builtin: String,
}

impl Indices {
    /// Leaves out every line about a module that is not `included` (names with `_`), and names files as the initramfs
    /// stores them.
    pub(super) fn filtered(&self, included: &BTreeSet<String>) -> Self {
        let about = |name: &str| included.contains(&name.replace('-', "_"));
        let dep = self.dep.lines().filter(|l| about(&name_of(l.split(':').next().unwrap_or(l))));
        let alias =
            self.alias.lines().filter(|l| l.starts_with("alias ") && l.rsplit(' ').next().is_some_and(about));
        let softdep = self
            .softdep
            .lines()
            .filter(|l| l.starts_with("softdep ") && l.split(' ').nth(1).is_some_and(about));
        Self {
            dep: dep.map(stored_line).collect(),
            alias: lines(alias),
            softdep: lines(softdep),
            builtin: self.builtin.clone(),
        }
    }
}

fn lines<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.flat_map(|l| [l, "\n"]).collect()
}

/// A line of modules.dep with every path as it is stored.
fn stored_line(line: &str) -> String {
    let (path, needed) = line.split_once(':').unwrap_or((line, ""));
    let mut out = format!("{}:", stored_path(path));
    for path in needed.split_ascii_whitespace() {
        let _ = write!(out, " {}", stored_path(path));
    }
    out.push('\n');
    out
}

/// The module's path in the initramfs: each is compressed on its own with zstd.
pub(super) fn stored_path(path: &str) -> String {
    let end = path.rfind(".ko").unwrap_or(path.len());
    format!("{}.ko.zst", &path[..end])
}

/// The module's name as the kernel spells it.
fn name_of(path: &str) -> String {
    let file = Path::new(path).file_name().and_then(|f| f.to_str()).unwrap_or(path);
    file.split(".ko").next().unwrap_or(file).replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use live::kernel_modules::ModuleIndex;

    #[test]
    fn only_what_is_included() {
        let all = Indices {
            dep: "kernel/a/usb-storage.ko.xz: kernel/b/scsi_mod.ko.xz\nkernel/b/scsi_mod.ko.xz:\nkernel/c/other.ko.xz:\n".into(),
            alias: "# Aliases\nalias usb:v*ic08* usb_storage\nalias usb:v1* other\n".into(),
            softdep: "# Soft\nsoftdep usb-storage pre: x\nsoftdep other pre: y\n".into(),
            builtin: "kernel/fs/fuse.ko\n".into(),
        };
        let included = ["usb_storage", "scsi_mod"].map(str::to_owned).into_iter().collect();
        let filtered = all.filtered(&included);
        let expected = Indices {
            dep: "kernel/a/usb-storage.ko.zst: kernel/b/scsi_mod.ko.zst\nkernel/b/scsi_mod.ko.zst:\n".into(),
            alias: "alias usb:v*ic08* usb_storage\n".into(),
            softdep: "softdep usb-storage pre: x\n".into(),
            builtin: "kernel/fs/fuse.ko\n".into(),
        };
        assert_eq!(filtered, expected);
        let index = ModuleIndex::parse(&filtered.dep, &filtered.alias, &filtered.softdep, &filtered.builtin);
        let order = index.load_order("usb-storage");
        assert_eq!(order, [Path::new("kernel/b/scsi_mod.ko.zst"), Path::new("kernel/a/usb-storage.ko.zst")]);
    }
}
