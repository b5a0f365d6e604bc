//! Who may call: the node's own token, and those that product owners issue to others.
//!
//! Issued tokens are events on the journal's stream `access`; a [`Book`] is what they come to. Every node reads that stream,
//! its own journal's or the control node's, whenever something was committed: what is issued or revoked on one node holds
//! on all of them at once, or after one link's delay. A node that is cut off goes by what it knew last, and can do nothing
//! that has to be recorded. A token is never written down, only its BLAKE3 digest; it has 244 random bits, so that nothing
//! slower than a digest is needed to keep it.

mod book;
mod http;
mod pass;

use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::auth::Principal;
use fleet_runtime::journal::{Append, Expected, Journal, JournalError};
use fleet_runtime::{Author, Generation, NewEvent, ProjectId, Redacted, Redactor, Seq, StreamId, Timestamp};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;

use crate::error::ApiError;
pub use book::{Book, Issued, Refused};
pub(crate) use http::{issue, list, revoke};
pub(crate) use pass::Pass;

const STREAM: &str = "access";
const PROJECT: &str = "fleet-cluster";
/// Events read at once.
const PAGE: usize = 256;
/// The least time between two looks at the stream, however much is committed meanwhile.
const PAUSE: Duration = Duration::from_millis(200);
/// How long a caller waits for a node that has only just started to read the stream.
const FIRST_READ: Duration = Duration::from_secs(5);
/// How often a change is decided anew because somebody else was faster.
const TRIES: usize = 8;
/// What an issued token begins with, so that a scanner for secrets knows it.
const PREFIX: &str = "fleet_";

/// The tokens that this node takes. Cheap to clone; ends its task with the last clone.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

struct Inner {
    own: Vec<(blake3::Hash, Principal)>,
    log: Arc<Log>,
    book: watch::Receiver<Known>,
    task: JoinHandle<()>,
}

/// What is known of issued tokens; none until the journal was read for the first time.
type Known = Option<Arc<Book>>;

