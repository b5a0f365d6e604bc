#![allow(clippy::unwrap_used, clippy::expect_used)]

use fleet_runtime::actor::{Json, ReplyTo, check_wire};
use fleet_runtime::auth::{AccessLevel, Principal};
use fleet_runtime::{Position, Timestamp};

use super::think::seed;
use super::*;
use crate::event::{Candidate, Form, GateDecision, Proposal, StoryEvent};
use crate::gate::{ApprovalError, Decided, Decision, GateMsg};
use crate::sample;

fn proposal() -> Proposal {
    let StoryEvent::Proposal(proposal) = sample::proposal(3, Some("d1")) else { unreachable!() };
    proposal
}

fn assignment() -> Assignment {
    Assignment {
        attempt: 5,
        place: 1,
        round: 1,
        nth: 3,
        role: crate::Roles::read(None).unwrap().builder("cart.py", 0).unwrap().clone(),
        candidate: Candidate {
            path: "cart.py".into(),
            function: "Cart.total".into(),
            line: 8,
            score: 14,
            reasons: vec!["a failing test calls total".into()],
            forms: vec![Form::Function, Form::File],
        },
        task: Some("t1".into()),
        repairs: Some((1, "1 != 3".into())),
        repair_patch: Some("d1".into()),
        builds_on: Some((0, "d0".into())),
        form: Form::File,
        shown: false,
    }
}

#[test]
fn what_a_story_is_told_survives_the_wire() {
    let finished = Finished {
        proposal: proposal(),
        shown: None,
        findings: vec![Finding { what: "loop".into(), detail: "read".into() }],
    };
    let StoryMsg::Finished(back) = check_wire(&StoryMsg::Finished(Json::new(finished.clone()))).unwrap() else {
        panic!()
    };
    assert_eq!(back.take().unwrap(), finished);
    let event = StoryEvent::Ended { success: false, summary: "x".into(), best: None };
    let told = StoryMsg::Decided { event: Json::new(event.clone()), position: Position(7) };
    let StoryMsg::Decided { event: back, position } = check_wire(&told).unwrap() else { panic!() };
    assert_eq!((back.take().unwrap(), position), (event, Position(7)));
    assert!(matches!(check_wire(&StoryMsg::Step), Ok(StoryMsg::Step)));
    assert!(matches!(check_wire(&StoryMsg::CouncilUp), Ok(StoryMsg::CouncilUp)));
    assert!(matches!(check_wire(&StoryMsg::Broken("w".into())), Ok(StoryMsg::Broken(w)) if w == "w"));
}

#[tokio::test]
async fn an_assignment_survives_the_wire_and_so_does_its_end() {
    let CouncilMsg::Propose(back) = check_wire(&CouncilMsg::Propose(Json::new(assignment()))).unwrap() else {
        panic!()
    };
    assert_eq!(back.take().unwrap(), assignment());
    let finished = Finished { proposal: proposal(), shown: None, findings: Vec::new() };
    let (reply, answer) = ReplyTo::channel();
    let done = CouncilMsg::Done { finished: Json::new(finished.clone()), reply };
    let CouncilMsg::Done { finished: back, reply } = check_wire(&done).unwrap() else { panic!() };
    assert_eq!(back.take().unwrap(), finished);
    reply.send(());
    assert_eq!(answer.await, Some(()));
    assert!(matches!(check_wire(&AgentMsg::Begin), Ok(AgentMsg::Begin)));
}

#[tokio::test]
async fn a_decision_that_crossed_the_wire_can_still_be_answered() {
    let (reply, answer) = ReplyTo::<Json<Result<Decided, ApprovalError>>>::channel();
    let msg = GateMsg::Decide {
        answer: Json::new(Decision::Reject),
        by: Principal { name: "anna".into(), level: AccessLevel::Po },
        comment: "no".into(),
        reply,
    };
    let GateMsg::Decide { answer: decision, by, comment, reply } = check_wire(&msg).unwrap() else { panic!() };
    assert_eq!((decision.take().unwrap(), by.name.as_str(), comment.as_str()), (Decision::Reject, "anna", "no"));
    let decided = Decided { decision: GateDecision::Rejected, by: "anna".into(), at: Timestamp(5) };
    reply.send(Json::new(Ok(decided.clone())));
    assert_eq!(answer.await.unwrap().take().unwrap(), Ok(decided));
}

#[test]
fn each_attempt_of_a_story_has_a_seed_of_its_own_and_always_the_same() {
    let seeds: std::collections::BTreeSet<u64> = (0..100).map(|attempt| seed(7, attempt)).collect();
    assert_eq!(seeds.len(), 100);
    assert_eq!(seed(7, 3), seed(7, 3));
    assert_ne!(seed(7, 3), seed(8, 3));
}
