//! Looks at the write-ahead log before SQLite does.
//!
//! SQLite ends its recovery silently at the first frame that doesn't check. That is right for the
//! torn end of a commit that was never acknowledged, and wrong for a flipped bit in the middle,
//! where acknowledged commits lie behind it. This scan tells the two apart. It only reads.
//!
//! Format: <https://www.sqlite.org/fileformat2.html#the_write_ahead_log>.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;

/// What the log looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wal {
    /// No log, or nothing in it: the last process closed the journal.
    Empty,
    /// Every frame that belongs to it is whole. It may end in a commit that wasn't finished.
    Whole,
    Damaged(WalDamage),
}

/// Where the log stops being readable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WalDamage {
    /// Byte in the file.
    pub offset: u64,
    /// Frames before it, all whole.
    pub frames_before: u64,
    pub what: &'static str,
    /// Frames behind the damage that belong to the same log. With any, what is behind was
    /// probably acknowledged; with none, this is how a write ends that was cut off.
    pub frames_behind: u64,
}

pub(super) fn scan(path: &Path) -> io::Result<Wal> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Wal::Empty),
        Err(e) => return Err(e),
    };
    scan_from(BufReader::with_capacity(1 << 20, file))
}

fn scan_from(mut from: impl Read) -> io::Result<Wal> {
    let mut header = [0; HEADER];
    let got = read_full(&mut from, &mut header)?;
    if got == 0 {
        return Ok(Wal::Empty);
    }
    let damaged = |what| WalDamage { offset: 0, frames_before: 0, what, frames_behind: 0 };
    if got < HEADER {
        return Ok(Wal::Damaged(damaged("its header is cut off")));
    }
    match Log::from_header(&header) {
        Some(log) => log.frames(from),
        None => {
            // Nothing tells its frames from older ones, so any may be lost.
            let rest = io::copy(&mut from, &mut io::sink())?;
            let frames_behind = rest / (4096 + FRAME_HEADER as u64);
            Ok(Wal::Damaged(WalDamage { frames_behind, ..damaged("its header doesn't check") }))
        }
    }
}

/// What the header says, and the running checksum.
struct Log {
    big_endian: bool,
    page: usize,
    salts: [u8; 8],
    sum: (u32, u32),
}

impl Log {
    fn from_header(header: &[u8; HEADER]) -> Option<Self> {
        let magic = be_u32(header, 0);
        let page = be_u32(header, 8) as usize;
        let known = magic & !1 == 0x377f_0682
            && be_u32(header, 4) == 3_007_000
            && (512..=65_536).contains(&page)
            && page.is_power_of_two();
        if !known {
            return None;
        }
        let mut log = Self { big_endian: magic & 1 == 1, page, salts: [0; 8], sum: (0, 0) };
        log.salts.copy_from_slice(&header[16..24]);
        log.sum = log.checksum(&header[..24]);
        (log.sum == (be_u32(header, 24), be_u32(header, 28))).then_some(log)
    }

    fn frames(mut self, mut from: impl Read) -> io::Result<Wal> {
        let mut frame = vec![0; FRAME_HEADER + self.page];
        let mut index = 0u64;
        let mut stop: Option<WalDamage> = None;
        loop {
            let got = read_full(&mut from, &mut frame)?;
            let ours = got >= 16 && frame[8..16] == self.salts;
            let offset = HEADER as u64 + index * frame.len() as u64;
            let fault = match &mut stop {
                _ if got == 0 => break,
                Some(damage) => {
                    damage.frames_behind += u64::from(ours);
                    None
                }
                None => self.fault(&frame, got, ours),
            };
            if let Some(what) = fault {
                stop = Some(WalDamage { offset, frames_before: index, what, frames_behind: 0 });
            }
            index += 1;
            if got < frame.len() {
                break;
            }
        }
        // A frame of another log ends this one; that is damage only if more of this one follows.
        let damage = stop.filter(|d| d.what != OTHER_LOG || d.frames_behind > 0);
        Ok(damage.map_or(Wal::Whole, Wal::Damaged))
    }

    fn fault(&mut self, frame: &[u8], got: usize, ours: bool) -> Option<&'static str> {
        if got >= 16 && !ours {
            return Some(OTHER_LOG);
        }
        if got < frame.len() {
            return Some("a frame is cut off");
        }
        self.sum = self.checksum(&frame[..8]);
        self.sum = self.checksum(&frame[FRAME_HEADER..]);
        let holds = self.sum == (be_u32(frame, 16), be_u32(frame, 20));
        (!holds).then_some("a frame's checksum doesn't hold")
    }

    /// SQLite's checksum, going on from the present one.
    fn checksum(&self, bytes: &[u8]) -> (u32, u32) {
        let word = |at: &[u8]| {
            let raw = [at[0], at[1], at[2], at[3]];
            if self.big_endian { u32::from_be_bytes(raw) } else { u32::from_le_bytes(raw) }
        };
        bytes.chunks_exact(8).fold(self.sum, |(a, b), pair| {
            let a = a.wrapping_add(word(&pair[..4])).wrapping_add(b);
            let b = b.wrapping_add(word(&pair[4..])).wrapping_add(a);
            (a, b)
        })
    }
}

const OTHER_LOG: &str = "a frame in the middle doesn't belong to the log";

fn be_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// Reads until the buffer is full or the file ends.
fn read_full(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match from.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}
