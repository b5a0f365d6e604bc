//! The choices that blobs are given.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

use crate::supervise::Backoff;

/// How blobs are kept, cached and fetched from other nodes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BlobsOptions {
    /// How long a blob that nobody holds stays, counted from when it was last stored, used or released: long enough for a
    /// submit that follows its upload. Default 24 h.
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// Bytes of blobs on the disk of a node that doesn't keep them but caches them. Blobs in use count and stay, so it may be
    /// exceeded by them. Default 10 GiB.
    pub cache: ByteSize,
    /// Bytes of blobs in memory, for those that are asked for often; also the largest blob that is read as a whole. Default
    /// 256 MiB.
    pub memory: ByteSize,
    /// How long fetching, or handing a blob over to its keeper, may take. A fetch that ran out of time goes on where it was
    /// when it is asked for again. Default 2 min.
    #[serde(with = "humantime_serde")]
    pub deadline: Duration,
    /// Bytes of a blob that are asked for at a time, 8 MiB at most. Default 1 MiB.
    pub piece: ByteSize,
    /// Pieces of one blob that are asked for ahead. Raise it for links with a long round trip. Default 4.
    pub ahead: usize,
    /// How long to wait for one piece before another node is tried. Default 10 s.
    #[serde(with = "humantime_serde")]
    pub piece_deadline: Duration,
    /// Blobs that are fetched at the same time; with `piece` and `ahead` this bounds what is on its way. Default 8.
    pub fetches: usize,
    /// Pauses between attempts while no node that has a blob can be reached. Default 100 ms, doubled up to 2 s.
    pub backoff: Backoff,
    /// How often it is looked for what has become too old. Default 10 min.
    #[serde(with = "humantime_serde")]
    pub sweep: Duration,
}

impl Default for BlobsOptions {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(24 * 3600),
            cache: ByteSize::gib(10),
            memory: ByteSize::mib(256),
            deadline: Duration::from_secs(120),
            piece: ByteSize::mib(1),
            ahead: 4,
            piece_deadline: Duration::from_secs(10),
            fetches: 8,
            backoff: Backoff { initial: Duration::from_millis(100), max: Duration::from_secs(2), jitter: 0.2 },
            sweep: Duration::from_secs(10 * 60),
        }
    }
}
