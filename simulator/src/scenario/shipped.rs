//! The scenarios that travel inside the program.

/// Names of the shipped scenarios, in alphabetical order.
pub fn shipped() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// Text of a shipped scenario.
#[must_use]
pub fn source(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(shipped, _)| *shipped == name).map(|(_, text)| *text)
}

macro_rules! ship {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../scenarios/", $name, ".toml")))),*]
    };
}

const SHIPPED: &[(&str, &str)] = ship![
    "bootstrap",
    "calm-128",
    "calm-200",
    "calm-3",
    "calm-32",
    "calm-9",
    "calm-named",
    "calm-sites",
    "calm-sites-bursts",
    "calm-sites-line",
    "calm-sites-loss",
    "calm-sites-lossy",
    "churn",
    "clock-back",
    "clock-year",
    "crash",
    "crash-loop",
    "crash-loss-20",
    "crash-loss-30",
    "crash-loss-40",
    "crash-lossy",
    "cut-all-of-one",
    "cut-bridge",
    "cut-bridge-flapping",
    "cut-chain",
    "cut-deaf",
    "cut-dumbbell",
    "cut-flapping",
    "cut-halves",
    "cut-moving",
    "cut-mute",
    "cut-one-link",
    "cut-one-way",
    "cut-ring",
    "cut-star",
    "cut-three-way",
    "deaf-accuser",
    "deaf-of-three",
    "deaf-once",
    "duplicate-name",
    "fence",
    "flip-flop",
    "gray-deaf",
    "gray-receive",
    "gray-send",
    "half-crashes",
    "interval",
    "join-under-loss",
    "last-words",
    "last-words-late",
    "late-heartbeats",
    "leave",
    "leave-return",
    "loss-30",
    "loss-50",
    "lossy-zone",
    "lost-disk",
    "low-bridge",
    "many-crashes",
    "mass-restart",
    "mixed-zones",
    "narrow",
    "newcomer",
    "noise",
    "one-link",
    "one-way",
    "partition",
    "partition-30-70",
    "partition-three",
    "process-crash",
    "quiet",
    "rack",
    "refuse",
    "refuse-out",
    "restart",
    "seeds-late",
    "short-block",
    "sick-node",
    "sites",
    "sleeper",
    "stall",
    "states",
    "states-newcomer",
    "survivors",
    "three-sites",
    "threshold",
    "wan",
];
