//! The open gates of this node, and the way to decide them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fleet_runtime::actor::{AskError, Json, Ref};
use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::{JobId, Journal, Seq, StreamId};

use super::{Approval, ApprovalError, Decision, GateMsg};
use crate::event::StoryEvent;

/// How long recording a decision may take.
const DEADLINE: Duration = Duration::from_secs(30);
/// Events read at once when a closed gate is looked up.
const PAGE: usize = 500;

/// The open gates by id, each with the actor that decides it.
type OpenGates = BTreeMap<String, (Approval, Ref<GateMsg>)>;

/// Cheap to clone; clones know the same gates.
#[derive(Clone)]
pub struct Approvals {
    open: Arc<Mutex<OpenGates>>,
    journal: Arc<dyn Journal>,
}

impl std::fmt::Debug for Approvals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Approvals({} open)", self.lock().len())
    }
}

/// The id of the gate of one attempt of one job.
pub(crate) fn gate_id(job: &JobId, attempt: u32) -> String {
    format!("{job}-{attempt}")
}

impl Approvals {
    /// No gate is open yet. The journal is asked about those that were closed.
    pub fn new(journal: Arc<dyn Journal>) -> Self {
        Self { open: Arc::default(), journal }
    }

    /// The open gates, by id.
    pub fn list(&self) -> Vec<Approval> {
        self.lock().values().map(|(approval, _)| approval.clone()).collect()
    }

    /// Decides a gate. `Ok` means recorded.
    pub async fn decide(&self, id: &str, answer: Decision, by: Principal, comment: &str) -> Result<(), ApprovalError> {
        // Before anything else: who may not decide is not told what was decided.
        if by.level < AccessLevel::Po {
            return Err(ApprovalError::NotAllowed { who: by.name });
        }
        let gate = self.lock().get(id).map(|(_, gate)| gate.clone());
        let Some(gate) = gate else { return Err(self.closed(id).await) };
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
            Err(e) => Err(ApprovalError::Unavailable { why: e.to_string() }),
        }
    }

    pub(crate) fn open(&self, approval: Approval, gate: Ref<GateMsg>) {
        self.lock().insert(approval.id.clone(), (approval, gate));
    }

    pub(crate) fn close(&self, id: &str) {
        self.lock().remove(id);
    }

    /// Why a gate that isn't open can't be decided: what its job's journal says.
    async fn closed(&self, id: &str) -> ApprovalError {
        let not_found = ApprovalError::NotFound { id: id.to_owned() };
        let Some(Ok(job)) = id.rsplit_once('-').map(|(job, _)| job.parse::<JobId>()) else {
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

    fn lock(&self) -> MutexGuard<'_, OpenGates> {
        // Entries are put in and taken out whole, so a panic elsewhere leaves the table consistent.
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
