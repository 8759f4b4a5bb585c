//! `livekit session`.

use std::fs;
use std::io::{IsTerminal, Write};
use std::path::Path;

use bundles::{Bundle, ExtractOptions, PackOptions, Wanted};
use live::changes::{copy, probe};
use live::options::Use;
use live::session::past::Request;
use live::session::{About, Session};

use self::place::Place;
use super::bundle::packing::{self, from_source, make};
use super::bundle::{extract, from_bundle, target};
use crate::cli::session::{Session as Flags, SessionCommand};
use crate::error::{AtPath, Ending, Error, Failure, Result};
use crate::interrupt;
use crate::output::Output;

mod list;
mod place;

/// Does one of the session commands.
pub fn session(flags: &Flags, output: &Output) -> Result<Ending, Failure> {
    let folder = flags.folder.as_deref();
    let to_read = || Place::to_read(folder);
    let to_write = || Place::to_write(folder);
    match &flags.command {
        SessionCommand::List { json } => list::list(&to_read()?, *json, output)?,
        SessionCommand::New { name, encrypt } => {
            let about = About { encrypt: *encrypt, ..About::new(name.clone()) };
            let made = to_write()?.sessions.create(&about)?;
            output.answer(made.number.to_string())?;
        }
        SessionCommand::Copy { session, name } => copy_of(&to_write()?, session, name.clone(), output)?,
        SessionCommand::Delete { session, yes } => delete(&to_write()?, session, *yes)?,
        SessionCommand::Rename { session, name } => {
            let session = to_write()?.named(session)?;
            let about = About { name: Some(name.clone()), ..session.about };
            about.write(&session.folder)?;
        }
        SessionCommand::SetDefault { session } => {
            let place = to_write()?;
            place.sessions.note(place.named(session)?.number)?;
        }
        SessionCommand::Snapshot { session } => {
            request(&to_write()?, session.as_deref(), Request::Snapshot, output)?;
        }
        SessionCommand::Back { snapshot, session } => {
            request(&to_write()?, session.as_deref(), Request::Back(*snapshot), output)?;
        }
        SessionCommand::Reset { session } => {
            request(&to_write()?, session.as_deref(), Request::Reset, output)?;
        }
        SessionCommand::Export { session, file } => return export(&to_read()?, session, file, output),
        SessionCommand::Import { file, name } => import(&to_write()?, file, name.clone(), output)?,
    }
    Ok(Ending::Done)
}

/// Has the next boot do something to a session.
fn request(place: &Place, session: Option<&str>, request: Request, output: &Output) -> Result<()> {
    let session = match session {
        Some(name) => place.named(name)?,
        None => place.in_use()?,
    };
    if place.usage(&session) == Some(Use::Directories) {
        let what = format!("{} keeps single directories, of which there are no snapshots", session.title());
        return Err(Error::new(what).hint("persistence.conf in the folder of sessions names them"));
    }
    let home = place.home(&session)?;
    if let Request::Back(number) = request {
        let there = live::session::past::snapshots(&home)?;
        if !there.contains(&number) {
            let there: Vec<String> = there.iter().map(u32::to_string).collect();
            return Err(Error::new(format!("{} has no snapshot {number}", session.title())).hint(format!(
                "snapshots: {}",
                if there.is_empty() { "none".into() } else { there.join(", ") }
            )));
        }
    }
    request.leave(&home)?;
    let what = match request {
        Request::Snapshot => "takes a snapshot".to_owned(),
        Request::Back(number) => format!("goes back to snapshot {number}"),
        Request::Reset => "begins it anew".to_owned(),
    };
    output.status(format!("The next boot of {} {what}.", session.title()));
    Ok(())
}

