//! What the two ends of a connection tell each other before a lane is made of it.
//!
//! Who the other node is doesn't stand here: the certificate says that.

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use uuid::Uuid;

use super::ClusterError;
use crate::id::{Incarnation, NodeId};

/// Rises when frames of a lane change their meaning.
pub(super) const VERSION: u16 = 2;
const MAGIC: [u8; 4] = *b"FLTL";
const BYTES: usize = 32;

/// `FLTL | version u16 | 0 u16 | pair 16 bytes | incarnation u64`, little endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hello {
    /// The same on both connections of a lane; made by the node that dials.
    pub pair: Uuid,
    /// The life of the node that says it.
    pub incarnation: Incarnation,
}

impl Hello {
    pub async fn write<W: AsyncWrite + Unpin>(&self, io: &mut W) -> Result<(), ClusterError> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(self.pair.as_bytes());
        bytes.extend_from_slice(&self.incarnation.get().to_le_bytes());
        io.write_all(&bytes).await.map_err(broken)?;
        io.flush().await.map_err(broken)
    }

    pub async fn read<R: AsyncRead + Unpin>(io: &mut R, node: NodeId) -> Result<Self, ClusterError> {
        let mut bytes = [0; BYTES];
        io.read_exact(&mut bytes).await.map_err(broken)?;
        let (head, rest) = bytes.split_at(8);
        if head[..4] != MAGIC {
            return Err(ClusterError::Hello("it speaks something else".into()));
        }
        let theirs = u16::from_le_bytes([head[4], head[5]]);
        if theirs != VERSION {
            return Err(ClusterError::Version { node, ours: VERSION, theirs });
        }
        let (pair, incarnation) = rest.split_at(16);
        let pair = Uuid::from_slice(pair).map_err(|e| ClusterError::Hello(e.to_string()))?;
        let incarnation = incarnation.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(Self { pair, incarnation: Incarnation(incarnation) })
    }
}

fn broken(e: std::io::Error) -> ClusterError {
    ClusterError::Hello(e.to_string())
}
