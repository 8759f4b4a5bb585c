//! Where each active bundle goes in the live folder, so that the next boot has them in the order they have now.

use std::path::{Path, PathBuf};

use bundles::BundleName;

use crate::activation::medium::MODULES;
use crate::activation::stack::{Origin, Stacked};

/// Where each bundle goes: those of the boot where they lie on the medium, the others into modules/ under names that sort
/// above all before them. `files` has the file of each, as far as it is there.
pub fn places(stack: &[Stacked], files: &[Option<PathBuf>], live_folder: &Path) -> Vec<String> {
    let mut last: Option<BundleName> = None;
    let mut places = Vec::new();
    for (bundle, file) in stack.iter().zip(files) {
        let on_medium = file.as_ref().and_then(|file| file.strip_prefix(live_folder).ok()?.to_str());
        let place = match (bundle.origin, on_medium) {
            (Origin::Boot, Some(path)) if !path.starts_with("optional/") => path.to_owned(),
            (Origin::Boot, _) => format!("{MODULES}/{}", bundle.name),
            (Origin::Activated, _) => format!("{MODULES}/{}", above(last.as_ref(), &bundle.name)),
        };
        last = last.max(name_of(&place));
        places.push(place);
    }
    places
}

/// A place in modules/ above all of `places`, with the next number if there is one.
pub fn on_top<'a>(places: impl Iterator<Item = &'a str>, title: &str) -> String {
    let lowest = format!("00-{title}.sb");
    format!("{MODULES}/{}", above(places.filter_map(name_of).max().as_ref(), &lowest))
}

fn name_of(place: &str) -> Option<BundleName> {
    BundleName::parse(place.rsplit('/').next().unwrap_or(place))
}

/// A name that sorts above `last`: the bundle's own if it does, else with the next number; where the last has no number,
/// which is above all that have one, with its name in front.
fn above(last: Option<&BundleName>, name: &str) -> String {
    let (Some(last), Some(own)) = (last, BundleName::parse(name)) else { return name.to_owned() };
    if own > *last {
        return name.to_owned();
    }
    match last.order().and_then(|number| number.checked_add(1)) {
        Some(number) => format!("{number:02}-{}.sb", own.title()),
        None => format!("{}~{}.sb", last.title(), own.title()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_keep_the_order() {
        for (last, name, expected) in [
            (None, "20-x.sb", "20-x.sb"),
            (Some("10-a.sb"), "20-x.sb", "20-x.sb"),
            (Some("90-livekit.sb"), "20-x.sb", "91-x.sb"),
            (Some("90-livekit.sb"), "x.sb", "x.sb"),
            (Some("99-a.sb"), "05-x.sb", "100-x.sb"),
            (Some("extra.sb"), "20-x.sb", "extra~x.sb"),
            (Some("extra.sb"), "zoo.sb", "zoo.sb"),
            (Some("91-x.sb"), "extra.sb", "extra.sb"),
            (Some("07.sb"), "03.sb", "08-03.sb"),
            (Some("18446744073709551615-x.sb"), "05-a.sb", "x~a.sb"),
        ] {
            let last = last.and_then(BundleName::parse);
            let found = above(last.as_ref(), name);
            assert_eq!(found, expected);
            assert!(last.is_none() || BundleName::parse(&found) > last, "{found}");
        }
    }

    #[test]
    fn bundles_keep_their_order_at_the_next_boot() {
        let bundle = |name: &str, origin| Stacked {
            name: name.into(),
            mount: PathBuf::new(),
            origin,
            hidden: false,
            device: String::new(),
        };
        let stack = [
            bundle("00-core.sb", Origin::Boot),
            bundle("20-x.sb", Origin::Boot),
            bundle("30-loaded.sb", Origin::Boot),
            bundle("90-livekit.sb", Origin::Boot),
            bundle("50-b.sb", Origin::Activated),
            bundle("10-a.sb", Origin::Activated),
            bundle("20-gone.sb", Origin::Activated),
        ];
        let files = [
            "/m/kit/00-core.sb",
            "/m/kit/modules/deep/20-x.sb",
            "/m/kit/optional/30-loaded.sb",
            "/m/kit/90-livekit.sb",
            "/memory/50-b.sb",
            "/m/kit/optional/10-a.sb",
            "",
        ]
        .map(|file| Some(PathBuf::from(file)).filter(|_| !file.is_empty()));
        let found = places(&stack, &files, Path::new("/m/kit"));
        assert_eq!(
            found,
            [
                "00-core.sb",
                "modules/deep/20-x.sb",
                "modules/30-loaded.sb",
                "90-livekit.sb",
                "modules/91-b.sb",
                "modules/92-a.sb",
                "modules/93-gone.sb"
            ]
        );
        let all = found.iter().map(String::as_str);
        assert_eq!(on_top(all.clone(), "changes"), "modules/94-changes.sb");
        assert_eq!(on_top(all.chain(["modules/extra.sb"]), "changes"), "modules/extra~changes.sb");
    }
}
