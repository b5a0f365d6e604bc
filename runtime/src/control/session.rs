//! What ractor_cluster tells of its sessions.

use std::sync::Arc;

use ractor_cluster::NodeEventSubscription;
use ractor_cluster::node::NodeServerSessionInformation;

use super::gateway::RemoteGateway;
use super::table::Table;
use crate::id::NodeId;

/// The host part of ractor_cluster's node names. Nobody looks it up.
pub(super) const HOST: &str = "fleet";

/// The name that a node's sessions go by.
fn session_name(node: NodeId) -> String {
    format!("{node}@{HOST}")
}

/// Called within ractor_cluster's server, so it never waits.
pub(super) struct SessionWatch(pub Arc<Table>);

impl NodeEventSubscription for SessionWatch {
    fn node_session_opened(&self, _: NodeServerSessionInformation) {}

    fn node_session_authenticated(&self, _: NodeServerSessionInformation) {}

    /// The peer has told of its actors and groups by now.
    fn node_session_ready(&self, session: NodeServerSessionInformation) {
        let Some(link) = self.0.by_label(&session.peer_addr) else { return };
        if session.peer_name.is_none_or(|name| name.name != session_name(link.peer)) {
            return self.0.close(&link, "the peer claims another node's name");
        }
        let Some(gateway) = RemoteGateway::find(link.peer, session.node_id) else {
            return self.0.close(&link, "the peer has no gateway");
        };
        link.set_gateway(gateway);
        self.0.up(&link);
    }

    fn node_session_disconnected(&self, session: NodeServerSessionInformation) {
        if let Some(link) = self.0.by_label(&session.peer_addr) {
            self.0.gone(&link);
        }
    }
}
