//! What can be set about the embedded journal.

use std::time::Duration;

use bytesize::ByteSize;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JournalOptions {
    /// Events in one commit at most. More amortise the fsync better, fewer answer the first one
    /// sooner. Default 512.
    pub max_batch_events: usize,
    /// Appends that may wait for the writer. Default 4096.
    pub queue_requests: usize,
    /// Bytes that may wait for the writer. Default 64 MiB.
    pub queue_bytes: ByteSize,
    /// How long an append waits for room in the queue before it is told that the journal is busy.
    /// Default 5 s.
    #[serde(with = "humantime_serde")]
    pub wait_for_room: Duration,
    /// The largest event (payload and facts). What is larger belongs into a blob. Default 1 MiB.
    pub max_event_bytes: ByteSize,
    /// Reads that may run at a time. Default 4.
    pub read_connections: usize,
    /// Pages of 4 KiB that the WAL may have before it is written back. More make commits steadier
    /// and the file larger. Default 4000.
    pub checkpoint_pages: u32,
    /// How many of the last events are checked at open. Default 10000, some 0.1 s.
    pub verify_at_open: u64,
    /// A file up to this size has its whole structure checked at every open. Default 64 MiB, some
    /// 0.2 s.
    pub full_check_up_to: ByteSize,
    /// After an unclean end the structure is checked quickly, if the file isn't larger than this.
    /// Default 1 GiB, some seconds.
    pub quick_check_up_to: ByteSize,
}

impl Default for JournalOptions {
    fn default() -> Self {
        Self {
            max_batch_events: 512,
            queue_requests: 4096,
            queue_bytes: ByteSize::mib(64),
            wait_for_room: Duration::from_secs(5),
            max_event_bytes: ByteSize::mib(1),
            read_connections: 4,
            checkpoint_pages: 4000,
            verify_at_open: 10_000,
            full_check_up_to: ByteSize::mib(64),
            quick_check_up_to: ByteSize::gib(1),
        }
    }
}
