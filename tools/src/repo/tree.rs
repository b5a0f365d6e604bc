//! Trees as git lists them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use super::bundle::limit;
use super::git::Git;
use super::id::is_oid;
use super::{Caps, RepoError, path};

/// The id of a tree.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TreeId(pub(crate) String);

impl TreeId {
    /// The 40 hex digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn parse(text: &str) -> Result<Self, RepoError> {
        if is_oid(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RepoError::BadName { what: "tree id", value: text.chars().take(80).collect() })
        }
    }
}

/// What an entry of a tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A plain file.
    File,
    /// A file with its executable bit set.
    Executable,
    /// A symbolic link.
    Link,
    /// Another repository's commit; nothing of it is ever fetched or written.
    Submodule,
}

impl Kind {
    pub(crate) fn mode(self) -> &'static str {
        match self {
            Self::File => "100644",
            Self::Executable => "100755",
            Self::Link => "120000",
            Self::Submodule => "160000",
        }
    }

    fn of(mode: &str) -> Option<Self> {
        Some(match mode {
            "100644" | "100664" => Self::File,
            "100755" => Self::Executable,
            "120000" => Self::Link,
            "160000" => Self::Submodule,
            _ => return None,
        })
    }
}

/// One entry of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub kind: Kind,
    /// The id of its content.
    pub oid: String,
    /// Its size in bytes; 0 for a submodule.
    pub bytes: u64,
}

/// Everything in a tree by path, every path checked, sizes within the caps.
pub(crate) fn list(git: &Git, tree: &str, caps: &Caps) -> Result<BTreeMap<String, Entry>, RepoError> {
    let listing = git.run(&["ls-tree", "-r", "-z", "-l", "--full-tree", tree])?;
    let mut entries = BTreeMap::new();
    let mut bytes = 0u64;
    for line in listing.split(|b| *b == 0).filter(|line| !line.is_empty()) {
        let (path, entry) = parse_line(line)?;
        bytes = bytes.saturating_add(entry.bytes);
        entries.insert(path, entry);
        limit("files of the tree", entries.len() as u64, caps.files)?;
        limit("bytes of the tree", bytes, caps.tree_bytes)?;
    }
    Ok(entries)
}

/// One path of a tree.
pub(crate) fn list_path(git: &Git, tree: &str, path: &str) -> Result<Option<Entry>, RepoError> {
    let pathspec = format!(":(literal,top){path}");
    let listing = git.run(&["ls-tree", "-z", "-l", "--full-tree", tree, "--", &pathspec])?;
    let line = listing.split(|b| *b == 0).find(|line| !line.is_empty());
    line.map(|line| parse_line(line).map(|(_, entry)| entry)).transpose()
}

fn parse_line(line: &[u8]) -> Result<(String, Entry), RepoError> {
    let text = std::str::from_utf8(line).map_err(|_| RepoError::UnsafePath {
        path: String::from_utf8_lossy(line).into_owned(),
        why: "it isn't UTF-8",
    })?;
    let odd = || RepoError::Git { command: "ls-tree".to_owned(), detail: format!("an odd line: {text:?}") };
    let (meta, path) = text.split_once('\t').ok_or_else(odd)?;
    let mut fields = meta.split_ascii_whitespace();
    let (mode, _, oid, size) = (fields.next(), fields.next(), fields.next(), fields.next());
    path::check(path).map_err(|why| RepoError::UnsafePath { path: path.to_owned(), why })?;
    let entry = Entry {
        kind: mode.and_then(Kind::of).ok_or_else(odd)?,
        oid: oid.filter(|oid| is_oid(oid)).ok_or_else(odd)?.to_owned(),
        bytes: size.and_then(|size| size.parse().ok()).unwrap_or(0),
    };
    Ok((path.to_owned(), entry))
}

/// Reads many objects through one git process.
pub(crate) struct Objects {
    child: Child,
    requests: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Objects {
    pub(crate) fn of(git: &Git) -> Result<Self, RepoError> {
        let mut command = git.command(&["cat-file", "--batch"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(RepoError::io("git"))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(requests), Some(replies)) => Ok(Self { child, requests, replies: BufReader::new(replies) }),
            _ => Err(broken("no pipe")),
        }
    }

    /// The content of a blob, at most `max` bytes of it.
    pub(crate) fn read(&mut self, oid: &str, max: u64) -> Result<Vec<u8>, RepoError> {
        let io = RepoError::io("git cat-file");
        self.requests.write_all(format!("{oid}\n").as_bytes()).and_then(|()| self.requests.flush()).map_err(io)?;
        let mut head = String::new();
        self.replies.read_line(&mut head).map_err(RepoError::io("git cat-file"))?;
        let mut fields = head.split_ascii_whitespace();
        let (_, kind, size) = (fields.next(), fields.next(), fields.next());
        if kind != Some("blob") {
            return Err(broken(head.trim()));
        }
        let size: u64 = size.and_then(|size| size.parse().ok()).ok_or_else(|| broken(head.trim()))?;
        limit("bytes of a file", size, max)?;
        let mut content = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
        self.replies.read_exact(&mut content).map_err(RepoError::io("git cat-file"))?;
        let mut end = [0];
        self.replies.read_exact(&mut end).map_err(RepoError::io("git cat-file"))?;
        Ok(content)
    }
}

impl Drop for Objects {
    fn drop(&mut self) {
        // It only reads; nothing is lost by ending it at once.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn broken(detail: &str) -> RepoError {
    RepoError::Git { command: "cat-file".to_owned(), detail: detail.to_owned() }
}
