#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use wincode::{SchemaRead, SchemaWrite};

use super::*;
use crate::actor::{Actor, ActorError, AskError, Context, Message, Payload, Ref, ReplyTo, SendError, System};
use crate::id::{Incarnation, NodeId};
use crate::supervise::{ChildOptions, Restart};

mod moves;
mod outbox;
mod shared;

const SOON: Duration = Duration::from_secs(20);

#[derive(Debug, SchemaWrite, SchemaRead)]
enum Msg {
    Note(u32, Payload),
    /// Keeps the actor busy until the gate says go.
    Hold,
    Sum(ReplyTo<u64>),
    Echo(Payload, ReplyTo<Payload>),
    Ignore(ReplyTo<u64>),
    Panic,
    Myself(ReplyTo<Ref<Msg>>),
    Pass(Ref<Msg>, ReplyTo<u64>),
}

impl Message for Msg {
    const KIND: &'static str = "test.lane";
}

struct Recorder {
    gate: Gate,
    sum: u64,
}

/// What the test sees and holds of an actor.
#[derive(Clone)]
struct Gate {
    seen: mpsc::Sender<(u32, usize)>,
    go: std::sync::Arc<tokio::sync::Semaphore>,
}

impl Actor for Recorder {
    type Msg = Msg;
    type Args = Gate;

    async fn start(gate: Gate, _: &Context<Msg>) -> Result<Self, ActorError> {
        Ok(Self { gate, sum: 0 })
    }

    async fn handle(&mut self, msg: Msg, ctx: &Context<Msg>) -> Result<(), ActorError> {
        match msg {
            Msg::Note(n, payload) => {
                self.sum += payload.iter().map(|byte| u64::from(*byte)).sum::<u64>();
                let _ = self.gate.seen.try_send((n, payload.len()));
            }
            Msg::Hold => self.gate.go.acquire().await.unwrap().forget(),
            Msg::Sum(reply) => reply.send(self.sum),
            Msg::Echo(payload, reply) => reply.send(payload),
            Msg::Ignore(reply) => drop(reply),
            Msg::Panic => panic!("on demand"),
            Msg::Myself(reply) => reply.send(ctx.myself()),
            Msg::Pass(to, reply) => to.tell(Msg::Sum(reply)).await.map_err(ActorError::failed)?,
        }
        Ok(())
    }
}

/// Two nodes with a lane between them.
struct Pair {
    here: System,
    there: System,
    /// The way from here to there, and back.
    way: std::sync::Arc<Peer>,
    back: std::sync::Arc<Peer>,
    ends: Vec<tokio::task::JoinHandle<LaneError>>,
}

struct Watched {
    actor: Ref<Msg>,
    seen: mpsc::Receiver<(u32, usize)>,
    go: std::sync::Arc<tokio::sync::Semaphore>,
}

async fn pair(options: LaneOptions) -> Pair {
    let (a, b) = (NodeId::new_random(), NodeId::new_random());
    let here = System::start(a, Incarnation(1)).await.unwrap();
    let there = System::start(b, Incarnation(1)).await.unwrap();
    let (way, back) = (Peer::new(&here, b), Peer::new(&there, a));
    let mut pair = Pair { here, there, way, back, ends: Vec::new() };
    pair.connect(options).await;
    pair
}

impl Pair {
    async fn connect(&mut self, options: LaneOptions) {
        let (one, other) = tokio::io::duplex(64 << 10);
        let (bulk, other_bulk) = tokio::io::duplex(64 << 10);
        for (peer, interactive, bulk) in [(&self.way, one, bulk), (&self.back, other, other_bulk)] {
            let (peer, options) = (peer.clone(), options.clone());
            self.ends.push(tokio::spawn(async move { peer.serve(Incarnation(1), interactive, bulk, &options).await }));
        }
        while !(self.way.is_up() && self.back.is_up()) {
            tokio::task::yield_now().await;
        }
    }

    /// An actor there, and a reference to it for use here.
    async fn actor(&self, name: &str) -> (Ref<Msg>, Watched) {
        let (seen, watched) = mpsc::channel(4096);
        let go = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
        let gate = Gate { seen, go: go.clone() };
        let options = ChildOptions { restart: Restart::Permanent, ..ChildOptions::default() };
        let actor = self.there.spawn::<Recorder>(name, gate, options).await.unwrap();
        (self.way.reference(actor.addr()), Watched { actor, seen: watched, go })
    }
}

