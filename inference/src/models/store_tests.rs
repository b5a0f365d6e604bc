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
    let (dir, store) = store();
    let file = dir.path().join("whatever.bin");
    fs::write(&file, CONTENT).unwrap();
    assert_eq!(only_status(&store), ModelStatus::Missing);
    let (name, path) = store.add(&file, &mut |_| {}).unwrap();
    assert_eq!((name.as_str(), fs::read(&path).unwrap().as_slice()), ("tiny", CONTENT));
    assert_eq!(only_status(&store), ModelStatus::Verified);
    assert_eq!(store.path("tiny").unwrap(), path);
    let left: Vec<_> = fs::read_dir(store.dir().join(".partial")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_file_that_is_no_model_of_the_catalogue_is_not_taken_in() {
    let (dir, store) = store();
    let file = dir.path().join("other.gguf");
    fs::write(&file, b"not really a mode!").unwrap();
    assert!(matches!(store.add(&file, &mut |_| {}), Err(ModelError::Unrecognised { .. })));
    let pulled = store.pull("tiny", &Source::File(file), &mut |_| {});
    assert!(matches!(pulled, Err(ModelError::WrongHash { .. })), "{pulled:?}");
    assert_eq!(only_status(&store), ModelStatus::Missing);
}

#[test]
fn a_file_that_changed_after_it_was_stamped_is_hashed_again_and_refused() {
    let (dir, store) = store();
    let file = dir.path().join("tiny");
    fs::write(&file, CONTENT).unwrap();
    let (_, path) = store.add(&file, &mut |_| {}).unwrap();
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
