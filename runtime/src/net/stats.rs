//! What a listener counted.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One reason is logged at most this often; what lies between is counted.
const LOG_EVERY: Duration = Duration::from_secs(5);

/// Why an incoming connection was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusedBecause {
    /// Too many were in their handshake, and this one was the newest or silent the longest.
    TooManyHandshakes,
    /// It wasn't done in time.
    Deadline,
    /// It spoke something else than TLS 1.3.
    NotTls,
    /// It went away in the middle.
    BrokeOff,
    /// It had no certificate for a plane that needs one.
    NoCertificate,
    /// Its certificate isn't from this cluster's CA, has expired, or names no node.
    BadCertificate,
    /// It asked for no plane that is served here.
    NoSharedPlane,
    /// The node isn't part of the cluster any more.
    NotAllowed,
    /// The node has its share of connections.
    TooManyConnections,
    /// Nobody took the accepted connections in time.
    Busy,
    /// The listener was being stopped.
    Stopping,
}

/// A listener's counters, since it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetStats {
    /// Connections handed over.
    pub accepted: u64,
    /// Connections in their handshake now.
    pub handshaking: usize,
    /// Connections that were handed over and are still open.
    pub established: usize,
    /// Connections refused, by reason; a reason that never came is not in it.
    pub refused: BTreeMap<RefusedBecause, u64>,
    /// Failures to accept at all, such as too many open files.
    pub accept_errors: u64,
}

impl NetStats {
    /// How many were refused for that reason.
    pub fn refused(&self, why: RefusedBecause) -> u64 {
        self.refused.get(&why).copied().unwrap_or(0)
    }
}

#[derive(Default)]
pub(super) struct Counters(Mutex<Counted>);

#[derive(Default)]
struct Counted {
    accepted: u64,
    accept_errors: u64,
    refused: BTreeMap<RefusedBecause, Refusals>,
}

#[derive(Default)]
struct Refusals {
    count: u64,
    logged: Option<Instant>,
    unlogged: u64,
}

impl Counters {
    pub fn accepted(&self) {
        self.lock().accepted += 1;
    }

    pub fn accept_error(&self) {
        self.lock().accept_errors += 1;
    }

    /// Counts it, and logs it unless that was done a moment ago.
    pub fn refused(&self, why: RefusedBecause, addr: SocketAddr, detail: &str) {
        let unlogged = {
            let mut counted = self.lock();
            let refusals = counted.refused.entry(why).or_default();
            refusals.count += 1;
            let now = Instant::now();
            if refusals.logged.is_some_and(|at| now.duration_since(at) < LOG_EVERY) {
                refusals.unlogged += 1;
                return;
            }
            refusals.logged = Some(now);
            std::mem::take(&mut refusals.unlogged)
        };
        tracing::warn!(%addr, reason = ?why, detail, more_since_last = unlogged, "connection refused");
    }

    /// The rest of the snapshot is for the caller to fill in.
    pub fn snapshot(&self) -> NetStats {
        let counted = self.lock();
        NetStats {
            accepted: counted.accepted,
            accept_errors: counted.accept_errors,
            refused: counted.refused.iter().map(|(why, refusals)| (*why, refusals.count)).collect(),
            ..NetStats::default()
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counted> {
        // Numbers can't be left half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
