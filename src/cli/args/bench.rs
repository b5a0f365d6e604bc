//! The command line of `fleet bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// `fleet bench …`
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Measure the agents on stories whose right end is known, beside simpler ways of using the same model.
    Stories(Box<StoryBench>),
    /// Make a story to measure on from a repository of yours.
    Import(Box<StoryImport>),
}

/// `fleet bench stories`
#[derive(Debug, Clone, Args)]
#[command(after_help = STORIES_HELP)]
pub struct StoryBench {
    /// The folder of the stories, or one story's own. [default: examples/stories]
    pub dir: Option<PathBuf>,
    /// The engine that is to answer; refused if another one does. [default: the node's first]
    #[arg(long, value_name = "NAME")]
    pub engine: Option<String>,
    /// Only these stories.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub stories: Vec<String>,
    /// Which part of the stories. Settings are tuned on the learning part; figures are published of the reporting one.
    #[arg(long, value_enum, default_value_t = WhichPart::All)]
    pub part: WhichPart,
    /// How often each story is done, with another seed each time.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub seeds: u32,
    /// Independent proposals that are recorded of each story, shared among its seeds.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub pool: u32,
    /// Tokens, of prompts and replies, that each arm may use for a story.
    #[arg(long, value_name = "N", default_value_t = 32_000, value_parser = clap::value_parser!(u64).range(1..=1 << 40))]
    pub budget_tokens: u64,
    /// What is compared.
    #[arg(long, value_enum, value_name = "ARM,…", value_delimiter = ',', default_values_t = Arm::ALL)]
    pub arms: Vec<Arm>,
    /// How often an arm is drawn from the pool, for each story and seed.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub draws: u32,
    /// Where everything is kept that a run needs to go on, and what comes out of it.
    #[arg(long, value_name = "DIR", default_value = "story-bench")]
    pub out: PathBuf,
    /// Where this machine has no sandbox: run the hidden tests as plain processes. What a model wrote then runs as you.
    #[arg(long)]
    pub without_sandbox: bool,
}

const STORIES_HELP: &str = "\
Of each story a pool of independent proposals is recorded, and the whole team solves it, once for each seed. What a single
try, a majority or the best of N would have come to is drawn from the pool; every arm may use the same tokens. Results are
judged by hidden tests, here and not on the node. --out keeps everything: the same command goes on where it was interrupted.
There results.json and report.html are written; `-o FILE.html` or `-o FILE.json` writes either elsewhere, too.";

/// Which part of the stories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WhichPart {
    /// What settings may be tuned on.
    Learning,
    /// What published figures come from: a third.
    Reporting,
    /// Both.
    All,
}

/// A way of getting a story done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// One proposal; done if it passes the visible tests.
    Single,
    /// Of as many proposals as the tokens allow the most frequent one, whatever tests say.
    Majority,
    /// Of as many proposals as the tokens allow the smallest that passes the visible tests.
    BestOfN,
    /// The whole team.
    Fleet,
}

impl Arm {
    /// All of them, from the simplest on.
    pub const ALL: [Self; 4] = [Self::Single, Self::Majority, Self::BestOfN, Self::Fleet];

    /// The name used in commands and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Single => "single",
            Self::Majority => "majority",
            Self::BestOfN => "best-of-n",
            Self::Fleet => "fleet",
        }
    }
}

impl std::fmt::Display for Arm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// `fleet bench import`
#[derive(Debug, Clone, Args)]
#[command(after_help = IMPORT_HELP)]
pub struct StoryImport {
    /// The git repository.
    pub dir: PathBuf,
    /// The story: Markdown with front matter (title, test, …).
    #[arg(long, value_name = "FILE")]
    pub story: PathBuf,
    /// The commit that the story is solved against: a branch, a tag or an id.
    #[arg(long, value_name = "COMMIT", default_value = "HEAD")]
    pub commit: String,
    /// What to call the story. [default: the repository's folder]
    #[arg(long = "as", value_name = "NAME")]
    pub name: Option<String>,
    /// The folder of stories that it becomes one of.
    #[arg(long, value_name = "DIR", default_value = "stories")]
    pub into: PathBuf,
    /// Tests that no node ever sees and that tell whether it was really done; they go into the repository's tests/ folder.
    #[arg(long, value_name = "DIR")]
    pub hidden_tests: Option<PathBuf>,
    /// A right solution, as `git diff` writes it: tried here, and read for the places that must be found.
    #[arg(long, value_name = "FILE")]
    pub reference: Option<PathBuf>,
    /// What is to be done.
    #[arg(long, value_enum, default_value_t = StoryKind::Fault)]
    pub kind: StoryKind,
    /// The functions that must be changed, as PATH::NAME. [default: those that the reference changes]
    #[arg(long, value_name = "PLACE,…", value_delimiter = ',')]
    pub places: Vec<String>,
    /// Where this machine has no sandbox: run the tests as plain processes.
    #[arg(long)]
    pub without_sandbox: bool,
}

const IMPORT_HELP: &str = "\
The repository goes along as a bundle, with its history up to that commit. Its tests are run to see that the story is what it
says: at least one fails there, and with the reference all pass. Then: fleet bench stories DIR --stories NAME";

/// What is to be done in a story.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StoryKind {
    /// One function is wrong.
    Fault,
    /// Several places must change together.
    Faults,
    /// A small new behaviour.
    Feature,
    /// The structure changes, the behaviour stays.
    Refactoring,
    /// Nothing can be done: the failing test contradicts another one.
    Unsolvable,
    /// Nothing is to be done: it is there already.
    Solved,
}

impl StoryKind {
    /// Whether there is a right change.
    pub fn is_solvable(self) -> bool {
        !matches!(self, Self::Unsolvable | Self::Solved)
    }

    /// The name used in files and tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Faults => "faults",
            Self::Feature => "feature",
            Self::Refactoring => "refactoring",
            Self::Unsolvable => "unsolvable",
            Self::Solved => "solved",
        }
    }
}
