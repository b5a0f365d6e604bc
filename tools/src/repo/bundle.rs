//! The head of a git bundle, read and written by Fleet itself.
//!
//! `git bundle` would do it too, but it neither bounds what it unpacks nor checks objects, and it counts as a transport.
//! So the head is read here, and the pack behind it goes to `git index-pack`, which does both.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use super::git::{Git, Input};
use super::id::is_oid;
use super::{Caps, CommitId, RepoError};

const HEAD_MAX: u64 = 64 << 10;
const PACK_HEAD: usize = 12;

/// What a bundle says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    /// Commits that the receiver must have already.
    pub(crate) needs: Vec<CommitId>,
    /// What it brings, by ref.
    pub(crate) refs: Vec<(CommitId, String)>,
    /// Where the pack begins.
    pub(crate) pack_at: u64,
    /// Objects in the pack, by its own count.
    pub(crate) objects: u32,
}

/// Reads the head of a bundle; `bytes` is its beginning.
pub(crate) fn parse(bytes: &[u8]) -> Result<Head, RepoError> {
    let bad = |why: &str| RepoError::BadBundle(why.to_owned());
    let mut at = 0;
    let mut next = || -> Result<&str, RepoError> {
        let rest = bytes.get(at..).unwrap_or_default();
        let end = rest.iter().position(|b| *b == b'\n').ok_or_else(|| bad("its head has no end"))?;
        at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| bad("its head isn't text"))
    };
    match next()? {
        "# v2 git bundle" | "# v3 git bundle" => {}
        _ => return Err(bad("it isn't a git bundle")),
    }
    let mut head = Head { needs: Vec::new(), refs: Vec::new(), pack_at: 0, objects: 0 };
    loop {
        let line = next()?;
        match line.as_bytes().first() {
            None => break,
            Some(b'@') if line == "@object-format=sha1" => {}
            Some(b'@') => {
                return Err(bad("it uses a capability that isn't supported (a filter, or SHA-256)"));
            }
            Some(b'-') => head.needs.push(line[1..].split(' ').next().unwrap_or_default().parse()?),
            Some(_) => {
                let (id, name) = line.split_once(' ').ok_or_else(|| bad("a ref in its head is malformed"))?;
                head.refs.push((id.parse()?, name.to_owned()));
            }
        }
    }
    head.pack_at = at as u64;
    let pack = bytes.get(at..at + PACK_HEAD).ok_or_else(|| bad("it ends before its pack"))?;
    if &pack[..4] != b"PACK" {
        return Err(bad("no pack follows its head"));
    }
    head.objects = u32::from_be_bytes([pack[8], pack[9], pack[10], pack[11]]);
    Ok(head)
}

/// A bundle in a file, its head read and its size within the caps.
pub(crate) struct BundleFile {
    pub(crate) head: Head,
    file: File,
}

impl BundleFile {
    /// Opens a bundle; refuses one that is larger than the caps, before anything is unpacked.
    pub(crate) fn open(path: &Path, caps: &Caps) -> Result<Self, RepoError> {
        let mut file = File::open(path).map_err(RepoError::io(path))?;
        let bytes = file.metadata().map_err(RepoError::io(path))?.len();
        limit("bytes of the bundle", bytes, caps.pack_bytes)?;
        let mut start = Vec::new();
        (&mut file).take(HEAD_MAX).read_to_end(&mut start).map_err(RepoError::io(path))?;
        let head = parse(&start)?;
        limit("objects of the bundle", u64::from(head.objects), caps.objects)?;
        Ok(Self { head, file })
    }

    /// The pack, to be read from where the file stands.
    pub(crate) fn pack(&self) -> Result<File, RepoError> {
        let mut file = self.file.try_clone().map_err(RepoError::io("bundle"))?;
        file.seek(SeekFrom::Start(self.head.pack_at)).map_err(RepoError::io("bundle"))?;
        Ok(file)
    }

    /// Unpacks into a repository, every object checked.
    pub(crate) fn unpack(&self, git: &Git, caps: &Caps) -> Result<(), RepoError> {
        let max = format!("--max-input-size={}", caps.pack_bytes);
        let git = git.clone().with_rlimits();
        let args = ["index-pack", "--stdin", "--fix-thin", "--strict", &max];
        git.run_with(&args, Input::File(self.pack()?)).map(drop)
    }
}

pub(crate) fn limit(what: &str, actual: u64, limit: u64) -> Result<(), RepoError> {
    if actual > limit { Err(RepoError::TooLarge { what: what.to_owned(), actual, limit }) } else { Ok(()) }
}

/// Writes a bundle of `tip` under `name`, without what `base` already has.
pub(crate) fn write(
    git: &Git,
    tip: &CommitId,
    name: &str,
    base: Option<&CommitId>,
    out: &mut dyn Write,
) -> Result<(), RepoError> {
    debug_assert!(is_oid(tip.as_str()));
    let mut head = String::from("# v2 git bundle\n");
    let mut wanted = format!("{tip}\n");
    if let Some(base) = base {
        head.push_str(&format!("-{base} \n"));
        wanted.push_str(&format!("^{base}\n"));
    }
    head.push_str(&format!("{tip} {name}\n\n"));
    out.write_all(head.as_bytes()).map_err(RepoError::io("bundle"))?;
    let mut args = vec!["pack-objects", "--stdout", "--revs", "--delta-base-offset", "--quiet"];
    if base.is_some() {
        args.push("--thin");
    }
    let pack = git.clone().output_max(512 << 20).run_with(&args, Input::Bytes(wanted.as_bytes()))?;
    out.write_all(&pack).map_err(RepoError::io("bundle"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "0123456789012345678901234567890123456789";

    #[test]
    fn a_head_says_what_it_needs_and_brings() {
        let mut bytes = format!("# v2 git bundle\n-{ID} a comment\n{ID} refs/heads/x\n\n").into_bytes();
        let at = bytes.len() as u64;
        bytes.extend_from_slice(b"PACK\0\0\0\x02\0\0\0\x07rest");
        let head = parse(&bytes).unwrap();
        assert_eq!((head.needs.len(), head.refs.len(), head.pack_at, head.objects), (1, 1, at, 7));
    }

    #[test]
    fn partial_and_foreign_bundles_are_refused() {
        for text in [
            "",
            "# v2 git bundle",
            "# v1 git bundle\n\nPACK",
            "# v3 git bundle\n@filter=blob:none\n\nPACK00000000",
            "# v2 git bundle\nxyz refs/heads/a\n\nPACK00000000",
            "# v2 git bundle\n\nPACK",
        ] {
            assert!(parse(text.as_bytes()).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let mut with_head = b"# v2 git bundle\n".to_vec();
            with_head.extend(bytes);
            let _ = parse(&with_head);
        }
    }
}
