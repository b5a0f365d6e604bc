#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn a_story_belongs_to_the_part_that_the_script_says() {
    let split = Command::new("examples/stories/split").output().unwrap();
    let said = String::from_utf8(split.stdout).unwrap();
    assert!(said.lines().count() > 30, "{said}");
    for line in said.lines() {
        let (part, name) = line.split_once(' ').unwrap();
        assert_eq!(Part::of(name).name(), part, "{name}");
    }
}

#[test]
fn every_example_can_be_read_and_a_part_is_a_selection() {
    let dir = Path::new("examples/stories");
    let all = find(dir, &[], WhichPart::All).unwrap();
    let count = |part| find(dir, &[], part).unwrap().len();
    assert_eq!(count(WhichPart::Learning) + count(WhichPart::Reporting), all.len());
    assert!(all.iter().all(|story| !story.is_solvable() || !story.hidden.is_empty() && !story.meta.places.is_empty()));
    let one = find(dir, &["rust-lru".into()], WhichPart::All).unwrap();
    assert_eq!((one.len(), one[0].meta.kind), (1, StoryKind::Fault));
    assert_eq!(find(&dir.join("rust-lru"), &[], WhichPart::All).unwrap()[0].digest, one[0].digest);
    let unknown = find(dir, &["rust-lre".into()], WhichPart::All).unwrap_err();
    assert!(unknown.what.contains("rust-lre") && unknown.next.contains("rust-lru"), "{unknown}");
}

#[test]
fn a_seed_goes_into_the_head_and_nowhere_else() {
    let text = "---\ntitle: a\nseed: 7\ntest: make\n---\nseed: not this\n---\n";
    let other = with_seed(text, 9);
    assert_eq!(other, "---\ntitle: a\ntest: make\nseed: 9\n---\nseed: not this\n---\n");
    assert_eq!(Story::parse(&other).unwrap().seed, 9);
    let without = "---\r\ntitle: a\r\ntest: make\r\n---\r\nb";
    assert_eq!(Story::parse(&with_seed(without, 3)).unwrap().seed, 3);
}

#[test]
fn what_is_hidden_decides_the_digest() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join("s").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    file("story.md", "---\ntitle: a\ntest: make\n---\nb\n");
    file("make-repo.sh", "exit 3\n");
    let missing = Folder::read(&dir.path().join("s")).unwrap_err();
    assert!(missing.what.contains("hidden/meta.toml") && missing.next.contains("fleet bench import"), "{missing}");
    file("hidden/meta.toml", "kind = 'fault'\nplaces = ['a.py::f']\n");
    let before = Folder::read(&dir.path().join("s")).unwrap();
    file("hidden/tests/deep/test_x.py", "1");
    let after = Folder::read(&dir.path().join("s")).unwrap();
    assert_ne!(before.digest, after.digest);
    assert_eq!(after.hidden, [("deep/test_x.py".to_owned(), b"1".to_vec())]);
    let failed = after.make_repo(&dir.path().join("repo")).unwrap_err();
    assert!(failed.what.contains("make-repo.sh failed"), "{failed}");
    file("hidden/meta.toml", "kind = 'fault'\nplaces = []\nbaits = []\n");
    assert!(Folder::read(&dir.path().join("s")).unwrap_err().what.contains("baits"));
}
