//! Passphrases of encrypted sessions, asked for at the console.

use live::error::{Error, Result};
use live::luks::Failure;

use crate::console::{Consoles, Secret};

/// How often a passphrase may be wrong.
const TRIES: u32 = 3;

/// Asks until `open` takes the passphrase, three times at most. `Ok(None)` of it is a wrong one.
pub fn unlock<T>(what: &str, mut open: impl FnMut(&[u8]) -> Result<Option<T>>) -> Result<T> {
    let consoles = Consoles::open();
    for left in (0..TRIES).rev() {
        let Some(secret) = consoles.ask_secret(&format!("Passphrase of {what}"), None) else {
            return Err(Error::new(format!("{what} is encrypted, and no passphrase was given")));
        };
        consoles.say("Trying the passphrase takes a moment ...\n");
        if let Some(opened) = open(secret.bytes())? {
            return Ok(opened);
        }
        if left > 0 {
            consoles.say(&format!("{}, try again ({left} left)\n", Failure::WrongPassphrase));
        }
    }
    Err(Error::new(format!("{what} is encrypted, and the passphrase was wrong {TRIES} times")))
}

/// Asks for the passphrase of a new session, twice.
pub fn choose(what: &str) -> Result<Secret> {
    let consoles = Consoles::open();
    for _ in 0..TRIES {
        let ask = |prompt: String| consoles.ask_secret(&prompt, None);
        let Some(first) = ask(format!("New passphrase for {what}")) else { break };
        if first.bytes().is_empty() {
            consoles.say("An empty passphrase protects nothing.\n");
            continue;
        }
        let Some(second) = ask("The same once more".to_owned()) else { break };
        if first.bytes() == second.bytes() {
            return Ok(first);
        }
        consoles.say("These are not the same.\n");
    }
    Err(Error::new(format!("{what} was to be encrypted, and no passphrase was given")))
}
