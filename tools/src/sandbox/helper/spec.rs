//! What passes between fleetd and the helper: a request on its stdin, a reply on its stdout.
//!
//! Both are a JSON header and raw bytes, each with its length before it. The two ends are always the same program, so
//! the format has no versions.

use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::sandbox::cgroup::Leaf;
use crate::sandbox::{Bind, Clip, Limits, Stop};

/// More than any header or stream is; what is longer is not ours.
const MAX_PART: u64 = 1 << 30;

/// A run, checked and resolved: every path absolute and free of symbolic links.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Spec {
    pub(crate) bwrap: PathBuf,
    pub(crate) argv: Vec<String>,
    pub(crate) workspace: PathBuf,
    /// Where to start, as seen inside.
    pub(crate) cwd: String,
    pub(crate) scratch: Option<PathBuf>,
    pub(crate) read_only: Vec<Bind>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) limits: Limits,
    /// The user and group to become, where the node is root.
    pub(crate) drop_to: Option<u32>,
    pub(crate) leaf: Option<Leaf>,
}

/// What came of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    Done(Done),
    /// The command didn't run.
    SetupFailed(String),
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) exit: Option<i32>,
    pub(crate) stopped: Option<Stop>,
    pub(crate) oom: bool,
    pub(crate) wall_ms: u64,
    pub(crate) cpu_ms: u64,
    pub(crate) memory_peak: u64,
    pub(crate) notes: Vec<String>,
    /// Omitted bytes and lines of stdout and stderr; the bytes that were kept follow the header.
    pub(crate) omitted: [(u64, u64); 2],
}

pub(crate) fn write_request(to: &mut impl Write, spec: &Spec, stdin: Option<&[u8]>) -> io::Result<()> {
    write_json(to, &(spec, stdin.is_some()))?;
    write_part(to, stdin.unwrap_or_default())?;
    to.flush()
}

pub(crate) fn read_request(from: &mut impl Read) -> io::Result<(Spec, Option<Vec<u8>>)> {
    let (spec, has_stdin): (Spec, bool) = read_json(from)?;
    let stdin = read_part(from)?;
    Ok((spec, has_stdin.then_some(stdin)))
}

pub(crate) fn write_reply(to: &mut impl Write, reply: &Reply, clips: &[Clip; 2]) -> io::Result<()> {
    write_json(to, reply)?;
    for clip in clips {
        write_part(to, &clip.head)?;
        write_part(to, &clip.tail)?;
    }
    to.flush()
}

pub(crate) fn read_reply(from: &mut impl Read) -> io::Result<(Reply, [Clip; 2])> {
    let reply: Reply = read_json(from)?;
    let omitted = match &reply {
        Reply::Done(done) => done.omitted,
        Reply::SetupFailed(_) => Default::default(),
    };
    let mut clip = |(omitted_bytes, omitted_lines)| -> io::Result<Clip> {
        Ok(Clip { head: read_part(from)?, tail: read_part(from)?, omitted_bytes, omitted_lines })
    };
    let clips = [clip(omitted[0])?, clip(omitted[1])?];
    Ok((reply, clips))
}

fn write_json(to: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    write_part(to, &serde_json::to_vec(value)?)
}

fn read_json<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    Ok(serde_json::from_slice(&read_part(from)?)?)
}

fn write_part(to: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    to.write_all(&(bytes.len() as u64).to_le_bytes())?;
    to.write_all(bytes)
}

fn read_part(from: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 8];
    from.read_exact(&mut len)?;
    let len = u64::from_le_bytes(len);
    if len > MAX_PART {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a part is too long"));
    }
    let mut bytes = Vec::new();
    from.take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_reply_comes_back_as_it_was_sent_with_bytes_that_are_no_text() {
        let clips = [
            Clip { head: vec![0, 255], tail: vec![7], omitted_bytes: 3, omitted_lines: 1 },
            Clip::whole(b"err".to_vec()),
        ];
        let done = Done { exit: Some(3), omitted: [(3, 1), (0, 0)], ..Done::default() };
        let mut wire = Vec::new();
        write_reply(&mut wire, &Reply::Done(done), &clips).unwrap();
        let (reply, back) = read_reply(&mut wire.as_slice()).unwrap();
        assert_eq!(back, clips);
        assert!(matches!(reply, Reply::Done(Done { exit: Some(3), .. })));
    }

    #[test]
    fn a_reply_that_was_cut_short_is_an_error_at_every_length() {
        let mut wire = Vec::new();
        write_reply(&mut wire, &Reply::SetupFailed("x".into()), &Default::default()).unwrap();
        for len in 0..wire.len() {
            assert!(read_reply(&mut &wire[..len]).is_err(), "{len}");
        }
    }
}
