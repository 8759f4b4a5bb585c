//! The way down, on a model of the mounts that knows what holds what.

use super::*;

/// Mounts, and for each what must be gone before it: a loop's bundle holds the medium, a layer is held by the union.
struct Model {
    mounts: Vec<MountPoint>,
    held_by: Vec<(&'static str, &'static str)>,
    stuck: Vec<&'static str>,
    /// A mapping that goes once this mount is gone, and the mount it holds.
    mapping: Option<(&'static str, &'static str)>,
    log: Vec<String>,
}

impl Model {
    fn new(mountinfo: &str) -> Self {
        let mounts = mounts::parse(mountinfo.as_bytes());
        Self { mounts, held_by: Vec::new(), stuck: Vec::new(), mapping: None, log: Vec::new() }
    }

    fn source_at(&self, path: &Path) -> String {
        mounts::at(&self.mounts, path).unwrap().source.clone()
    }

    fn has(&self, source: &str) -> bool {
        self.mounts.iter().any(|m| m.source == source)
    }
}

impl World for Model {
    fn mounts(&mut self) -> Vec<MountPoint> {
        self.mounts.clone()
    }

    fn unmount(&mut self, path: &Path) -> Result<(), String> {
        let at = self.mounts.iter().rposition(|m| m.path == path).expect("only what is mounted is unmounted");
        let (id, source) = (self.mounts[at].id, self.mounts[at].source.clone());
        let holder = self.held_by.iter().any(|(held, by)| *held == source && self.has(by));
        let mapped = self.mapping.is_some_and(|(_, holds)| holds == source);
        let occupied = self.mounts.iter().any(|m| m.parent == id && m.id != id);
        if self.stuck.contains(&source.as_str()) || holder || mapped || occupied {
            return Err("Device or resource busy".into());
        }
        self.mounts.remove(at);
        self.log.push(source);
        Ok(())
    }

    fn move_to(&mut self, from: &Path, to: &Path) -> Result<(), String> {
        let source = self.source_at(from);
        let moved = self.mounts.iter_mut().filter(|m| m.path.starts_with(from));
        for mount in moved {
            // Joining nothing would leave a slash at the end.
            let below = mount.path.strip_prefix(from).unwrap().to_owned();
            mount.path = if below == Path::new("") { to.to_owned() } else { to.join(below) };
        }
        let root = mounts::at(&self.mounts, Path::new("/")).unwrap().id;
        self.mounts.iter_mut().find(|m| m.source == source).unwrap().parent = root;
        Ok(())
    }

    fn detach_devices(&mut self) -> bool {
        let free = self.mapping.is_some_and(|(until, _)| !self.has(until));
        if free {
            self.mapping = None;
        }
        free
    }
}

/// As recorded from systemd 252 in the saved ramfs: a bind of it as root, the live system at /oldroot.
const SYSTEMD: &str = include_str!("../../tests/fixtures/systemd.mountinfo");

fn circle() -> Vec<(&'static str, &'static str)> {
    vec![
        ("/dev/loop0", "lk:@"),
        ("/dev/loop1", "lk:@"),
        ("lk:changes", "lk:@"),
        ("/dev/sda1", "/dev/loop0"),
        ("/dev/sda1", "/dev/loop1"),
    ]
}

fn left(model: &Model) -> Vec<&str> {
    model.mounts.iter().map(|m| m.path.to_str().unwrap()).collect()
}

#[test]
fn the_circle_is_broken_and_the_medium_goes_last() {
    let mut model = Model::new(SYSTEMD);
    model.held_by = circle();
    assert_eq!(unmount_all(&mut model), []);
    assert_eq!(left(&model), ["/", "/proc", "/sys", "/dev"]);
    assert_eq!(model.log.last().unwrap(), "/dev/sda1");
}

#[test]
fn what_will_not_go_is_told_and_the_rest_goes() {
    let mut model = Model::new(SYSTEMD);
    model.held_by = circle();
    model.stuck = vec!["/dev/sdb1"];
    let failed = unmount_all(&mut model);
    // The stuck mount keeps the union, and that the medium.
    let paths: Vec<_> = failed.iter().map(|(path, _)| path.to_str().unwrap()).collect();
    assert_eq!(paths[..2], ["/oldroot/mnt", "/oldroot"]);
    assert!(paths.contains(&"/memory/data"));
    assert_eq!(failed[0].1, "Device or resource busy");
    assert!(!model.has("tmpfs"), "{:?}", left(&model));
}

#[test]
fn a_mapping_between_two_file_systems_goes_between_them() {
    let mut model = Model::new(SYSTEMD);
    model.held_by = circle();
    model.mapping = Some(("lk:changes", "/dev/sda1"));
    assert_eq!(unmount_all(&mut model), []);
}
