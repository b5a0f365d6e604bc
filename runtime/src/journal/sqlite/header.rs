//! The database's first hundred bytes, as far as they are the same in every journal.
//!
//! SQLite believes most of them without a check: one flipped bit makes a file read-only, or "not a
//! database". Format: <https://www.sqlite.org/fileformat2.html#the_database_header>.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;

const LENGTH: usize = 100;

/// Offset and bytes. Left out: what counts, and the version of the journal.
const FIXED: &[(usize, &[u8])] = &[
    (0, b"SQLite format 3\0"),
    (16, &[0x10, 0x00]),    // page size 4096
    (20, &[0, 64, 32, 32]), // reserved bytes, payload fractions
    (52, &[0; 4]),          // no auto-vacuum
    (64, &[0; 28]),         // no incremental vacuum, no application id, reserved
];

/// Schema format and text encoding (UTF-8): zero until the first tables were written back.
const MADE: &[(usize, &[u8])] = &[(44, &[0, 0, 0, 4]), (56, &[0, 0, 0, 1])];

/// 1 while it is made, 2 once it has a write-ahead log; read and write version alike.
const VERSIONS: usize = 18;

/// Whether the file's header is that of a journal; `None` while nothing was ever written.
pub(super) fn is_intact(db: &Path) -> io::Result<Option<bool>> {
    let mut header = Vec::new();
    File::open(db)?.take(LENGTH as u64).read_to_end(&mut header)?;
    Ok(match header.len() {
        0 => None,
        LENGTH => {
            let holds = |(at, bytes): &(usize, &[u8])| header[*at..].starts_with(bytes);
            let unmade = |(at, _): &(usize, &[u8])| header[*at..*at + 4] == [0; 4];
            let fixed = FIXED.iter().all(holds) && (MADE.iter().all(holds) || MADE.iter().all(unmade));
            let versions = matches!(&header[VERSIONS..VERSIONS + 2], [1, 1] | [2, 2]);
            Some(fixed && versions)
        }
        _ => Some(false),
    })
}

/// Writes over a damaged header. For a copy of a file that has had a write-ahead log.
pub(super) fn mend(db: &Path) -> io::Result<()> {
    if is_intact(db)? != Some(false) || fs::metadata(db)?.len() < LENGTH as u64 {
        return Ok(());
    }
    let file = File::options().write(true).open(db)?;
    for (at, bytes) in FIXED.iter().chain(MADE) {
        file.write_all_at(bytes, *at as u64)?;
    }
    file.write_all_at(&[2, 2], VERSIONS as u64)
}
