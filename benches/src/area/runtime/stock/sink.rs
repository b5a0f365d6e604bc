//! The actor on the other node.

use ractor::message::{BoxedDowncastErr, SerializedMessage};
use ractor::{Actor, ActorProcessingErr, ActorRef, Message, RpcReplyPort};

/// A call without bytes asks how many were taken; any other gets its bytes back.
pub enum SinkMsg {
    Take(Vec<u8>),
    Echo(Vec<u8>, RpcReplyPort<Vec<u8>>),
}

impl Message for SinkMsg {
    fn serializable() -> bool {
        true
    }

    fn serialize(self) -> Result<SerializedMessage, BoxedDowncastErr> {
        Ok(match self {
            Self::Take(args) => SerializedMessage::Cast { variant: String::new(), args, metadata: None },
            Self::Echo(args, reply) => SerializedMessage::Call { variant: String::new(), args, reply, metadata: None },
        })
    }

    fn deserialize(message: SerializedMessage) -> Result<Self, BoxedDowncastErr> {
        match message {
            SerializedMessage::Cast { args, .. } => Ok(Self::Take(args)),
            SerializedMessage::Call { args, reply, .. } => Ok(Self::Echo(args, reply)),
            SerializedMessage::CallReply(..) => Err(BoxedDowncastErr),
        }
    }
}

/// Takes messages and counts them.
pub struct Sink;

impl Actor for Sink {
    type Msg = SinkMsg;
    type State = u64;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<SinkMsg>, (): ()) -> Result<u64, ActorProcessingErr> {
        Ok(0)
    }

    async fn handle(&self, _: ActorRef<SinkMsg>, msg: SinkMsg, taken: &mut u64) -> Result<(), ActorProcessingErr> {
        match msg {
            SinkMsg::Take(_) => *taken += 1,
            SinkMsg::Echo(bytes, reply) => {
                let answer = if bytes.is_empty() { taken.to_be_bytes().to_vec() } else { bytes };
                // Who asked may be gone.
                let _ = reply.send(answer);
            }
        }
        Ok(())
    }
}
