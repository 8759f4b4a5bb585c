//! The `livekit` command: makes live systems and runs them.
#![forbid(unsafe_code)]

mod activation;
mod boot_trace;
mod build_id;
mod busybox;
mod cli;
mod commands;
mod config;
mod download;
mod error;
mod external;
mod initramfs;
mod inits;
mod interrupt;
mod kernel;
mod kit_bundle;
mod kit_image;
mod kit_initramfs;
mod last_image;
mod order;
mod output;
mod qemu;
mod root;
mod scratch;
mod settings;
mod space;
mod split;

use std::process::ExitCode;

use cli::{Cli, Command};
use error::{AtPath, Ending, Failure};
use output::Output;

fn main() -> ExitCode {
    // Help, version and wrong usage are printed here, which leaves with 0 or 2.
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let output = Output::new(cli.quiet);
    let interrupted = match interrupt::watch().at("watch for", "signals") {
        Ok(interrupted) => interrupted,
        Err(error) => {
            output.failure(&error);
            return ExitCode::FAILURE;
        }
    };
    match run(cli.command, &output) {
        Ok(ending) => ExitCode::from(ending.exit_code()),
        Err(failure) => {
            interrupted.wait_if_so();
            output.failure(failure.error());
            ExitCode::from(failure.exit_code())
        }
    }
}

fn run(command: Command, output: &Output) -> Result<Ending, Failure> {
    match command {
        Command::Activate(flags) => commands::activate::activate(&flags, output),
        Command::BuildIso(flags) => commands::build_iso::build_iso(*flags, output).map(|()| Ending::Done),
        Command::Bundle(bundle) => commands::bundle::bundle(bundle.command, output),
        Command::Deactivate(flags) => commands::deactivate::deactivate(&flags, output),
        Command::List(flags) => commands::list::list(&flags, output),
        Command::Refresh(flags) => commands::refresh::refresh(&flags, output),
        Command::Run(flags) => commands::run::run(&flags, output).map(|()| Ending::Done),
        Command::SaveChanges(flags) => commands::savechanges::savechanges(&flags, output),
        Command::Status(flags) => commands::status::status(&flags, output),
        Command::Session(flags) => commands::session::session(&flags, output),
        Command::Sb(sb) => commands::sb::sb(&sb.command, output),
    }
}
