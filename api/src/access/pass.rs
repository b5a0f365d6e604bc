//! What a request was let in by, and whether that still holds: a stream may last longer than the token that opened it.

use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::{Seq, Timestamp};
use tokio::sync::watch;

use super::{Issued, Known};

/// A recognised caller.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    pub(crate) who: Principal,
    /// The token's id and the book to look it up in; none for the node's own token, which always holds.
    token: Option<(Seq, watch::Receiver<Known>)>,
}

impl Pass {
    pub(super) fn own(who: Principal) -> Self {
        Self { who, token: None }
    }

    /// Somebody without a token, where the configuration lets those read figures.
    pub(crate) fn scraper() -> Self {
        Self::own(Principal { name: "metrics".to_owned(), level: AccessLevel::Viewer })
    }

    pub(super) fn issued(issued: &Issued, book: watch::Receiver<Known>) -> Self {
        Self { who: issued.principal.clone(), token: Some((issued.id, book)) }
    }

    /// Resolves when the token doesn't hold any more.
    pub(crate) async fn over(&mut self) {
        let Some((id, book)) = &mut self.token else { return std::future::pending().await };
        loop {
            let issued = book.borrow_and_update().as_ref().and_then(|book| book.get(*id)).cloned();
            let now = Timestamp::now();
            let Some(issued) = issued.filter(|issued| issued.holds(now)) else { return };
            let expires = async {
                match issued.remaining(now) {
                    Some(rest) => tokio::time::sleep(rest).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = expires => {}
                changed = book.changed() => if changed.is_err() { return },
            }
        }
    }
}
