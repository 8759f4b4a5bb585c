use super::*;

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("livekit-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn numbers_are_folder_names_as_written() {
    for (name, expected) in
        [("1", Some(1)), ("12", Some(12)), ("0", None), ("01", None), ("+1", None), ("1a", None)]
    {
        assert_eq!(number(name), expected, "{name}");
    }
}

#[test]
fn sessions_are_made_noted_and_found_again() {
    let folder = Folder::new("sessions");
    let sessions = Sessions::at(&folder.0);
    assert_eq!(sessions.meant(Which::Resume).unwrap(), None);
    let about = About { name: Some("work\nplace".into()), created: Some(5), ..About::default() };
    assert_eq!(sessions.create(&about).unwrap().number, 1);
    assert_eq!(sessions.create(&About::default()).unwrap().number, 2);
    fs::create_dir(folder.0.join("lost+found")).unwrap();
    fs::write(folder.0.join("3"), "a file").unwrap();
    assert_eq!(sessions.create(&About { used: Some(9), ..About::default() }).unwrap().number, 4);

    let numbers: Vec<u32> = sessions.list().unwrap().iter().map(|s| s.number).collect();
    assert_eq!(numbers, [1, 2, 4]);
    assert_eq!(sessions.get(1).unwrap().title(), "work place");
    assert_eq!(sessions.get(2).unwrap().title(), "session 2");
    let number = |which| sessions.meant(which).map(|s| s.map(|s| s.number));
    assert_eq!(number(Which::Resume).unwrap(), Some(4), "the last used");
    sessions.note(2).unwrap();
    assert_eq!(number(Which::Resume).unwrap(), Some(2));
    assert_eq!(number(Which::New).unwrap(), None);
    assert_eq!(number(Which::Number(1)).unwrap(), Some(1));
    let error = number(Which::Number(3)).unwrap_err();
    assert!(error.message().contains("no session 3") && error.hint_text().unwrap().contains("1, 2, 4"));
    sessions.note(77).unwrap();
    assert_eq!(number(Which::Resume).unwrap(), Some(4), "a note of one that is gone");
}

#[test]
fn what_is_told_of_a_session_is_read_again() {
    for (name, created, used) in
        [(None, None, None), (Some("a=b"), Some(1), Some(2)), (Some("é"), Some(0), None)]
    {
        let about = About { name: name.map(str::to_owned), created, used, encrypt: created.is_some() };
        assert_eq!(About::parse(&about.text()), about);
    }
    assert_eq!(About::parse("name=\nused=soon\nrubbish"), About::default());
}
