#![allow(clippy::unwrap_used, clippy::expect_used)]
use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::core::{Admission, Job};
use super::*;
use crate::id::{Generation, JobId, Position, ProjectId, Seq, StreamId};
use crate::journal::{Author, Envelope, Hash};
use crate::supervise::Backoff;
use crate::time::Timestamp;

fn anna() -> Author {
    Author::Person("anna".into())
}

fn project(name: &str) -> ProjectId {
    name.parse().unwrap()
}

fn submit(project_name: &str, key: &str, priority: i32) -> JobSubmit {
    JobSubmit {
        kind: "test".into(),
        project: project(project_name),
        idempotency_key: key.into(),
        title: key.into(),
        spec: serde_json::json!({ "key": key }),
        priority,
        by: anna(),
    }
}

/// A core with the history that made it.
struct World {
    core: JobsCore,
    history: Vec<Envelope>,
    seqs: BTreeMap<JobId, u64>,
    now: Timestamp,
    ids: u64,
    positions: u64,
    /// When each project was given a place last, of those that have jobs.
    served: BTreeMap<ProjectId, Position>,
}

impl World {
    fn new(max_running: usize) -> Self {
        let options = JobsOptions { max_running, max_restarts: 2, ..JobsOptions::default() };
        Self {
            core: JobsCore::new(options),
            history: Vec::new(),
            seqs: BTreeMap::new(),
            now: Timestamp(1_000_000),
            ids: 0,
            positions: 0,
            served: BTreeMap::new(),
        }
    }

    fn record(&mut self, job: &JobId, event: &JobEvent) {
        let project = match self.core.record(job, self.now) {
            Some(record) => record.project,
            None => project("none"),
        };
        self.record_in(job, event, project);
    }

    fn record_in(&mut self, job: &JobId, event: &JobEvent, project: ProjectId) {
        let seq = self.seqs.entry(job.clone()).or_default();
        *seq += 1;
        let new = event.write(anna()).unwrap();
        self.positions += 1;
        if matches!(event, JobEvent::Started { .. }) {
            self.served.insert(project.clone(), Position(self.positions));
        }
        let envelope = Envelope {
            position: Position(self.positions),
            at: self.now,
            by: new.by,
            project,
            stream: StreamId::job(job),
            seq: Seq(*seq),
            generation: Generation(*seq),
            kind: new.kind,
            version: new.version,
            caused_by: None,
            facts: Vec::new(),
            prev_hash: Hash::default(),
            hash: Hash::default(),
            payload: new.payload,
        };
        self.core.apply(&envelope);
        self.history.push(envelope);
    }

    fn submit(&mut self, submit: &JobSubmit) -> JobId {
        match self.core.admit(submit).unwrap() {
            Admission::Known(job) => job,
            Admission::New(event) => {
                self.ids += 1;
                let id: JobId = format!("job{:07}", self.ids).parse().unwrap();
                self.record_in(&id, &event, submit.project.clone());
                id
            }
        }
    }

    /// Does what is to be done now, and says who was started or resumed, in order.
    fn go_on(&mut self) -> Vec<JobId> {
        let mut started = Vec::new();
        while let Some(decision) = self.core.next(self.now) {
            let (job, event) = match decision {
                Decision::Start(job) => {
                    let run = self.core.latest_run(&job).unwrap() + 1;
                    self.core.place(&job);
                    assert!(self.why(&job).contains("a node is being found"), "{}", self.why(&job));
                    (job, JobEvent::Started { run, node: Some("n1".into()) })
                }
                Decision::Resume(job) => (job, JobEvent::Resumed {}),
            };
            self.record(&job, &event);
            started.push(job);
        }
        started
    }

    /// The loss of the process, or of the nodes: every run is gone.
    fn lose_all(&mut self) {
        for job in self.core.begun() {
            self.end(&job, RunEnd::Lost("the node is gone".into()));
        }
    }

    fn end(&mut self, job: &JobId, end: RunEnd) {
        if let Some(event) = self.core.judge(job, end, self.now) {
            self.record(job, &event);
        }
    }

