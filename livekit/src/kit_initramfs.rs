//! The initramfs of a kit: the programs of the boot, a busybox, and the drivers of a root's kernel.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::busybox;
use crate::error::Result;
use crate::initramfs::{self, KernelTree, Parts, libraries, programs};
use crate::kernel::Kernel;
use crate::output::{Output, size};
use crate::root::resolve;
use crate::settings::BuildSettings;

/// Makes the initramfs of `kernel` at `path`, with `programs`, which are `init` and `cleanup`, and what `root` has of
/// firmware and busybox. Returns its size in bytes.
pub fn make(
    settings: &BuildSettings,
    root: &Path,
    kernel: &Kernel,
    programs: &[PathBuf; 2],
    path: &Path,
    output: &Output,
) -> Result<u64> {
    let step = output.step("Making the initramfs");
    let tree = KernelTree { version: kernel.version.clone(), modules_dir: kernel.modules.clone() };
    let busybox = busybox::find(&settings.busybox, root)?;
    if busybox.is_none() && settings.busybox == busybox::Choice::Find {
        output.warning(
            "no static busybox: a boot that fails offers no shell (Debian: apt-get install busybox-static)",
        );
    }
    let tools = tools(output);
    let firmware = ["usr/lib/firmware", "lib/firmware"];
    let [init, cleanup] = programs.clone();
    let parts = Parts {
        init,
        cleanup,
        busybox,
        tools,
        firmware_dir: firmware.iter().find_map(|folder| resolve(root, Path::new(folder))),
        name: settings.name.clone(),
    };
    let Ok(set) = settings.modules.parse();
    let summary = initramfs::build(&tree, &parts, &set, settings.time()?, path)
        .map_err(|error| error.doing("making the initramfs"))?;
    for file in &summary.firmware_left_out {
        output
            .status(format!("{file} is too large for the initramfs; its device works once the system runs."));
    }
    let modules: usize = summary.modules.values().map(|(count, _)| count).sum();
    step.done(format!("{}, {modules} modules", size(summary.bytes)));
    Ok(summary.bytes)
}

/// What checks a stick with FAT that was pulled out, before it is written to again: the kernel has nothing for that.
const FAT_CHECKER: &str = "fsck.fat";

/// Programs of the build host with their libraries: where each is to be, and its file.
fn tools(output: &Output) -> BTreeMap<String, PathBuf> {
    let consequence = "changes on FAT are kept, but the stick is not checked after a power cut";
    let Some(program) = programs::find_tool(FAT_CHECKER) else {
        output.status(format!("No {FAT_CHECKER}: {consequence} (Debian: apt-get install dosfstools)."));
        return BTreeMap::new();
    };
    match libraries::of(&program, Path::new("/")) {
        Ok(mut tools) => {
            tools.insert(format!("sbin/{FAT_CHECKER}"), program);
            tools
        }
        Err(reason) => {
            output.warning(format!("{reason}: {consequence}"));
            BTreeMap::new()
        }
    }
}
