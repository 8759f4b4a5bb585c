//! What the kit wants to reach, what the best of the others reach, and by how much it is missed.

use crate::tables::Table;

/// One aim. All are upper limits.
#[derive(Debug)]
pub struct Aim {
    what: &'static str,
    /// As measured for Debian's live-boot, dracut and Linux Live Kit on a like root
    peers: &'static str,
    limit: f64,
    unit: &'static str,
    /// Decimals that make a difference
    decimals: usize,
}

const fn aim(
    what: &'static str,
    peers: &'static str,
    limit: f64,
    unit: &'static str,
    decimals: usize,
) -> Aim {
    Aim { what, peers, limit, unit, decimals }
}

/// In the order in which [`table`] takes the measured values.
pub const AIMS: [Aim; 9] = [
    aim("kernel start to /init", "dracut-squash 1.78, live-boot 3.60", 1.75, "s", 2),
    aim("busy in the initramfs, CD", "live-boot 1.85", 0.4, "s", 2),
    aim("busy in the initramfs, USB vfat", "live-boot 2.40", 0.7, "s", 2),
    aim("processes started in the initramfs", "live-boot 179", 5.0, "", 0),
    aim("busy from kernel start to login, CD", "live-boot 9.0", 7.0, "s", 2),
    aim(
        "memory taken when /init starts",
        "Linux Live Kit 33 (205 modules), dracut-squash 66, live-boot 187",
        20.0,
        "MiB",
        0,
    ),
    aim("memory used at login, CD", "live-boot 163", 150.0, "MiB", 0),
    aim("least -m to reach login from CD", "Linux Live Kit 160, live-boot 400", 144.0, "MiB", 0),
    aim("initramfs", "Linux Live Kit 4.4 (no virtio, 5 SCSI drivers), live-boot 35", 12.0, "MB", 1),
];

/// The aims beside what was measured, for the kit and, where it was measured in the same run, for live-boot.
pub fn table(ours: [f64; 9], live_boot: Option<[f64; 9]>) -> Table {
    let mut table = Table::new(&["", "best peers", "live-boot in this run", "aim", "livekit", "missed by"]);
    for (index, aim) in AIMS.iter().enumerate() {
        let theirs = live_boot.map_or(f64::NAN, |values| values[index]);
        table.row([
            aim.what.into(),
            format!("{} {}", aim.peers, aim.unit).trim_end().into(),
            aim.number(theirs),
            aim.number(aim.limit),
            aim.number(ours[index]),
            aim.missed_by(ours[index]),
        ]);
    }
    table
}

impl Aim {
    fn number(&self, value: f64) -> String {
        if value.is_nan() {
            return "–".into();
        }
        format!("{value:.*} {}", self.decimals, self.unit).trim_end().into()
    }

    fn missed_by(&self, value: f64) -> String {
        let over = value - self.limit;
        if value.is_nan() {
            "not measured".into()
        } else if over * 10f64.powi(i32::try_from(self.decimals).unwrap_or(0)) < 0.5 {
            "reached".into()
        } else {
            self.number(over)
        }
    }
}

#[cfg(test)]
mod tests_of_aims {
    use super::*;

    #[test]
    fn misses_are_told() {
        for (value, expected) in [
            (1.75, "reached"),
            (1.754, "reached"),
            (1.8, "0.05 s"),
            (0.5, "reached"),
            (f64::NAN, "not measured"),
        ] {
            assert_eq!(AIMS[0].missed_by(value), expected, "{value}");
        }
    }
}