    fn delete(&mut self, job: &JobId) {
        let project = self.core.jobs[job].project.clone();
        self.core.remove(job);
        self.history.retain(|envelope| envelope.stream != StreamId::job(job));
        if self.core.jobs.values().all(|other| other.project != project) {
            self.served.remove(&project);
        }
    }

    /// What the queue must come to, from the jobs alone.
    fn naive_next(&self) -> Option<Decision> {
        let jobs = || self.core.jobs.values();
        let is_placing = |job: &Job| self.core.placing.contains_key(&job.id);
        if jobs().filter(|job| job.holds_place || is_placing(job)).count() >= self.core.options.max_running {
            return None;
        }
        let turn = |job: &&Job| (-i64::from(job.priority), job.submitted.0);
        if let Some(job) = jobs().filter(|job| self.core.resuming.contains(&turn(job))).min_by_key(turn) {
            return Some(Decision::Resume(job.id.clone()));
        }
        let places = |project: &ProjectId| {
            jobs().filter(|job| job.project == *project && (job.holds_place || is_placing(job))).count()
        };
        let rank = |job: &&Job| {
            let served = self.served.get(&job.project).copied().unwrap_or_default();
            (-i64::from(job.priority), places(&job.project), served, job.submitted.0)
        };
        let ready = |job: &&Job| job.state == JobState::Queued && !is_placing(job) && job.not_before <= self.now;
        jobs().filter(ready).min_by_key(rank).map(|job| Decision::Start(job.id.clone()))
    }

    fn check_queue(&mut self) -> Result<(), TestCaseError> {
        let records = self.core.records(self.now);
        for (state, n) in self.core.counts() {
            prop_assert_eq!(n, records.iter().filter(|record| record.state == state).count() as u64);
        }
        let naive = self.naive_next();
        prop_assert_eq!(self.core.next(self.now), naive);
        let jobs = || self.core.jobs.values();
        let later = jobs().filter(|job| job.state == JobState::Queued && job.not_before > self.now);
        prop_assert_eq!(self.core.next_due(self.now), later.map(|job| job.not_before).min());
        prop_assert_eq!(self.core.queue.open(), jobs().filter(|job| !job.state.is_ended()).count());
        for job in jobs() {
            let goes_before = |other: &&Job| {
                let earlier = other.priority == job.priority && other.submitted.0 < job.submitted.0;
                other.state == JobState::Queued && (other.priority > job.priority || earlier)
            };
            prop_assert_eq!(self.core.queue.ahead_of(job), jobs().filter(goes_before).count());
        }
        let mut in_order: Vec<&Job> = jobs().collect();
        in_order.sort_by_key(|job| job.submitted.0);
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = self.core.page(after, 3, self.now);
            paged.extend(page.jobs.into_iter().map(|job| job.id));
            after = page.more_after;
            if after.is_none() {
                break;
            }
        }
        prop_assert!(paged.iter().eq(in_order.iter().map(|job| &job.id)));
        Ok(())
    }

    fn state(&self, job: &JobId) -> JobState {
        self.core.record(job, self.now).unwrap().state
    }

    fn why(&self, job: &JobId) -> String {
        self.core.record(job, self.now).unwrap().why.unwrap()
    }

    fn folded(&self) -> JobsCore {
        let mut core = JobsCore::new(self.core.options.clone());
        // Stream by stream, as the service reads them, not in the order in which it happened.
        let mut history: Vec<_> = self.history.iter().collect();
        history.sort_by_key(|e| (e.stream.clone(), e.seq));
        history.into_iter().for_each(|e| core.apply(e));
        core
    }
}

fn just(job: &JobId) -> Vec<JobId> {
    vec![job.clone()]
}

fn done(success: bool) -> RunEnd {
    RunEnd::Done(JobOutcome { success, summary: "done".into(), detail: serde_json::Value::Null })
}

fn crashed() -> RunEnd {
    RunEnd::Crashed("test".into())
}

fn stop() -> JobEvent {
    JobEvent::StopRequested { reason: "enough".into() }
}