fn payload(len: usize) -> Payload {
    Payload::new((0..len).map(|n| (n % 251) as u8).collect::<Vec<u8>>())
}

async fn settled(pair: &Pair) {
    let session = pair.way.session().unwrap();
    tokio::time::timeout(SOON, async {
        while session.on_the_way() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await
    .expect("all that was on the way is taken");
}

fn quick() -> LaneOptions {
    LaneOptions { sweep: Duration::from_millis(20), ..LaneOptions::default() }
}

#[tokio::test]
async fn questions_and_messages_reach_an_actor_of_another_node() {
    let pair = pair(quick()).await;
    let (remote, mut at) = pair.actor("a").await;
    remote.tell(Msg::Note(7, payload(10))).await.unwrap();
    assert_eq!(at.seen.recv().await, Some((7, 10)));
    assert_eq!(remote.ask(SOON, Msg::Sum).await, Ok(45));
    let big = payload(3 << 20);
    let echo = remote.ask(SOON, |r| Msg::Echo(big.clone(), r)).await.unwrap();
    assert!(echo == big);
    assert_eq!(pair.way.waiting(), 0);
    settled(&pair).await;
}

#[tokio::test]
async fn small_and_large_messages_of_one_sender_keep_their_order() {
    // The large ones in chunks, and those between whole.
    let pair = pair(LaneOptions { chunk: bytesize::ByteSize::kib(64), ..quick() }).await;
    let (remote, mut at) = pair.actor("a").await;
    for n in 0..60 {
        let len = [200_000, 20, 40_000, 20][n as usize % 4];
        remote.tell(Msg::Note(n, payload(len))).await.unwrap();
    }
    for n in 0..60 {
        assert_eq!(at.seen.recv().await.map(|(n, _)| n), Some(n));
    }
    settled(&pair).await;
}

#[tokio::test]
async fn a_slow_actor_makes_its_senders_busy_and_nobody_else() {
    // No settling in between: what the actor took before it was held up isn't given back yet.
    let options = LaneOptions { channel_messages: 16, sweep: Duration::from_secs(1), ..quick() };
    let pair = pair(options).await;
    let (slow, mut at) = pair.actor("slow").await;
    let (quick, _other) = pair.actor("quick").await;
    slow.tell(Msg::Hold).await.unwrap();
    let mut sent = 0;
    let busy = loop {
        match slow.try_tell(Msg::Note(sent, payload(10))) {
            Ok(()) => sent += 1,
            Err(e) => break e,
        }
    };
    assert_eq!(busy, SendError::Busy);
    assert!(sent <= 16, "{sent}");
    assert_eq!(quick.ask(SOON, Msg::Sum).await, Ok(0));
    assert_eq!(slow.ask(Duration::from_millis(50), Msg::Sum).await, Err(AskError::Busy));
    at.go.add_permits(1);
    for n in 0..sent {
        assert_eq!(at.seen.recv().await.map(|(n, _)| n), Some(n));
    }
    slow.tell(Msg::Note(99, payload(1))).await.unwrap();
    settled(&pair).await;
}

#[tokio::test]
async fn bytes_on_the_way_are_bounded_for_all_actors_together() {
    let options = LaneOptions { window: bytesize::ByteSize::kib(256), ..quick() };
    let pair = pair(options).await;
    let mut actors = Vec::new();
    for n in 0..8 {
        let (remote, at) = pair.actor(&n.to_string()).await;
        remote.tell(Msg::Hold).await.unwrap();
        actors.push((remote, at));
    }
    let mut sent = 0;
    for (remote, _) in &actors {
        while remote.try_tell(Msg::Note(0, payload(20_000))).is_ok() {
            sent += 20_000;
        }
    }
    assert!((200_000..=256 << 10).contains(&sent), "{sent}");
    actors.iter().for_each(|(_, at)| at.go.add_permits(1));
    settled(&pair).await;
}

#[tokio::test]
async fn a_message_larger_than_the_bounds_does_not_wait_for_what_was_taken_before_to_be_reported() {
    // Nothing is settled within the test's time.
    let options = LaneOptions { sweep: SOON * 10, ..LaneOptions::default() };
    let pair = pair(options).await;
    let (remote, mut at) = pair.actor("a").await;
    for n in 0..4 {
        assert!(remote.ask(SOON, Msg::Sum).await.is_ok());
        let sent = tokio::time::timeout(SOON, remote.tell(Msg::Note(n, payload(40 << 20))));
        sent.await.expect("it passes").unwrap();
        assert_eq!(at.seen.recv().await, Some((n, 40 << 20)));
    }
}

#[tokio::test]
async fn a_message_too_large_is_refused_at_its_sender_and_the_lane_lives_on() {
    let options = LaneOptions { max_message: bytesize::ByteSize::mib(1), ..quick() };
    let pair = pair(options).await;
    let (remote, _at) = pair.actor("a").await;
    let refused = remote.tell(Msg::Note(0, payload(2 << 20))).await;
    assert!(matches!(&refused, Err(SendError::NotSent(why)) if why.contains("send a blob")), "{refused:?}");
    assert_eq!(remote.ask(SOON, Msg::Sum).await, Ok(0));
}

#[tokio::test]
async fn a_question_that_nobody_will_answer_is_unknown_at_once() {
    let pair = pair(quick()).await;
    let (remote, _at) = pair.actor("a").await;
    let answer = remote.ask(Duration::from_secs(600), Msg::Ignore).await;
    assert!(matches!(answer, Err(AskError::Unknown(_))), "{answer:?}");
}

#[tokio::test]
async fn the_end_of_a_lane_answers_all_questions_under_way_and_a_new_one_takes_over() {
    let mut pair = pair(quick()).await;
    let (remote, at) = pair.actor("a").await;
    remote.tell(Msg::Hold).await.unwrap();
    let asking: Vec<_> = (0..20)
        .map(|_| {
            let remote = remote.clone();
            tokio::spawn(async move { remote.ask(Duration::from_secs(600), Msg::Sum).await })
        })
        .collect();
    while pair.way.waiting() < 20 {
        tokio::task::yield_now().await;
    }
    pair.ends.pop().unwrap().abort();
    for asked in asking {
        assert!(matches!(asked.await.unwrap(), Err(AskError::Unknown(_))));
    }
    assert!(matches!(pair.ends.pop().unwrap().await.unwrap(), LaneError::Closed | LaneError::Io(_)));
    assert!(matches!(remote.tell(Msg::Panic).await, Err(SendError::NotSent(_))));
    at.go.add_permits(1);
    pair.connect(quick()).await;
    assert_eq!(remote.ask(SOON, Msg::Sum).await, Ok(0));
}

#[tokio::test]
async fn a_lane_that_is_given_up_here_tells_those_who_wait_and_is_down() {
    let mut pair = pair(quick()).await;
    let (remote, _at) = pair.actor("a").await;
    remote.tell(Msg::Hold).await.unwrap();
    let asker = remote.clone();
    let asked = tokio::spawn(async move { asker.ask(Duration::from_secs(600), Msg::Sum).await });
    while pair.way.waiting() < 1 {
        tokio::task::yield_now().await;
    }
    // This side's task is dropped, as it is when a node is taken off the list.
    pair.ends.remove(0).abort();
    let answer = tokio::time::timeout(SOON, asked).await.unwrap().unwrap();
    assert!(matches!(answer, Err(AskError::Unknown(_))), "{answer:?}");
    assert!(!pair.way.is_up());
}

#[tokio::test]
async fn a_reference_follows_its_actor_into_the_next_life_and_knows_its_end() {
    let pair = pair(quick()).await;
    let (remote, at) = pair.actor("a").await;
    let first = at.actor.addr();
    remote.tell(Msg::Panic).await.unwrap();
    while at.actor.addr() == first {
        tokio::task::yield_now().await;
    }
    // The first question is refused, and follows; with the next one the reference hears where the actor is.
    while remote.addr() != at.actor.addr() {
        assert_eq!(remote.ask(SOON, Msg::Sum).await, Ok(0));
    }
    pair.there.stop("a").await;
    assert_eq!(remote.ask(SOON, Msg::Sum).await, Err(AskError::Gone));
    assert_eq!(remote.tell(Msg::Hold).await, Err(SendError::Gone));
}

#[tokio::test]
async fn a_reference_that_comes_home_is_a_local_one_again() {
    let pair = pair(quick()).await;
    let (remote, at) = pair.actor("a").await;
    let (mine, _kept) = mpsc::channel(4096);
    let gate = Gate { seen: mine, go: std::sync::Arc::new(tokio::sync::Semaphore::new(0)) };
    let local = pair.here.spawn::<Recorder>("l", gate, ChildOptions::default()).await.unwrap();
    // There it is a way back to here; the answer to the question that is passed on finds its asker.
    assert_eq!(remote.ask(SOON, |r| Msg::Pass(local.clone(), r)).await, Ok(0));
    let back: Ref<Msg> = remote.ask(SOON, Msg::Myself).await.unwrap();
    assert_eq!(back.addr(), at.actor.addr());
    assert!(format!("{back:?}").contains("remote"));
    let there: Ref<Msg> = pair.back.reference(local.addr());
    let mine: Ref<Msg> = there.ask(SOON, Msg::Myself).await.unwrap();
    assert!(format!("{mine:?}").contains("remote"), "seen from there it is on another node: {mine:?}");
}

#[tokio::test]
async fn an_idle_channel_is_closed_and_a_new_one_opened_when_it_is_needed() {
    let pair = pair(quick()).await;
    let (remote, mut at) = pair.actor("a").await;
    for round in 0..3 {
        remote.tell(Msg::Note(round, payload(100_000))).await.unwrap();
        assert_eq!(at.seen.recv().await.map(|(n, _)| n), Some(round));
        let session = pair.way.session().unwrap();
        tokio::time::timeout(SOON, async {
            while session.channels() > 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("it was closed");
    }
}

/// A lane whose other end is the test.
async fn raw(options: LaneOptions) -> (tokio::task::JoinHandle<LaneError>, DuplexStream, DuplexStream) {
    let (_, end, other, bulk) = raw_peer(options).await;
    (end, other, bulk)
}

async fn raw_peer(
    options: LaneOptions,
) -> (std::sync::Arc<Peer>, tokio::task::JoinHandle<LaneError>, DuplexStream, DuplexStream) {
    let system = System::start(NodeId::new_random(), Incarnation(1)).await.unwrap();
    let peer = Peer::new(&system, NodeId::new_random());
    let (one, other) = tokio::io::duplex(1 << 20);
    let (bulk, other_bulk) = tokio::io::duplex(1 << 20);
    let serving = peer.clone();
    let end = tokio::spawn(async move {
        let why = serving.serve(Incarnation(1), one, bulk, &options).await;
        drop(system);
        why
    });
    while !peer.is_up() {
        tokio::task::yield_now().await;
    }
    (peer, end, other, other_bulk)
}

/// The next frame that comes over a connection.
async fn next_frame(from: &mut DuplexStream) -> frame::Header {
    let mut header = [0; frame::HEADER];
    from.read_exact(&mut header).await.unwrap();
    let announced = frame::Announced::read(&header).unwrap();
    let mut body = vec![0; announced.len];
    from.read_exact(&mut body).await.unwrap();
    announced.check(&body).unwrap();
    announced.header
}

#[tokio::test]
async fn answers_that_nobody_reads_are_bounded() {
    use crate::actor::{Link as _, Parcel, PortToken};
    let bound = LaneOptions { answers: bytesize::ByteSize::mib(4), shared_memory: bytesize::ByteSize::b(0), ..quick() };
    let (peer, _end, mut other, mut bulk) = raw_peer(bound).await;
    let large = Parcel { head: vec![7; 400 << 10].into(), ..Parcel::default() };
    for n in 1..=50 {
        peer.answer(PortToken(n), Some(large.clone()));
    }
    let refused = async {
        let mut refused = 0;
        while refused < 35 {
            assert_eq!(next_frame(&mut other).await.kind, frame::Kind::NoAnswer);
            refused += 1;
        }
        refused
    };
    let refused = tokio::time::timeout(SOON, refused).await.expect("what is beyond the bound is answered so");
    assert!(refused < 50);
    // What was held is written when somebody reads, and then there is room again.
    let taken = async {
        for _ in 0..4 {
            assert_eq!(next_frame(&mut bulk).await.kind, frame::Kind::Answer);
        }
        peer.answer(PortToken(99), Some(large.clone()));
        while next_frame(&mut bulk).await.port != 99 {}
    };
    tokio::time::timeout(SOON, taken).await.expect("answers go on");
}

#[tokio::test]
async fn garbage_and_frames_that_lie_end_the_lane() {
    for bytes in [vec![0xAA; 4096], {
        let mut frame = bytes::BytesMut::new();
        frame::Header { channel: 9, ..frame::Header::new(frame::Kind::Deliver) }.put(&mut frame, &[]);
        frame.to_vec()
    }]
    .into_iter()
    .chain([frame::Kind::Opened, frame::Kind::Return].map(|kind| {
        let mut frame = bytes::BytesMut::new();
        frame::Header { seq: 3, ..frame::Header::new(kind) }.put(&mut frame, &[]);
        frame.to_vec()
    }))
    .chain([{
        let (mut frame, body) = (bytes::BytesMut::new(), crate::codec::encode(&(5_u32, 100_u64)).unwrap());
        frame::Header { flags: frame::LENT, ..frame::Header::new(frame::Kind::Deliver) }.put(&mut frame, &[&body]);
        frame.extend_from_slice(&body);
        frame.to_vec()
    }]) {
        let (end, mut other, _bulk) = raw(quick()).await;
        other.write_all(&bytes).await.unwrap();
        let why = tokio::time::timeout(SOON, end).await.unwrap().unwrap();
        assert!(matches!(why, LaneError::Protocol(_)), "{why}");
        let mut rest = Vec::new();
        other.read_to_end(&mut rest).await.unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_header_is_read_as_it_was_written_and_any_flipped_bit_is_found(
        channel: u32, seq: u32, head: u32, port: u64, body in proptest::collection::vec(any::<u8>(), 0..200), flip: usize,
    ) {
        let header = frame::Header { flags: 0, channel, seq, head, port, ..frame::Header::new(frame::Kind::Deliver) };
        let mut bytes = bytes::BytesMut::new();
        header.put(&mut bytes, &[&body]);
        bytes.extend_from_slice(&body);
        let read = |bytes: &[u8]| {
            let announced = frame::Announced::read(bytes.first_chunk().unwrap())?;
            let body = bytes.get(frame::HEADER..frame::HEADER + announced.len);
            announced.check(body.ok_or(LaneError::Protocol("longer than what is there"))?)?;
            Ok::<_, LaneError>(announced.header)
        };
        prop_assert_eq!(read(&bytes).unwrap(), header);
        let bit = flip % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(read(&bytes).is_err());
    }
}

#[tokio::test]
async fn the_figures_of_a_lane_say_what_went_over_it_and_what_could_not() {
    let pair = pair(LaneOptions { channel_messages: 4, ..quick() }).await;
    let (remote, mut at) = pair.actor("a").await;
    assert_eq!((pair.way.figures().made, pair.way.figures().sent), (1, (0, 0)));
    remote.tell(Msg::Hold).await.unwrap();
    // Else what it took before it was held up might be given back at any moment.
    settled(&pair).await;
    let mut sent = 1;
    while remote.try_tell(Msg::Note(sent, payload(100))).is_ok() {
        sent += 1;
    }
    let waiting = {
        let remote = remote.clone();
        tokio::spawn(async move { remote.tell(Msg::Note(99, payload(1))).await })
    };
    tokio::time::timeout(SOON, async {
        while pair.way.figures().waits == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("who has no room waits");
    let figures = pair.way.figures();
    assert_eq!((figures.busy, figures.sent.0, figures.is_up), (1, u64::from(sent), true));
    assert!(figures.on_the_way.0 > 0 && figures.on_the_way.1 > 0, "{figures:?}");
    at.go.add_permits(1);
    while at.seen.recv().await.map(|(n, _)| n) != Some(99) {}
    waiting.await.unwrap().unwrap();
    settled(&pair).await;
    let (there, here) = (pair.back.figures(), pair.way.figures());
    assert_eq!((there.received, here.on_the_way), (here.sent, (0, 0)));

    pair.there.stop("a").await;
    while remote.tell(Msg::Hold).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(pair.back.figures().refused.iter().any(|(why, n)| *why == "gone" && *n > 0), "{:?}", pair.back.figures());
}
