//! Who asks the cluster for something, again and again until it is acknowledged; and the way of jobs through the world.

use std::collections::BTreeMap;

use super::control::request;
use super::jobs::{Asker, JobsIn, JobsOut, Order, key};
use super::plan::{Deed, Plan};
use super::world::{Body, Wants, World};
use crate::actor::ActorAddr;
use crate::cluster::message::{ControlAnswer, ToControl};
use crate::id::{JobId, NodeId};

/// Between two attempts, ms.
const PATIENCE: u64 = 1_500;

#[derive(Default)]
pub(super) struct User {
    /// What is asked for, and when (again).
    open: Vec<(u64, Deed)>,
    /// Actors that were asked for, and whether that was acknowledged.
    pub spawned: BTreeMap<usize, bool>,
    pub submitted: BTreeMap<usize, bool>,
}

impl User {
    pub fn new(plan: &Plan) -> Self {
        Self { open: plan.deeds.clone(), ..Self::default() }
    }

    /// The cluster has answered.
    pub fn heard(&mut self, to: Wants, answer: &ControlAnswer) {
        let done = match (to, answer) {
            (Wants::Spawn(actor), ControlAnswer::Spawned(Ok(_))) => Deed::Spawn(actor),
            (Wants::Stop(actor), ControlAnswer::Done) => Deed::Stop(actor),
            (Wants::Drain(node), ControlAnswer::Done) => Deed::Drain(node),
            _ => return,
        };
        // One that was stopped meanwhile isn't expected to be there.
        if let Deed::Spawn(actor) = done
            && let Some(acknowledged) = self.spawned.get_mut(&actor)
        {
            *acknowledged = true;
        }
        self.open.retain(|(_, deed)| *deed != done);
    }

    pub fn acknowledged(&mut self, job: usize) {
        self.submitted.insert(job, true);
        self.open.retain(|(_, deed)| *deed != Deed::Submit(job));
    }

    /// What was asked for and never answered.
    pub fn unanswered(&self) -> Option<String> {
        let mut all = self.spawned.values().chain(self.submitted.values());
        all.any(|done| !done).then(|| format!("not acknowledged: {:?} {:?}", self.spawned, self.submitted))
    }
}

impl World {
    pub(super) fn users(&mut self) {
        let now = self.now;
        let due: Vec<Deed> = self.user.open.iter().filter(|(at, _)| *at <= now).map(|(_, deed)| *deed).collect();
        let happens_once = |deed: &Deed| matches!(deed, Deed::Fail(_));
        self.user.open.retain(|(at, deed)| *at > now || !happens_once(deed));
        self.user.open.iter_mut().filter(|(at, _)| *at <= now).for_each(|(at, _)| *at = now + PATIENCE);
        for deed in due {
            let there = |n: &usize| self.nodes[*n].life.is_some() && !self.is_frozen(*n);
            let living: Vec<usize> = (0..self.nodes.len()).filter(there).collect();
            let pick = usize::try_from(self.random.below(living.len() as u64)).unwrap();
            if let Some(n) = living.get(pick).copied() {
                self.act(n, deed, &living);
            }
        }
    }

    /// Somebody on node `n` does that.
    fn act(&mut self, n: usize, deed: Deed, living: &[usize]) {
        match deed {
            Deed::Spawn(actor) => {
                self.user.spawned.entry(actor).or_insert(false);
                self.ask_control(n, ToControl::Spawn(request(&actor_key(actor))), Wants::Spawn(actor));
            }
            Deed::Submit(job) => {
                self.user.submitted.entry(job).or_insert(false);
                self.last += 1;
                let fresh = format!("{:010}", self.last).parse().unwrap();
                self.send(n, true, Body::ToJobs(JobsIn::Submit { node: n, n: job, fresh }));
            }
            Deed::Stop(actor) => {
                self.user.spawned.remove(&actor);
                self.user.open.retain(|(_, open)| *open != Deed::Spawn(actor));
                self.ask_control(n, ToControl::Stop { key: actor_key(actor) }, Wants::Stop(actor));
            }
            Deed::Drain(node) => self.ask_control(n, ToControl::Drain { node: format!("n{node}") }, Wants::Drain(node)),
            Deed::Fail(actor) => {
                let key = actor_key(actor);
                for n in living {
                    self.nodes[*n].life.iter_mut().for_each(|life| life.fail(&key));
                }
            }
        }
    }

    /// What the jobs service does.
    pub(super) fn jobs_act(&mut self) {
        let out = self.control.as_mut().map(|control| control.jobs.take_out()).unwrap_or_default();
        for act in out {
            self.note(&act);
            match act {
                JobsOut::Acknowledge { node, n } => self.send(node, false, Body::Acknowledged(n)),
                JobsOut::Answer { to, order } => self.send(to.node, false, Body::ToRunner { to, order }),
                JobsOut::Place { job, run } => {
                    self.ask_control(0, ToControl::Spawn(request(&key(&job, run))), Wants::Place);
                }
                JobsOut::Remove { job, run } => {
                    self.ask_control(0, ToControl::Stop { key: key(&job, run) }, Wants::Removal);
                }
                JobsOut::AskToReport { on, job, run } => self.ask_to_report(on, job, run),
            }
        }
    }

    fn ask_to_report(&mut self, on: NodeId, job: JobId, run: u32) {
        let Some(node) = self.nodes.iter().position(|known| known.id == on) else { return };
        let to = Asker { node, job, made_for: run, addr: None, token: 0 };
        self.send(node, false, Body::AskToReport(to));
    }

    /// The cluster has a runner for the service.
    pub(super) fn placed(&mut self, at: ActorAddr) {
        let Some(control) = &mut self.control else { return };
        let Some(entry) = control.registry.book().actor(at.actor) else { return };
        let of = entry.request.order.key.strip_prefix("job/").and_then(|key| key.split_once('/'));
        let Some((Ok(job), Ok(run))) = of.map(|(job, run)| (job.parse(), run.parse())) else { return };
        control.jobs.tell(JobsIn::Placed { job, run, on: at.node });
    }

    pub(super) fn answer_runner(&mut self, n: usize, to: &Asker, order: Order) {
        let work = 500 + self.random.below(3_500);
        let Some(life) = &mut self.nodes[n].life else { return };
        if life.runner(to).is_some_and(|runner| !runner.answered(to.token, order, work)) {
            life.end_runner(to);
        }
    }
}

pub(super) fn actor_key(n: usize) -> String {
    format!("actor/{n}")
}
