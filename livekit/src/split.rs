//! Which file goes into which bundle.

use std::fs::Metadata;
use std::path::Path;

use bundles::Wanted;

use crate::root::Selection;

/// A bundle made from the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The system without its firmware.
    Core,
    /// Firmware that drivers load into devices: large, and useless in a virtual machine.
    Firmware,
}

/// Where firmware lies; the second where /lib is not a link to /usr/lib.
const FIRMWARE: [&str; 2] = ["usr/lib/firmware", "lib/firmware"];

impl Part {
    /// The part that `relative` belongs to.
    pub fn of(relative: &Path) -> Self {
        let below = |top: &&str| relative.starts_with(top) && relative != Path::new(top);
        if FIRMWARE.iter().any(below) { Part::Firmware } else { Part::Core }
    }

    /// The bundle's file name.
    pub fn bundle(self) -> &'static str {
        match self {
            Part::Core => "00-core.sb",
            Part::Firmware => "01-firmware.sb",
        }
    }

    /// Whether this part takes `relative`. The directories of both are in both, with their owners and modes.
    pub fn wants(self, relative: &Path, metadata: &Metadata, selection: &Selection) -> Wanted {
        if !selection.keeps(relative, metadata) {
            return Wanted::Skip;
        }
        match (self, Part::of(relative)) {
            (Part::Core, Part::Core) | (Part::Firmware, Part::Firmware) => Wanted::Keep,
            (Part::Firmware, Part::Core) if leads_to_firmware(relative) => Wanted::Pass,
            _ => Wanted::Skip,
        }
    }
}

fn leads_to_firmware(relative: &Path) -> bool {
    FIRMWARE.iter().any(|top| Path::new(top).starts_with(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn firmware_has_a_bundle_of_its_own() {
        for (path, part, way) in [
            ("usr", Part::Core, true),
            ("usr/lib", Part::Core, true),
            ("usr/lib/firmware", Part::Core, true),
            ("usr/lib/firmware/a.bin", Part::Firmware, false),
            ("lib/firmware/x/y.fw", Part::Firmware, false),
            ("lib", Part::Core, true),
            ("usr/lib/firmware-tools", Part::Core, false),
            ("usr/share", Part::Core, false),
            ("srv/usr/lib/firmware/a", Part::Core, false),
        ] {
            assert_eq!(Part::of(Path::new(path)), part, "{path}");
            assert_eq!(leads_to_firmware(Path::new(path)), way, "{path}");
        }
    }
}
