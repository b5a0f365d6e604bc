//! Pieces of memory that two processes of one machine have in common.
//!
//! A [`Segment`] belongs to the process that made it, which is the only one that writes to it. The other one opens it by
//! the maker's entry in `/proc` and gets a [`View`] that it can only read. What tells it that this is the right one is a
//! random number at the beginning, of which it has heard over a connection that is authenticated and encrypted.

#![expect(unsafe_code, reason = "reading and writing memory that another process has mapped too")]

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};

use memmap2::{Mmap, MmapOptions, MmapRaw};
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, readlink};
use nix::sys::memfd::{MFdFlags, memfd_create};
use wincode::{SchemaRead, SchemaWrite};

/// What the descriptors are called; says what they are in `/proc`.
const NAME: &str = "fleet-lane";
/// The first page has the number, the rest is for messages.
const HEADER: usize = 4096;

/// Tells which memory is meant.
pub(in crate::lane) type Nonce = [u8; 32];

/// Where another process finds a segment.
#[derive(Debug, PartialEq, Eq, SchemaWrite, SchemaRead)]
pub(in crate::lane) struct Whereabouts {
    /// Of the running kernel: on another one there is nothing to be found.
    pub kernel: String,
    pub process: u32,
    pub descriptor: i32,
    /// Bytes for messages.
    pub len: u64,
    pub nonce: Nonce,
}

/// Memory that this process fills and another one reads.
#[derive(Debug)]
pub(in crate::lane) struct Segment {
    map: MmapRaw,
    /// Until the other process has it open.
    file: Option<File>,
    nonce: Nonce,
}

impl Segment {
    /// With room for so many bytes.
    pub fn new(len: usize) -> io::Result<Self> {
        let file = File::from(memfd_create(NAME, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?);
        let nonce: Nonce = rand::random();
        (&file).write_all(&nonce)?;
        file.set_len((HEADER + len) as u64)?;
        // Whoever maps it can rely on its length.
        fcntl(&file, FcntlArg::F_ADD_SEALS(needed_seals()))?;
        Ok(Self { map: MmapOptions::new().map_raw(&file)?, file: Some(file), nonce })
    }

    pub fn capacity(&self) -> usize {
        self.map.len() - HEADER
    }

    /// Where another process finds it, until it is [opened](Self::opened).
    pub fn whereabouts(&self) -> io::Result<Whereabouts> {
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("it has been opened"))?;
        Ok(Whereabouts {
            kernel: kernel()?,
            process: std::process::id(),
            descriptor: file.as_raw_fd(),
            len: self.capacity() as u64,
            nonce: self.nonce,
        })
    }

    /// The other process has it open: it takes no descriptor any more.
    pub fn opened(&mut self) {
        self.file = None;
    }

    /// Writes these one after the other; false, and nothing written, where there is no room for them. Nobody may be
    /// reading what was here before.
    pub fn fill<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]> + Clone) -> bool {
        if parts.clone().map(<[u8]>::len).sum::<usize>() > self.capacity() {
            return false;
        }
        let mut at = HEADER;
        for part in parts {
            // SAFETY: the sum of all parts fits behind the header, as was checked, and the mapping is writable and lives
            // as long as `self`. A part can't overlap: no slice of this mapping is ever made in this process.
            unsafe { std::ptr::copy_nonoverlapping(part.as_ptr(), self.map.as_mut_ptr().add(at), part.len()) };
            at += part.len();
        }
        true
    }
}

/// Memory of another process, to read.
#[derive(Debug)]
pub(in crate::lane) struct View(Mmap);

