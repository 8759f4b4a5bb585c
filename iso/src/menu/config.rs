//! GRUB's scripts. `grub.cfg` sets the display up and sources `entries.cfg`; `loopback.cfg` is for a GRUB of another
//! system that boots this image from a file, and sources the same entries.

use super::Menu;

/// Kernel parameters of the entry for a serial console.
const SERIAL_CONSOLE: &str = "console=tty0 console=ttyS0,115200";

impl Menu {
    /// The menu of our own GRUB.
    pub(super) fn grub_cfg(&self) -> String {
        let mut text = format!(
            "# The boot menu. The entries are in entries.cfg.\n\
             set default=live\n\
             set timeout={}\n\
             set timeout_style={}\n\n",
            self.timeout.map_or("-1".to_owned(), |seconds| seconds.to_string()),
            if self.timeout == Some(0) { "hidden" } else { "menu" },
        );
        if self.serial {
            // `serial` fails where there is no such port.
            text += "if serial --unit=0 --speed=115200; then set with_serial=serial; fi\n\n";
        }
        text += if self.graphical { GRAPHICAL } else { TEXT };
        text += "if [ -n \"$with_serial\" ]; then terminal_input console serial; fi\n\n\
                 source $prefix/entries.cfg\n";
        text
    }

    /// The entries. They use paths without a device: `root` is the medium, or the looped image.
    pub(super) fn entries_cfg(&self) -> String {
        let title = quoted(&self.title);
        let (name, id) = (&self.name, &self.id);
        let append: String = words(&self.append).iter().map(|word| format!(" {}", quoted(word))).collect();
        let entry = |title: &str, id: &str, key: char, parameters: &str| {
            format!("menuentry {title} --id {id} --hotkey={key} {{ boot_kernel {parameters}; }}\n")
        };
        let after = |text: &str| format!("{title}{}", quoted(text));
        let mut text = format!(
            "function boot_kernel {{\n\
             \x20 echo 'Loading the kernel ...'\n\
             \x20 if [ -n \"$live_from\" ]; then\n\
             \x20   linux /{name}/boot/vmlinuz livekit.id={id} \"$live_from\" $@{append}\n\
             \x20 else\n\
             \x20   linux /{name}/boot/vmlinuz livekit.id={id} $@{append}\n\
             \x20 fi\n\
             \x20 initrd /{name}/boot/initramfs.img\n\
             }}\n\n"
        );
        text += &entry(&title, "live", 'l', "quiet");
        text += &entry(&after(", keeping changes"), "perch", 'k', "quiet perch");
        text += &entry(&after(", copied to RAM"), "toram", 'r', "quiet toram");
        text += &entry(&after(", with debug messages"), "debug", 'd', "debug");
        text += &entry(&after(", on the serial console"), "serial", 's', &format!("quiet {SERIAL_CONSOLE}"));
        text += "if [ \"$grub_platform\" = efi ]; then\n\
                 \x20 menuentry 'Firmware settings' --id firmware --hotkey=f { fwsetup; }\n\
                 fi\n\
                 menuentry 'Reboot' --id reboot --hotkey=b { reboot; }\n\
                 menuentry 'Power off' --id poweroff --hotkey=o { halt; }\n";
        text
    }

    /// The script on the EFI system partition: finds the medium of this build, by its marker, and goes on there.
    pub(crate) fn esp_cfg(&self) -> String {
        let marker = self.marker();
        // The disk that GRUB itself came from is asked first: it costs nothing, and it nearly always is the one.
        format!(
            "if regexp --set=1:disk '^\\(([^,)]+)' \"$cmdpath\"; then\n\
             \x20 search --no-floppy --set=root --hint=\"$disk\" --file {marker}\n\
             else\n\
             \x20 search --no-floppy --set=root --file {marker}\n\
             fi\n\
             if [ -f ($root){marker} ]; then\n\
             \x20 set prefix=($root)/boot/grub\n\
             \x20 configfile $prefix/grub.cfg\n\
             else\n\
             \x20 echo 'The boot medium with {marker} was not found.'\n\
             \x20 echo 'hint: write the image again, or type exit to try the next boot device'\n\
             fi\n"
        )
    }

    /// What the BIOS core image does before it loads its menu. The boot device is `root` already; the marker tells if it
    /// is the right one, as BIOSes number their disks in odd ways.
    pub(crate) fn bios_cfg(&self) -> String {
        format!(
            "search.file {marker} root $root\n\
             set prefix=($root)/boot/grub\n",
            marker = self.marker()
        )
    }

    /// The theme: see GRUB's manual, "Theme file format".
    pub(super) fn theme_txt(&self) -> String {
        // The theme's strings have no escapes.
        let title: String = self.title.chars().filter(|&character| character != '"').collect();
        THEME.replace("@TITLE@", &title)
    }
}

/// The menu for a foreign GRUB that loops this image: it sets `iso_path` to the image's path on its file system,
/// and its root to the image (the loopback.cfg convention).
pub(super) const LOOPBACK_CFG: &str = "\
# For a boot loader that starts this image from a file: it has set iso_path and root.
set live_from=\"from=$iso_path\"
source /boot/grub/entries.cfg
";

