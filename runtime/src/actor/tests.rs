#![allow(clippy::unwrap_used, clippy::expect_used)]
//! Actors as a user sees them: through references only.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, mpsc};
use wincode::{SchemaRead, SchemaWrite};

use super::*;
use crate::id::{Incarnation, NodeId};
use crate::supervise::{Backoff, ChildOptions, Intensity, Restart, Strategy};

const SOON: Duration = Duration::from_secs(10);

async fn system() -> System {
    System::start(NodeId::new_random(), Incarnation(1)).await.unwrap()
}

fn child(restart: Restart) -> ChildOptions {
    ChildOptions { restart, ..ChildOptions::default() }
}

/// Waits for something to become true.
async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !check() {
        assert!(Instant::now() < deadline, "never happened: {what}");
        tokio::task::yield_now().await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Counts; can be made to misbehave.
struct Counter {
    count: u64,
    probe: Probe,
}

#[derive(Clone, Default)]
struct Probe {
    log: Option<mpsc::Sender<String>>,
    starts: Arc<AtomicUsize>,
    gate: Arc<Notify>,
    fail_starts: Arc<AtomicUsize>,
}

#[derive(Debug, SchemaWrite, SchemaRead)]
enum CounterMsg {
    Add(u64),
    Get(ReplyTo<u64>),
    /// Answers later, through a reference to somebody else.
    Forward(Ref<CounterMsg>, ReplyTo<u64>),
    Ignore(ReplyTo<u64>),
    Myself(ReplyTo<Ref<CounterMsg>>),
    Panic,
    Fail(String),
    Stop,
    /// Waits until the test lets go.
    Hold,
    /// Never ends by itself.
    Hang,
    SpawnChild(String),
    SpawnBadChild,
}

impl Message for CounterMsg {
    const KIND: &'static str = "test.counter";
}

impl Probe {
    fn say(&self, what: impl Into<String>) {
        if let Some(log) = &self.log {
            log.try_send(what.into()).ok();
        }
    }
}

impl Actor for Counter {
    type Msg = CounterMsg;
    type Args = Probe;

    async fn start(probe: Probe, ctx: &Context<CounterMsg>) -> Result<Self, ActorError> {
        probe.starts.fetch_add(1, Ordering::SeqCst);
        let fail = |n: usize| n.checked_sub(1);
        if probe.fail_starts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, fail).is_ok() {
            return Err(ActorError::failed("not yet"));
        }
        probe.say(format!("{} up", ctx.name()));
        Ok(Self { count: 0, probe })
    }

    async fn handle(&mut self, msg: CounterMsg, ctx: &Context<CounterMsg>) -> Result<(), ActorError> {
        match msg {
            CounterMsg::Add(n) => self.count += n,
            CounterMsg::Get(reply) => reply.send(self.count),
            CounterMsg::Forward(to, reply) => {
                to.tell(CounterMsg::Get(reply)).await.map_err(ActorError::failed)?;
            }
            CounterMsg::Ignore(reply) => drop(reply),
            CounterMsg::Myself(reply) => reply.send(ctx.myself()),
            CounterMsg::Panic => panic!("on purpose"),
            CounterMsg::Fail(why) => return Err(ActorError::Failed(why)),
            CounterMsg::Stop => ctx.stop(),
            CounterMsg::Hold => self.probe.gate.notified().await,
            CounterMsg::Hang => std::future::pending().await,
            CounterMsg::SpawnChild(name) => {
                ctx.spawn::<Counter>(name, self.probe.clone(), Restart::Permanent).await?;
            }
            CounterMsg::SpawnBadChild => {
                let child = ctx.spawn::<Counter>("bad", self.probe.clone(), Restart::Permanent).await?;
                for _ in 0..20 {
                    child.tell(CounterMsg::Panic).await.ok();
                }
            }
        }
        Ok(())
    }

    async fn stopped(&mut self, ctx: &Context<CounterMsg>) {
        self.probe.say(format!("{} stopped", ctx.name()));
    }

    fn supervision() -> SupervisorOptions {
        SupervisorOptions {
            strategy: Strategy::OneForAll,
            intensity: Intensity { max_restarts: 3, within: SOON },
            backoff: Backoff { initial: Duration::from_millis(1), ..Backoff::default() },
        }
    }
}

