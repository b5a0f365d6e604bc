//! CRC-32C (Castagnoli), as in iSCSI.

use crc_fast::{CrcAlgorithm, Digest};

/// The checksum of `bytes` behind what has the checksum `before`; 0 is that of nothing.
pub(crate) fn crc32c(before: u32, bytes: &[u8]) -> u32 {
    // What has been computed so far is the state inverted.
    let mut digest = Digest::new_with_init_state(CrcAlgorithm::Crc32Iscsi, u64::from(!before));
    digest.update(bytes);
    // Of the 64 bits, 32 are the checksum.
    digest.finalize() as u32
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_as_others_compute_it() {
        assert_eq!(crc32c(0, b""), 0);
        assert_eq!(crc32c(0, b"123456789"), 0xE306_9283);
    }

    proptest! {
        #[test]
        fn in_parts_it_is_the_same_as_at_once(bytes: Vec<u8>, at: prop::sample::Index) {
            let at = at.index(bytes.len() + 1);
            prop_assert_eq!(crc32c(crc32c(0, &bytes[..at]), &bytes[at..]), crc32c(0, &bytes));
        }
    }
}
