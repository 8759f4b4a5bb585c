//! PID 1 of the initramfs: from the kernel's hand to the distribution's init.

use std::convert::Infallible;

use live::error::Result;
use live::layout;
use live::log;
use live::steps::Step;
use live::union::Union;

mod changes;
mod console;
mod drivers;
mod early;
mod finish;
mod handover;
mod medium;
mod ramfs;
mod rescue;
mod selection;
mod superblock;
mod to_ram;
mod zram;

fn main() -> ! {
    rescue::on_panic();
    let Err(error) = boot();
    rescue::after(&error)
}

/// The whole boot. Each step hands the next what it needs, so the order cannot be mistaken. On success the
/// distribution's init is running in our place.
fn boot() -> Result<Infallible> {
    early::mount_kernel_filesystems()?;
    log::to_kernel("init");
    let options = early::options()?;
    let step = |step: Step| rescue::break_before(step, &options);

    step(Step::Ramfs);
    let ramfs = Step::Ramfs.run(ramfs::save)?;
    step(Step::Drivers);
    let drivers = Step::Drivers.run(|| drivers::Drivers::start(&ramfs.modules()))?;
    step(Step::Medium);
    let (medium, bundles) = Step::Medium.run(|| {
        let medium = medium::find(&options, &drivers)?;
        drivers.stop();
        let bundles = selection::choose(&medium, &options)?;
        Ok((medium, bundles))
    })?;
    step(Step::Changes);
    let (changes, directories) = Step::Changes.run(|| changes::open(&medium, &options, &drivers))?;
    zram::start(&options, &drivers);
    step(Step::ToRam);
    let (medium, bundles) = Step::ToRam.run(|| to_ram::copy_if_asked(medium, bundles, &options))?;
    step(Step::Layers);
    let layers = Step::Layers.run(|| bundles.attach(&drivers))?;
    step(Step::Union);
    let union = Step::Union.run(|| {
        drivers.load("overlay")?;
        let union = Union::mount(&layers, &changes, layout::UNION.as_ref())?;
        changes::attach_directories(&directories, &union);
        Ok(union)
    })?;
    step(Step::Finish);
    Step::Finish.run(|| finish::prepare(&union, &layers, &changes, &medium, &drivers))?;
    step(Step::Handover);
    drop(drivers);
    Step::Handover.run(|| handover::become_init(&union, &ramfs, &options))
}
