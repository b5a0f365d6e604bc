//! One pair of connections, from its opening to its end.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channel::{Channel, Channels, Hindrance, Left, Refused, Window};
use super::figures::Counters;
use super::forward::Lives;
use super::frame::{Header, Kind, LENT, TRACED};
use super::inbound::{Inbound, Setup};
use super::outbox::Outbox;
use super::reader::read;
use super::shared::{Borrowing, Lending, Taken};
use super::writer::{Body, Held, Out, write_bulk};
use super::{LaneError, LaneOptions, Peer};
use crate::actor::{ActorAddr, Arrived, Home, KindId, Link, Parcel, PortToken, Refusal};
use crate::codec;

pub(super) struct Session {
    options: LaneOptions,
    interactive: Arc<Outbox>,
    bulk: UnboundedSender<Out>,
    channels: Channels,
    window: Window,
    lending: Lending,
    borrowing: Borrowing,
    /// Bytes of large answers that aren't written yet.
    answers: Arc<AtomicU64>,
    inbound: Arc<Inbound>,
    counters: Arc<Counters>,
    /// Messages that went over earlier lanes.
    sent_before: u64,
    peer: Weak<Peer>,
    ended: CancellationToken,
}

impl Session {
    /// Begins to read and write. The second of the pair resolves with the reason when the lane has ended.
    pub fn start<S>(
        interactive: S,
        bulk: S,
        peer: Weak<Peer>,
        home: Home,
        options: &LaneOptions,
    ) -> (Arc<Self>, impl Future<Output = LaneError> + Send + use<S>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (bulk_out, bulk_queue) = queue();
        let (read_half, write_half) = tokio::io::split(interactive);
        let out = Outbox::new(write_half);
        let (ended, tasks) = (CancellationToken::new(), TaskTracker::new());
        let counters = peer.upgrade().map(|peer| peer.counters.clone()).unwrap_or_default();
        let inbound = Inbound::new(Setup {
            link: peer.clone(),
            home,
            options: options.clone(),
            counters: counters.clone(),
            out: out.clone(),
            ended: ended.clone(),
            tasks: tasks.clone(),
        });
        let session = Arc::new(Self {
            options: options.clone(),
            interactive: out.clone(),
            bulk: bulk_out,
            channels: Channels::default(),
            window: Window::new(options.window.as_u64()),
            lending: Lending::new(options),
            borrowing: Borrowing::new(options),
            answers: Arc::default(),
            inbound: inbound.clone(),
            sent_before: counters.sent_messages(),
            counters,
            peer,
            ended: ended.clone(),
        });
        let (bulk_read, bulk_write) = tokio::io::split(bulk);
        let chunk = usize::try_from(options.chunk.as_u64()).unwrap_or(usize::MAX).max(4096);
        // Each in a task of its own: they run side by side. All end with the lane, whoever ends it.
        let until = |part: BoxFuture<'static, Result<(), LaneError>>| {
            let ended = ended.clone();
            tasks.spawn(async move {
                tokio::select! {
                    result = part => result,
                    () = ended.cancelled() => Err(LaneError::Ended),
                }
            })
        };
        let running = [
            until(Box::pin(out.write())),
            until(Box::pin(write_bulk(bulk_write, bulk_queue, chunk))),
            until(Box::pin(read(read_half, session.clone()))),
            until(Box::pin(read(bulk_read, session.clone()))),
            until(Box::pin(sweep(session.clone()))),
        ];
        tasks.close();
        // In a task of its own: it cleans up, whether or not somebody waits for the end.
        let end = tokio::spawn(async move {
            let (why, ..) = futures::future::select_all(running).await;
            ended.cancel();
            tasks.wait().await;
            inbound.end();
            match why {
                Ok(Err(why)) => why,
                Ok(Ok(())) => LaneError::Ended,
                Err(e) => LaneError::Io(std::io::Error::other(e)),
            }
        });
        (session, async { end.await.unwrap_or_else(|e| LaneError::Io(std::io::Error::other(e))) })
    }

    pub fn end(&self) {
        self.ended.cancel();
    }

    pub fn max_message(&self) -> usize {
        usize::try_from(self.options.max_message.as_u64()).unwrap_or(usize::MAX)
    }

    /// Sends, and waits for room.
    pub async fn send(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<(), Refusal> {
        let mut parcel = Some(parcel);
        loop {
            let channel = self.channel(to, kind)?;
            match self.offer(&channel, &mut parcel) {
                Ok(()) => return Ok(()),
                Err(Hindrance::Refused(why)) => return Err(why),
                Err(Hindrance::Closed) => continue,
                Err(Hindrance::Full) => {}
            }
            let (freed, wider) = (channel.freed.notified(), self.window.freed.notified());
            tokio::pin!(freed, wider);
            freed.as_mut().enable();
            wider.as_mut().enable();
            // Once more, in case that room was made before we listened for it.
            match self.offer(&channel, &mut parcel) {
                Ok(()) => return Ok(()),
                Err(Hindrance::Refused(why)) => return Err(why),
                Err(Hindrance::Closed) => continue,
                Err(Hindrance::Full) => {}
            }
            self.counters.waits();
            tokio::select! {
                () = freed => {}
                () = wider => {}
                () = self.ended.cancelled() => return Err(lost()),
            }
        }
    }

    pub fn try_send(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<(), Refusal> {
        self.send_now(to, kind, parcel).unwrap_or_else(|_| {
            self.counters.busy();
            Err(Refusal::Busy)
        })
    }

    /// Sends if there is room now; else the message comes back.
    pub fn send_now(&self, to: ActorAddr, kind: KindId, parcel: Parcel) -> Result<Result<(), Refusal>, Parcel> {
        let mut parcel = Some(parcel);
        loop {
            let offered = match self.channel(to, kind) {
                Ok(channel) => self.offer(&channel, &mut parcel),
                Err(why) => Err(Hindrance::Refused(why)),
            };
            match offered {
                Ok(()) => return Ok(Ok(())),
                Err(Hindrance::Refused(why)) => return Ok(Err(why)),
                Err(Hindrance::Full) => return Err(parcel.unwrap_or_default()),
                Err(Hindrance::Closed) => {}
            }
        }
    }

    fn channel(&self, to: ActorAddr, kind: KindId) -> Result<Arc<Channel>, Refusal> {
        if self.ended.is_cancelled() {
            return Err(lost());
        }
        let mut failed = None;
        let channel = self.channels.get(to, kind, |channel| match opening(channel) {
            Ok((header, body)) => self.interactive.put(header, &[&body]),
            Err(why) => failed = Some(why),
        });
        match failed {
            None => Ok(channel),
            Some(why) => Err(why),
        }
    }

    fn offer(&self, channel: &Channel, parcel: &mut Option<Parcel>) -> Result<(), Hindrance> {
        let len = parcel.as_ref().map_or(0, Parcel::len);
        if len > self.max_message() {
            let max = self.options.max_message;
            let why = format!("{} are more than the {max} of a message; send a blob", bytesize::ByteSize(len as u64));
            return Err(Hindrance::Refused(Refusal::NotSent(why)));
        }
        let bulk = len as u64 >= self.options.bulk_from.as_u64() && len > 0;
        let lent = self.lending.take(len);
        let mut to_lend = None;
        let sent = channel.send(len as u64, bulk, &self.window, &self.options, |place| {
            let parcel = parcel.take().unwrap_or_default();
            let header = Header {
                flags: if parcel.traced { TRACED } else { 0 },
                channel: channel.id,
                seq: place.seq,
                head: u32::try_from(parcel.head.len()).unwrap_or(u32::MAX),
                port: parcel.port.0,
                ..Header::new(Kind::Deliver)
            };
            // The other connection may be behind. It was encoded before, so it can be again.
            if place.open_bulk
                && let Ok((header, body)) = opening(channel)
            {
                let _ = self.bulk.send(Out { header, body: Body::of(body), held: None });
            }
            match lent.is_some() {
                true => to_lend = Some((header, parcel.clone())),
                false => self.put(bulk, header, &parcel, None),
            }
            parcel
        });
        if sent.is_ok() {
            self.counters.sent(len);
            // Not in there: while much is copied, others may send in this channel. The receiver puts them in order.
            if let (Some(lent), Some((header, parcel))) = (lent, to_lend) {
                self.put_lent(lent, header, &parcel);
            } else {
                self.lending.offer(len, &self.interactive);
            }
            self.interactive.flush();
        }
        sent
    }

    /// Sends a message or an answer by way of memory that both have. That must be flushed.
    fn put_lent(&self, lent: Taken<'_>, header: Header, parcel: &Parcel) {
        match lent.fill(parcel) {
            Some(body) => self.interactive.put(Header { flags: header.flags | LENT, ..header }, &[&body]),
            None => self.put(true, header, parcel, None),
        }
    }

    /// Hands a message or an answer to one of the writers; what is for the interactive one must be flushed afterwards.
    fn put(&self, bulk: bool, header: Header, parcel: &Parcel, held: Option<Held>) {
        if bulk {
            // A queue whose reader has ended belongs to a lane that is ending: its senders hear of it by their ports.
            let body = Body { head: parcel.head.clone(), attached: parcel.attached.clone() };
            let _ = self.bulk.send(Out { header, body, held });
        } else {
            let parts: Vec<&[u8]> =
                std::iter::once(&parcel.head).chain(&parcel.attached).map(|part| &part[..]).collect();
            self.interactive.put(header, &parts);
        }
    }

    pub fn answer(&self, port: PortToken, answer: Option<Parcel>) {
        let Some(parcel) = answer else { return self.no_answer(port) };
        let len = parcel.len();
        if len > self.max_message() {
            tracing::warn!(bytes = len, max = %self.options.max_message, "an answer is larger than a message may be");
            return self.no_answer(port);
        }
        let head = u32::try_from(parcel.head.len()).unwrap_or(u32::MAX);
        let header = Header { head, port: port.0, ..Header::new(Kind::Answer) };
        if let Some(lent) = self.lending.take(len) {
            self.put_lent(lent, header, &parcel);
            return self.interactive.flush();
        }
        // Whoever answers doesn't wait for room.
        let limit = self.options.answers.as_u64().saturating_sub(self.interactive.waiting() as u64);
        let Some(held) = Held::add(&self.answers, len as u64, limit) else {
            tracing::warn!(bytes = len, max = %self.options.answers, "too much waits to be written for another answer");
            return self.no_answer(port);
        };
        let bulk = len as u64 >= self.options.bulk_from.as_u64();
        self.put(bulk, header, &parcel, bulk.then_some(held));
        self.lending.offer(len, &self.interactive);
        self.interactive.flush();
    }

    fn no_answer(&self, port: PortToken) {
        self.interactive.put(Header { port: port.0, ..Header::new(Kind::NoAnswer) }, &[]);
        self.interactive.flush();
    }

    /// A channel to one of these lives in which something is on the way, and until when that is to be waited for.
    pub fn behind(&self, lives: &Lives, patience: Duration) -> Option<(Arc<Channel>, Instant)> {
        self.channels.of(lives.actor()).into_iter().filter(|channel| lives.has(&channel.to)).find_map(|channel| {
            let Left::Not(until) = channel.left(patience) else { return None };
            self.interactive.put(Header { channel: channel.id, ..Header::new(Kind::Settle) }, &[]);
            self.interactive.flush();
            Some((channel, until))
        })
    }

    fn refused(&self, header: Header, why: Refusal) -> Result<(), LaneError> {
        let peer = self.peer.upgrade().ok_or(LaneError::Ended)?;
        // Of a channel that isn't there any more everything has been dealt with.
        let Some(channel) = self.channels.find(header.channel) else { return Ok(()) };
        let (mut tell, from) = (false, (channel.to, channel.kind));
        let now = peer.now_at(channel.to, &why);
        let refused = || match channel.refused(header.seq, &why, now, &self.window) {
            Refused::Follow(parcels) => parcels,
            Refused::Tell => {
                tell = true;
                Vec::new()
            }
            Refused::Nothing => Vec::new(),
        };
        peer.forward(from, now.unwrap_or(channel.to), refused);
        if tell {
            let why = now.map_or(why, Refusal::Moved);
            peer.ports().refuse(PortToken(header.port), why);
        }
        Ok(())
    }

    /// A frame has come in over one of the connections.
    pub fn arrived(&self, header: Header, body: Bytes) -> Result<(), LaneError> {
        let link = || -> Result<Arc<dyn Link>, LaneError> { Ok(self.peer.upgrade().ok_or(LaneError::Ended)?) };
        let port = PortToken(header.port);
        let body = match header.kind {
            Kind::Deliver | Kind::Answer if header.flags & LENT != 0 => {
                self.borrowing.message(&body, &self.interactive)?
            }
            _ => body,
        };
        match header.kind {
            Kind::Open => self.inbound.open(header.channel, &body)?,
            Kind::Deliver => self.inbound.message(header, body)?,
            Kind::Credit => self.channels.credit(header.channel, header.seq, header.port, &self.window),
            Kind::Close => self.inbound.close(header.channel),
            Kind::NoAnswer => link()?.ports().answer(port, None, &link()?)?,
            Kind::Answer => {
                let head = header.head as usize;
                if head > body.len() {
                    return Err(LaneError::Protocol("an answer shorter than its encoded part"));
                }
                let arrived = Arrived::new(body.slice(..head), body.slice(head..), false);
                let link = link()?;
                if let Err(e) = link.ports().answer(port, Some(arrived), &link) {
                    // The asker is told that there is no answer; the lane is none the worse.
                    tracing::warn!(error = %e, "an answer from another node can't be read");
                }
            }
            Kind::Refused => self.refused(header, codec::decode(&body)?)?,
            Kind::Settle => self.inbound.settle(),
            Kind::Lend => {
                let opened = u64::from(self.borrowing.open(header.seq, &body)?);
                self.interactive.put(Header { seq: header.seq, port: opened, ..Header::new(Kind::Opened) }, &[]);
                self.interactive.flush();
            }
            Kind::Opened => self.lending.opened(header.seq, header.port != 0)?,
            Kind::Return => self.lending.returned(header.seq)?,
            Kind::Recall => self.borrowing.recall(header.seq),
            Kind::Begin | Kind::Chunk => return Err(LaneError::Protocol("a piece where a whole was due")),
        }
        Ok(())
    }

    /// Messages that went through memory of both, and bytes of such memory.
    #[cfg(test)]
    pub fn lent(&self) -> (usize, usize) {
        self.lending.counts()
    }

    /// Messages that aren't known to have been taken, and their bytes.
    pub fn outstanding(&self) -> (u64, u64) {
        let sent = self.counters.sent_messages().saturating_sub(self.sent_before);
        (sent.saturating_sub(self.window.returned()), self.window.used())
    }

    #[cfg(test)]
    pub fn on_the_way(&self) -> u64 {
        self.window.used()
    }

    #[cfg(test)]
    pub fn channels(&self) -> usize {
        self.channels.len()
    }
}

/// A queue to the bulk writer. What goes into it has been counted before: see [`Out`].
#[expect(
    clippy::disallowed_methods,
    reason = "the bounds are those of channels and window, in bytes as well as messages"
)]
fn queue() -> (UnboundedSender<Out>, UnboundedReceiver<Out>) {
    mpsc::unbounded_channel()
}

/// The frame with which a channel begins.
fn opening(channel: &Channel) -> Result<(Header, Vec<u8>), Refusal> {
    let body = codec::encode(&(channel.to, channel.kind)).map_err(|e| Refusal::NotSent(e.to_string()))?;
    Ok((Header { channel: channel.id, ..Header::new(Kind::Open) }, body))
}

fn lost() -> Refusal {
    Refusal::NotSent("the lane to that node is lost".into())
}

/// Closes idle channels and settles small debts, now and then.
async fn sweep(session: Arc<Session>) -> Result<(), LaneError> {
    loop {
        tokio::time::sleep(session.options.sweep).await;
        session.inbound.settle();
        session.lending.sweep(2 * session.options.sweep, &session.interactive);
        session.interactive.flush();
        for channel in session.channels.sweep() {
            let header = Header { channel, ..Header::new(Kind::Close) };
            session.interactive.put(header, &[]);
            session.interactive.flush();
        }
    }
}