/// Makes a session by having `fill` make its folder, which gets its number when it is complete.
fn complete(place: &Place, about: &About, fill: impl FnOnce(&Path) -> Result<()>) -> Result<Session> {
    let partial = place.folder.join("new.partial");
    match interrupt::remove_tree(&partial) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).at("remove", &partial),
        _ => {}
    }
    let made = interrupt::register(|| Ok::<_, Error>(partial.clone()))?;
    let filled = fill(&made).and_then(|()| {
        let session = place.sessions.create(about)?;
        // The folder that was made with the number has its notes, and nothing else.
        about.write(&made)?;
        fs::remove_dir_all(&session.folder).at("replace", &session.folder)?;
        rustix::fs::sync();
        fs::rename(&made, &session.folder).at("make", &session.folder)?;
        Ok(session)
    });
    if filled.is_err() {
        let _ = interrupt::remove_tree(&made);
    }
    interrupt::forget(&made);
    filled
}

fn copy_of(place: &Place, name: &str, new_name: Option<String>, output: &Output) -> Result<()> {
    let session = place.idle(name)?;
    let step = output.step(format!("Copying {}", session.title()));
    let about = About::new(new_name.or_else(|| session.about.name.clone()));
    let copied = complete(place, &about, |to| copy::tree(&session.folder, to).map(drop))?;
    step.done(format!("as session {}", copied.number));
    output.answer(copied.number.to_string())
}

fn delete(place: &Place, name: &str, yes: bool) -> Result<()> {
    let session = place.idle(name)?;
    if !yes && !confirmed(&session)? {
        return Err(Error::new(format!("{} stays", session.title())));
    }
    // Half a session must not look like one.
    let leaving = place.folder.join("deleted.partial");
    match interrupt::remove_tree(&leaving) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e).at("remove", &leaving),
        _ => {}
    }
    fs::rename(&session.folder, &leaving).at("remove", &session.folder)?;
    interrupt::remove_tree(&leaving).at("remove", &leaving)
}

fn confirmed(session: &Session) -> Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Error::new(format!("{} would be removed for good", session.title()))
            .hint("--yes does so without asking"));
    }
    let mut shown = std::io::stderr();
    let _ = write!(shown, "Remove {} for good? [y/N] ", session.title());
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).at("read", "the answer")?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn export(place: &Place, name: &str, file: &Path, output: &Output) -> Result<Ending, Failure> {
    target::check(file, false)?;
    let session = place.named(name)?;
    let home = place.home(&session)?;
    // Workshops belong to mounted overlays, requests to the next boot.
    let left_out = ["work", "request", "lost+found"].map(Path::new);
    let mut wanted = |path: &Path, _: &fs::Metadata| {
        if left_out.contains(&path) { Wanted::Skip } else { Wanted::Keep }
    };
    let source = bundles::source::directory(&home, &mut wanted).map_err(|e| from_source(&e))?;
    let options = PackOptions { replace: false, ..PackOptions::default() };
    let packed = make(source, file, &file.display().to_string(), &options, output)?;
    output.answer(file.display().to_string())?;
    Ok(packing::ending(&packed))
}

fn import(place: &Place, file: &Path, name: Option<String>, output: &Output) -> Result<()> {
    let lacks = probe::lacks(&place.folder)?;
    if !lacks.is_empty() {
        let what = format!("its file system has no {}", lacks.join(", no "));
        return Err(Error::at("unpack a session in", &place.folder, what)
            .hint("boot with perchdir=new and unpack the file's upper/ with `livekit bundle extract`"));
    }
    let bundle = Bundle::open(file).map_err(|error| from_bundle(&error))?;
    let about = About::new(name);
    let made = complete(place, &about, |to| {
        let options = ExtractOptions { owners: true, ..ExtractOptions::default() };
        let extracted = extract::to_directory(&bundle, to, &options, output)?;
        if let Some(warning) = extracted.warnings.first() {
            return Err(Error::at("unpack all of", file, warning));
        }
        if !to.join("upper").is_dir() && !to.join("past").is_dir() {
            return Err(Error::at("use", file, "it is not a session: there is no upper/ in it")
                .hint("`livekit session export` makes one; a bundle of changes belongs into modules/"));
        }
        Ok(())
    })?;
    output.answer(made.number.to_string())
}
