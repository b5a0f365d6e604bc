//! Where open gates are found, wherever in the cluster they are: one actor on the control node.
//!
//! It keeps nothing that must last. Each gate says again and again that it is open, so a desk that begins anew knows all
//! of them within seconds, and a gate that is silent for longer is one whose node is gone.

use std::collections::BTreeMap;
use std::time::Duration;

use fleet_runtime::actor::{Actor, ActorError, Context, Json, Message, Ref, ReplyTo};
use tokio::time::Instant;
use wincode::{SchemaRead, SchemaWrite};

use super::{Approval, GateMsg};

/// How often a gate says that it is open.
pub(super) const SAY_AGAIN: Duration = Duration::from_secs(3);
/// How long one that is silent is still listed.
const SILENT: Duration = Duration::from_secs(15);

/// What the desk is told and asked.
#[derive(Debug, SchemaWrite, SchemaRead)]
pub enum DeskMsg {
    /// This gate is open.
    Open {
        /// What it asks.
        approval: Json<Approval>,
        /// Who decides it.
        gate: Ref<GateMsg>,
    },
    /// It isn't any more.
    Close {
        /// The gate's.
        id: String,
    },
    /// All that are open, by id.
    List {
        /// Where to.
        reply: ReplyTo<Json<Vec<Approval>>>,
    },
    /// The gate with that id.
    Find {
        /// The gate's.
        id: String,
        /// Where to.
        reply: ReplyTo<Option<Ref<GateMsg>>>,
    },
}

impl Message for DeskMsg {
    const KIND: &'static str = "fleet.approvals";
}

/// Knows the open gates.
#[derive(Default)]
pub struct ApprovalDesk(BTreeMap<String, OpenGate>);

struct OpenGate {
    approval: Approval,
    gate: Ref<GateMsg>,
    heard: Instant,
}

impl ApprovalDesk {
    /// The name of the service.
    pub const NAME: &'static str = "approvals";
}

impl Actor for ApprovalDesk {
    type Msg = DeskMsg;
    type Args = ();

    async fn start((): (), _: &Context<DeskMsg>) -> Result<Self, ActorError> {
        Ok(Self::default())
    }

    async fn handle(&mut self, msg: DeskMsg, _: &Context<DeskMsg>) -> Result<(), ActorError> {
        self.0.retain(|_, open| open.heard.elapsed() < SILENT);
        match msg {
            DeskMsg::Open { approval, gate } => {
                let approval = approval.take().map_err(ActorError::Failed)?;
                self.0.insert(approval.id.clone(), OpenGate { approval, gate, heard: Instant::now() });
            }
            DeskMsg::Close { id } => drop(self.0.remove(&id)),
            DeskMsg::List { reply } => {
                let open: Vec<Approval> = self.0.values().map(|open| open.approval.clone()).collect();
                reply.send(Json::new(open));
            }
            DeskMsg::Find { id, reply } => reply.send(self.0.get(&id).map(|open| open.gate.clone())),
        }
        Ok(())
    }
}
