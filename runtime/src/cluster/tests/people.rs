//! What people ask for, and what they are told.

use super::*;
use crate::membership::MemberState;

async fn next(watch: &mut ActorWatch) -> ActorEvent {
    tokio::time::timeout(SOON, watch.next()).await.expect("something becomes of it").unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_and_actors_are_listed_and_explained_from_any_node() {
    let (_cluster, _hub, nodes) = three().await;
    let part = &nodes[2].1;
    for n in 0..3 {
        part.spawn::<Counter>(&format!("c/{n}"), &n, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    }
    let listed = part.nodes().await.unwrap();
    assert_eq!(listed.len(), 3);
    assert_eq!(listed.iter().filter(|n| n.is_control && n.name == "n0").count(), 1);
    assert_eq!(listed.iter().map(|n| n.actors).sum::<usize>(), 3);
    assert!(listed.iter().all(|n| n.state == MemberState::Alive && n.since.0 > 0 && n.free.is_some()));
    assert!(serde_json::to_string(&listed).unwrap().contains("\"state\":\"alive\""));

    let filter = ActorFilter { key_prefix: Some("c/".into()), kind: Some("test.counter".into()), ..Default::default() };
    let actors = part.actors(filter).await.unwrap();
    assert_eq!(actors.iter().map(|a| a.key.as_str()).collect::<Vec<_>>(), ["c/0", "c/1", "c/2"]);
    assert!(actors.iter().all(|a| a.state == ActorState::Up && a.restarts == 0 && a.addr.is_some()));
    let elsewhere = ActorFilter { node: Some("n0".into()), ..Default::default() };
    assert!(part.actors(elsewhere).await.unwrap().is_empty());

    let explained = part.explain_node("n1").await.unwrap().unwrap();
    assert!(explained.takes_work && explained.to_string().contains("it takes new work"), "{explained}");
    assert!(part.explain_node("nobody").await.unwrap().is_none());
    let explained = part.explain_actor("c/1").await.unwrap().unwrap();
    assert!(explained.to_string().contains("it runs on node n"), "{explained}");
    assert!(part.explain_actor("c/9").await.unwrap().is_none());

    // More than is free, but not more than there is: it waits, and says why.
    let request = crate::placement::Request { cpu_milli: 20_000, ..Default::default() };
    let demand = crate::placement::Demand { request, ..Default::default() };
    let waits = part.spawn::<Counter>("large", &1, Restart::Permanent, demand, Duration::from_millis(300)).await;
    assert!(waits.is_err());
    let explained = part.explain_actor("large").await.unwrap().unwrap();
    assert_eq!(explained.record.state, ActorState::Placing);
    assert!(explained.to_string().contains("cpu"), "{explained}");
    let refused = part.invite().await.unwrap_err();
    assert_eq!(refused.code(), "FLT-C013", "this control node was started without an authority: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_gets_nothing_new_and_its_permanent_actors_move_off() {
    let (_cluster, _hub, nodes) = three().await;
    let part = nodes[1].1.clone();
    let mut moving: Vec<Ref<CounterMsg>> = Vec::new();
    for n in 0..6 {
        let key = format!("c/{n}");
        moving.push(part.spawn::<Counter>(&key, &n, Restart::Permanent, one_cpu(), SOON).await.unwrap());
    }
    let drained = nodes[2].0.id;
    let there = moving.iter().position(|c| c.addr().node == drained).unwrap();
    let mut watch = part.watch(&format!("c/{there}"));
    let before = moving[there].addr();
    assert_eq!(next(&mut watch).await, ActorEvent::Up { addr: before });
    part.drain("n2").await.unwrap();
    let ActorEvent::Moved { addr } = next(&mut watch).await else { panic!("it moves") };
    assert_eq!((addr.actor, addr.node), (before.actor, nodes[1].0.id));
    assert!(addr.generation > before.generation);
    let all_off = tokio::time::timeout(SOON, async {
        while part.nodes().await.unwrap().iter().any(|n| n.id == drained && n.actors > 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    all_off.await.expect("it is empty");
    // References follow; what wasn't there hasn't moved.
    for counter in &moving {
        let answer = tokio::time::timeout(SOON, async {
            loop {
                match counter.ask(SOON, CounterMsg::Get).await {
                    Ok(n) => break n,
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
                }
            }
        });
        answer.await.expect("it lives");
        assert_eq!(counter.addr().node, nodes[1].0.id);
    }
    let new = part.spawn::<Counter>("new", &1, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    assert_eq!(new.addr().node, nodes[1].0.id);
    let listed = part.nodes().await.unwrap();
    assert_eq!(listed.iter().find(|n| n.id == drained).unwrap().state, MemberState::Draining);
    assert_eq!(part.drain("nobody").await.unwrap_err().code(), "FLT-C013");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_ends_for_good_is_over_everywhere_and_its_siblings_live_on() {
    let (_cluster, _hub, nodes) = three().await;
    let (part, other) = (nodes[1].1.clone(), nodes[2].1.clone());
    let ending = part.spawn::<Counter>("ends", &1, Restart::Transient, one_cpu(), SOON).await.unwrap();
    part.spawn::<Counter>("fails", &2, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    let living = part.spawn::<Counter>("lives", &3, Restart::Permanent, one_cpu(), SOON).await.unwrap();
    let (mut ends, mut fails) = (other.watch("ends"), other.watch("fails"));
    assert_eq!(next(&mut ends).await, ActorEvent::Up { addr: ending.addr() });
    ending.tell(CounterMsg::End).await.unwrap();
    let ActorEvent::Over { why } = next(&mut ends).await else { panic!("it ends") };
    assert_eq!(why, "it ended");
    assert!(other.find::<CounterMsg>("ends").await.unwrap().is_none());
    let explained = other.explain_actor("ends").await.unwrap().unwrap();
    assert_eq!((explained.record.state, explained.why), (ActorState::Over, vec!["it ended".to_owned()]));

    // One restart is no end, but a higher generation; restarts without end are one.
    let over = tokio::time::timeout(SOON, async {
        let mut generations = Vec::new();
        loop {
            // What is told to a life that is over meanwhile is lost: it is told again.
            if let Ok(Some(failing)) = part.find::<CounterMsg>("fails").await {
                let _ = failing.tell(CounterMsg::Fail).await;
            }
            match tokio::time::timeout(Duration::from_millis(300), fails.next()).await {
                Ok(Some(ActorEvent::Up { addr } | ActorEvent::Moved { addr })) => generations.push(addr.generation),
                Ok(Some(ActorEvent::Over { why })) => break (generations, why),
                Ok(None) => panic!("the watch has ended"),
                Err(_) => {}
            }
        }
    });
    let (generations, why) = over.await.expect("it is given up");
    assert!(generations.is_sorted() && generations.len() >= 2, "{generations:?}");
    assert!(why.contains("more than 5 restarts") && why.contains("it was told to"), "{why}");
    assert_eq!(living.ask(SOON, CounterMsg::Get).await, Ok(3));
    let counts = part.actor_counts().await.unwrap();
    assert_eq!(counts.values().sum::<u64>(), part.actors(ActorFilter::default()).await.unwrap().len() as u64);
    // The keys are free for others.
    part.spawn::<Counter>("ends", &9, Restart::Transient, one_cpu(), SOON).await.unwrap();
    // What it held is free again.
    let freed = tokio::time::timeout(SOON, async {
        loop {
            let taken: u64 = part
                .nodes()
                .await
                .unwrap()
                .iter()
                .filter_map(|n| Some(n.totals.cpu_milli - n.free.as_ref()?.cpu_milli))
                .sum();
            if taken == 2000 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    freed.await.expect("two actors hold one processor each");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_no_member_any_more_is_told_so_when_it_asks_for_an_actor() {
    let (_cluster, hub, nodes) = three().await;
    let (node, part) = &nodes[2];
    let cut = hub.0.lock().unwrap().remove(&node.id).unwrap();
    let mut members = nodes[0].1.members();
    let dead = |members: &Vec<crate::membership::Member>| {
        members.iter().any(|m| m.node == node.id && m.state == MemberState::Dead)
    };
    tokio::time::timeout(SOON, members.wait_for(dead)).await.expect("its lease ends").unwrap();
    hub.0.lock().unwrap().insert(node.id, cut);
    let refused = part.spawn::<Counter>("c", &1, Restart::Permanent, one_cpu(), SOON).await.unwrap_err();
    assert!(refused.to_string().contains("not a member"), "{refused}");
    assert_eq!(part.nodes().await.unwrap().len(), 3, "it may look");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_gone_for_long_is_listed_no_more_until_it_comes_back() {
    let (cluster, hub, nodes) = three_with(ClusterOptions { forget_after: Duration::from_millis(300), ..fast() }).await;
    let (node, _) = &nodes[2];
    drop(hub.0.lock().unwrap().remove(&node.id));
    let listed = async |wanted: usize| {
        let waited = tokio::time::timeout(SOON, async {
            while nodes[0].1.nodes().await.unwrap().len() != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        waited.await.expect("as many nodes are listed as are to be");
    };
    listed(2).await;
    let _back = {
        let again = cluster.node(node.id, 2).await;
        let part = member(&again, &hub, "c", Role::Member { control: nodes[0].0.id }, 2000).await;
        (again, part)
    };
    listed(3).await;
}
