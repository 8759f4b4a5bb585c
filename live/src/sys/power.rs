//! Ending the machine's run.

use rustix::system::RebootCommand;

use crate::error::Error;

/// How a shutdown ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Power off.
    PowerOff,
    /// Restart the machine.
    Reboot,
    /// Stop, power on.
    Halt,
    /// Start the kernel that was loaded with kexec_load.
    Kexec,
}

impl Action {
    /// Reads the verb systemd-shutdown and our hooks pass.
    pub fn named(verb: &str) -> Option<Self> {
        match verb {
            "poweroff" => Some(Self::PowerOff),
            "reboot" => Some(Self::Reboot),
            "halt" => Some(Self::Halt),
            "kexec" => Some(Self::Kexec),
            _ => None,
        }
    }

    /// The verb.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PowerOff => "poweroff",
            Self::Reboot => "reboot",
            Self::Halt => "halt",
            Self::Kexec => "kexec",
        }
    }

    /// Does it. Returns only on failure.
    pub fn perform(self) -> Error {
        let command = match self {
            Self::PowerOff => RebootCommand::PowerOff,
            Self::Reboot => RebootCommand::Restart,
            Self::Halt => RebootCommand::Halt,
            Self::Kexec => RebootCommand::Kexec,
        };
        match rustix::system::reboot(command) {
            Ok(()) => Error::new(format!("{}: the kernel came back from it", self.name())),
            Err(e) => Error::new(format!("cannot {}: {}", self.name(), std::io::Error::from(e))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_systemds() {
        for action in [Action::PowerOff, Action::Reboot, Action::Halt, Action::Kexec] {
            assert_eq!(Action::named(action.name()), Some(action));
        }
        assert_eq!(Action::named("exit"), None);
    }
}