/// The stream, and how far it was read.
struct Log {
    journal: Arc<dyn Journal>,
    redactor: Arc<dyn Redactor>,
    stream: StreamId,
    project: ProjectId,
    reading: Mutex<Book>,
    tell: watch::Sender<Known>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the tokens themselves: this may end in a log.
        write!(f, "Access({} of its own)", self.0.own.len())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Access {
    /// Takes the tokens in `own`, which the node knows by itself, and those that the journal has. Must be called within a
    /// tokio runtime.
    pub fn start(journal: Arc<dyn Journal>, redactor: Arc<dyn Redactor>, own: Vec<(String, Principal)>) -> Self {
        let (tell, book) = watch::channel(None);
        let id = |text: &str| text.to_owned();
        #[expect(clippy::expect_used, reason = "constants that keep to the rules of such names, as a test shows")]
        let (stream, project) = (
            StreamId::try_from(id(STREAM)).expect("a stream's name"),
            ProjectId::try_from(id(PROJECT)).expect("a project's name"),
        );
        let log = Arc::new(Log { journal, redactor, stream, project, reading: Mutex::default(), tell });
        let task = tokio::spawn(follow(log.clone()));
        let own = own.into_iter().map(|(token, who)| (blake3::hash(token.as_bytes()), who)).collect();
        Self(Arc::new(Inner { own, log, book, task }))
    }

    /// Whom a token stands for.
    pub(crate) async fn recognise(&self, shown: &str) -> Result<Pass, ApiError> {
        // A digest's comparison takes the same time wherever the two differ.
        let digest = blake3::hash(shown.as_bytes());
        if let Some((_, who)) = self.0.own.iter().find(|(own, _)| *own == digest) {
            return Ok(Pass::own(who.clone()));
        }
        let book = self.book().await.ok_or_else(|| ApiError::busy("this node can't read the cluster's tokens yet"))?;
        let issued = book.find(&digest).ok_or_else(ApiError::unauthorised)?;
        let now = Timestamp::now();
        match issued {
            issued if issued.revoked_at.is_some() => Err(ApiError::over("was revoked")),
            issued if !issued.holds(now) => Err(ApiError::over("has expired")),
            issued => Ok(Pass::issued(issued, self.0.book.clone())),
        }
    }

    /// What is known; waits for it where the node has only just started.
    async fn book(&self) -> Known {
        let mut book = self.0.book.clone();
        let read = tokio::time::timeout(FIRST_READ, book.wait_for(Option::is_some)).await;
        read.ok()?.ok()?.clone()
    }

    /// Issues a token; gives it, for the only time, with what is kept of it.
    pub async fn issue(
        &self,
        by: Author,
        wanted: Principal,
        lives: Option<Duration>,
    ) -> Result<(String, Issued), AccessError> {
        if self.0.own.iter().any(|(_, own)| own.name == wanted.name) {
            // Else what that person did couldn't be told from what the node's owner did.
            return Err(Refused::Taken(wanted.name).into());
        }
        let token = new_token();
        let digest = blake3::hash(token.as_bytes());
        let decide = |book: &Book, now: Timestamp| {
            let expires_at = lives.map(|lives| after(now, lives));
            book.issue(by.clone(), &wanted, &digest, expires_at, now).map(|event| ((), event))
        };
        let ((), book) = self.0.log.change(decide).await?;
        let issued = book.find(&digest).ok_or(Refused::Unknown(wanted.name.clone()))?;
        Ok((token, issued.clone()))
    }

    /// Takes a token back. It doesn't hold any more when this returns; on other nodes a moment later.
    pub async fn revoke(&self, by: Author, name: &str) -> Result<Issued, AccessError> {
        let (id, book) = self.0.log.change(|book, now| book.revoke(by.clone(), name, now)).await?;
        let gone = book.get(id).ok_or_else(|| Refused::Unknown(name.to_owned()))?;
        Ok(gone.clone())
    }

    /// All that were ever issued, in their order.
    pub async fn list(&self) -> Result<Vec<Issued>, AccessError> {
        Ok(self.0.log.read().await?.all().cloned().collect())
    }
}

/// Why access wasn't changed, or can't be told.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AccessError {
    /// The book is against it.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The journal can't be written or read now. Look at the list before trying again.
    #[error("{code}: {0}", code = .0.code())]
    Journal(#[from] JournalError),
}

impl Log {
    /// Reads what is new.
    async fn read(&self) -> Result<Arc<Book>, JournalError> {
        let mut book = self.reading.lock().await;
        let was = book.last();
        loop {
            let page = self.journal.read_stream(&self.stream, book.last().next(), PAGE).await?;
            for event in &page {
                if let Err(why) = book.apply(event) {
                    // Whoever it meant gets nothing by it, and the others keep what they have.
                    tracing::error!(%why, "an event about access is passed over");
                }
            }
            if page.is_empty() {
                break;
            }
        }
        if let (true, Some(known)) = (book.last() == was, &*self.tell.borrow()) {
            return Ok(known.clone());
        }
        let now = Arc::new(book.clone());
        self.tell.send_replace(Some(now.clone()));
        Ok(now)
    }

    /// Appends what `decide` makes of the book; again with a newer book if another node has appended meanwhile.
    async fn change<T>(
        &self,
        decide: impl Fn(&Book, Timestamp) -> Result<(T, NewEvent), Refused>,
    ) -> Result<(T, Arc<Book>), AccessError> {
        let mut tries = 0;
        loop {
            let book = self.read().await?;
            let (said, event) = decide(&book, Timestamp::now())?;
            match self.append(book.last(), event).await {
                Ok(()) => return Ok((said, self.read().await?)),
                Err(JournalError::WrongSeq { .. }) if tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn append(&self, last: Seq, event: NewEvent) -> Result<(), JournalError> {
        let expected = if last == Seq::default() { Expected::NoStream } else { Expected::Seq(last) };
        let events = vec![Redacted::event(&*self.redactor, &self.project, event)];
        let append = Append {
            stream: self.stream.clone(),
            project: self.project.clone(),
            expected,
            generation: Generation::default(),
            events,
        };
        self.journal.append(append).await.map(drop)
    }
}

/// Keeps the book up to date.
async fn follow(log: Arc<Log>) {
    let mut committed = log.journal.committed();
    loop {
        committed.borrow_and_update();
        match log.read().await {
            Ok(_) => {
                if committed.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => tracing::warn!(%error, "can't read who may call; what was known still holds"),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Two random UUIDs hold 244 random bits.
fn new_token() -> String {
    let half = || uuid::Uuid::new_v4().simple().to_string();
    format!("{PREFIX}{}{}", half(), half())
}

fn after(now: Timestamp, lives: Duration) -> Timestamp {
    Timestamp(now.millis().saturating_add(i64::try_from(lives.as_millis()).unwrap_or(i64::MAX)))
}

#[cfg(test)]
mod tests;
