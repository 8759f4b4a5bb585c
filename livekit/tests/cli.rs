//! What the command says and returns, from outside.

use std::process::{Command, Output};

fn livekit(arguments: &[&str], folder: &std::path::Path) -> Output {
    livekit_with(&[], arguments, folder)
}

fn livekit_with(variables: &[(&str, &str)], arguments: &[&str], folder: &std::path::Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_livekit"));
    command.args(arguments).current_dir(folder).env_remove("SOURCE_DATE_EPOCH");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("LIVEKIT_")) {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs it and returns exit code, stdout and stderr.
fn run(arguments: &[&str], folder: &std::path::Path) -> (i32, String, String) {
    let output = livekit(arguments, folder);
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn help_suffices_offline() {
    let dir = tempfile::tempdir().unwrap();
    let (code, help, _) = run(&["help", "build-iso"], dir.path());
    assert_eq!(code, 0);
    let flags = [
        "--root",
        "--from-running",
        "--changes",
        "--with-secrets",
        "--debian",
        "--packages",
        "--mirror",
        "--kernel",
        "--output",
        "--name",
        "--title",
        "--config",
        "--append",
        "--modules",
        "--exclude",
        "--busybox",
        "--boot-files",
        "--firmware",
        "--timeout",
        "--text-menu",
        "--compressor",
        "--block-size",
        "--order",
        "--reuse",
        "--no-reuse",
        "--quiet",
    ];
    for flag in flags {
        assert!(help.contains(flag), "{flag} is not in\n{help}");
    }
    for word in [
        "Examples:",
        "sudo livekit build-iso --debian bookworm",
        "livekit.toml",
        "SOURCE_DATE_EPOCH",
        "/etc/fstab",
    ] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    let (code, help, _) = run(&["run", "--help"], dir.path());
    assert_eq!(code, 0);
    for word in [
        "--uefi",
        "--secure-boot",
        "--usb",
        "--cd",
        "--memory",
        "--window",
        "--append",
        "--dry-run",
        "Ctrl-A X",
        "Examples:",
    ] {
        assert!(help.contains(word), "{word} is not in\n{help}");
    }
    let (code, help, _) = run(&["--help"], dir.path());
    assert_eq!(code, 0);
    assert!(
        help.contains("build-iso") && help.contains("Exit code: 0 done, 1 could not, 2 wrong usage"),
        "{help}"
    );
}

#[test]
fn every_bundle_command_has_help_with_examples() {
    let dir = tempfile::tempdir().unwrap();
    for (command, words) in [
        (
            "bundle pack",
            &[
                "--compressor",
                "--block-size",
                "--exclude",
                "--exclude-from",
                "--order",
                "--reuse",
                "--force",
                "3 done, but",
            ][..],
        ),
        ("bundle list", &["--long", "--json", "link to"]),
        ("bundle cat", &["BUNDLE"]),
        ("bundle extract", &["--directory", "--force", "exit code is 3"]),
        ("bundle info", &["--json"]),
        ("bundle verify", &["1 something is"]),
        ("bundle diff", &["1 different; 2 could not"]),
        ("bundle convert", &[".wh.NAME", "--compressor"]),
        ("bundle plan", &["--root"]),
        ("bundle from-packages", &["--base", "--dry-run", "--upgrade", "--compressor", "1 could not"]),
        ("sb dir2sb", &["Other than in Slax"]),
        ("sb sb2dir", &["Other than in Slax", "rmsbdir"]),
        ("sb rmsbdir", &["Other than in Slax", ".livekit-sb2dir"]),
    ] {
        let arguments: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let (code, help, _) = run(&arguments, dir.path());
        assert_eq!(code, 0, "{command}");
        // Lines are broken to the width of the terminal.
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(
            help.contains("Examples:") && help.contains(&format!("livekit {command}")),
            "{command}: {help}"
        );
        for word in words {
            assert!(help.contains(word), "{command}: {word} is not in\n{help}");
        }
    }
}

#[test]
fn wrong_usage_returns_two() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.toml"), "nmae = 'x'\n").unwrap();
    for (arguments, says) in [
        (&["fly"][..], "unrecognized subcommand 'fly'"),
        (&["build-iso", "--speed"], "unexpected argument '--speed'"),
        (&["build-iso", "--root", "/", "--debian", "x"], "cannot be used with"),
        (&["build-iso", "--name", "a/b"], "error: `a/b` cannot be the kit's name\nhint: it names a folder"),
        (
            &["build-iso", "--config", "bad.toml"],
            "error: configuration bad.toml: line 1: unknown key `nmae`\nhint: did you mean `name`?\n",
        ),
        (
            &["build-iso", "--config", "none.toml"],
            "error: cannot read the configuration none.toml: No such file",
        ),
        (&["build-iso", "--root", "none"], "error: cannot find the root none: No such file"),
        (
            &["run", "bad.toml", "--memory", "much"],
            "error: `much` is no size of memory\nhint: for instance 1G",
        ),
    ] {
        let (code, stdout, stderr) = run(arguments, dir.path());
        assert_eq!((code, stdout.as_str()), (2, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_flag_wins_over_variables() {
    let dir = tempfile::tempdir().unwrap();
    let from_root = "cannot find the root none: No such file";
    // The suite is not looked for: there is no place for the image.
    let from_debian = "cannot find the directory nowhere: No such file";
    let contradiction = "cannot be used with";
    for (variables, flags, says) in [
        (&[("LIVEKIT_ROOT", "none")][..], &["--debian", "x"][..], from_debian),
        (&[("LIVEKIT_DEBIAN", "x")], &["--root", "none"], from_root),
        (&[("LIVEKIT_DEBIAN", "x"), ("LIVEKIT_ROOT", "y")], &["--root", "none"], from_root),
        (&[("LIVEKIT_DEBIAN", "x"), ("LIVEKIT_ROOT", "none")], &["--debian", "y"], from_debian),
        (&[("LIVEKIT_ROOT", "y")], &["--root", "none"], from_root),
        (&[("LIVEKIT_ROOT", "none")], &[], from_root),
        (&[("LIVEKIT_DEBIAN", "x")], &[], from_debian),
        (&[("LIVEKIT_DEBIAN", "x"), ("LIVEKIT_ROOT", "none")], &[], contradiction),
        (&[("LIVEKIT_NAME", "none")], &["--root", "none", "--debian", "x"], contradiction),
    ] {
        let arguments = [&["build-iso", "--output", "nowhere/x.iso"], flags].concat();
        let output = livekit_with(variables, &arguments, dir.path());
        assert!(text(&output.stderr).contains(says), "{variables:?} {flags:?}: {}", text(&output.stderr));
    }
    // What is shown beside a flag in its help.
    let help = text(&livekit_with(&[("LIVEKIT_ROOT", "none")], &["build", "--help"], dir.path()).stdout);
    assert!(help.contains("[env: LIVEKIT_ROOT=none]"), "{help}");
}

#[test]
fn the_configuration_beside_is_read() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("livekit.toml"), "[debian]\nsuit = 'bookworm'\n").unwrap();
    let (code, _, stderr) = run(&["build-iso"], dir.path());
    assert_eq!(code, 2);
    assert_eq!(
        stderr,
        "error: configuration livekit.toml: line 2: unknown key `debian.suit`\nhint: did you mean `debian.suite`?\n"
    );
}

#[test]
fn what_cannot_be_done_returns_one() {
    let dir = tempfile::tempdir().unwrap();
    for (arguments, says) in [
        (&["run", "none.iso"][..], "error: cannot open the image none.iso: No such file"),
        (
            &["build-iso", "--root", ".", "--output", "none/x.iso"],
            "error: cannot find the directory none: No such file",
        ),
    ] {
        let (code, stdout, stderr) = run(arguments, dir.path());
        assert_eq!((code, stdout.as_str()), (1, ""), "{arguments:?}: {stderr}");
        assert!(stderr.contains(says), "{arguments:?}: {stderr}");
    }
}

#[test]
fn a_plan_is_told_without_packing() {
    let dir = tempfile::tempdir().unwrap();
    for (file, length) in [("usr/bin/a", 3000), ("usr/share/icons/x.png", 2000), ("tmp/left", 9)] {
        let path = dir.path().join("root").join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, vec![1; length]).unwrap();
    }
    std::fs::write(
        dir.path().join("livekit.toml"),
        "root = 'root'\n[[bundle]]\nname = '05-icons'\npaths = ['/usr/share/icons/**']\n\
         [[bundle]]\nname = '06-none'\npaths = ['/opt/*']",
    )
    .unwrap();
    let (code, stdout, stderr) = run(&["bundle", "plan"], dir.path());
    assert_eq!(code, 0, "{stderr}");
    let words: Vec<Vec<&str>> = stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        words,
        [
            &["00-core.sb", "1", "files", "2.9", "KiB"][..],
            &["/usr/bin", "2.9", "KiB"],
            &["05-icons.sb", "(line", "2)", "1", "files", "2.0", "KiB"],
            &["path", "/usr/share/icons/**", "1", "files", "2.0", "KiB"],
            &["/usr/share/icons", "2.0", "KiB"],
            &["in", "all,", "not", "compressed", "2", "files", "4.9", "KiB"],
        ]
    );
    assert!(stderr.contains("warning: 06-none.sb (line 5) takes nothing: it is not made"), "{stderr}");
    let (code, stdout, _) = run(&["bundle", "plan", "--json", "--exclude", "*.png"], dir.path());
    assert_eq!(code, 0);
    let plan: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((plan[0]["name"].as_str(), plan[0]["bytes"].as_u64()), (Some("00-core.sb"), Some(3000)));
    // The directory itself is left: a place for icons.
    assert_eq!(plan.as_array().unwrap().len(), 1, "{stdout}");

    std::fs::write(dir.path().join("apt.toml"), "[[bundle]]\nname = '05-x'\npackages = ['vim']").unwrap();
    let (code, _, stderr) = run(&["bundle", "plan", "--root", "root", "--config", "apt.toml"], dir.path());
    assert_eq!(code, 1);
    assert!(stderr.contains("error: 05-x.sb (line 1) takes Debian packages, and "), "{stderr}");
    assert!(stderr.contains("\nhint: a root without dpkg can be split by `paths` alone"), "{stderr}");
}

#[test]
fn a_dry_run_shows_the_command() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.iso"), vec![0; 4096]).unwrap();
    std::fs::write(dir.path().join("stick.img"), vec![0; 4096]).unwrap();
    let path = dir.path().canonicalize().unwrap().display().to_string();
    for (arguments, shows, shows_not) in [
        (
            &["a.iso", "--accel", "tcg"][..],
            &[
                "qemu-system-x86_64 \\\n  -machine q35 \\\n  -accel tcg",
                "media=cdrom,readonly=on",
                "/a.iso",
                "mon:stdio",
                "-m 1024",
                "-smp 2",
            ][..],
            "usb",
        ),
        (
            &["a.iso", "--usb", "--accel", "tcg", "--memory", "2G", "--cpus", "1"],
            &["snapshot=on", "usb-storage", "-m 2048", "-smp 1"],
            "cdrom",
        ),
        (&["stick.img", "--window", "--accel", "tcg"], &["usb-storage"], "snapshot"),
        (&["stick.img", "--accel", "kvm"], &["-accel kvm", "-serial mon:stdio"], "tcg"),
    ] {
        let mut all = vec!["run", "--dry-run"];
        all.extend(arguments);
        let (code, stdout, stderr) = run(&all, dir.path());
        assert_eq!((code, stderr.as_str()), (0, ""), "{arguments:?}");
        assert!(stdout.contains(&path), "{stdout}");
        for word in shows {
            assert!(stdout.contains(word), "{word} is not in\n{stdout}");
        }
        assert!(!stdout.contains(shows_not), "{shows_not} is in\n{stdout}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
}

#[test]
fn append_needs_one_of_our_images() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.iso"), vec![0; 1 << 20]).unwrap();
    let (code, _, stderr) = run(&["run", "a.iso", "--append", "debug", "--dry-run"], dir.path());
    assert_eq!(code, 1);
    assert!(stderr.contains("it is no ISO image\nhint: --append works with ISO images made by"), "{stderr}");
}

#[test]
fn commands_for_a_live_system_tell_that_this_is_none() {
    let dir = tempfile::tempdir().unwrap();
    for line in
        ["activate x.sb", "deactivate x.sb", "list", "status --json", "refresh", "build-iso --from-running"]
    {
        let words: Vec<&str> = line.split(' ').collect();
        let (code, out, said) = run(&words, dir.path());
        assert_eq!((code, out.as_str()), (1, ""), "{line}: {said}");
        assert!(said.contains("error: this is not a live system of livekit"), "{line}: {said}");
        assert!(said.contains("hint: "), "{line}: {said}");
        let (code, help, _) = run(&["help", words[0]], dir.path());
        assert!(code == 0 && help.lines().count() > 5, "{line}: {help}");
    }
}
