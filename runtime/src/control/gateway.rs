//! The one actor of a node that other nodes can reach.

use std::sync::Arc;
use std::time::Duration;

use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorId, ActorProcessingErr, ActorRef, RpcReplyPort, pg};
use tokio::sync::oneshot;

use super::desk::Desk;
use crate::id::NodeId;

/// ractor's group scope of the gateways; the group is the node's id.
const SCOPE: &str = "fleet/gateways";

/// What goes from gateway to gateway. Written by hand: a derived one copies each message twice more.
pub(super) enum GatewayMsg {
    /// A sealed message and where its answer goes.
    Ask(Vec<u8>, RpcReplyPort<Vec<u8>>),
    /// Of a kind that no gateway sends.
    Stray,
}

impl ractor::Message for GatewayMsg {
    fn serializable() -> bool {
        true
    }

    fn serialize(self) -> Result<SerializedMessage, BoxedDowncastErr> {
        match self {
            Self::Ask(args, reply) => {
                Ok(SerializedMessage::Call { variant: String::new(), args, reply, metadata: None })
            }
            Self::Stray => Err(BoxedDowncastErr),
        }
    }

    fn deserialize(message: SerializedMessage) -> Result<Self, BoxedDowncastErr> {
        Ok(match message {
            SerializedMessage::Call { args, reply, .. } => Self::Ask(args, reply),
            _ => Self::Stray,
        })
    }
}

pub(super) struct Gateway(pub Arc<Desk>);

impl Actor for Gateway {
    type Msg = GatewayMsg;
    type State = ();
    type Arguments = NodeId;

    async fn pre_start(&self, myself: ActorRef<GatewayMsg>, me: NodeId) -> Result<(), ActorProcessingErr> {
        pg::join_scoped(SCOPE.into(), me.to_string(), vec![myself.get_cell()]);
        Ok(())
    }

    /// Never waits and never fails: it serves all peers.
    async fn handle(
        &self,
        _: ActorRef<GatewayMsg>,
        message: GatewayMsg,
        (): &mut (),
    ) -> Result<(), ActorProcessingErr> {
        match message {
            GatewayMsg::Ask(sealed, reply) => self.0.take(sealed, reply),
            GatewayMsg::Stray => self.0.drop_stray(),
        }
        Ok(())
    }
}

/// A peer's gateway over one session. ractor's reference could also stop it, which would end the link: this can't.
pub(super) struct RemoteGateway(ActorRef<GatewayMsg>);

impl RemoteGateway {
    /// That of `peer` over ractor_cluster's session `session`, if the peer has told of it. One that another session
    /// brought, of an earlier link or of a peer that lies, isn't taken.
    pub fn find(peer: NodeId, session: u64) -> Option<Self> {
        let members = pg::get_scoped_members(&SCOPE.into(), &peer.to_string());
        let mut here = members.into_iter().filter(|cell| is_of(cell.get_id(), session));
        here.next().map(|cell| Self(cell.into()))
    }

    /// Queues a message; `Err` where it certainly wasn't.
    pub fn ask(&self, sealed: Vec<u8>, deadline: Duration) -> Result<oneshot::Receiver<Vec<u8>>, ()> {
        let (port, answer) = oneshot::channel();
        let ask = GatewayMsg::Ask(sealed, RpcReplyPort::from((port, deadline)));
        self.0.cast(ask).map(|()| answer).map_err(drop)
    }
}

fn is_of(actor: ActorId, session: u64) -> bool {
    matches!(actor, ActorId::Remote { node_id, .. } if node_id == session)
}
