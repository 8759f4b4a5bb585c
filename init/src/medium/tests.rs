//! The search, on disks that are a model in memory.

use super::*;

/// A disk of the model: what it holds, and what a look inside finds.
#[derive(Clone)]
struct Disk {
    name: &'static str,
    label: &'static str,
    uuid: &'static str,
    /// How many looks fail before it can be read.
    unreadable: usize,
    inside: std::result::Result<(), &'static str>,
}

impl Default for Disk {
    fn default() -> Self {
        Self { name: "sda", label: "", uuid: "", unreadable: 0, inside: Err("no /livekit") }
    }
}

#[derive(Default)]
struct Model {
    disks: Vec<Disk>,
    looks: Vec<String>,
}

impl Disks for Model {
    fn list(&mut self) -> Vec<String> {
        self.disks.iter().map(|d| d.name.to_owned()).collect()
    }

    fn identify(&mut self, device: &str) -> std::result::Result<Superblock, Refusal> {
        let disk = self.disks.iter_mut().find(|d| d.name == device).unwrap();
        if disk.unreadable > 0 {
            disk.unreadable -= 1;
            return Err(Refusal { reason: "no disc or card in it".to_owned(), may_change: true });
        }
        let text = |t: &str| (!t.is_empty()).then(|| t.to_owned());
        Ok(Superblock { fs_type: "ext4", label: text(disk.label), uuid: text(disk.uuid) })
    }

    fn look_inside(
        &mut self,
        device: &str,
        _: &Superblock,
        _: &Wanted,
    ) -> std::result::Result<Medium, Refusal> {
        self.looks.push(device.to_owned());
        let disk = self.disks.iter().find(|d| d.name == device).unwrap();
        disk.inside.map_err(Refusal::for_good).map(|()| Medium {
            device: device.to_owned(),
            live_folder: "/x".into(),
            is_iso_file: false,
        })
    }
}

fn wanted(from: &str) -> Wanted {
    let from = (!from.is_empty()).then(|| From::parse(from).unwrap());
    Wanted { name: "livekit".into(), id: Some("0123456789abcdef".into()), from }
}

#[test]
fn the_device_that_from_means() {
    let disks = vec![
        Disk { name: "sda", label: "DATA", uuid: "AAAA-0001", inside: Ok(()), ..Disk::default() },
        Disk { name: "sdb1", label: "Live", uuid: "bbbb-0002", inside: Ok(()), ..Disk::default() },
    ];
    for (from, expected) in [
        ("", Some("sda")),
        ("/dev/sdb1", Some("sdb1")),
        ("LABEL=LIVE", Some("sdb1")),
        ("UUID=BBBB-0002:/x", Some("sdb1")),
        ("/dev/sdc", None),
        ("LABEL=NONE", None),
    ] {
        let mut model = Model { disks: disks.clone(), ..Model::default() };
        let found = Search::default().pass(&mut model, &wanted(from)).map(|m| m.device);
        assert_eq!(found.as_deref(), expected, "from={from}");
    }
}

#[test]
fn a_device_is_looked_at_once_unless_it_changes() {
    let mut model = Model { disks: vec![Disk::default()], ..Model::default() };
    let mut search = Search::default();
    for _ in 0..3 {
        assert_eq!(search.pass(&mut model, &wanted("")), None);
    }
    assert_eq!(model.looks, ["sda"]);
    search.forget("sda");
    search.pass(&mut model, &wanted(""));
    assert_eq!(model.looks, ["sda", "sda"]);
}

#[test]
fn a_drive_without_a_disc_is_asked_again() {
    let disc = Disk { name: "sr0", unreadable: 2, inside: Ok(()), ..Disk::default() };
    let mut model = Model { disks: vec![disc], ..Model::default() };
    let mut search = Search::default();
    assert_eq!(search.pass(&mut model, &wanted("")), None);
    assert_eq!(search.pass(&mut model, &wanted("")), None);
    assert!(search.pass(&mut model, &wanted("")).is_some());
}

#[test]
fn a_failure_tells_what_was_seen() {
    let mut search = Search::default();
    let message = search.failure(&wanted(""), Duration::from_secs(3)).message();
    assert_eq!(message, "no medium with /livekit of build 0123456789abcdef in 3 s; no disk was seen");
    let disks = vec![Disk::default(), Disk { name: "sr0", unreadable: 9, ..Disk::default() }];
    search.pass(&mut Model { disks, ..Model::default() }, &wanted(""));
    let error = search.failure(&wanted("LABEL=X:/kit"), Duration::from_secs(60));
    let message = error.message();
    assert!(message.contains("from=LABEL=X/kit"), "{message}");
    assert!(message.ends_with("looked at sda (no /livekit), sr0 (no disc or card in it)"), "{message}");
    assert!(error.hint_text().unwrap().contains("from=/dev/NAME"));
}
