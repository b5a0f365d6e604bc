//! One job of a run: submitted under a key of its own, followed to its end, judged, and made into a record.
//!
//! The key is the same each time, so a run that was interrupted comes back to its job instead of beginning another one.

use std::collections::BTreeMap;
use std::path::PathBuf;

use fleet_actors::spec::{Approve, StoryLimits, StorySpec};
use fleet_actors::story::Story;
use fleet_runtime::Envelope;
use fleet_runtime::job::JobRecord;
use fleet_tools::repo::client::{self as repo, RepoFacts};
use fleet_tools::repo::{BaseRepo, CommitId, PathRules, RepoError};

use super::events::Facts;
use super::folder::Folder;
use super::judge::{Base, Judge};
use super::planted::{Changes, leaks};
use super::record::{Attempt, Delivered, Record, What};
use super::settings::Settings;
use super::shelf::{Shelf, write_whole};
use super::shown::Shown;
use crate::cli::client::Client;
use crate::cli::exit::Exit;
use crate::cli::failure::Failure;
use crate::cli::finish::import;
use crate::cli::follow::{Follower, Seen};
use crate::cli::submit::{Sending, send};

/// Jobs of one cell that were stopped by somebody, before another one is no longer begun.
const TRIES: u32 = 20;
/// No proposal of a pool is to be left out for want of tokens.
const NO_END: u64 = 1 << 50;

/// A story with its repository made.
pub struct Prepared {
    pub folder: Folder,
    pub facts: RepoFacts,
    pub repo: PathBuf,
    pub pack: PathBuf,
    /// Places that must be found and are there already.
    pub places: Vec<String>,
}

/// Does the jobs of a run.
pub struct Solver<'a> {
    pub client: Client,
    pub shelf: &'a Shelf,
    pub judge: Judge,
    pub run: &'a str,
    pub settings: &'a Settings,
    /// Bases that were taken in already.
    pub bases: BTreeMap<String, BaseRepo>,
}

/// What was seen of a job.
struct Followed {
    job: JobRecord,
    events: Vec<Envelope>,
    facts: Facts,
}

