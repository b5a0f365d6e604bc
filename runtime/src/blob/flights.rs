//! One piece of work for all who want its result.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::{BlobError, Digest};

/// Blobs that may be under way at once, with those that wait for their turn.
const MOST: usize = 4096;

type Landing<T> = Option<Result<T, Arc<BlobError>>>;

/// What is under way, by blob. Cheap to clone.
pub(super) struct Flights<T>(Arc<Mutex<HashMap<Digest, watch::Receiver<Landing<T>>>>>);

impl<T> Clone for Flights<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

/// How a flight ended for one who waited.
pub(super) enum Ended<T> {
    Landed(Result<T, BlobError>),
    /// The waiter's deadline came first. The flight goes on.
    TooLate,
}

impl<T: Clone + Send + Sync + 'static> Flights<T> {
    /// Waits for the flight of that blob, which is begun with `begin` if there is none. Says also whether this call began it.
    pub async fn join<F>(&self, digest: Digest, until: Instant, begin: F) -> (bool, Ended<T>)
    where
        F: FnOnce(Landed<T>),
    {
        let (mut landing, mine) = match self.board(digest, begin) {
            Ok(boarded) => boarded,
            Err(e) => return (true, Ended::Landed(Err(e))),
        };
        let landed = timeout_at(until, landing.wait_for(Option::is_some)).await;
        let ended = match landed {
            Err(_) => Ended::TooLate,
            Ok(Ok(landed)) => match &*landed {
                Some(Ok(value)) => Ended::Landed(Ok(value.clone())),
                Some(Err(e)) => Ended::Landed(Err(e.again())),
                None => Ended::TooLate,
            },
            // Its task was dropped: this node is ending.
            Ok(Err(_)) => Ended::Landed(Err(BlobError::Away { digest, why: "this node is ending".into() })),
        };
        (mine, ended)
    }

    fn board<F>(&self, digest: Digest, begin: F) -> Result<(watch::Receiver<Landing<T>>, bool), BlobError>
    where
        F: FnOnce(Landed<T>),
    {
        let (tell, landing) = watch::channel(None);
        {
            let mut flights = self.lock();
            if let Some(there) = flights.get(&digest) {
                return Ok((there.clone(), false));
            }
            if flights.len() >= MOST {
                return Err(BlobError::Busy);
            }
            flights.insert(digest, landing.clone());
        }
        begin(Landed { flights: self.clone(), digest, tell });
        Ok((landing, true))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, watch::Receiver<Landing<T>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells those who wait. Dropped, it tells them that there will be nothing.
pub(super) struct Landed<T> {
    flights: Flights<T>,
    digest: Digest,
    tell: watch::Sender<Landing<T>>,
}

impl<T> Landed<T> {
    pub fn with(self, result: Result<T, BlobError>) {
        // In this order: whoever asks from now on finds what this flight has brought.
        self.flights.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.digest);
        self.tell.send_replace(Some(result.map_err(Arc::new)));
    }
}

impl<T> Drop for Landed<T> {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        // After `with` another flight may be under that name already.
        if flights.get(&self.digest).is_some_and(|there| there.same_channel(&self.tell.subscribe())) {
            flights.remove(&self.digest);
        }
    }
}
