//! Who owns this node.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The name of the user who owns a directory.
pub(super) fn owner_of(dir: &Path) -> String {
    let Ok(uid) = fs::metadata(dir).map(|meta| meta.uid()) else {
        return "unknown".to_owned();
    };
    let users = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let named = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse() == Ok(uid)).then(|| name.to_owned())
    });
    named.unwrap_or_else(|| format!("uid-{uid}"))
}