#[test]
fn the_same_key_gives_the_same_job_and_another_spec_under_it_is_a_conflict() {
    let mut world = World::new(1);
    let job = world.submit(&submit("a", "k", 0));
    assert_eq!(world.submit(&submit("a", "k", 0)), job);
    assert_ne!(world.submit(&submit("b", "k", 0)), job, "keys are by project");
    let other = JobSubmit { spec: serde_json::json!({ "another": true }), ..submit("a", "k", 0) };
    assert_eq!(world.core.admit(&other), Err(JobError::Conflict { job }));
}

#[test]
fn the_order_of_the_keys_of_a_spec_does_not_make_it_another_one() {
    let mut world = World::new(1);
    let one = JobSubmit { spec: serde_json::json!({ "x": 1, "y": { "a": 1, "b": 2 } }), ..submit("a", "k", 0) };
    let two = JobSubmit { spec: serde_json::json!({ "y": { "b": 2, "a": 1 }, "x": 1 }), ..one.clone() };
    let job = world.submit(&one);
    assert_eq!(world.submit(&two), job);
}

#[test]
fn a_higher_priority_goes_first_and_equals_go_in_order_of_submission() {
    let mut world = World::new(10);
    let low = world.submit(&submit("a", "low", -1));
    let first = world.submit(&submit("a", "first", 0));
    let second = world.submit(&submit("a", "second", 0));
    let high = world.submit(&submit("a", "high", 9));
    assert_eq!(world.go_on(), [high, first, second, low]);
}

#[test]
fn a_project_with_many_jobs_does_not_hold_back_one_with_few() {
    let mut world = World::new(2);
    let many: Vec<_> = (0..4).map(|n| world.submit(&submit("many", &n.to_string(), 0))).collect();
    let few = world.submit(&submit("few", "0", 0));
    assert_eq!(world.go_on(), [many[0].clone(), few.clone()]);
    // Now "many" has the other place as well, since nobody else wants it; then they alternate.
    let again = world.submit(&submit("few", "1", 0));
    world.end(&few, done(true));
    assert_eq!(world.go_on(), just(&again));
    world.end(&many[0], done(true));
    assert_eq!(world.go_on(), just(&many[1]));
}

#[test]
fn a_job_that_waits_for_a_person_gives_its_place_and_gets_the_next_one_back() {
    let mut world = World::new(1);
    let one = world.submit(&submit("a", "1", 0));
    let two = world.submit(&submit("a", "2", 5));
    let three = world.submit(&submit("a", "3", 5));
    assert_eq!(world.go_on(), just(&two));
    world.record(&two, &JobEvent::Waiting { what: "the approval of the plan".into() });
    assert_eq!(world.why(&two), "it waits for the approval of the plan");
    assert_eq!(world.go_on(), just(&three));
    world.core.wants_resume(&two);
    assert_eq!(world.go_on(), []);
    world.end(&three, done(true));
    assert_eq!(world.go_on(), just(&two), "before {one}, which hasn't begun");
    assert_eq!(world.state(&two), JobState::Running);
}

#[test]
fn a_crash_is_tried_again_after_a_growing_delay_until_it_is_one_too_many() {
    let mut world = World::new(1);
    world.core.options.backoff = Backoff::default();
    let job = world.submit(&submit("a", "1", 0));
    for n in 1..=2 {
        assert_eq!(world.go_on(), just(&job));
        world.end(&job, crashed());
        assert_eq!(world.state(&job), JobState::Queued);
        assert_eq!(world.go_on(), [], "it waits first");
        let due = world.core.next_due(world.now).unwrap();
        assert_eq!(due.since(world.now), Backoff::default().after(n));
        assert!(world.why(&job).contains("test; it is tried again in"), "{}", world.why(&job));
        world.now = due;
    }
    assert_eq!(world.go_on(), just(&job));
    world.end(&job, crashed());
    assert_eq!(world.state(&job), JobState::Failed);
    assert_eq!(world.why(&job), "it crashed 3 times; last: test");
}