impl View {
    /// The error says why it can't be had: that isn't anybody's fault where the other process runs elsewhere.
    pub fn open(whereabouts: &Whereabouts) -> io::Result<Self> {
        let Whereabouts { kernel: theirs, process, descriptor, len, nonce } = whereabouts;
        if *theirs != kernel()? {
            return Err(io::Error::other("it is on another machine"));
        }
        let process = format!("/proc/{process}");
        if std::fs::metadata(&process)?.uid() != nix::unistd::geteuid().as_raw() {
            return Err(io::Error::other("the process is another user's"));
        }
        let path = format!("{process}/fd/{descriptor}");
        // Before it is opened: to open something else might have effects.
        let target = readlink(path.as_str())?;
        if !target.to_string_lossy().starts_with(&format!("/memfd:{NAME}")) {
            return Err(io::Error::other("it is no such memory"));
        }
        let file = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
        let (file, fd) = (file.try_clone()?, OwnedFd::from(file));
        let seals = SealFlag::from_bits_truncate(fcntl(&fd, FcntlArg::F_GET_SEALS)?);
        if !seals.contains(needed_seals()) {
            return Err(io::Error::other("its length isn't sealed"));
        }
        let whole = HEADER as u64 + len;
        if file.metadata()?.len() != whole {
            return Err(io::Error::other("it is of another length"));
        }
        let mut found = Nonce::default();
        (&file).read_exact(&mut found)?;
        if found != *nonce {
            return Err(io::Error::other("it is other memory than meant"));
        }
        let whole = usize::try_from(whole).map_err(io::Error::other)?;
        // SAFETY: the length is sealed, so that the mapping stays valid. The other process is a node of this cluster and of
        // this user; it doesn't write to a part of it while that is lent to a message here.
        Ok(Self(unsafe { MmapOptions::new().len(whole).map(&file)? }))
    }

    /// The bytes for messages.
    pub fn bytes(&self) -> &[u8] {
        &self.0[HEADER..]
    }
}

fn needed_seals() -> SealFlag {
    SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL
}

fn kernel() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    fn segment(content: &[u8]) -> Segment {
        let mut segment = Segment::new(1 << 16).unwrap();
        assert!(segment.fill([content].into_iter()));
        segment
    }

    #[test]
    fn what_one_fills_the_other_sees() {
        let mut segment = Segment::new(10_000).unwrap();
        let view = View::open(&segment.whereabouts().unwrap()).unwrap();
        assert_eq!(view.bytes().len(), 10_000);
        assert!(segment.fill([&[1; 3][..], &[2; 4][..]].into_iter()));
        assert_eq!(view.bytes()[..8], [1, 1, 1, 2, 2, 2, 2, 0]);
        assert!(!segment.fill([&[3; 9_999][..], &[3; 2][..]].into_iter()), "it doesn't fit");
        assert_eq!(view.bytes()[0], 1);
    }

    #[test]
    fn a_view_outlives_the_segment() {
        let mut segment = segment(b"still here");
        let view = View::open(&segment.whereabouts().unwrap()).unwrap();
        segment.opened();
        assert!(segment.whereabouts().is_err());
        assert!(segment.fill([&b"and there"[..]].into_iter()));
        assert_eq!(&view.bytes()[..9], b"and there");
        assert!(segment.fill([&b"still here"[..]].into_iter()));
        drop(segment);
        assert_eq!(&view.bytes()[..10], b"still here");
    }

    #[test]
    fn other_memory_is_refused_with_the_reason() {
        let (one, other) = (segment(b"one"), segment(b"other"));
        let said = |change: &dyn Fn(&mut Whereabouts)| {
            let mut whereabouts = one.whereabouts().unwrap();
            change(&mut whereabouts);
            View::open(&whereabouts).unwrap_err().to_string()
        };
        assert_eq!(said(&|w| w.kernel = "elsewhere".into()), "it is on another machine");
        assert_eq!(said(&|w| w.nonce = [0; 32]), "it is other memory than meant");
        assert_eq!(said(&|w| w.descriptor = other.whereabouts().unwrap().descriptor), "it is other memory than meant");
        assert_eq!(said(&|w| w.len += 1), "it is of another length");
        assert_eq!(said(&|w| w.len = u64::MAX / 2), "it is of another length");
        let file = tempfile::tempfile().unwrap();
        assert_eq!(said(&|w| w.descriptor = file.as_raw_fd()), "it is no such memory");
        assert!(said(&|w| w.descriptor = 1_000_000).contains("No such file"));
        assert!(said(&|w| w.process = u32::MAX).contains("No such file"));
    }

    #[test]
    fn memory_that_could_shrink_is_refused() {
        let fd = memfd_create(NAME, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING).unwrap();
        let file = File::from(fd);
        file.set_len((HEADER + 100) as u64).unwrap();
        let whereabouts = Whereabouts {
            kernel: kernel().unwrap(),
            process: std::process::id(),
            descriptor: file.as_raw_fd(),
            len: 100,
            nonce: [0; 32],
        };
        assert_eq!(View::open(&whereabouts).unwrap_err().to_string(), "its length isn't sealed");
    }
}
