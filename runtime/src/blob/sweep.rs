//! Who holds a blob, and what becomes of those that nobody holds.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::blobs::{Blobs, Inner};
use super::message::{BlobMsg, Done};
use super::store::blocking;
use super::{BlobError, Digest, Holder};
use crate::actor::ReplyTo;
use crate::time::Timestamp;

/// Digests that one message tells of.
const TOLD_AT_ONCE: usize = 1000;

impl Blobs {
    /// The holder needs the blob: it stays until that is released. Known to the keeper alone, so a node that isn't asks it.
    ///
    /// [`BlobError::NotFound`] where the keeper doesn't have it.
    pub async fn hold(&self, digest: &Digest, holder: &Holder) -> Result<(), BlobError> {
        if !self.keeps() {
            let ask = |_, reply| BlobMsg::Hold { digest: *digest, holder: holder.clone(), reply };
            return self.inner.ask_keeper(self.until(), ask).await.map_err(|e| e.of(digest));
        }
        // In this order: what is held isn't chosen to go, and what was chosen before isn't there any more.
        self.shelf().books().hold(*digest, holder.clone());
        if self.shelf().pin(digest).await?.is_none() {
            self.shelf().books().release(digest, holder, self.shelf().now());
            return Err(BlobError::NotFound(*digest));
        }
        Ok(())
    }

    /// The holder doesn't need it any more. When nobody does it goes after [`BlobsOptions::grace`](super::BlobsOptions::grace).
    pub async fn release(&self, digest: &Digest, holder: &Holder) -> Result<(), BlobError> {
        if !self.keeps() {
            let ask = |_, reply| BlobMsg::Release { digest: *digest, holder: holder.clone(), reply };
            return self.inner.ask_keeper(self.until(), ask).await.map_err(|e| e.of(digest));
        }
        self.shelf().books().release(digest, holder, self.shelf().now());
        Ok(())
    }

    /// Releases all that the holder holds, and deletes now what nobody else does: here, and on the nodes that have copies.
    /// One that is being read goes when that ends.
    pub async fn forget(&self, holder: &Holder) -> Result<(), BlobError> {
        if !self.keeps() {
            let ask = |_, reply| BlobMsg::Forget { holder: holder.clone(), reply };
            return self.inner.ask_keeper(self.until(), ask).await.map_err(|e| BlobError::NoKeeper(e.to_string()));
        }
        let unheld = self.shelf().books().release_all(holder, self.shelf().now());
        if unheld.is_empty() {
            return Ok(());
        }
        self.shelf().tidy(0).await?;
        for cache in self.inner.peers.caches() {
            for digests in unheld.chunks(TOLD_AT_ONCE) {
                // A cache that doesn't hear of it has the copy until its age or the cap takes it.
                if let Err(error) = cache.try_tell(BlobMsg::Deleted { digests: digests.to_vec() }) {
                    tracing::debug!(cache = %cache.addr(), %error, "a node wasn't told of deleted blobs");
                }
            }
        }
        Ok(())
    }

    /// Says at start who holds what, from the journal: from now on what nobody holds may go. Holders that came up since the
    /// start stay. A blob that is named and isn't here is held all the same, for when it is put again.
    pub fn retain_only(&self, held: impl IntoIterator<Item = (Digest, Holder)>) {
        let mut books = self.shelf().books();
        held.into_iter().for_each(|(digest, holder)| books.hold(digest, holder));
        books.complete();
    }

    /// Removes what may go now; says which blobs that were. Done every [`BlobsOptions::sweep`](super::BlobsOptions::sweep) too.
    pub async fn sweep(&self) -> Result<Vec<Digest>, BlobError> {
        self.inner.sweep().await
    }

    pub(super) async fn deleted_elsewhere(&self, digests: &[Digest]) {
        if self.keeps() {
            return;
        }
        digests.iter().for_each(|digest| self.shelf().books().doom(digest));
        if let Err(error) = self.shelf().tidy(0).await {
            tracing::warn!(%error, "copies of deleted blobs stay");
        }
    }
}

/// Why the keeper didn't do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeeperError {
    #[error("there is no such blob there")]
    NotFound,
    #[error("{0}")]
    Failed(String),
}

impl KeeperError {
    fn of(self, digest: &Digest) -> BlobError {
        match self {
            Self::NotFound => BlobError::NotFound(*digest),
            Self::Failed(why) => BlobError::NoKeeper(why),
        }
    }
}

impl Inner {
    /// Asks the keeper for something that may be done twice, again and again until the deadline.
    pub(super) async fn ask_keeper(
        &self,
        until: Instant,
        question: impl Fn(Duration, ReplyTo<Done>) -> BlobMsg,
    ) -> Result<(), KeeperError> {
        let mut failures = 0;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = match self.peers.keeper() {
                Some(keeper) => keeper.ask(left, |reply| question(left, reply)).await.map_err(|e| e.to_string()),
                None => Err("the node that keeps blobs isn't known yet".into()),
            };
            let why = match answer {
                Ok(Done::Yes) => return Ok(()),
                Ok(Done::NotFound) => return Err(KeeperError::NotFound),
                Ok(Done::Refused(why)) => return Err(KeeperError::Failed(why)),
                Ok(Done::NotNow(why)) | Err(why) => why,
            };
            failures += 1;
            let pause = self.options.backoff.spread(self.options.backoff.after(failures), rand::random());
            if Instant::now() + pause >= until {
                return Err(KeeperError::Failed(why));
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn sweep(&self) -> Result<Vec<Digest>, BlobError> {
        self.shelf.look().await?;
        let gone = self.shelf.tidy(0).await?;
        let grace = i64::try_from(self.options.grace.as_millis()).unwrap_or(i64::MAX);
        let (store, before) = (self.shelf.store.clone(), Timestamp(self.shelf.now().millis().saturating_sub(grace)));
        blocking(move || store.sweep_partial(before)).await?;
        Ok(gone)
    }
}

pub(super) async fn now_and_then(inner: Arc<Inner>) {
    loop {
        tokio::time::sleep(inner.options.sweep).await;
        match inner.sweep().await {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => tracing::info!(blobs = gone.len(), "removed blobs that nobody needs"),
            Err(error) => tracing::warn!(%error, "can't remove blobs that nobody needs"),
        }
    }
}
