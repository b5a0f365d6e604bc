//! How a blob comes in from another node: in pieces, a few ahead, and on from where an earlier attempt ended.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use tokio::time::Instant;

use super::message::{BlobMsg, Piece};
use super::options::BlobsOptions;
use super::partial::Partial;
use super::shelf::{InUse, Shelf};
use super::stats::count;
use super::{BlobError, BlobPeers, Digest};
use crate::actor::Ref;

/// The largest piece that is asked for or given.
pub(super) const LARGEST_PIECE: u64 = 8 << 20;
/// Times that a blob may come in damaged before it is given up.
const DAMAGED: u32 = 3;

/// Fetches one blob.
pub(super) struct Fetch {
    pub shelf: Arc<Shelf>,
    pub peers: Arc<dyn BlobPeers>,
    pub options: BlobsOptions,
    /// This node keeps blobs: if nobody else has it, it doesn't exist.
    pub keeps: bool,
    pub digest: Digest,
    /// A node that has it, by its own word.
    pub offered: Option<Ref<BlobMsg>>,
    pub until: Instant,
}

/// Why a node didn't give it.
enum Trouble {
    NotHere,
    Away(String),
    Damaged,
    /// Nobody else will do better.
    Fatal(BlobError),
}

impl From<BlobError> for Trouble {
    fn from(e: BlobError) -> Self {
        Self::Fatal(e)
    }
}

impl Fetch {
    /// Asks one node after the other, again and again until the deadline, unless all of them say that they don't have it.
    pub async fn run(self) -> Result<InUse, BlobError> {
        let (mut failures, mut damaged) = (0, 0);
        loop {
            let mut why = None;
            for source in self.sources(&mut why) {
                match self.from(&source).await {
                    Ok(here) => return Ok(here),
                    Err(Trouble::NotHere) => {}
                    Err(Trouble::Away(reason)) => why = Some(reason),
                    Err(Trouble::Fatal(e)) => return Err(e),
                    Err(Trouble::Damaged) => {
                        tracing::warn!(digest = %self.digest, from = %source.addr(), "a blob came in damaged");
                        count(&self.shelf.counters.damaged, 1);
                        damaged += 1;
                        why = Some("it came in damaged".to_owned());
                    }
                }
                if damaged >= DAMAGED {
                    return Err(BlobError::DamagedElsewhere(self.digest));
                }
            }
            let Some(why) = why else { return Err(BlobError::NotFound(self.digest)) };
            failures += 1;
            let pause = self.options.backoff.spread(self.options.backoff.after(failures), rand::random());
            if Instant::now() + pause >= self.until {
                return Err(BlobError::Away { digest: self.digest, why });
            }
            tracing::debug!(digest = %self.digest, why, "a blob will be asked for again");
            tokio::time::sleep(pause).await;
        }
    }

    /// Who may have it: who offered it, the keeper, the others. `unknown`: why there may be more.
    fn sources(&self, unknown: &mut Option<String>) -> Vec<Ref<BlobMsg>> {
        let keeper = self.peers.keeper();
        if keeper.is_none() && !self.keeps {
            *unknown = Some("the node that keeps blobs isn't known yet".into());
        }
        let mut sources: Vec<Ref<BlobMsg>> = Vec::new();
        for source in self.offered.iter().cloned().chain(keeper).chain(self.peers.holders(&self.digest)) {
            if sources.iter().all(|known| known.addr() != source.addr()) {
                sources.push(source);
            }
        }
        sources
    }

    async fn from(&self, source: &Ref<BlobMsg>) -> Result<InUse, Trouble> {
        let mut partial = self.shelf.store.partial(&self.digest).await?;
        let total = self.first(source, &mut partial).await?;
        let step = self.piece();
        let offsets = (0..).map(|n| partial.len() + n * step).take_while(|offset| *offset < total);
        let offsets: Vec<u64> = offsets.collect();
        let mut pieces = stream::iter(offsets)
            .map(|offset| async move { self.ask(source, offset).await.map(|piece| (offset, piece)) })
            .buffered(self.options.ahead.max(1));
        while let Some(piece) = pieces.next().await {
            let (offset, (size, bytes)) = piece?;
            if size != total || offset != partial.len() || bytes.len() as u64 != step.min(total - offset) {
                return Err(Trouble::Away("its pieces don't fit together".into()));
            }
            partial.write(bytes).await?;
        }
        drop(pieces);
        match self.shelf.finish(self.digest, partial).await? {
            Some(here) => {
                count(&self.shelf.counters.fetched, 1);
                Ok(here)
            }
            None => Err(Trouble::Damaged),
        }
    }

    /// Asks for the first piece that is missing, and learns by it how large the whole is.
    async fn first(&self, source: &Ref<BlobMsg>, partial: &mut Partial) -> Result<u64, Trouble> {
        let (mut total, mut bytes) = self.ask(source, partial.len()).await?;
        if partial.len() > total {
            // More is here than there is: not what it should be.
            partial.clear().await?;
            (total, bytes) = self.ask(source, 0).await?;
        }
        let limit = self.shelf.store.max_bytes();
        if total > limit.as_u64() {
            return Err(BlobError::TooLarge { limit }.into());
        }
        if bytes.len() as u64 != self.piece().min(total - partial.len()) {
            return Err(Trouble::Away("its pieces don't fit together".into()));
        }
        if self.shelf.books().is_over(total) {
            self.shelf.tidy(total).await?;
        }
        partial.write(bytes).await?;
        Ok(total)
    }

    async fn ask(&self, source: &Ref<BlobMsg>, offset: u64) -> Result<(u64, Bytes), Trouble> {
        let left = self.until.saturating_duration_since(Instant::now());
        if left == Duration::ZERO {
            return Err(Trouble::Away(format!("the deadline came after {offset} bytes")));
        }
        let (digest, len) = (self.digest, u32::try_from(self.piece()).unwrap_or(u32::MAX));
        let asked =
            source.ask(left.min(self.options.piece_deadline), |reply| BlobMsg::Read { digest, offset, len, reply });
        match asked.await {
            Ok(Piece::Bytes { whole, bytes }) => {
                count(&self.shelf.counters.fetched_bytes, bytes.len() as u64);
                Ok((whole, bytes.into_bytes()))
            }
            Ok(Piece::NotHere) => Err(Trouble::NotHere),
            Ok(Piece::Unreadable(why)) => Err(Trouble::Away(why)),
            Err(e) => Err(Trouble::Away(e.to_string())),
        }
    }

    fn piece(&self) -> u64 {
        self.options.piece.as_u64().clamp(1, LARGEST_PIECE)
    }
}
