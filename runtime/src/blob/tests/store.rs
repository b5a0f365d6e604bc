use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use bytesize::ByteSize;

use crate::blob::*;

fn store(dir: &tempfile::TempDir, max_bytes: u64) -> BlobStore {
    BlobStore::open(dir.path(), BlobOptions { max_bytes: ByteSize(max_bytes) }).unwrap()
}

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(files_below(&path)) } else { files.push(path) }
    }
    files
}

#[tokio::test]
async fn what_is_put_comes_back_and_lies_in_a_private_file_named_by_its_hash() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 100);
    let digest = store.put("hello").await.unwrap();
    assert_eq!(digest.to_string(), blake3::hash(b"hello").to_hex().as_str());
    assert_eq!(store.get(&digest).await.unwrap(), b"hello");
    let path = store.path(&digest).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(store.put("hello").await.unwrap(), digest);
    assert_eq!(files_below(dir.path()), [path]);
}

#[tokio::test]
async fn a_stream_is_stored_in_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 1 << 20);
    let chunks = (0..100).map(|n| Ok::<_, io::Error>(Bytes::from(vec![n; 1000])));
    let (digest, size) = store.put_stream(futures::stream::iter(chunks)).await.unwrap();
    assert_eq!(size, 100_000);
    assert_eq!(Digest::of(&store.get(&digest).await.unwrap()), digest);
}

#[tokio::test]
async fn a_blob_that_is_too_large_or_whose_upload_breaks_off_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 10);
    assert!(matches!(store.put("12345678901").await, Err(BlobError::TooLarge { .. })));
    let broken = [Ok(Bytes::from("1234")), Err("connection reset")];
    let broken = store.put_stream(futures::stream::iter(broken)).await;
    assert!(matches!(broken, Err(BlobError::Upload(why)) if why == "connection reset"));
    assert_eq!(files_below(dir.path()), [] as [PathBuf; 0]);
}

#[tokio::test]
async fn a_damaged_blob_is_named_and_uploading_it_again_mends_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 100);
    let digest = store.put("hello").await.unwrap();
    std::fs::write(store.path(&digest).unwrap(), "hellO").unwrap();
    assert!(matches!(store.get(&digest).await, Err(BlobError::Damaged(d)) if d == digest));
    store.put("hello").await.unwrap();
    assert_eq!(store.get(&digest).await.unwrap(), b"hello");
}

#[tokio::test]
async fn a_deleted_blob_is_gone_and_deleting_it_again_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(&dir, 100);
    let digest = store.put("hello").await.unwrap();
    assert!(store.delete(&digest).await.unwrap());
    assert!(!store.delete(&digest).await.unwrap());
    assert!(matches!(store.get(&digest).await, Err(BlobError::NotFound(_))));
    assert_eq!(store.path(&digest), None);
}

#[tokio::test]
async fn what_a_crashed_upload_left_is_swept_when_the_store_is_opened() {
    let dir = tempfile::tempdir().unwrap();
    let digest = store(&dir, 100).put("hello").await.unwrap();
    std::fs::write(dir.path().join("incoming/half"), "hel").unwrap();
    let store = store(&dir, 100);
    assert_eq!(files_below(dir.path()), [store.path(&digest).unwrap()]);
}

#[test]
fn a_digest_has_one_spelling_only() {
    let digest = Digest::of(b"x");
    assert_eq!(digest.to_string().parse::<Digest>().unwrap(), digest);
    assert!(digest.to_string().to_uppercase().parse::<Digest>().is_err());
    assert!("../../etc/passwd".parse::<Digest>().is_err());
}
