//! The way to the open gates of the cluster, and to decide them.

use std::sync::Arc;
use std::time::Duration;

use fleet_runtime::actor::{ActorError, AskError, Json, Ref, System};
use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::supervise::ChildOptions;
use fleet_runtime::{JobId, Journal, Seq, StreamId};

use super::desk::{ApprovalDesk, DeskMsg};
use super::{Approval, ApprovalError, Decision, GateMsg};
use crate::event::StoryEvent;

/// How long recording a decision may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// How long the desk may take to answer.
const QUICK: Duration = Duration::from_secs(10);
/// Events read at once when a closed gate is looked up.
const PAGE: usize = 500;

/// Cheap to clone; clones know the same gates.
#[derive(Clone)]
pub struct Approvals {
    desk: Ref<DeskMsg>,
    journal: Arc<dyn Journal>,
}

impl std::fmt::Debug for Approvals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Approvals({:?})", self.desk)
    }
}

/// The id of the gate of one attempt of one job.
pub(crate) fn gate_id(job: &JobId, attempt: u32) -> String {
    format!("{job}-{attempt}")
}

/// The id of the gate at which a job asks, after so many attempts, whether to go on.
pub(crate) fn more_id(job: &JobId, attempts: usize) -> String {
    format!("{job}-after-{attempts}")
}

impl Approvals {
    /// Starts the desk on this node. The journal is asked about gates that were closed.
    pub async fn start(system: &System, journal: Arc<dyn Journal>) -> Result<Self, ActorError> {
        let options = ChildOptions::default();
        let desk = system.spawn_service::<ApprovalDesk>(ApprovalDesk::NAME, (), options).await?;
        Ok(Self::of(desk, journal))
    }

    /// The gates that are known at that desk, on this node or another.
    pub fn of(desk: Ref<DeskMsg>, journal: Arc<dyn Journal>) -> Self {
        Self { desk, journal }
    }

    /// The open gates, by id.
    pub async fn list(&self) -> Result<Vec<Approval>, ApprovalError> {
        let listed = self.desk.ask(QUICK, |reply| DeskMsg::List { reply }).await.map_err(unavailable)?;
        listed.take().map_err(|why| ApprovalError::Unavailable { why })
    }

    /// Decides a gate. `Ok` means recorded.
    pub async fn decide(&self, id: &str, answer: Decision, by: Principal, comment: &str) -> Result<(), ApprovalError> {
        // Before anything else: who may not decide is not told what was decided.
        if by.level < AccessLevel::Po {
            return Err(ApprovalError::NotAllowed { who: by.name });
        }
        let named = id.to_owned();
        let found = self.desk.ask(QUICK, |reply| DeskMsg::Find { id: named, reply }).await.map_err(unavailable)?;
        let Some(gate) = found else { return Err(self.closed(id).await) };
        let asked = gate
            .ask(DEADLINE, |reply| GateMsg::Decide {
                answer: Json::new(answer),
                by,
                comment: comment.to_owned(),
                reply,
            })
            .await;
        match asked {
            Ok(answer) => answer.take().unwrap_or_else(|why| Err(ApprovalError::Unavailable { why })).map(|_| ()),
            // It was decided while the question was on its way.
            Err(AskError::Gone) => Err(self.closed(id).await),
            Err(e) => Err(unavailable(e)),
        }
    }

    /// Says that a gate is open; it is said again from time to time, so it doesn't wait for a desk that is away.
    pub(crate) fn open(&self, approval: Approval, gate: Ref<GateMsg>) {
        let _ = self.desk.try_tell(DeskMsg::Open { approval: Json::new(approval), gate });
    }

    pub(crate) fn close(&self, id: &str) {
        let _ = self.desk.try_tell(DeskMsg::Close { id: id.to_owned() });
    }

    /// Why a gate that isn't open can't be decided: what its job's journal says.
    async fn closed(&self, id: &str) -> ApprovalError {
        let not_found = ApprovalError::NotFound { id: id.to_owned() };
        let Some(Ok(job)) = id.split_once('-').map(|(job, _)| job.parse::<JobId>()) else {
            return not_found;
        };
        match self.decision_of(&StreamId::job(&job), id).await {
            Ok(Some(error)) => error,
            Ok(None) => not_found,
            Err(e) => ApprovalError::Unavailable { why: e.to_string() },
        }
    }

    async fn decision_of(
        &self,
        stream: &StreamId,
        id: &str,
    ) -> Result<Option<ApprovalError>, fleet_runtime::JournalError> {
        let mut from = Seq(1);
        loop {
            let page = self.journal.read_stream(stream, from, PAGE).await?;
            let Some(last) = page.last() else { return Ok(None) };
            from = last.seq.next();
            for event in &page {
                if let Some(Ok(StoryEvent::GateDecided { gate, decision, by, at, .. })) =
                    StoryEvent::read(&event.kind, &event.payload)
                    && gate == id
                {
                    return Ok(Some(ApprovalError::AlreadyDecided { decision, by, at }));
                }
            }
        }
    }
}

fn unavailable(e: AskError) -> ApprovalError {
    ApprovalError::Unavailable { why: e.to_string() }
}
