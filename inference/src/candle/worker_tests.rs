//! The loop of the engine's thread, turn by turn.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use futures::{FutureExt, StreamExt};

use super::*;
use crate::candle::CandleOptions;
use crate::tiny::Gguf;
use crate::{TokenEvent, TokenStream};

fn events(stream: &mut TokenStream) -> Vec<TokenEvent> {
    std::iter::from_fn(|| stream.next().now_or_never().flatten()).collect()
}

#[test]
fn a_cancelled_request_has_its_place_taken_within_one_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.gguf");
    Gguf::tiny("llama").write(&path);
    let options = CandleOptions {
        device: EngineDevice::Cpu,
        sequences: 1,
        kv_memory: Some(bytesize::ByteSize::b(0)),
        ..CandleOptions::default()
    };
    let shared = Shared::new(&options);
    let mut worker = Worker::load(&path, &options).unwrap();
    let submit = |id: u64| {
        let (sink, stream) = TokenStream::channel();
        let request = Request::new(vec![ChatMessage::user(format!("request {id}"))], 400);
        let waiting = Waiting { id, request, sink, since: Instant::now() };
        shared.inbox.push(Task::Decode(Box::new(waiting))).unwrap();
        stream
    };
    let (mut first, mut second) = (submit(1), submit(2));
    let turn = |worker: &mut Worker| worker.turn(shared.inbox.take(Duration::ZERO).unwrap(), &shared);
    for _ in 0..4 {
        turn(&mut worker);
    }
    assert!(matches!(events(&mut first)[..], [TokenEvent::Text { .. }]), "the first decodes");
    assert!(events(&mut second).is_empty(), "and the second waits for its place");
    first.cancel();
    turn(&mut worker);
    assert!(matches!(events(&mut first)[..], [TokenEvent::Done(usage)] if usage.finish == Finish::Cancelled));
    assert!(matches!(events(&mut second)[..], [TokenEvent::Text { tokens: 1, .. }]));
    let stats = super::super::lock(&shared.stats).clone();
    assert_eq!((stats.active, shared.inbox.len()), (1, 0));
}