async fn get(counter: &Ref<CounterMsg>) -> Result<u64, AskError> {
    counter.ask(SOON, CounterMsg::Get).await
}

fn logged() -> (Probe, mpsc::Receiver<String>) {
    let (tx, rx) = mpsc::channel(100);
    (Probe { log: Some(tx), ..Probe::default() }, rx)
}

async fn next(log: &mut mpsc::Receiver<String>) -> String {
    tokio::time::timeout(SOON, log.recv()).await.expect("nothing was said").expect("the log ended")
}

#[tokio::test]
async fn messages_are_handled_in_the_order_in_which_one_sender_sent_them() {
    let system = system().await;
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    for n in 1..=100 {
        counter.tell(CounterMsg::Add(n)).await.unwrap();
    }
    assert_eq!(get(&counter).await.unwrap(), 5050);
    system.shutdown().await;
}

#[tokio::test]
async fn a_question_whose_replier_drops_it_is_unknown_at_once_and_not_at_the_deadline() {
    let system = system().await;
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    let asked = Instant::now();
    let answer = counter.ask(Duration::from_secs(60), CounterMsg::Ignore).await;
    assert!(matches!(answer, Err(AskError::Unknown(_))), "{answer:?}");
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_question_that_nobody_answers_in_time_is_unknown_at_the_deadline() {
    let system = system().await;
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    counter.tell(CounterMsg::Hang).await.unwrap();
    let answer = counter.ask(Duration::from_millis(50), CounterMsg::Get).await;
    assert_eq!(answer, Err(AskError::Unknown("the deadline has passed")));
}

#[tokio::test]
async fn a_full_mailbox_is_busy_until_the_handler_takes_a_message() {
    let system = system().await;
    let probe = Probe::default();
    let small = ChildOptions { mailbox: 2, ..ChildOptions::default() };
    let counter = system.spawn::<Counter>("c", probe.clone(), small).await.unwrap();
    counter.tell(CounterMsg::Hold).await.unwrap();
    // The first one is taken at some point; then two fit.
    until("the mailbox is full", || counter.try_tell(CounterMsg::Add(1)) == Err(SendError::Busy)).await;
    let busy = counter.ask(Duration::from_millis(20), CounterMsg::Get).await;
    assert_eq!(busy, Err(AskError::Busy));
    probe.gate.notify_one();
    assert_eq!(get(&counter).await.unwrap(), 2);
}

#[tokio::test]
async fn a_reference_outlives_the_panic_of_its_actor() {
    let system = system().await;
    let probe = Probe::default();
    let counter = system.spawn::<Counter>("c", probe.clone(), child(Restart::Permanent)).await.unwrap();
    let first = counter.addr();
    counter.tell(CounterMsg::Add(5)).await.unwrap();
    counter.tell(CounterMsg::Panic).await.unwrap();
    until("it was restarted", || probe.starts.load(Ordering::SeqCst) == 2).await;
    assert_eq!(get(&counter).await.unwrap(), 0, "a restart begins anew");
    assert_eq!(counter.addr().actor, first.actor);
    assert_eq!(counter.addr().generation, first.generation.next());
}

#[tokio::test]
async fn what_is_sent_while_the_actor_restarts_waits_for_its_next_life() {
    let system = system().await;
    let probe = Probe::default();
    let counter = system.spawn::<Counter>("c", probe.clone(), child(Restart::Permanent)).await.unwrap();
    // The next two starts fail as well, so that it stays away for a while.
    probe.fail_starts.store(2, Ordering::SeqCst);
    let generation = counter.addr().generation;
    counter.tell(CounterMsg::Fail("on purpose".into())).await.unwrap();
    until("it is away", || counter.addr().generation > generation).await;
    for _ in 0..10 {
        counter.tell(CounterMsg::Add(1)).await.unwrap();
    }
    assert_eq!(get(&counter).await.unwrap(), 10);
    assert_eq!(probe.starts.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn a_temporary_actor_that_failed_is_gone_and_its_askers_know_at_once() {
    let system = system().await;
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Temporary)).await.unwrap();
    counter.tell(CounterMsg::Panic).await.unwrap();
    let asked = Instant::now();
    until("it is gone", || counter.is_gone()).await;
    assert_eq!(counter.tell(CounterMsg::Add(1)).await, Err(SendError::Gone));
    assert_eq!(get(&counter).await, Err(AskError::Gone));
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_question_behind_a_panic_is_unknown_soon() {
    let system = system().await;
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Temporary)).await.unwrap();
    counter.try_tell(CounterMsg::Panic).unwrap();
    let asked = Instant::now();
    let answer = counter.ask(Duration::from_secs(60), CounterMsg::Get).await;
    assert!(matches!(answer, Err(AskError::Unknown(_) | AskError::Gone)), "{answer:?}");
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn children_end_in_good_order_before_the_parent_does() {
    let system = system().await;
    let (probe, mut log) = logged();
    let parent = system.spawn::<Counter>("parent", probe, child(Restart::Permanent)).await.unwrap();
    parent.tell(CounterMsg::SpawnChild("one".into())).await.unwrap();
    parent.tell(CounterMsg::SpawnChild("two".into())).await.unwrap();
    for up in ["parent up", "one up", "two up"] {
        assert_eq!(next(&mut log).await, up);
    }
    system.stop("parent").await;
    for ended in ["two stopped", "one stopped", "parent stopped"] {
        assert_eq!(next(&mut log).await, ended);
    }
    assert!(parent.is_gone());
}

#[tokio::test]
async fn children_end_in_good_order_when_their_parent_panics() {
    let system = system().await;
    let (probe, mut log) = logged();
    let parent = system.spawn::<Counter>("parent", probe, child(Restart::Temporary)).await.unwrap();
    parent.tell(CounterMsg::SpawnChild("child".into())).await.unwrap();
    parent.tell(CounterMsg::Panic).await.unwrap();
    assert_eq!(next(&mut log).await, "parent up");
    assert_eq!(next(&mut log).await, "child up");
    assert_eq!(next(&mut log).await, "child stopped");
    until("the parent is gone", || parent.is_gone()).await;
}

#[tokio::test]
async fn a_child_that_fails_too_often_ends_its_parent() {
    let system = system().await;
    let probe = Probe::default();
    let parent = system.spawn::<Counter>("parent", probe.clone(), child(Restart::Temporary)).await.unwrap();
    parent.tell(CounterMsg::SpawnBadChild).await.unwrap();
    until("the parent gave up", || {
        parent.try_tell(CounterMsg::Add(0)).ok();
        parent.is_gone() || {
            // Whatever of the 20 panics was lost in a restart is made up for.
            parent.try_tell(CounterMsg::SpawnBadChild).ok();
            false
        }
    })
    .await;
}

#[tokio::test]
async fn an_actor_that_hangs_is_killed_after_its_grace_but_its_children_end_in_good_order() {
    let system = system().await;
    let (probe, mut log) = logged();
    let options = ChildOptions { grace: Duration::from_millis(50), ..ChildOptions::default() };
    let parent = system.spawn::<Counter>("parent", probe, options).await.unwrap();
    parent.tell(CounterMsg::SpawnChild("child".into())).await.unwrap();
    parent.tell(CounterMsg::Hang).await.unwrap();
    assert_eq!(next(&mut log).await, "parent up");
    assert_eq!(next(&mut log).await, "child up");
    system.stop("parent").await;
    assert_eq!(next(&mut log).await, "child stopped");
    assert!(parent.is_gone());
}

#[tokio::test]
async fn a_permanent_actor_that_stops_itself_comes_back_and_a_transient_one_does_not() {
    let system = system().await;
    let probe = Probe::default();
    let permanent = system.spawn::<Counter>("p", probe.clone(), child(Restart::Permanent)).await.unwrap();
    let transient = system.spawn::<Counter>("t", Probe::default(), child(Restart::Transient)).await.unwrap();
    permanent.tell(CounterMsg::Stop).await.unwrap();
    transient.tell(CounterMsg::Stop).await.unwrap();
    until("it came back", || probe.starts.load(Ordering::SeqCst) == 2).await;
    until("it is gone", || transient.is_gone()).await;
    assert_eq!(get(&permanent).await.unwrap(), 0);
}

#[tokio::test]
async fn a_name_is_taken_once_among_siblings_and_free_again_afterwards() {
    let system = system().await;
    system.spawn::<Counter>("same", Probe::default(), child(Restart::Permanent)).await.unwrap();
    let second = system.spawn::<Counter>("same", Probe::default(), child(Restart::Permanent)).await;
    assert_eq!(second.unwrap_err(), ActorError::NameTaken("same".into()));
    system.stop("same").await;
    system.spawn::<Counter>("same", Probe::default(), child(Restart::Permanent)).await.unwrap();
}

#[tokio::test]
async fn a_start_that_fails_is_the_spawners_to_know() {
    let system = system().await;
    let probe = Probe::default();
    probe.fail_starts.store(1, Ordering::SeqCst);
    let started = system.spawn::<Counter>("c", probe, child(Restart::Permanent)).await;
    assert_eq!(started.unwrap_err(), ActorError::Failed("not yet".into()));
}

#[tokio::test]
async fn after_the_shutdown_of_a_system_all_its_actors_are_gone() {
    let system = system().await;
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    system.shutdown().await;
    system.ended().await;
    assert_eq!(counter.tell(CounterMsg::Add(1)).await, Err(SendError::Gone));
    let late = system.spawn::<Counter>("late", Probe::default(), child(Restart::Permanent)).await;
    assert_eq!(late.unwrap_err(), ActorError::ParentEnding);
}

#[tokio::test]
async fn a_message_that_crossed_the_wire_can_still_be_answered() {
    let system = system().await;
    let link = Loopback::new(&system);
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    let remote = link.remote(&counter);
    remote.tell(CounterMsg::Add(3)).await.unwrap();
    remote.try_tell(CounterMsg::Add(4)).unwrap();
    assert_eq!(get(&remote).await.unwrap(), 7);
    assert_eq!(link.waiting(), 0);
}

#[tokio::test]
async fn a_reference_that_crossed_the_wire_can_be_sent_to_and_sent_on() {
    let system = system().await;
    let link = Loopback::new(&system);
    let one = system.spawn::<Counter>("1", Probe::default(), child(Restart::Permanent)).await.unwrap();
    let two = system.spawn::<Counter>("2", Probe::default(), child(Restart::Permanent)).await.unwrap();
    two.tell(CounterMsg::Add(9)).await.unwrap();
    // The reply port crosses twice: to `one`, and with the forwarded message to `two`.
    let answer = link.remote(&one).ask(SOON, |r| CounterMsg::Forward(two.clone(), r)).await;
    assert_eq!(answer.unwrap(), 9);
    // A reference in an answer crosses back.
    let myself: Ref<CounterMsg> = link.remote(&two).ask(SOON, CounterMsg::Myself).await.unwrap();
    assert_eq!(get(&myself).await.unwrap(), 9);
    assert_eq!(link.waiting(), 0);
}

#[tokio::test]
async fn a_reply_port_dropped_on_the_other_side_is_unknown_at_once() {
    let system = system().await;
    let link = Loopback::new(&system);
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    let asked = Instant::now();
    let answer = link.remote(&counter).ask(Duration::from_secs(60), CounterMsg::Ignore).await;
    assert!(matches!(answer, Err(AskError::Unknown(_))), "{answer:?}");
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(link.waiting(), 0);
}

#[tokio::test]
async fn a_remote_reference_follows_its_actor_into_the_next_life() {
    let system = system().await;
    let link = Loopback::new(&system);
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    let remote = link.remote(&counter);
    let before = remote.addr();
    remote.tell(CounterMsg::Panic).await.unwrap();
    until("it was restarted", || counter.addr().generation > before.generation).await;
    assert_eq!(get(&remote).await.unwrap(), 0);
    assert_eq!(remote.addr(), counter.addr());
}

#[tokio::test]
async fn a_message_to_another_incarnation_or_to_nobody_is_refused() {
    let (here, elsewhere) = (system().await, system().await);
    let stranger = elsewhere.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    let link = Loopback::new(&here);
    assert_eq!(link.remote(&stranger).tell(CounterMsg::Add(1)).await, Err(SendError::Gone));
    assert_eq!(get(&link.remote(&stranger)).await, Err(AskError::Gone));
    assert_eq!(link.waiting(), 0, "the port that was left behind is forgotten");
}

#[derive(Debug, SchemaWrite, SchemaRead)]
struct OtherMsg(u64);

impl Message for OtherMsg {
    const KIND: &'static str = "test.other";
}

#[tokio::test]
async fn a_message_of_another_kind_is_refused_though_its_bytes_would_decode() {
    let system = system().await;
    let link = Loopback::new(&system);
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    let wrong = Ref::<OtherMsg>::there(counter.addr(), link);
    let sent = wrong.tell(OtherMsg(1)).await;
    assert!(matches!(&sent, Err(SendError::NotSent(why)) if why.contains("test.counter")), "{sent:?}");
}

#[tokio::test]
async fn an_address_read_outside_of_a_link_leads_nowhere_and_says_so() {
    let system = system().await;
    let counter = system.spawn::<Counter>("c", Probe::default(), child(Restart::Permanent)).await.unwrap();
    let bytes = crate::codec::encode(&counter).unwrap();
    let read: Ref<CounterMsg> = crate::codec::decode(&bytes).unwrap();
    assert_eq!(read.addr(), counter.addr());
    assert!(matches!(read.tell(CounterMsg::Add(1)).await, Err(SendError::NotSent(_))));
}

#[tokio::test]
async fn check_wire_gives_a_copy_whose_reply_port_works() {
    let (reply, answer) = ReplyTo::channel();
    let CounterMsg::Get(copy) = check_wire(&CounterMsg::Get(reply)).unwrap() else {
        panic!("another message arrived");
    };
    copy.send(42);
    assert_eq!(answer.await.unwrap(), 42);
}

#[tokio::test]
async fn what_serde_alone_can_write_travels_as_json() {
    let value = serde_json::json!({ "open": ["ended", 1, null] });
    let copy = check_wire(&Json::new(value.clone())).unwrap();
    assert_eq!(copy.take().unwrap(), value);
}

/// What a node provides may hold the node's own system.
#[derive(Clone)]
struct Service {
    _system: System,
    _alive: Arc<()>,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_provided_is_given_up_when_the_system_ends() {
    let system = system().await;
    let alive = Arc::new(());
    system.provide(Service { _system: system.clone(), _alive: alive.clone() });
    system.shutdown().await;
    until("it is given up", || Arc::strong_count(&alive) == 1).await;
}

#[test]
fn what_was_provided_is_given_up_when_the_whole_runtime_is_dropped() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let alive = Arc::new(());
    runtime.block_on(async {
        let system = system().await;
        system.provide(Service { _system: system.clone(), _alive: alive.clone() });
    });
    drop(runtime);
    assert_eq!(Arc::strong_count(&alive), 1);
}

#[tokio::test]
async fn the_figures_of_a_kind_count_what_was_handled_and_what_waits_and_outlast_its_actors() {
    let system = system().await;
    let probe = Probe::default();
    let (one, other) = (
        system.spawn::<Counter>("one", probe.clone(), child(Restart::Temporary)).await.unwrap(),
        system.spawn::<Counter>("other", probe.clone(), child(Restart::Temporary)).await.unwrap(),
    );
    one.ask(SOON, CounterMsg::Get).await.unwrap();
    other.tell(CounterMsg::Hold).await.unwrap();
    let of_kind = || system.figures()[CounterMsg::KIND];
    until("both have taken one", || of_kind().handled == 2).await;
    for _ in 0..3 {
        other.tell(CounterMsg::Add(1)).await.unwrap();
    }
    assert_eq!(of_kind(), KindFigures { actors: 2, handled: 2, waiting: 3, fullest: 3 });
    probe.gate.notify_one();
    until("none waits", || of_kind() == KindFigures { actors: 2, handled: 5, waiting: 0, fullest: 0 }).await;
    system.stop("one").await;
    system.stop("other").await;
    assert_eq!(of_kind(), KindFigures { actors: 0, handled: 5, waiting: 0, fullest: 0 });
}