#[test]
fn a_loss_of_the_process_is_not_the_jobs_crash() {
    let mut world = World::new(1);
    let job = world.submit(&submit("a", "1", 0));
    for _ in 0..10 {
        assert_eq!(world.go_on(), just(&job));
        world.lose_all();
        assert_eq!(world.state(&job), JobState::Queued);
    }
}

#[test]
fn a_job_that_was_to_stop_when_the_process_died_ends_as_stopped() {
    let mut world = World::new(1);
    let job = world.submit(&submit("a", "1", 0));
    world.go_on();
    world.record(&job, &stop());
    assert_eq!(world.state(&job), JobState::Stopping);
    world.lose_all();
    assert_eq!(world.state(&job), JobState::Stopped);
    assert_eq!(world.why(&job), "stopped by person:anna: enough");
}

#[test]
fn a_run_that_succeeded_before_it_noticed_the_stop_has_succeeded() {
    let mut world = World::new(1);
    let job = world.submit(&submit("a", "1", 0));
    world.go_on();
    world.record(&job, &stop());
    world.end(&job, done(true));
    assert_eq!(world.state(&job), JobState::Succeeded);
}

#[test]
fn too_many_open_jobs_are_busy_and_ended_ones_do_not_count() {
    let mut world = World::new(1);
    world.core.options.max_open = 1;
    let job = world.submit(&submit("a", "1", 0));
    assert_eq!(world.core.admit(&submit("a", "2", 0)), Err(JobError::Busy { open: 1 }));
    world.go_on();
    world.end(&job, done(true));
    world.submit(&submit("a", "2", 0));
}

#[test]
fn the_key_of_a_deleted_job_can_be_used_again() {
    let mut world = World::new(1);
    let job = world.submit(&submit("a", "k", 0));
    world.core.remove(&job);
    assert_ne!(world.submit(&submit("a", "k", 0)), job);
}

#[test]
fn a_queued_job_says_what_it_waits_for() {
    let mut world = World::new(1);
    world.submit(&submit("a", "1", 0));
    world.go_on();
    world.submit(&submit("a", "2", 0));
    let job = world.submit(&submit("a", "3", 0));
    assert_eq!(world.why(&job), "all 1 places are taken; 1 jobs of its priority or higher are ahead");
}

/// One thing that can happen.
#[derive(Clone, Debug)]
enum Step {
    Submit { project: u8, key: u8, priority: i32 },
    End { pick: usize, how: u8 },
    Wait { pick: usize },
    WantResume { pick: usize },
    Stop { pick: usize },
    Delete { pick: usize },
    Time { ms: i64 },
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u8..3, 0u8..20, -1i32..2)
            .prop_map(|(project, key, priority)| Step::Submit { project, key, priority }),
        4 => (any::<usize>(), 0u8..5).prop_map(|(pick, how)| Step::End { pick, how }),
        1 => any::<usize>().prop_map(|pick| Step::Wait { pick }),
        2 => any::<usize>().prop_map(|pick| Step::WantResume { pick }),
        1 => any::<usize>().prop_map(|pick| Step::Stop { pick }),
        1 => any::<usize>().prop_map(|pick| Step::Delete { pick }),
        2 => (0i64..5_000).prop_map(|ms| Step::Time { ms }),
        1 => Just(Step::Restart),
    ]
}

impl World {
    fn pick(&self, pick: usize, states: &[JobState]) -> Option<JobId> {
        let jobs = self.core.records(self.now);
        let mut fit: Vec<_> = jobs.into_iter().filter(|j| states.contains(&j.state)).collect();
        if fit.is_empty() { None } else { Some(fit.swap_remove(pick % fit.len()).id) }
    }

