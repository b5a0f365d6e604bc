use super::*;

#[test]
fn calls_and_casts_go_both_ways() {
    alone("messages::calls_and_casts_go_both_ways", || async {
        let (a, _b) = NodeA::start(ControlOptions::default()).await.with_b().await;

        assert_eq!(a.ask("echo hello").await.unwrap(), "hello");
        assert_eq!(a.ask("ask-back and forth").await.unwrap(), "and forth");
        for n in 0..3 {
            a.plane.cast(a.b, format!("note {n}").into_bytes()).unwrap();
        }
        assert_eq!(a.ask("cast-back news").await.unwrap(), "");
        until("B's cast", || *lock(&a.seen.0) == [(a.b, "news".to_owned())]).await;
        let mut notes = a.ask("notes").await.unwrap();
        while notes.len() < 5 {
            notes = a.ask("notes").await.unwrap();
        }
        let mut notes: Vec<_> = notes.split(',').collect();
        notes.sort_unstable();
        assert_eq!(notes, ["0", "1", "2"]);

        assert!(matches!(a.ask("no").await, Err(ControlError::Refused(why)) if why == "because"));
        assert!(matches!(a.ask("panic").await, Err(ControlError::Refused(why)) if why.contains("as told")));
        assert_eq!(a.ask("echo still").await.unwrap(), "still");
        let nobody = NodeId::new_random();
        assert!(matches!(a.plane.call(nobody, vec![], SOON).await, Err(ControlError::NotSent(n)) if n == nobody));
        assert_eq!(a.plane.stats(), ControlStats::default());
        let [link] = &a.plane.links()[..] else { panic!("one link") };
        assert!(link.node == a.b && link.side == Side::Accepted && link.bytes_read > 500 && link.bytes_written > 500);
    });
}

#[test]
fn a_slow_handler_is_unknown_at_the_deadline() {
    alone("messages::a_slow_handler_is_unknown_at_the_deadline", || async {
        let (a, _b) = NodeA::start(ControlOptions::default()).await.with_b().await;
        let start = Instant::now();

        let answer = a.plane.call(a.b, b"slow 2000".to_vec(), Duration::from_millis(200)).await;

        let waited = start.elapsed();
        assert!(matches!(answer, Err(ControlError::Unknown { node, .. }) if node == a.b), "{answer:?}");
        assert!((200..1000).contains(&waited.as_millis()), "{waited:?}");
        assert_eq!(a.ask("echo still").await.unwrap(), "still");
        assert_eq!(a.plane.links()[0].in_flight, 0);
    });
}

#[test]
fn what_is_too_large_is_refused_and_the_link_lives() {
    alone("messages::what_is_too_large_is_refused_and_the_link_lives", || async {
        let options = ControlOptions::default();
        let limit = options.max_message();
        let (a, _b) = NodeA::start(options).await.with_b().await;
        let mut events = a.plane.events();
        assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));
        let message = |length: usize| {
            let mut message = b"length ".to_vec();
            message.resize(length, b'x');
            message
        };

        let answer = a.plane.call(a.b, message(limit + 1), SOON).await;
        assert!(matches!(answer, Err(ControlError::TooLarge { bytes, limit: l }) if bytes == limit + 1 && l == limit));
        assert!(matches!(a.plane.cast(a.b, message(limit + 1)), Err(ControlError::TooLarge { .. })));
        assert!(matches!(a.ask(&format!("big {}", limit + 1)).await, Err(ControlError::AnswerTooLarge(n)) if n == a.b));

        // The limit itself goes through, both ways.
        let counted = a.plane.call(a.b, message(limit), SOON).await.unwrap();
        assert_eq!(counted, limit.to_string().into_bytes());
        assert_eq!(a.ask(&format!("big {limit}")).await.unwrap().len(), limit);
        assert!(events.next().now_or_never().is_none(), "the link was lost");
    });
}

#[test]
fn a_forged_sender_is_dropped() {
    alone("messages::a_forged_sender_is_dropped", || async {
        let (a, _b) = NodeA::start(ControlOptions::default()).await.with_b().await;

        assert_eq!(a.ask(&format!("forge {}", NodeId::new_random())).await.unwrap(), "ignored");
        assert_eq!(a.ask(&format!("forge {}", a.plane.inner().me().node)).await.unwrap(), "ignored");

        assert_eq!(a.plane.stats().dropped, 2);
        assert_eq!(a.ask("ask-back still").await.unwrap(), "still");
        assert_eq!(*lock(&a.seen.0), []);
    });
}

#[test]
fn a_flood_of_slow_calls_is_bounded_at_both_ends() {
    alone("messages::a_flood_of_slow_calls_is_bounded_at_both_ends", || async {
        let options = ControlOptions { max_in_flight: 20, ..Default::default() };
        let (a, _b) = NodeA::start(options).await.with_b().await;

        let calls = (0..30).map(|_| a.plane.call(a.b, b"slow 500".to_vec(), SOON));
        let answers = futures::future::join_all(calls).await;

        let count = |wanted: fn(&Result<Vec<u8>, ControlError>) -> bool| answers.iter().filter(|a| wanted(a)).count();
        assert_eq!(count(|a| matches!(a, Err(ControlError::Busy { there: false, .. }))), 10, "over max_in_flight here");
        assert_eq!(count(|a| matches!(a, Err(ControlError::Busy { there: true, .. }))), 12, "over max_handlers there");
        assert_eq!(count(|a| a.as_ref().is_ok_and(|text| text == b"late")), 8);
        assert_eq!(a.ask("echo still").await.unwrap(), "still");
    });
}
