//! What the user sees before the kernel starts: GRUB's configuration, theme and font.

mod config;
mod font;

use crate::{Error, Source, Tree};

/// The boot menu of a kit, and with it the kernel's command line.
#[derive(Debug, Clone)]
pub struct Menu {
    /// What the system is called, shown in the menu. One line of text.
    pub title: String,
    /// The kit's folder on the medium: letters, digits, `.`, `_` and `-`.
    pub name: String,
    /// The build's id: hexadecimal digits. `/NAME/ID.id` marks the medium.
    pub id: String,
    /// Parameters added to each entry's command line, quoted as on the kernel's command line: `a="b c"`.
    pub append: String,
    /// Seconds until the first entry starts; 0 starts it without showing a menu, `None` waits for ever.
    pub timeout: Option<u32>,
    /// Whether to draw the menu with a theme. Text is faster and works on any display.
    pub graphical: bool,
    /// Whether the menu is on the first serial port too, where there is one (115200 baud).
    pub serial: bool,
}

impl Default for Menu {
    fn default() -> Self {
        Self {
            title: "Linux".to_owned(),
            name: "livekit".to_owned(),
            id: String::new(),
            append: String::new(),
            timeout: Some(5),
            graphical: true,
            serial: true,
        }
    }
}

/// Where GRUB's files are on the medium.
pub(crate) const DIRECTORY: &str = "/boot/grub";

impl Menu {
    /// Adds grub.cfg, loopback.cfg, the entries both share, and the theme. `unifont` is GRUB's `unicode.pf2`: a part
    /// of it goes with the theme. Without it, menus on BIOS are text.
    pub(crate) fn add_to(&self, tree: &mut Tree, unifont: Option<&[u8]>) -> Result<(), Error> {
        self.check()?;
        let mut add =
            |name: &str, bytes: Vec<u8>| tree.add_file(&format!("{DIRECTORY}/{name}"), Source::Bytes(bytes));
        add("grub.cfg", self.grub_cfg().into_bytes())?;
        add("loopback.cfg", config::LOOPBACK_CFG.into())?;
        add("entries.cfg", self.entries_cfg().into_bytes())?;
        if !self.graphical {
            return Ok(());
        }
        for (name, bytes) in THEME {
            add(&format!("theme/{name}"), bytes.to_vec())?;
        }
        add("theme/theme.txt", self.theme_txt().into_bytes())?;
        if let Some(unifont) = unifont {
            add("fonts/unicode.pf2", font::subset(unifont, &self.title)?)?;
        }
        Ok(())
    }

    /// The path of the file that marks the medium of this build.
    pub fn marker(&self) -> String {
        format!("/{}/{}.id", self.name, self.id)
    }

    /// Checks what ends up in file names and scripts.
    pub fn check(&self) -> Result<(), Error> {
        let error =
            |option, value: &str, reason| Err(Error::Option { option, value: value.to_owned(), reason });
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if self.name.is_empty() || !self.name.bytes().all(plain) || self.name.starts_with(['.', '-']) {
            return error("kit name", &self.name, "only letters, digits, . _ and - can be in it");
        }
        if self.id.is_empty() || !self.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return error("build id", &self.id, "it must be hexadecimal digits");
        }
        if self.title.chars().any(char::is_control) {
            return error("title", &self.title, "it must be one line of text");
        }
        if self.append.chars().any(|character| character.is_control() && !character.is_whitespace()) {
            return error("append", &self.append, "control characters cannot be in it");
        }
        Ok(())
    }
}

/// The pictures, drawn by `examples/draw_theme.rs`.
const THEME: &[(&str, &[u8])] = &[
    ("accent.png", include_bytes!("theme/accent.png")),
    ("background.png", include_bytes!("theme/background.png")),
    ("select_c.png", include_bytes!("theme/select_c.png")),
    ("select_e.png", include_bytes!("theme/select_e.png")),
    ("select_w.png", include_bytes!("theme/select_w.png")),
];