    fn take(&mut self, step: Step) {
        use JobState::{Queued, Running, Stopping, Waiting};
        match step {
            Step::Submit { project, key, priority } => {
                let key = format!("{key}-{priority}");
                self.submit(&submit(&format!("p{project}"), &key, priority));
            }
            Step::End { pick, how } => {
                if let Some(job) = self.pick(pick, &[Running, Stopping]) {
                    let failed = RunEnd::Failed("no".into());
                    let ends = [done(true), done(false), failed, crashed(), RunEnd::Cancelled];
                    self.end(&job, ends[how as usize].clone());
                }
            }
            Step::Wait { pick } => {
                if let Some(job) = self.pick(pick, &[Running]) {
                    self.record(&job, &JobEvent::Waiting { what: "anna".into() });
                }
            }
            Step::WantResume { pick } => {
                if let Some(job) = self.pick(pick, &[Waiting]) {
                    self.core.wants_resume(&job);
                }
            }
            Step::Stop { pick } => {
                if let Some(job) = self.pick(pick, &[Queued, Running, Waiting]) {
                    self.record(&job, &stop());
                }
            }
            Step::Delete { pick } => {
                if let Some(job) = self.pick(pick, &[JobState::Succeeded, JobState::Failed, JobState::Stopped]) {
                    self.delete(&job);
                }
            }
            Step::Time { ms } => self.now = Timestamp(self.now.0 + ms),
            Step::Restart => {
                self.core = self.folded();
                self.served.clear();
                for job in self.core.jobs.values() {
                    let served = self.served.entry(job.project.clone()).or_default();
                    *served = (*served).max(job.last_start.unwrap_or_default());
                }
                self.lose_all();
            }
        }
    }
}

proptest! {
    #[test]
    fn the_rules_hold_whatever_happens(
        max_running in 1usize..4,
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let mut world = World::new(max_running);
        let mut ended: BTreeSet<JobId> = BTreeSet::new();
        for step in steps {
            world.take(step);
            world.check_queue()?;
            let before = world.core.records(world.now);
            let had_begun: BTreeSet<JobId> =
                before.iter().filter(|j| j.state == JobState::Waiting).map(|j| j.id.clone()).collect();
            let started = world.go_on();

            world.check_queue()?;

            // Never more than there are places, and none free while somebody could use it.
            prop_assert!(world.core.running() <= max_running);
            prop_assert!(world.core.next(world.now).is_none());

            // An ended job stays ended.
            for record in world.core.records(world.now) {
                prop_assert!(!ended.contains(&record.id) || record.state.is_ended());
                if record.state.is_ended() { ended.insert(record.id); }
            }

            // Nobody was passed over by a lower priority.
            let priority = |id: &JobId| before.iter().find(|j| j.id == *id).unwrap().priority;
            let fresh: Vec<_> = started.iter().filter(|id| !had_begun.contains(*id)).collect();
            let left = before.iter().filter(|j| j.state == JobState::Queued && !started.contains(&j.id));
            for passed_over in left {
                let ready = world.core.jobs[&passed_over.id].not_before <= world.now;
                for chosen in &fresh {
                    prop_assert!(!ready || priority(chosen) >= passed_over.priority);
                }
            }

            // What is live is what the journal says.
            prop_assert_eq!(&world.folded(), &world.core);
        }
    }

    #[test]
    fn places_are_shared_evenly_between_projects_that_both_have_work(
        places in 1usize..6,
        many in 6usize..30,
        few in 6usize..10,
        ends in prop::collection::vec(any::<usize>(), 1..40),
    ) {
        let mut world = World::new(places);
        for n in 0..many { world.submit(&submit("many", &n.to_string(), 0)); }
        for n in 0..few { world.submit(&submit("few", &n.to_string(), 0)); }
        for end in ends {
            world.go_on();
            let held = |name: &str| {
                let holds = |j: &&Job| j.holds_place && j.project.as_str() == name;
                world.core.jobs.values().filter(holds).count()
            };
            let left = |name: &str| {
                let queued = |j: &&JobRecord| j.state == JobState::Queued && j.project.as_str() == name;
                world.core.records(world.now).iter().filter(queued).count()
            };
            if left("many") > 0 && left("few") > 0 {
                prop_assert!(held("many").abs_diff(held("few")) <= 1);
            }
            if let Some(running) = world.pick(end, &[JobState::Running]) {
                world.end(&running, done(true));
            }
        }
    }
}
