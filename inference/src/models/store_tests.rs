#![allow(clippy::unwrap_used, clippy::expect_used)]
use sha2::{Digest, Sha256};

use super::*;

const CONTENT: &[u8] = b"not really a model";

fn catalogue() -> Catalogue {
    let sha256 = super::super::hash::hex(Sha256::new_with_prefix(CONTENT));
    let bytes = CONTENT.len();
    Catalogue::parse(&format!(
        "[[model]]\nname = \"tiny\"\nsummary = \"\"\nfile = \"tiny.gguf\"\nbytes = {bytes}\nsha256 = \"{sha256}\"\nlicence = \"MIT\"\n"
    ))
    .unwrap()
}

fn store() -> (tempfile::TempDir, ModelStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = ModelStore::new(dir.path().join("models"), catalogue());
    (dir, store)
}

fn only_status(store: &ModelStore) -> ModelStatus {
    store.list().remove(0).status
}

#[test]
fn a_file_of_the_right_hash_is_taken_in_and_known_without_hashing_again() {
    let (dir, mut store) = store();
    let file = dir.path().join("whatever.bin");
    fs::write(&file, CONTENT).unwrap();
    assert_eq!(only_status(&store), ModelStatus::Missing);
    let (name, path) = store.add(&file, &NewModel::default(), &mut |_| {}).unwrap();
    assert_eq!((name.as_str(), fs::read(&path).unwrap().as_slice()), ("tiny", CONTENT));
    assert_eq!(only_status(&store), ModelStatus::Verified);
    assert_eq!(store.path("tiny").unwrap(), path);
    let left: Vec<_> = fs::read_dir(store.dir().join(".partial")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn another_file_is_not_the_model_whatever_its_name() {
    let (dir, store) = store();
    let file = dir.path().join("other.gguf");
    fs::write(&file, b"not really a mode!").unwrap();
    let pulled = store.pull("tiny", &Source::File(file), &mut |_| {});
    assert!(matches!(pulled, Err(ModelError::WrongHash { .. })), "{pulled:?}");
    assert_eq!(only_status(&store), ModelStatus::Missing);
}

#[test]
fn a_file_that_nobody_knows_gets_a_name_which_is_known_from_then_on() {
    let (dir, mut store) = store();
    let file = dir.path().join("other.gguf");
    fs::write(&file, b"another one").unwrap();
    let new = |name: &str| NewModel { name: name.into(), url: Some("https://x/y.gguf".into()), ..NewModel::default() };
    for name in ["", "../up", ".hidden", "a b"] {
        assert!(matches!(store.add(&file, &new(name), &mut |_| {}), Err(ModelError::BadName { .. })), "{name}");
    }
    assert!(matches!(store.add(&file, &new("tiny"), &mut |_| {}), Err(ModelError::NameTaken { .. })));
    let (name, path) = store.add(&file, &new("mine"), &mut |_| {}).unwrap();
    assert_eq!((name.as_str(), path.file_name().unwrap()), ("mine", "mine.gguf".as_ref()));
    let mut catalogue = catalogue();
    catalogue.extend(own_catalogue(store.dir()).unwrap());
    let again = ModelStore::new(store.dir(), catalogue);
    assert_eq!(again.path("mine").unwrap(), path);
    assert_eq!(again.catalogue().get("mine").unwrap().urls, ["https://x/y.gguf"]);
    // The same file once more is the same model.
    assert_eq!(store.add(&file, &new("other"), &mut |_| {}).unwrap().0, "mine");
}

#[test]
fn what_belongs_beside_the_weights_comes_with_them_and_is_proven_too() {
    let dir = tempfile::tempdir().unwrap();
    let hash = |content: &[u8]| super::super::hash::hex(Sha256::new_with_prefix(content));
    let text = format!(
        "[[model]]\nname = \"two\"\nsummary = \"\"\nfile = \"two/weights\"\nbytes = 3\nsha256 = \"{}\"\nlicence = \"MIT\"\n\
         [[model.beside]]\nfile = \"two/words\"\nbytes = 4\nsha256 = \"{}\"\n",
        hash(b"abc"),
        hash(b"defg")
    );
    let store = ModelStore::new(dir.path().join("models"), Catalogue::parse(&text).unwrap());
    fs::write(dir.path().join("w.bin"), b"abc").unwrap();
    let source = Source::File(dir.path().join("w.bin"));
    assert!(store.pull("two", &source, &mut |_| {}).is_err());
    fs::write(dir.path().join("words"), b"defg").unwrap();
    let path = store.pull("two", &source, &mut |_| {}).unwrap();
    assert_eq!(store.path("two").unwrap(), path);
    fs::write(store.dir().join("two/words"), b"de").unwrap();
    assert!(matches!(store.path("two"), Err(ModelError::WrongSize { actual: 2, .. })));
}

#[test]
fn a_file_that_changed_after_it_was_stamped_is_hashed_again_and_refused() {
    let (dir, mut store) = store();
    let file = dir.path().join("tiny");
    fs::write(&file, CONTENT).unwrap();
    let (_, path) = store.add(&file, &NewModel::default(), &mut |_| {}).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    fs::write(&path, b"not really a mode!").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(later).unwrap();
    assert_eq!(only_status(&store), ModelStatus::Unverified);
    assert!(matches!(store.path("tiny"), Err(ModelError::WrongHash { .. })));
    fs::write(&path, b"cut").unwrap();
    let error = store.path("tiny").unwrap_err().to_string();
    assert!(error.contains("3 bytes instead of 18") && error.contains("fleet model pull tiny"), "{error}");
}

#[test]
fn a_missing_model_is_named_with_the_command_that_gets_it() {
    let (_dir, store) = store();
    assert!(store.path("tiny").unwrap_err().to_string().contains("fleet model pull tiny"));
    assert!(matches!(store.pull("tiny", &Source::Index, &mut |_| {}), Err(ModelError::NoSource { .. })));
}
