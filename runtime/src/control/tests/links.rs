use ractor_cluster::NodeServerMessage;

use super::*;

fn is_unknown(answer: &Result<Vec<u8>, ControlError>) -> bool {
    matches!(answer, Err(ControlError::Unknown { .. }))
}

#[test]
fn a_node_shows_one_actor_however_many_it_runs() {
    alone("links::a_node_shows_one_actor_however_many_it_runs", || async {
        let (a, _b) = NodeA::start(ControlOptions::default()).await.with_b().await;
        assert_eq!(a.ask("echo hello").await.unwrap(), "hello");

        let sessions = ractor::call_t!(a.plane.inner().server, NodeServerMessage::GetSessions, 5000).unwrap();

        let children = sessions.values().flat_map(|session| session.actor.get_children());
        let remote: Vec<_> = children.filter(|actor| !actor.get_id().is_local()).collect();
        assert_eq!((sessions.len(), remote.len()), (1, 1), "{remote:?}");
    });
}

#[test]
fn calls_under_way_are_unknown_at_once_when_the_peer_dies() {
    alone("links::calls_under_way_are_unknown_at_once_when_the_peer_dies", || async {
        let (a, b) = NodeA::start(ControlOptions::default()).await.with_b().await;
        let mut events = a.plane.events();
        assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));
        let calls: Vec<_> = (0..8)
            .map(|_| {
                let (plane, b) = (a.plane.clone(), a.b);
                tokio::spawn(async move { (plane.call(b, b"slow 60000".to_vec(), PATIENCE).await, Instant::now()) })
            })
            .collect();
        until("the calls", || a.plane.links()[0].in_flight == 8).await;

        b.signal("-KILL");
        let killed = Instant::now();

        for call in calls {
            let (answer, at) = call.await.unwrap();
            assert!(is_unknown(&answer), "{answer:?}");
            assert!(at - killed < Duration::from_millis(100), "{:?}", at - killed);
        }
        assert!(matches!(a.ask("echo hello").await, Err(ControlError::NotSent(n)) if n == a.b));
        assert_eq!(next(&mut events).await, LinkEvent::Down(a.b));
        assert_eq!(a.plane.links(), []);
    });
}

#[test]
fn after_a_link_was_lost_a_new_one_takes_calls_again() {
    alone("links::after_a_link_was_lost_a_new_one_takes_calls_again", || async {
        let (a, _b) = NodeA::start(ControlOptions::default()).await.with_b().await;
        let mut events = a.plane.events();
        assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));
        for n in 0..5 {
            if n % 2 == 0 {
                a.plane.detach(a.b);
            } else {
                // It closes the link over which it would answer; the answer may be out before.
                let _ = a.ask("detach").await;
            }
            assert_eq!(next(&mut events).await, LinkEvent::Down(a.b));
            assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));
            assert_eq!(a.ask(&format!("ask-back {n}")).await.unwrap(), n.to_string());
        }
        assert_eq!(a.plane.stats().dropped, 0);
    });
}

#[test]
fn a_restarted_peer_is_reached_again() {
    alone("links::a_restarted_peer_is_reached_again", || async {
        let (a, b) = NodeA::start(ControlOptions::default()).await.with_b().await;
        let mut events = a.plane.events();
        assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));
        drop(b);
        assert_eq!(next(&mut events).await, LinkEvent::Down(a.b));
        let _b = a.start_b();
        assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));
        assert_eq!(a.ask("ask-back again").await.unwrap(), "again");
    });
}

#[test]
fn a_newer_link_takes_the_place_of_the_older() {
    alone("links::a_newer_link_takes_the_place_of_the_older", || async {
        let (a, _b) = NodeA::start(ControlOptions::default()).await.with_b().await;
        let mut events = a.plane.events();
        assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));

        a.plane.cast(a.b, b"dial".to_vec()).unwrap();
        let under_way = a.plane.call(a.b, b"slow 60000".to_vec(), PATIENCE).await;

        assert!(is_unknown(&under_way), "{under_way:?}");
        assert_eq!(next(&mut events).await, LinkEvent::Down(a.b));
        // B may dial once more, since it has seen its link go.
        until("calls go through", || !a.plane.links().is_empty()).await;
        let mut answer = a.ask("echo hello").await;
        while answer.is_err() {
            answer = a.ask("echo hello").await;
        }
        assert_eq!(answer.unwrap(), "hello");
        assert_eq!(a.plane.links().len(), 1);
    });
}

#[test]
fn a_peer_that_hangs_is_noticed() {
    alone("links::a_peer_that_hangs_is_noticed", || async {
        let options = ControlOptions { read_deadline: Duration::from_secs(6), ..Default::default() };
        let (a, b) = NodeA::start(options).await.with_b().await;
        let mut events = a.plane.events();
        assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));
        b.signal("-STOP");
        let stopped = Instant::now();

        let answer = a.plane.call(a.b, b"slow 60000".to_vec(), PATIENCE).await;

        let waited = stopped.elapsed();
        assert!(is_unknown(&answer), "{answer:?}");
        assert!(waited < Duration::from_secs(7), "{waited:?}");
        assert_eq!(next(&mut events).await, LinkEvent::Down(a.b));
    });
}

#[test]
fn a_stopped_plane_says_so_and_another_may_start() {
    alone("links::a_stopped_plane_says_so_and_another_may_start", || async {
        let (a, _b) = NodeA::start(ControlOptions::default()).await.with_b().await;
        let mut events = a.plane.events();
        assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));
        let me = a.plane.inner().me().clone();
        let start = || ControlPlane::start(me.clone(), ControlOptions::default(), Arc::new(Seen::default()));
        assert!(matches!(start().await, Err(ControlError::AnotherOne)));

        timeout(SOON, a.plane.stop()).await.unwrap();

        assert_eq!(next(&mut events).await, LinkEvent::Down(a.b));
        assert_eq!(events.next().await, None);
        assert!(matches!(a.ask("echo hello").await, Err(ControlError::Stopped)));
        assert_eq!(a.plane.links(), []);
        start().await.unwrap().stop().await;
    });
}

#[test]
fn a_stream_on_which_nobody_answers_is_given_up() {
    alone("links::a_stream_on_which_nobody_answers_is_given_up", || async {
        let options = ControlOptions { attach_deadline: Duration::from_millis(300), ..Default::default() };
        let a = NodeA::start(options).await;
        // A's accept loop attaches it; this end stays silent.
        let b = NodeCredentials::load(&a.dir.path().join("b")).unwrap();
        let endpoint = Endpoint::new(b, NetOptions::default()).unwrap();
        let dialled = endpoint.dial(&a.addr.to_string(), Plane::Control, None).await.unwrap();
        let (mut stream, _) = dialled;
        let gone =
            async { while tokio::io::AsyncReadExt::read(&mut stream, &mut [0; 64]).await.is_ok_and(|n| n > 0) {} };
        timeout(SOON, gone).await.expect("A keeps the connection");
        assert_eq!(a.plane.links(), []);

        let _b = a.start_b();
        let mut events = a.plane.events();
        assert_eq!(next(&mut events).await, LinkEvent::Up(a.b));
    });
}
