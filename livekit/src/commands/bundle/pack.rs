//! `livekit bundle pack`.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bundles::source::filter::Patterns;
use bundles::{Bundle, PackOptions};

use super::packing::{ending, make};
use super::sources::Reading;
use super::{from_bundle, packing, target};
use crate::cli::bundle::Pack;
use crate::error::{AtPath, Ending, Error, Failure, Result};
use crate::order::Order;
use crate::output::Output;

/// Makes a bundle, or one for each layer of an image. Their paths are the answer.
pub fn pack(flags: &Pack, output: &Output) -> Result<Ending, Failure> {
    let options = options(flags)?;
    let exclude = patterns(flags).map_err(Failure::Usage)?;
    target::check(&flags.output, flags.force || flags.bundle_per_layer)?;
    let reading =
        Reading { exclude: &exclude, target: &flags.output, any_order: !options.order.is_empty(), output };
    if flags.bundle_per_layer {
        return layers(flags, &reading, &options, output);
    }
    let source = reading.open(&flags.sources)?;
    let name = flags.output.display().to_string();
    let packed = make(source, &flags.output, &name, &options, output)?;
    output.answer(name)?;
    Ok(ending(&packed))
}

fn layers(
    flags: &Pack,
    reading: &Reading<'_>,
    options: &PackOptions,
    output: &Output,
) -> Result<Ending, Failure> {
    let [image] = flags.sources.as_slice() else {
        let error = Error::new("--bundle-per-layer takes one image");
        return Err(Failure::Usage(error.hint("pack several images one after the other")));
    };
    let layers = reading.layers(image)?;
    let count = layers.len();
    let names: Vec<PathBuf> = (1..=count).map(|number| numbered(&flags.output, number, count)).collect();
    names.iter().try_for_each(|path| target::check(path, flags.force))?;
    let mut whole = Ending::Done;
    for (layer, path) in layers.into_iter().zip(names) {
        output.status(format!("{} is {}", path.display(), layer.digest));
        let name = path.display().to_string();
        if ending(&make(layer.source, &path, &name, options, output)?) != Ending::Done {
            whole = Ending::Incomplete;
        }
        output.answer(name)?;
    }
    Ok(whole)
}

/// `10-app.sb` becomes `10-app-1.sb`, with as many digits as the last of `count` has, so that names sort as layers lie.
fn numbered(path: &Path, number: usize, count: usize) -> PathBuf {
    let digits = count.to_string().len();
    let mut name = path.file_stem().map(OsString::from).unwrap_or_default();
    name.push(format!("-{number:0digits$}.sb"));
    path.with_file_name(name)
}

fn patterns(flags: &Pack) -> Result<Patterns> {
    let files: Result<Vec<String>> = flags
        .exclude_from
        .iter()
        .map(|file| std::fs::read_to_string(file).at("read the patterns", file))
        .collect();
    let files = files?;
    let lines = files.iter().flat_map(|text| text.lines());
    Patterns::new(lines.chain(flags.exclude.iter().map(String::as_str))).map_err(|error| from_bundle(&error))
}

fn options(flags: &Pack) -> Result<PackOptions, Failure> {
    let order = flags.order.as_deref().map(Order::read).transpose().map_err(Failure::Usage)?;
    let reuse = flags.reuse.as_deref().map(|old| Bundle::open(old).map(Arc::new));
    Ok(PackOptions {
        reuse: reuse.transpose().map_err(|error| from_bundle(&error))?,
        owned_by_root: flags.owned_by_root,
        order: order.map(Order::into_paths).unwrap_or_default(),
        ..packing::options(&flags.compressing)?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_sort_as_they_lie() {
        for (path, number, count, expected) in
            [("10-app.sb", 1, 3, "10-app-1.sb"), ("d/10-a.b.sb", 2, 10, "d/10-a.b-02.sb")]
        {
            assert_eq!(numbered(Path::new(path), number, count), Path::new(expected));
        }
    }
}
