//! The control node's actor: feeds the registry, writes down what it records, and carries out what it decides.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, watch};
use tokio_util::task::TaskTracker;
use wincode::{SchemaRead, SchemaWrite};

use super::archive::{Archive, ControlPorts};
use super::carrier::{Carrier, CarrierError};
use super::clock::boot_time;
use super::message::{Answer, ControlAnswer, NodeAnswer, Said, ToControl, ToNode};
use super::options::ClusterOptions;
use super::registry::{About, Act, ClusterEvent, Now, Registry, Ticket};
use super::renewal::Certifier;
use crate::actor::{Actor, ActorError, Context, Message, Ref, ReplyTo};
use crate::codec;
use crate::id::{ActorId, Incarnation, NodeId};
use crate::journal::{Journal, JournalError};
use crate::kept;
use crate::membership::Member;
use crate::time::Timestamp;

#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum ControlMsg {
    Said {
        from: NodeId,
        what: ToControl,
        reply: ReplyTo<ControlAnswer>,
    },
    /// What came of a call; `None` where nobody knows.
    Answered {
        node: NodeId,
        about: About,
        answer: Option<NodeAnswer>,
    },
    Appended(Appended),
    Link {
        node: NodeId,
        up: bool,
    },
    Tick,
}

impl Message for ControlMsg {
    const KIND: &'static str = "fleet.cluster.control";
}

/// What came of an append.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum Appended {
    Done,
    /// Not yet; it is tried again.
    Failed(String),
    /// Another control node has taken over: this one may not go on.
    Fenced(String),
}

/// Makes join tokens.
pub(super) type Inviter = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// What only the node with the cluster's certificate authority can do.
#[derive(Clone)]
pub(super) struct Desk {
    pub invite: Inviter,
    pub certify: Certifier,
}

#[derive(Clone)]
pub(super) struct ControlArgs {
    pub options: ClusterOptions,
    pub node: NodeId,
    pub incarnation: Incarnation,
    pub ports: ControlPorts,
    pub desk: Option<Desk>,
    pub carrier: Arc<dyn Carrier>,
    /// What people and tests see of the members.
    pub members: Arc<watch::Sender<Vec<Member>>>,
}

pub(super) struct Control {
    args: ControlArgs,
    registry: Registry,
    archive: Arc<Mutex<Archive>>,
    /// Events of the open segment.
    events: u64,
    /// When an append that failed is tried again.
    append_again: Option<Duration>,
    /// Questions that aren't answered yet.
    asked: HashMap<Ticket, ReplyTo<ControlAnswer>>,
    last_ticket: u64,
    tasks: TaskTracker,
}

/// Before an append that failed is tried again. The disk may be full: that takes a person.
const APPEND_PAUSE: Duration = Duration::from_secs(1);

impl Actor for Control {
    type Msg = ControlMsg;
    type Args = ControlArgs;

    async fn start(args: ControlArgs, ctx: &Context<ControlMsg>) -> Result<Self, ActorError> {
        let opened = Archive::open(args.ports.clone(), args.node).await.map_err(ActorError::failed)?;
        let (archive, book, events) = opened;
        // Before anything new can begin to keep state.
        if let Err(error) = kept::forget_others(&*args.ports.journal, |actor| book.actor(actor).is_some()).await {
            tracing::warn!(%error, "the state of actors that are no more stays until the next start");
        }
        let me = (args.node, args.incarnation);
        let registry = Registry::new(args.options.clone(), me, book, now()).map_err(ActorError::failed)?;
        let mut control = Self {
            args,
            registry,
            archive: Arc::new(Mutex::new(archive)),
            events,
            append_again: None,
            asked: HashMap::new(),
            last_ticket: 0,
            tasks: TaskTracker::new(),
        };
        control.carry_out(ctx);
        Ok(control)
    }

    async fn handle(&mut self, msg: ControlMsg, ctx: &Context<ControlMsg>) -> Result<(), ActorError> {
        match msg {
            ControlMsg::Said { from, what, reply } => self.said(from, what, reply),
            ControlMsg::Answered { node, about, answer } => self.registry.answered(node, about, answer, now()),
            ControlMsg::Appended(Appended::Done) => {
                self.append_again = None;
                self.registry.appended();
            }
            ControlMsg::Appended(Appended::Failed(why)) => {
                tracing::error!(%why, "the cluster's state can't be written down; what rests on it waits");
                self.append_again = Some(boot_time() + APPEND_PAUSE);
                self.registry.not_appended(why);
            }
            ControlMsg::Appended(Appended::Fenced(why)) => return Err(ActorError::Failed(why)),
            ControlMsg::Link { node, up } => self.registry.link(node, up, now()),
            ControlMsg::Tick => {
                self.registry.tick(now());
                self.args.members.send_replace(self.registry.members_now(boot_time()));
            }
        }
        self.carry_out(ctx);
        Ok(())
    }

    async fn stopped(&mut self, _: &Context<ControlMsg>) {
        self.tasks.close();
    }
}

