//! Every metric that a node shows: the one place where names are given. `docs/metrics.md` says the same to people.
//!
//! `fleet_<what>_<unit>`, with `_total` at the end of what only rises; units are seconds, bytes and ratios.

/// A metric, before it has values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// How its values are to be read.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
}

/// How values of a metric are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises, from 0 at the node's start.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How many were at most so much.
    Histogram,
}

impl Kind {
    /// As the text format has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($id:ident = $kind:ident $name:literal $help:literal;)*) => {
        $(#[doc = $help] pub const $id: Metric = Metric { name: $name, kind: Kind::$kind, help: $help };)*
        /// All of them.
        pub const ALL: &[Metric] = &[$($id),*];
    };
}

metrics! {
    NODE_INFO = Gauge "fleet_node_info" "Always 1; its labels say which node this is.";
    START_TIME = Gauge "fleet_process_start_time_seconds" "When the node started, in seconds since 1970.";
    PROCESS_CPU = Counter "fleet_process_cpu_seconds_total" "CPU time of the node's process, user and system.";
    PROCESS_MEMORY = Gauge "fleet_process_resident_memory_bytes" "Memory of the node's process that is in RAM.";
    PROCESS_THREADS = Gauge "fleet_process_threads" "Threads of the node's process.";
    PROCESS_FILES = Gauge "fleet_process_open_files" "File descriptors of the node's process.";

    HTTP_ACTIVE = Gauge "fleet_http_requests_active" "Requests that are being served, this one included.";
    HTTP_FOLLOWERS = Gauge "fleet_http_followers_active" "Streams of jobs that are being followed.";

    BLOBS = Gauge "fleet_blobs" "Blobs on this node's disk.";
    BLOB_DISK = Gauge "fleet_blob_disk_bytes" "Bytes of the blobs on this node's disk.";
    BLOB_MEMORY = Gauge "fleet_blob_memory_bytes" "Bytes of blobs that are kept in memory.";
    BLOB_SERVED = Counter "fleet_blob_served_bytes_total" "Bytes of blobs given to other nodes.";
    BLOB_PIECES = Counter "fleet_blob_served_pieces_total" "Pieces of blobs given to other nodes.";
    BLOB_FETCHED_BYTES = Counter "fleet_blob_fetched_bytes_total" "Bytes of blobs that came in from other nodes.";
    BLOB_FETCHED = Counter "fleet_blob_fetched_total" "Blobs that came in whole from other nodes.";
    BLOB_DAMAGED = Counter "fleet_blob_damaged_total" "Times that what came in was not what its digest says.";
    BLOB_READS = Counter "fleet_blob_disk_reads_total" "Blobs read from this node's disk, not found in memory.";
    BLOB_REMOVED = Counter "fleet_blob_removed_total" "Blobs removed by age, for room, or with their job.";

    LANE_UP = Gauge "fleet_lane_up" "1 while a lane leads to the node of that id, else 0.";
    LANES_MADE = Counter "fleet_lanes_made_total" "Lanes made to another node; one more than it was lost.";
    LANE_SENT = Counter "fleet_lane_sent_messages_total" "Messages sent to actors of another node.";
    LANE_SENT_BYTES = Counter "fleet_lane_sent_bytes_total" "Bytes of the messages sent to actors of another node.";
    LANE_RECEIVED = Counter "fleet_lane_received_messages_total" "Messages that came from another node.";
    LANE_RECEIVED_BYTES = Counter "fleet_lane_received_bytes_total" "Bytes of the messages that came from another node.";
    LANE_ON_THE_WAY = Gauge "fleet_lane_outstanding_messages" "Messages sent over the present lane that aren't known to have been taken.";
    LANE_ON_THE_WAY_BYTES = Gauge "fleet_lane_outstanding_bytes" "Bytes of the messages sent over the present lane that aren't known to have been taken.";
    LANE_WAITS = Counter "fleet_lane_waits_total" "Times that a sender waited for room on a lane or at its actor.";
    LANE_BUSY = Counter "fleet_lane_busy_total" "Times that a sender didn't wait for room and was told that there is none.";
    LANE_REFUSED = Counter "fleet_lane_refused_messages_total" "Messages from another node that were refused here, by reason.";

    ACTOR_HERE = Gauge "fleet_local_actors" "Actors of this process, by the kind of their messages.";
    ACTOR_HANDLED = Counter "fleet_actor_handled_messages_total" "Messages that actors of this process have begun to handle.";
    MAILBOX_WAITING = Gauge "fleet_mailbox_waiting_messages" "Messages that wait in the mailboxes of this process.";
    MAILBOX_FULLEST = Gauge "fleet_mailbox_fullest_messages" "Messages that wait in the fullest mailbox of this process.";

    ENGINE_READY = Gauge "fleet_engine_ready" "1 if the engine answers, 0 while it loads or if it has failed.";
    ENGINE_REQUESTS = Counter "fleet_engine_requests_total" "Requests that an engine is through with, by outcome.";
    ENGINE_QUEUED = Gauge "fleet_engine_requests_queued" "Requests that wait for an engine.";
    ENGINE_ACTIVE = Gauge "fleet_engine_requests_active" "Requests that an engine works on.";
    ENGINE_TOKENS = Counter "fleet_engine_tokens_total" "Tokens read (prompt), of these found in the prefix cache (cached), and written (completion).";
    ENGINE_PREFILL = Counter "fleet_engine_prefill_seconds_total" "Time that an engine has read prompts.";
    ENGINE_DECODE = Counter "fleet_engine_decode_seconds_total" "Time that an engine has written replies.";
    ENGINE_PREFIX = Gauge "fleet_engine_prefix_cache_bytes" "Memory of an engine's prefix cache.";

    JOURNAL_POSITION = Counter "fleet_journal_events_total" "Events that the cluster's journal was ever given.";
    JOURNAL_APPENDED = Counter "fleet_journal_appended_events_total" "Events appended since this node started, by kind.";
    JOURNAL_DISK = Gauge "fleet_journal_disk_bytes" "Size of the journal's files.";
    JOURNAL_BEHIND = Gauge "fleet_metrics_behind_events" "Events that these counters haven't seen yet.";

    JOBS = Gauge "fleet_jobs" "Jobs that are kept, by state.";
    RUNS_STARTED = Counter "fleet_job_runs_started_total" "Runs of jobs that were started, by node.";
    RUNS_LOST = Counter "fleet_job_runs_lost_total" "Runs that broke off and went back to the queue: crash, the job's own doing; lost, the node's.";
    JOBS_ENDED = Counter "fleet_jobs_ended_total" "Jobs that have ended, by state.";
    QUEUE_WAIT = Histogram "fleet_job_queue_wait_seconds" "From a job's submit to its first start.";
    TOOL_RUNS = Counter "fleet_tool_runs_total" "Calls of tools by agents, by tool and whether the policy allowed it; those allowed run in the sandbox.";
    EFFECTS = Counter "fleet_effects_total" "Recorded effects, by outcome.";
    APPROVALS = Gauge "fleet_approvals_waiting" "Gates that wait for a person.";
    ACCESS_TOKENS = Gauge "fleet_access_tokens" "Issued tokens that hold, by level.";

    NODES = Gauge "fleet_nodes" "Nodes of the cluster, by state.";
    NODE_SUSPICION = Gauge "fleet_node_suspicion_phi" "How unlikely a node's present silence is if it is alive: phi, 0 to 100.";
    NODE_ACTORS = Gauge "fleet_node_actors" "Actors of the cluster that have their place on a node.";
    NODE_CPU = Gauge "fleet_node_cpu_ratio" "Share of a node's cores that are busy, 0 to 1.";
    NODE_MEMORY = Gauge "fleet_node_memory_used_bytes" "Memory that is in use on a node.";
    ACTORS = Gauge "fleet_actors" "Actors of the cluster, by state; those that are placing wait for a node.";
}
