//! `livekit bundle verify`.

use std::path::Path;

use bundles::{Bundle, Finding, verify as examine};

use super::from_bundle;
use crate::cli::bundle::Verify;
use crate::error::{Ending, Result};
use crate::output::Output;

/// Looks for damage. A line for each finding, and one for each bundle without, are the answer.
pub fn verify(flags: &Verify, output: &Output) -> Result<Ending> {
    let mut ending = Ending::Done;
    for path in &flags.bundles {
        if !is_whole(path, output)? {
            ending = Ending::No;
        }
    }
    Ok(ending)
}

fn is_whole(path: &Path, output: &Output) -> Result<bool> {
    let name = path.display();
    let bundle = match Bundle::open(path) {
        Ok(bundle) => bundle,
        // The others are looked at all the same.
        Err(error) => {
            output.failure(&from_bundle(&error));
            return Ok(false);
        }
    };
    let mut step = output.step(format!("Verifying {name}"));
    let verified = examine(&bundle, None, &mut |progress| step.bytes(progress.bytes, progress.total_bytes));
    step.done(format!("{} files, {} blocks", verified.files, verified.blocks + verified.metadata_blocks));
    for finding in &verified.findings {
        output.answer(format!("{name}: {}", line(finding)))?;
    }
    if verified.more > 0 {
        output.answer(format!("{name}: {} more", verified.more))?;
    }
    let whole = verified.findings.is_empty();
    if whole {
        output.answer(format!("{name}: OK"))?;
    }
    Ok(whole)
}

/// `byte 4711: etc/passwd: what is wrong`, of which the first two may not be known.
fn line(finding: &Finding) -> String {
    let place = finding.offset.map(|offset| format!("byte {offset}: ")).unwrap_or_default();
    let path = finding.path.as_ref().map(|path| format!("{}: ", path.display())).unwrap_or_default();
    format!("{place}{path}{}", finding.what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings() {
        for (offset, path, text) in [
            (Some(96), Some("etc/passwd"), "byte 96: etc/passwd: torn"),
            (Some(0), None, "byte 0: torn"),
            (None, None, "torn"),
        ] {
            let finding = Finding { offset, path: path.map(Into::into), what: "torn".to_owned() };
            assert_eq!(line(&finding), text);
        }
    }
}
