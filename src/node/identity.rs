//! Which node this is, and in which of its lives: kept in the state directory, so that a restarted process is the same
//! node with a higher incarnation, and what was addressed to the one before is refused.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use fleet_runtime::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};

/// A node in one of its lives.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) node: NodeId,
    pub(super) incarnation: Incarnation,
}

impl Identity {
    /// The next life of the node whose state lies here. Durable before it is used.
    pub(super) fn next(file: &Path) -> io::Result<Self> {
        let identity = match fs::read(file) {
            Ok(bytes) => {
                let last: Self = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
                Self { incarnation: last.incarnation.next(), ..last }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Self { node: NodeId::new_random(), incarnation: Incarnation(1) }
            }
            Err(e) => return Err(e),
        };
        identity.save(file)?;
        Ok(identity)
    }

    fn save(self, file: &Path) -> io::Result<()> {
        let new = file.with_extension("new");
        let mut out = fs::File::create(&new)?;
        out.write_all(&serde_json::to_vec(&self).map_err(io::Error::other)?)?;
        out.sync_all()?;
        fs::rename(&new, file)?;
        match file.parent() {
            Some(dir) => fs::File::open(dir)?.sync_all(),
            None => Ok(()),
        }
    }
}

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_restarted_node_is_the_same_node_in_its_next_life() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("node.json");
        let first = Identity::next(&file).unwrap();
        let second = Identity::next(&file).unwrap();
        assert_eq!(first.node, second.node);
        assert_eq!(second.incarnation, first.incarnation.next());
    }
}
