#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::*;

#[test]
fn a_traceparent_is_read_and_written_as_the_standard_has_it() {
    let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let context: TraceContext = text.parse().unwrap();
    assert_eq!(context.to_string(), text);
    assert_eq!(context.trace().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    let later = "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00-what comes later";
    assert_eq!(later.parse(), Ok(context));
}

#[test]
fn what_isnt_a_traceparent_is_refused() {
    let bad = [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    for text in bad {
        assert_eq!(text.parse::<TraceContext>(), Err(BadTraceparent), "{text}");
    }
}

#[test]
fn all_runs_of_a_job_are_in_one_trace() {
    let (one, other): (JobId, JobId) = ("k3m9x2p7qa".parse().unwrap(), "k3m9x2p7qb".parse().unwrap());
    assert_eq!(TraceContext::of_job(&one).trace(), TraceContext::of_job(&one).trace());
    assert_ne!(TraceContext::of_job(&one).span(), TraceContext::of_job(&one).span());
    assert_ne!(TraceId::of_job(&one), TraceId::of_job(&other));
}

#[tokio::test]
async fn a_task_is_in_a_trace_only_while_it_works_on_its_account() {
    let context = TraceContext::fresh();
    assert_eq!(current(), None);
    let within = context.scope(tracing::Span::none(), async {
        let beside = tokio::spawn(async { current() }).await.unwrap();
        (current(), beside)
    });
    assert_eq!(within.await, (Some(context), None));
    assert_eq!(current(), None);
}

proptest! {
    #[test]
    fn what_was_stamped_comes_off_again(encoded: Vec<u8>) {
        let context = TraceContext::fresh();
        let (found, rest) = TraceContext::unstamp(context.stamp(&encoded));
        prop_assert_eq!((found, &rest[..]), (Some(context), &encoded[..]));
        prop_assert_eq!(context.to_string().parse(), Ok(context));
    }

    #[test]
    fn any_bytes_can_be_looked_at_for_a_stamp(bytes: Vec<u8>) {
        let (found, rest) = TraceContext::unstamp(bytes.clone().into());
        prop_assert!(found.is_none() || rest[..] == bytes[STAMP..]);
    }
}
