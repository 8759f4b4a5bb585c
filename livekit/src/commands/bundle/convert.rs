//! `livekit bundle convert`.

use bundles::source::{self, aufs};
use bundles::{Bundle, PackOptions};

use super::packing::{self, ending, make};
use super::{from_bundle, target};
use crate::cli::bundle::Convert;
use crate::error::{Ending, Failure, Result};
use crate::output::Output;

/// Makes a bundle with overlayfs' whiteouts of one with those of aufs. Its path is the answer.
pub fn convert(flags: &Convert, output: &Output) -> Result<Ending, Failure> {
    let options: PackOptions = packing::options(&flags.compressing)?;
    target::check(&flags.new, flags.force)?;
    let old = Bundle::open(&flags.old).and_then(source::bundle);
    let mut source = old.map_err(|error| from_bundle(&error))?;
    let translated = aufs::translate(&mut source.tree);
    let old = flags.old.display();
    if translated.whiteouts + translated.opaque + translated.dropped == 0 {
        output.status(format!("{old} has nothing of aufs: it is only compressed anew."));
    } else {
        output.status(format!(
            "Translated of {old}: {} whiteouts and {} opaque directories; {} names of aufs' own are left out.",
            translated.whiteouts, translated.opaque, translated.dropped
        ));
    }
    output.warnings(&old.to_string(), &translated.warnings);
    let name = flags.new.display().to_string();
    let packed = make(source, &flags.new, &name, &options, output)?;
    output.answer(name)?;
    Ok(ending(&packed))
}
