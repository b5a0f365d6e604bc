//! A job's events, one after the other, over as many connections as it takes.
//!
//! When the node goes away (a restart, a crash) the follower waits for it, shows the last event it saw and goes on
//! behind it: nothing is missed, nothing is told twice.

use std::collections::VecDeque;
use std::pin::Pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fleet_api::HEARTBEAT;
use fleet_api::wire::{CAUGHT_UP, EventData, PROGRESS, ProgressData};
use futures::{Stream, StreamExt};
use sse_stream::{Sse, SseByteStream};

use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;

/// How long a node may be gone before following is given up.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// The first and the longest pause between two attempts to come back.
const PAUSE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));
/// A stream that is silent this long is dead: several heartbeats are missing.
const SILENCE: Duration = HEARTBEAT.saturating_mul(4);

/// What a follower sees.
#[derive(Debug)]
pub enum Seen {
    /// A recorded event.
    Event(Box<EventData>),
    /// Something told in passing.
    Progress(ProgressData),
    /// The node went away; it is waited for.
    Away(String),
    /// The node is back.
    Back,
}

type Events = Pin<Box<dyn Stream<Item = Result<Sse, String>> + Send>>;

/// One job's events.
pub struct Follower {
    client: Client,
    job: String,
    last: Option<u64>,
    events: Option<Events>,
    away_since: Option<Instant>,
    pause: Duration,
    pending: VecDeque<Seen>,
    stay: bool,
    ended: bool,
}

impl Follower {
    /// Follows from the job's first event. The job is known to be there; a node that doesn't answer now is waited for.
    pub fn new(client: Client, job: &str) -> Self {
        Self {
            client,
            job: job.to_owned(),
            last: None,
            events: None,
            away_since: None,
            pause: PAUSE.0,
            pending: VecDeque::new(),
            stay: true,
            ended: false,
        }
    }

    /// Reads what is recorded so far and waits for nothing more.
    pub fn up_to_now(client: Client, job: &str) -> Self {
        Self { stay: false, ..Self::new(client, job) }
    }

    /// The next thing seen; none after the job's last event.
    ///
    /// May be dropped while it waits and called again: nothing is lost.
    pub async fn next(&mut self) -> Result<Option<Seen>, Failure> {
        loop {
            if let Some(seen) = self.pending.pop_front() {
                return Ok(Some(seen));
            }
            if self.ended {
                return Ok(None);
            }
            let Some(events) = &mut self.events else {
                self.connect().await?;
                continue;
            };
            match events.next().await {
                Some(Ok(sse)) => self.take(sse)?,
                Some(Err(why)) => self.lost(why),
                None => self.lost("the node closed the connection".to_owned()),
            }
        }
    }

    async fn connect(&mut self) -> Result<(), Failure> {
        let after = self.last.map(|id| id.to_string());
        match self.client.events(&self.job, after.as_deref(), self.stay).await {
            Ok(response) if response.status() == reqwest::StatusCode::NO_CONTENT => {
                self.ended = true;
            }
            Ok(response) => {
                self.events = Some(decode(response));
                self.pause = PAUSE.0;
                if self.away_since.take().is_some() {
                    self.pending.push_back(Seen::Back);
                }
            }
            Err(failure) if failure.exit == Exit::Unreachable => self.wait(failure).await?,
            Err(failure) => return Err(failure),
        }
        Ok(())
    }

    /// Waits a little longer each time, until patience runs out.
    async fn wait(&mut self, failure: Failure) -> Result<(), Failure> {
        self.lost(failure.what.clone());
        if self.away_since.is_some_and(|since| since.elapsed() > PATIENCE) {
            return Err(Failure::new(
                Exit::Unreachable,
                format!("the node didn't come back: {}", failure.what),
                format!("when it runs again: fleet job wait {}", self.job),
            ));
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(PAUSE.1);
        Ok(())
    }

    fn lost(&mut self, why: String) {
        self.events = None;
        if self.away_since.is_none() {
            self.away_since = Some(Instant::now());
            self.pending.push_back(Seen::Away(why));
        }
    }

    fn take(&mut self, sse: Sse) -> Result<(), Failure> {
        let data = sse.data.as_deref().unwrap_or_default();
        if sse.event.as_deref() == Some(PROGRESS) {
            // A progress line that can't be read is no loss.
            if let Ok(progress) = serde_json::from_str(data) {
                self.pending.push_back(Seen::Progress(progress));
            }
            return Ok(());
        }
        if sse.event.as_deref() == Some(CAUGHT_UP) {
            self.ended = true;
            return Ok(());
        }
        let Some(id) = sse.id.as_deref().and_then(|id| id.parse::<u64>().ok()) else {
            return Ok(());
        };
        if self.last.is_some_and(|last| id <= last) {
            return Ok(());
        }
        let event: EventData = serde_json::from_str(data).map_err(|e| {
            Failure::internal(
                format!("can't read event {id} of job {}: {e}", self.job),
                "use a `fleet` of the node's version (fleet version)",
            )
        })?;
        self.last = Some(id);
        self.ended = event.envelope.kind == "job.ended";
        self.pending.push_back(Seen::Event(Box::new(event)));
        Ok(())
    }
}

fn decode(response: reqwest::Response) -> Events {
    let bytes = tokio_stream::StreamExt::timeout(response.bytes_stream(), SILENCE).map(
        |piece| -> Result<Bytes, std::io::Error> {
            match piece {
                Ok(Ok(piece)) => Ok(piece),
                Ok(Err(e)) => Err(std::io::Error::other(e)),
                Err(_) => Err(std::io::Error::other("the connection is silent")),
            }
        },
    );
    let events = SseByteStream::new(Box::pin(bytes));
    Box::pin(events.map(|event| event.map_err(|e| e.to_string())))
}
