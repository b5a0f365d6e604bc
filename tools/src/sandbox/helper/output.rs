//! The pipes that a command writes to: read as they fill, kept in part, counted in full.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::sandbox::clip::Clipper;
use crate::sandbox::{Clip, sys};

pub(super) struct Stream {
    pipe: Option<File>,
    clipper: Clipper,
    total: u64,
}

impl Stream {
    pub(super) fn new(pipe: OwnedFd, keep: u64) -> std::io::Result<Self> {
        sys::set_nonblocking(pipe.as_fd())?;
        Ok(Self { pipe: Some(pipe.into()), clipper: Clipper::new(keep), total: 0 })
    }

    /// The pipe, until its end was read.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// Reads what is there, at most a mebibyte, so that a flood on one pipe doesn't starve the rest.
    pub(super) fn drain(&mut self) {
        let mut buffer = [0; 64 * 1024];
        for _ in 0..16 {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut buffer) {
                Ok(0) => self.pipe = None,
                Ok(count) => {
                    self.total += count as u64;
                    self.clipper.push(&buffer[..count]);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.pipe = None,
            }
        }
    }

    pub(super) fn finish(self) -> Clip {
        self.clipper.finish()
    }
}