impl Solver<'_> {
    /// Does one job. The record is written; the error says why there is none.
    pub async fn solve(
        &mut self,
        shown: &mut Shown,
        story: &Prepared,
        what: What,
        place: u32,
    ) -> Result<Record, Failure> {
        let spec = self.spec(story, what, place).await?;
        let text = Story::parse(&spec.story).map_err(|e| story.folder.broken(&e.to_string()))?;
        for n in 0..TRIES {
            let key = format!("bench-{}-{}-{}-{place}-{n}", self.run, story.folder.name, what.name());
            let sending = Sending { project: None, story: &text, facts: &story.facts, spec: &spec, key };
            let job = send(&self.client, sending).await?;
            // One that had ended without a verdict when it was come back to was stopped: then another one is begun.
            let was_over = job.ended_at.is_some();
            let followed = self.follow(shown, job).await?;
            if followed.facts.ended.is_some() {
                return self.finish(shown, story, what, place, followed).await;
            }
            if !was_over {
                let why = followed.job.why.unwrap_or_default();
                let next = format!("fleet job logs {}; the same command tries it again", followed.job.id);
                return Err(Failure::new(Exit::JobFailed, format!("job {}: {why}", followed.job.id), next));
            }
        }
        Err(Failure::new(Exit::JobFailed, format!("{TRIES} jobs of it were stopped"), "let one of them end"))
    }

    async fn spec(&self, story: &Prepared, what: What, place: u32) -> Result<StorySpec, Failure> {
        let stored = self.client.upload(&story.pack).await?;
        let limits = match what {
            What::Pool => StoryLimits {
                pool: Some(true),
                proposals: Some(share(self.settings.pool, self.settings.seeds, place)),
                max_tokens: Some(NO_END),
                ..StoryLimits::default()
            },
            What::Fleet => StoryLimits { max_tokens: Some(self.settings.budget_tokens), ..StoryLimits::default() },
        };
        Ok(StorySpec {
            story: story.folder.seeded(story.folder.seed(place)),
            base_commit: story.facts.head.to_string(),
            base_pack: stored.digest,
            pack_bytes: stored.bytes,
            approve: Approve::PolicyAuto,
            limits,
            client_repo_label: story.folder.name.clone(),
        })
    }

    async fn follow(&self, shown: &mut Shown, job: JobRecord) -> Result<Followed, Failure> {
        let id = job.id.to_string();
        let mut follower = Follower::new(self.client.clone(), &id);
        let (mut events, mut facts) = (Vec::new(), Facts::default());
        while let Some(seen) = follower.next().await? {
            match seen {
                Seen::Event(event) => {
                    shown.event(&event);
                    facts.take(&event.envelope).map_err(|why| {
                        let next = "use a `fleet` of the node's version (fleet version)";
                        Failure::internal(format!("can't read an event of job {id}: {why}"), next)
                    })?;
                    events.push(event.envelope);
                }
                Seen::Progress(progress) => shown.doing(format!("{}: {}", progress.source, progress.text)),
                Seen::Away(why) => shown.say(&format!("the node went away ({why}); waiting for it")),
                Seen::Back => shown.say("the node is back"),
            }
        }
        Ok(Followed { job: self.client.job(&id).await?, events, facts })
    }

    /// Judges what came, and makes the record.
    async fn finish(
        &mut self,
        shown: &mut Shown,
        story: &Prepared,
        what: What,
        place: u32,
        followed: Followed,
    ) -> Result<Record, Failure> {
        let Followed { job, events, facts } = followed;
        self.same_model(&facts)?;
        let id = job.id.to_string();
        let base = Base { repo: self.base(story).await?, visible: facts.visible };
        let mut attempts = facts.attempts();
        if what == What::Pool {
            attempts.retain(|attempt| attempt.round == 0);
        }
        self.look_for_bait(story, &id, &mut attempts).await?;
        if what == What::Pool {
            self.judge_pool(shown, story, &base, &id, &mut attempts).await?;
        }
        let committed = facts.committed.as_ref().filter(|_| what == What::Fleet);
        let (commit, brought) = match committed {
            Some(committed) => {
                shown.doing("judging the commit");
                let (delivered, brought) = self.delivered(story, &base, &id, committed).await?;
                (Some(delivered), brought)
            }
            None => (None, String::new()),
        };
        let record = Record {
            story: story.folder.name.clone(),
            what: Some(what),
            place,
            seed: story.folder.seed(place),
            engine: facts.engine.clone(),
            seconds: seconds(&job),
            summary: facts.ended.clone().unwrap_or_default(),
            nothing_to_do: facts.baseline == Some(fleet_actors::event::BaselineOutcome::NothingToDo),
            suspects: facts.suspects.clone(),
            calls: facts.calls,
            replayed: facts.replayed,
            tokens_in: facts.tokens_in,
            tokens_out: facts.tokens_out,
            tool_runs: facts.tool_runs,
            leaked: self.leaked(story, &id, &events, &brought).await?,
            attempts,
            commit,
            job: id,
        };
        self.keep(&record, what, &events)?;
        Ok(record)
    }

    fn same_model(&self, facts: &Facts) -> Result<(), Failure> {
        let Settings { engine, model, .. } = self.settings;
        // A story that ended before a model was asked names the node's own engine all the same.
        if facts.engine.model == *model || facts.engine.model.is_empty() || model.is_empty() {
            return Ok(());
        }
        let what = format!("{} with {} answers, not {engine} with {model}", facts.engine.name, facts.engine.model);
        let next = "make the one that is meant the node's first [[inference.engine]]";
        Err(Failure::input(what, next).coded("FLT-B002"))
    }

    async fn base(&mut self, story: &Prepared) -> Result<BaseRepo, Failure> {
        let name = &story.folder.name;
        if let Some(known) = self.bases.get(name) {
            return Ok(known.clone());
        }
        let base = self.judge.base(name, &story.pack, &story.facts.head).await?;
        self.bases.insert(name.clone(), base.clone());
        Ok(base)
    }

    /// Which proposals did what planted instructions ask for.
    async fn look_for_bait(&self, story: &Prepared, job: &str, attempts: &mut [Attempt]) -> Result<(), Failure> {
        if story.folder.meta.bait.is_empty() {
            return Ok(());
        }
        let mut known: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for attempt in attempts {
            let Some(digest) = attempt.patch.clone() else { continue };
            if !known.contains_key(&digest) {
                let patch = self.client.patch_bytes(job, attempt.attempt).await?;
                known.insert(digest.clone(), Changes::of(&patch).obeyed(&story.folder.meta));
            }
            attempt.obeyed = known.get(&digest).cloned().unwrap_or_default();
        }
        Ok(())
    }

    /// Runs the hidden tests on each program that passes the visible ones, once.
    async fn judge_pool(
        &self,
        shown: &mut Shown,
        story: &Prepared,
        base: &Base,
        job: &str,
        attempts: &mut [Attempt],
    ) -> Result<(), Failure> {
        if story.folder.hidden.is_empty() || !story.folder.is_solvable() {
            return Ok(());
        }
        let mut known = BTreeMap::new();
        for attempt in attempts.iter_mut().filter(|attempt| attempt.passes) {
            let (Some(digest), Some(program)) = (&attempt.patch, &attempt.program) else { continue };
            if !known.contains_key(program) {
                shown.doing(format!("judging attempt {}", attempt.attempt));
                let patch = self.client.patch_bytes(job, attempt.attempt).await?;
                let hidden = self.judge.hidden(self.shelf, &story.folder, base, (digest, &patch)).await?;
                known.insert(program.clone(), hidden);
            }
            attempt.hidden = known.get(program).cloned();
        }
        Ok(())
    }

    /// The commit, judged; and what of it a leak could be in.
    async fn delivered(
        &self,
        story: &Prepared,
        base: &Base,
        job: &str,
        (commit, attempt): &(String, u32),
    ) -> Result<(Delivered, String), Failure> {
        import(&self.client, job, &story.repo).await?;
        let broken = |e: RepoError| story.folder.broken(&format!("the commit of job {job}: {e}"));
        let id: CommitId = commit.parse().map_err(broken)?;
        let (repo, head) = (story.repo.clone(), story.facts.head.clone());
        let brought = tokio::task::spawn_blocking(move || repo::brought(&repo, &head, &id)).await;
        let brought = brought.map_err(|e| Failure::internal(format!("looking at a commit broke off: {e}"), ""))?;
        let brought = brought.map_err(broken)?;
        let changes = Changes::of(&brought.patch);
        let digest = blake3::hash(&brought.patch).to_hex().to_string();
        let hidden = match story.folder.hidden.is_empty() {
            true => None,
            false => Some(self.judge.hidden(self.shelf, &story.folder, base, (&digest, &brought.patch)).await?),
        };
        let (protected, tests) = (&story.folder.story.protected, &story.folder.story.test_files);
        let rules = PathRules::compile(protected, tests).map_err(|why| story.folder.broken(&why))?;
        let touched = changes.paths.iter().filter(|path| rules.forbids(path, base.repo.has(path))).cloned().collect();
        let delivered = Delivered {
            commit: commit.clone(),
            attempt: *attempt,
            patch: digest,
            touched,
            obeyed: changes.obeyed(&story.folder.meta),
            hidden,
        };
        Ok((delivered, format!("{}\n{}", brought.message, changes.added.join("\n"))))
    }

    /// Where something forbidden is seen: in what was recorded, in the report, in the commit.
    async fn leaked(
        &self,
        story: &Prepared,
        job: &str,
        events: &[Envelope],
        commit: &str,
    ) -> Result<Vec<String>, Failure> {
        if story.folder.meta.forbidden.is_empty() {
            return Ok(Vec::new());
        }
        let report = self.client.report(job, false).await?;
        let lines: Vec<(String, String)> = events
            .iter()
            .map(|event| {
                let place = format!("event {} ({})", event.seq.0, event.kind);
                (place, serde_json::to_string(event).unwrap_or_default())
            })
            .collect();
        let texts = lines.iter().map(|(place, line)| (place.clone(), line.as_str()));
        let others = [("report".to_owned(), report.as_str()), ("commit".to_owned(), commit)];
        Ok(leaks(&story.folder.meta, texts.chain(others)))
    }

    /// Writes what was recorded, and the record last: it says that all of it is there.
    fn keep(&self, record: &Record, what: What, events: &[Envelope]) -> Result<(), Failure> {
        let mut lines = Vec::new();
        for event in events {
            serde_json::to_writer(&mut lines, event)
                .map_err(|e| Failure::internal(format!("can't encode an event: {e}"), ""))?;
            lines.push(b'\n');
        }
        write_whole(&self.shelf.events(&record.story, what, record.place), &lines)?;
        self.shelf.write(&self.shelf.cell(&record.story, what, record.place), record)
    }
}

/// What the n-th of several seeds makes of a story's pool; the first ones make what is left over.
pub fn share(pool: u32, seeds: u32, place: u32) -> u32 {
    let seeds = seeds.max(1);
    (pool / seeds + u32::from(place < pool % seeds)).max(1)
}

fn seconds(job: &JobRecord) -> f64 {
    let (Some(from), Some(to)) = (job.started_at, job.ended_at) else { return 0.0 };
    to.since(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::share;

    #[test]
    fn the_seeds_share_a_pool_and_none_goes_away_empty() {
        let shares = |pool, seeds| (0..seeds).map(|place| share(pool, seeds, place)).collect::<Vec<_>>();
        assert_eq!(shares(64, 3), [22, 21, 21]);
        assert_eq!(shares(64, 1), [64]);
        assert_eq!(shares(2, 3), [1, 1, 1]);
    }
}
