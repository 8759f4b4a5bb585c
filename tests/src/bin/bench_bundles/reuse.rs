//! Packing once more when one file in a hundred has changed.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use tests::programs;
use tests::tables::{Table, grouped};

use crate::packers::{self, Setting};
use crate::runs::{self, Cost, median};

/// One file of so many changes.
const CHANGED: u64 = 100;

/// By turns: a full pack of the changed tree, and one that reuses the bundle of the tree as it was.
pub fn table(settings: &[&Setting], source: &Path, folder: &Path, rounds: u32) -> String {
    let mut table = Table::new(&[
        "compressor, block size",
        "wall s, full / reusing",
        "wall ratio",
        "CPU ratio",
        "bytes, full / reusing",
        "peak memory MiB, reusing",
    ]);
    let tree = folder.join("tree");
    programs::output(programs::command("cp").arg("-a").arg(source).arg(&tree));
    let old: Vec<PathBuf> = settings.iter().map(|s| folder.join(format!("old-{}.sb", s.name))).collect();
    for (setting, old) in settings.iter().zip(&old) {
        runs::measured(packers::ours(setting, &tree, old), old);
    }
    let changed = change(&tree);
    eprintln!("changed {changed} files");
    let [full, reusing] = ["full.sb", "reusing.sb"].map(|name| folder.join(name));
    for (setting, old) in settings.iter().zip(&old) {
        let mut costs: [Vec<Cost>; 2] = Default::default();
        for round in 1..=rounds {
            let mut again = packers::ours(setting, &tree, &reusing);
            again.arg("--reuse").arg(old);
            let pair = [
                runs::measured(packers::ours(setting, &tree, &full), &full),
                runs::measured(again, &reusing),
            ];
            eprintln!("{}, round {round}: full {}; reusing {}", setting.name, pair[0], pair[1]);
            costs.iter_mut().zip(pair).for_each(|(costs, cost)| costs.push(cost));
        }
        assert_eq!(
            unpacked(&full, folder),
            unpacked(&reusing, folder),
            "{}: the contents differ",
            setting.name
        );
        table.row(row(setting, &costs));
    }
    fs::remove_dir_all(&tree).expect("a copy that can be removed");
    format!("{changed} files, one of {CHANGED}, got a few bytes more.\n\n{table}")
}

fn row(setting: &Setting, [full, reusing]: &[Vec<Cost>; 2]) -> [String; 6] {
    let ratio = |of: fn(&Cost) -> f64| {
        median(reusing.iter().zip(full).map(|(reusing, full)| of(reusing) / of(full)).collect())
    };
    let wall = |costs: &[Cost]| median(costs.iter().map(|cost| cost.wall).collect());
    let memory = reusing.iter().map(|cost| cost.memory >> 20).max().unwrap_or_default();
    [
        setting.name.into(),
        format!("{:.1} / {:.1}", wall(full), wall(reusing)),
        format!("{:.3}", ratio(|cost| cost.wall)),
        format!("{:.3}", ratio(|cost| cost.processors)),
        format!("{} / {}", grouped(full[0].bytes), grouped(reusing[0].bytes)),
        memory.to_string(),
    ]
}

/// Appends to one file of a hundred, spread over the tree, always the same ones. Returns how many there were.
fn change(tree: &Path) -> u64 {
    let listed = programs::output(programs::command("find").arg(tree).args(["-type", "f", "-print"]));
    let mut files: Vec<&str> = listed.lines().collect();
    files.sort_unstable();
    let mut changed = 0;
    // A multiplication spreads the picks, so that neither folders nor kinds of files are preferred.
    for (_, file) in (0_u64..).zip(files).filter(|(n, _)| (n * 2_654_435_761) % (1 << 32) % CHANGED == 0) {
        let opened = OpenOptions::new().append(true).open(file);
        let written = opened.and_then(|mut opened| opened.write_all(b"changed\n"));
        written.unwrap_or_else(|error| panic!("cannot change {file}: {error}"));
        changed += 1;
    }
    changed
}

/// What unsquashfs makes of a bundle, with owners, times and attributes, as the digest of an archive.
fn unpacked(bundle: &Path, folder: &Path) -> String {
    let target = folder.join("unpacked");
    programs::output(programs::command("unsquashfs").args(["-q", "-n", "-d"]).arg(&target).arg(bundle));
    // What only says when and by whom it was unpacked stays out.
    let tar = "tar -C \"$0\" --sort=name --xattrs '--xattrs-include=*' --numeric-owner \
               --pax-option=exthdr.name=%d/x/%f,delete=atime,delete=ctime -c . | sha256sum";
    let digest = programs::output(programs::command("sh").args(["-ec", tar]).arg(&target));
    fs::remove_dir_all(&target).expect("an unpacked tree that can be removed");
    digest
}
