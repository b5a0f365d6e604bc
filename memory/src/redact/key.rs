//! The key of the tags: 32 random bytes in a file of mode 0600, made once.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::MemoryError;

/// Reads the key, or makes it where there is none. Of two processes that make it at once, both
/// end up with the same one.
pub fn load_or_create(path: &Path) -> Result<[u8; 32], MemoryError> {
    let failed = |why: String| MemoryError::Key { path: path.to_owned(), why };
    if !path.exists() {
        create(path).map_err(|error| failed(format!("can't be made: {error}")))?;
    }
    let mode = fs::metadata(path).map_err(|error| failed(error.to_string()))?.permissions().mode();
    if mode & 0o077 != 0 {
        return Err(failed(format!("is readable by others (mode {:o}): chmod 600 it", mode & 0o777)));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    blake3::Hash::from_hex(text.trim()).map(|parsed| *parsed.as_bytes()).map_err(|error| {
        failed(format!("is not 64 hexadecimal digits ({error}): restore it, or remove it to have a new one made"))
    })
}

/// Writes the key beside its place and links it there, so that a crash can't leave half a key.
fn create(path: &Path) -> io::Result<()> {
    let mut key = [0_u8; 32];
    File::open("/dev/urandom")?.read_exact(&mut key)?;
    let draft = path.with_extension(format!("draft-{}", std::process::id()));
    let _ = fs::remove_file(&draft); // left by a process of the same number that died here
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(blake3::Hash::from_bytes(key).to_hex().as_bytes())?;
    file.sync_all()?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_key_is_made_once_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("redaction.key");
        let first = load_or_create(&path).unwrap();
        assert_eq!(load_or_create(&path).unwrap(), first);
        assert_ne!(first, [0; 32]);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_spoiled_or_exposed_key_is_refused_with_a_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("redaction.key");
        load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(load_or_create(&path).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(load_or_create(&path).unwrap_err().to_string().contains("remove it"));
    }
}
