#![allow(clippy::unwrap_used, clippy::expect_used)]
//! What a message takes along to another node.

use super::*;
use crate::actor::Payload;
use crate::trace::{self, TraceContext};

#[derive(Debug, SchemaWrite, SchemaRead)]
enum WitnessMsg {
    /// Where the handler stands, after some bytes that go with the question.
    Where(Payload, ReplyTo<Option<String>>),
    /// Where a handler stands that this one asks.
    Further(Ref<WitnessMsg>, ReplyTo<Option<String>>),
}

impl Message for WitnessMsg {
    const KIND: &'static str = "test.witness";
}

struct Witness;

impl Actor for Witness {
    type Msg = WitnessMsg;
    type Args = ();

    async fn start((): (), _: &Context<WitnessMsg>) -> Result<Self, ActorError> {
        Ok(Self)
    }

    async fn handle(&mut self, msg: WitnessMsg, _: &Context<WitnessMsg>) -> Result<(), ActorError> {
        match msg {
            WitnessMsg::Where(_, reply) => reply.send(trace::current().map(|context| context.to_string())),
            WitnessMsg::Further(other, reply) => {
                let there = other.ask(SOON, |r| WitnessMsg::Where(Payload::default(), r)).await;
                reply.send(there.map_err(ActorError::failed)?);
            }
        }
        Ok(())
    }
}

async fn witness(node: &Node) -> crate::ActorAddr {
    let options = crate::supervise::ChildOptions::default();
    node.system.spawn::<Witness>("witness", (), options).await.unwrap().addr()
}

fn read(shown: Option<String>) -> Option<TraceContext> {
    shown.map(|text| text.parse().unwrap())
}

#[tokio::test]
async fn a_trace_goes_with_a_message_to_another_node_and_from_there_to_a_third() {
    let cluster = Cluster::new();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        nodes.push(cluster.node(NodeId::new_random(), 1).await);
    }
    let [a, b, c] = nodes.as_slice() else { unreachable!() };
    acquaint(&[a, b, c]).await;
    let on_b: Ref<WitnessMsg> = a.network.reference(witness(b).await);
    let on_c: Ref<WitnessMsg> = a.network.reference(witness(c).await);
    let here = TraceContext::fresh();
    // Small, beside the encoded part, over the bulk connection, in chunks, in memory of both.
    for len in [0, 2000, 100 << 10, 200 << 10, 3 << 20] {
        let question = |r| WitnessMsg::Where(Payload::new(vec![7; len]), r);
        let there = here.scope(tracing::Span::none(), on_b.ask(SOON, question)).await.unwrap();
        let there = read(there).expect("the handler is in a trace");
        assert_eq!(there.trace(), here.trace(), "{len}");
        assert_ne!(there.span(), here.span(), "each handling is a span of its own");
        assert_eq!(on_b.ask(SOON, question).await, Ok(None), "outside of a trace nothing goes along");
    }
    let further = here.scope(tracing::Span::none(), on_b.ask(SOON, |r| WitnessMsg::Further(on_c.clone(), r)));
    assert_eq!(read(further.await.unwrap()).map(|there| there.trace()), Some(here.trace()));
    for node in nodes {
        node.die().await;
    }
}

#[tokio::test]
async fn a_trace_goes_with_a_message_within_a_node() {
    let node = Cluster::new().node(NodeId::new_random(), 1).await;
    let options = crate::supervise::ChildOptions::default();
    let local = node.system.spawn::<Witness>("witness", (), options).await.unwrap();
    let (here, question) = (TraceContext::fresh(), |r| WitnessMsg::Where(Payload::default(), r));
    let there = here.scope(tracing::Span::none(), local.ask(SOON, question)).await.unwrap();
    assert_eq!(read(there).map(|there| there.trace()), Some(here.trace()));
    assert_eq!(local.ask(SOON, question).await, Ok(None));
    node.die().await;
}
