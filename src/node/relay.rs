//! Brings what jobs on other nodes say of their progress to the control node, where it is watched. Nothing rests on it:
//! what doesn't get through is dropped.

use fleet_runtime::actor::{Actor, ActorError, Context, Json, Message, Ref};
use fleet_runtime::progress::{Progress, ProgressBus, ProgressItem};
use tokio::task::JoinHandle;
use wincode::{SchemaRead, SchemaWrite};

#[derive(Debug, SchemaWrite, SchemaRead)]
pub(super) enum RelayMsg {
    Publish(Json<Progress>),
}

impl Message for RelayMsg {
    const KIND: &'static str = "fleet.node.progress";
}

/// Publishes on the control node what the others say.
pub(super) struct RelayService(ProgressBus);

impl RelayService {
    pub(super) const NAME: &'static str = "progress";
}

impl Actor for RelayService {
    type Msg = RelayMsg;
    type Args = ProgressBus;

    async fn start(bus: ProgressBus, _: &Context<RelayMsg>) -> Result<Self, ActorError> {
        Ok(Self(bus))
    }

    async fn handle(&mut self, msg: RelayMsg, _: &Context<RelayMsg>) -> Result<(), ActorError> {
        let RelayMsg::Publish(progress) = msg;
        if let Ok(progress) = progress.take() {
            self.0.publish(progress);
        }
        Ok(())
    }
}

/// A member's end. Ends with its owner.
pub(super) struct Relay(JoinHandle<()>);

impl Relay {
    pub(super) fn start(bus: &ProgressBus, to: Ref<RelayMsg>) -> Self {
        let mut watch = bus.watch();
        Self(tokio::spawn(async move {
            while let Some(item) = watch.next().await {
                if let ProgressItem::Progress(progress) = item {
                    let _ = to.try_tell(RelayMsg::Publish(Json::new(progress)));
                }
            }
        }))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.0.abort();
    }
}