/// A word for GRUB's shell that means exactly `text`.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The words of a kernel command line: double quotes keep spaces together. The quotes go, as GRUB puts its own around
/// words with spaces.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut in_quotes, mut begun) = (String::new(), false, false);
    for character in text.chars() {
        match character {
            '"' => (in_quotes, begun) = (!in_quotes, true),
            _ if character.is_whitespace() && !in_quotes => {
                if begun {
                    words.push(std::mem::take(&mut word));
                }
                begun = false;
            }
            _ => {
                word.push(if character.is_whitespace() { ' ' } else { character });
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// Text menus need no more than the console. Firmware that mirrors its console to the serial port shows them twice.
const TEXT: &str = "\
set gfxpayload=text
terminal_output console $with_serial
";

/// The theme, with text as what remains if there is no display for it. The kernel gets the graphics mode only if
/// drawing worked: after a failure it would be handed a mode that is not there. GRUB draws with the font loaded last
/// unless told otherwise.
const GRAPHICAL: &str = "\
set gfxpayload=text
if loadfont unicode; then
  set gfxterm_font='Unifont Regular 16'
  set gfxmode=1024x768,auto
  if [ \"$grub_platform\" = efi ]; then insmod all_video; else insmod vbe; fi
  insmod gfxterm
  if terminal_output gfxterm $with_serial; then
    set gfxpayload=keep
    insmod png
    insmod gfxmenu
    set theme=$prefix/theme/theme.txt
  else
    terminal_output console $with_serial
  fi
else
  terminal_output console $with_serial
fi
";

const THEME: &str = r##"title-text: ""
desktop-image: "background.png"
desktop-image-scale-method: "crop"
desktop-color: "#0b1a30"
terminal-font: "Unifont Regular 16"
terminal-left: "10%"
terminal-top: "10%"
terminal-width: "80%"
terminal-height: "80%"
terminal-border: "0"

+ image {
  left = 8%
  top = 15%
  width = 40
  height = 3
  file = "accent.png"
}

+ label {
  left = 8%
  top = 17%
  width = 84%
  height = 20
  align = "left"
  font = "Unifont Regular 16"
  color = "#ffffff"
  text = "@TITLE@"
}

+ boot_menu {
  left = 8%-32
  top = 24%
  width = 460
  height = 330
  item_font = "Unifont Regular 16"
  item_color = "#c7d3e6"
  selected_item_color = "#ffffff"
  item_height = 32
  item_padding = 16
  item_spacing = 4
  icon_width = 0
  icon_height = 0
  item_icon_space = 0
  selected_item_pixmap_style = "select_*.png"
  scrollbar = false
}

+ label {
  id = "__timeout__"
  left = 8%
  top = 90%
  width = 84%
  height = 20
  align = "left"
  font = "Unifont Regular 16"
  color = "#ffffff"
  text = "Starts in %d s"
}

+ label {
  left = 8%
  top = 94%
  width = 84%
  height = 20
  align = "left"
  font = "Unifont Regular 16"
  color = "#93a5c0"
  text = "↑↓ choose   Enter start   e edit   c command line"
}
"##;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_the_kernel() {
        for (text, expected) in [
            ("", vec![]),
            (" a  b\tc\n", vec!["a", "b", "c"]),
            (r#"a="b c" d"#, vec!["a=b c", "d"]),
            (r#""a=b c" ""#, vec!["a=b c", ""]),
            ("it's", vec!["it's"]),
        ] {
            assert_eq!(words(text), expected, "{text:?}");
        }
    }

    #[test]
    fn nothing_given_is_taken_for_script() {
        let menu = Menu {
            title: "Bob's $(system)".to_owned(),
            id: "0123456789abcdef".to_owned(),
            append: r#"a=$root;reboot b="it's {c}""#.to_owned(),
            ..Menu::default()
        };
        let entries = menu.entries_cfg();
        assert!(entries.contains(r#"menuentry 'Bob'\''s $(system)' --id live "#), "{entries}");
        assert!(
            entries.contains(r#"livekit.id=0123456789abcdef $@ 'a=$root;reboot' 'b=it'\''s {c}'"#),
            "{entries}"
        );
    }

    #[test]
    fn timeouts() {
        let cfg = |timeout| Menu { timeout, ..Menu::default() }.grub_cfg();
        assert!(cfg(Some(0)).contains("set timeout=0\nset timeout_style=hidden\n"));
        assert!(cfg(Some(7)).contains("set timeout=7\nset timeout_style=menu\n"));
        assert!(cfg(None).contains("set timeout=-1\nset timeout_style=menu\n"));
    }

    #[test]
    fn text_menus_load_nothing_and_serial_is_optional() {
        let cfg = Menu { graphical: false, serial: false, ..Menu::default() }.grub_cfg();
        assert!(!cfg.contains("loadfont") && !cfg.contains("serial --unit"), "{cfg}");
        assert!(Menu::default().grub_cfg().contains("terminal_output gfxterm $with_serial"));
    }
}