impl Control {
    fn said(&mut self, from: NodeId, what: ToControl, reply: ReplyTo<ControlAnswer>) {
        if let ToControl::Certify { request } = &what {
            let signed = self.args.desk.as_ref().map(|desk| (desk.certify)(from, request));
            let signed = signed.unwrap_or_else(|| Err("this control node has no certificate authority".into()));
            return reply.send(signed.map_or_else(ControlAnswer::No, ControlAnswer::Certified));
        }
        let fresh = ActorId::new_random();
        if let ToControl::Spawn(request) = &what {
            let event = ClusterEvent::Spawned { actor: fresh, request: Box::new(request.clone()) };
            if !Archive::keeps(&self.args.ports, &event) {
                let why = "its key or its demand looks like a secret, which must not be written down".to_owned();
                return reply.send(ControlAnswer::Spawned(Err(why)));
            }
        }
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        self.asked.insert(ticket, reply);
        self.registry.said(from, what, ticket, fresh, now());
    }

    /// Does what the registry has decided, as far as it may be done now.
    fn carry_out(&mut self, ctx: &Context<ControlMsg>) {
        for act in self.registry.acts() {
            match act {
                Act::Reply { ticket, with } => self.reply(ticket, with),
                Act::Invite { ticket } => {
                    let made = self.args.desk.as_ref().map(|desk| (desk.invite)());
                    let made = made.unwrap_or_else(|| Err("this control node makes no join tokens".into()));
                    self.reply(ticket, made.map_or_else(ControlAnswer::No, ControlAnswer::Invited));
                }
                Act::Tell { node, what } => self.tell(node, what),
                Act::Ask { node, what, about } => self.ask(node, what, about, ctx),
            }
        }
        self.append(ctx);
    }

    fn reply(&mut self, ticket: Ticket, with: ControlAnswer) {
        if let Some(reply) = self.asked.remove(&ticket) {
            reply.send(with);
        }
    }

    /// Off this actor: a lease must not wait for the disk.
    fn append(&mut self, ctx: &Context<ControlMsg>) {
        if self.append_again.is_some_and(|due| boot_time() < due) {
            return;
        }
        let Some((batch, all)) = self.registry.next_batch() else { return };
        self.append_again = None;
        self.events += batch.len() as u64;
        // Only where the book has nothing that isn't in the journal by then.
        let snapshot = (all && Archive::is_long(self.events, self.registry.book())).then(|| {
            self.events = 0;
            self.registry.book().clone()
        });
        let (archive, journal, me) = (self.archive.clone(), self.args.ports.journal.clone(), ctx.myself());
        self.tasks.spawn(async move {
            let mut archive = archive.lock().await;
            let result = archive.append(&batch).await;
            if result.is_ok() {
                forget_state(&*journal, &batch).await;
            }
            let appended = match result {
                Ok(()) => Appended::Done,
                Err(e @ JournalError::Fenced { .. }) => Appended::Fenced(e.to_string()),
                Err(e) => Appended::Failed(e.to_string()),
            };
            if let (Appended::Done, Some(book)) = (&appended, snapshot)
                && let Err(error) = archive.begin_next(&book).await
            {
                // It goes on in the old segment; the next one is tried after as many events.
                tracing::warn!(%error, "no snapshot of the cluster's state was written");
            }
            // The control actor may have ended; its next life reads what is there.
            let _ = me.tell(ControlMsg::Appended(appended)).await;
        });
    }

    /// Calls a node without caring for the answer.
    fn tell(&self, node: NodeId, what: ToNode) {
        let call = self.call(node, what);
        self.tasks.spawn(async move {
            if let Err(error) = call.await {
                tracing::debug!(%node, %error, "a node was not reached");
            }
        });
    }

    /// Calls a node; the answer comes back as a message.
    fn ask(&self, node: NodeId, what: ToNode, about: About, ctx: &Context<ControlMsg>) {
        let (call, me): (_, Ref<ControlMsg>) = (self.call(node, what), ctx.myself());
        self.tasks.spawn(async move {
            let answer = call.await.inspect_err(|error| tracing::debug!(%node, %error, ?about, "no answer")).ok();
            // The control actor may have ended; then nobody needs the answer.
            let _ = me.tell(ControlMsg::Answered { node, about, answer }).await;
        });
    }

    fn call(
        &self,
        node: NodeId,
        what: ToNode,
    ) -> impl Future<Output = Result<NodeAnswer, CarrierError>> + Send + use<> {
        let (carrier, deadline) = (self.args.carrier.clone(), self.args.options.call_deadline);
        async move {
            let unreadable = |e: codec::CodecError| CarrierError::Unknown(e.to_string());
            let message = codec::encode(&Said::ToNode(what)).map_err(|e| CarrierError::NotSent(e.to_string()))?;
            let answer = carrier.call(node, message, deadline).await?;
            match codec::decode(&answer).map_err(unreadable)? {
                Answer::Node(answer) => Ok(answer),
                _ => Err(CarrierError::Unknown("it answered another question".into())),
            }
        }
    }
}

/// Of those that are over.
async fn forget_state(journal: &dyn Journal, events: &[(ClusterEvent, Timestamp)]) {
    for (event, _) in events {
        if let ClusterEvent::Over { actor, .. } = event
            && let Err(error) = kept::forget(journal, *actor).await
        {
            tracing::warn!(%actor, %error, "what an ended actor kept stays until the next start");
        }
    }
}

fn now() -> Now {
    Now { clock: boot_time(), wall: Timestamp::now() }
}
