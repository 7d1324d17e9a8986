//! The command line: parse, do one thing, leave with a code that scripts can trust.

mod agent;
mod beat;
mod bundle;
mod change;
mod completions;
mod condition;
mod dev;
mod doctor;
mod exec;
mod exit;
mod export;
mod first;
mod history;
mod keys;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod last_words;
#[cfg(test)]
mod manual;
mod members;
mod moment;
mod output;
mod past;
mod paths;
mod reader;
mod service;
mod setup;
mod status;
mod table;
mod top;
mod wait;
mod watch;
mod web;
mod why;

use std::pin::Pin;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use self::exit::Exit;
use self::output::{Format, Output};
#[cfg(test)]
pub(crate) use self::top::whose_fault;
use crate::client::Client;

/// Parses the arguments of this process, does what they ask, and says how it went.
pub(crate) fn main() -> ExitCode {
    let Cli { global, verb } = Cli::parse();
    if global.no_color {
        anstream::ColorChoice::Never.write_global();
    }
    // These start commands, and may run for as long as the container does.
    if matches!(verb, Verb::Agent(_) | Verb::Watch(_))
        && let Some(code) = first::work_by_a_child()
    {
        return code;
    }
    let result = run(&global, verb);
    exit::code(result)
}

/// Who is in the cluster, who is alive, and how we know.
///
/// One agent per host gossips with the others; every other verb asks the agent
/// of this host over its Unix socket. To see it work: `heartsay dev`.
#[derive(Parser)]
#[command(name = "heartsay", version, after_help = exit::HELP, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

/// What every verb understands, before or after it.
#[derive(Args)]
struct Global {
    /// How to print. JSON is the API's own, stable and exact; tables are for people, may change, and show
    /// control characters in what others said as escapes.
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Format,
    /// The agent's socket, a path or unix:///path [default: /run/heartsay/heartsay.sock, or
    /// the user's own $XDG_RUNTIME_DIR/heartsay.sock].
    #[arg(long, global = true, value_name = "PATH", env = "HEARTSAY_SOCKET", hide_env_values = true)]
    socket: Option<String>,
    /// No colours; NO_COLOR in the environment does the same.
    #[arg(long, global = true)]
    no_color: bool,
}

#[derive(Subcommand)]
enum Verb {
    /// Run the agent of this host.
    Agent(Box<agent::Agent>),
    /// Start a cluster to play with on this machine, kill a member, watch it being noticed.
    Dev(dev::Dev),
    /// List the members, problems first.
    Members(members::List),
    /// How this agent is, and how it sees the cluster as a whole.
    Status,
    /// The cluster on one screen, the trouble first, with whose fault it is and what to do.
    Top(top::Top),
    /// A page for a browser of this host: what `top` shows, with the last hour and who reaches whom.
    Web(web::Web),
    /// What is wrong with this agent, its host and its cluster, one line for each cause, with what to do.
    Doctor(doctor::Doctor),
    /// Why a member has the status it has: who says so, on what evidence, and what would change it.
    Why(why::Why),
    /// What happened in the last seven days, also before the agent was restarted.
    History(history::Show),
    /// Pack what the report of a defect needs into one file: settings without keys, members, metrics, history, log.
    Bundle(bundle::Bundle),
    /// Which members answer this agent directly and which do not though they live, problems first.
    Paths(paths::List),
    /// How surprising each member's silence is, and against which habit.
    Phi(members::Phi),
    /// Follow what happens, one line per event.
    Watch(watch::Follow),
    /// Print the members as HAProxy, nginx, Envoy, Prometheus or another program reads them; without a format, how the files
    /// fare that the agent keeps.
    Export(Box<export::Export>),
    /// The services of the cluster, and those of this host.
    #[command(subcommand)]
    Service(service::Service),
    /// Wait until conditions hold, for instance `--for 'alive>=3'`.
    Wait(wait::Wait),
    /// Whether this agent stands on the side that may act: exit code 0 if so, 4 if not.
    Quorum,
    /// Run a command for as long as this agent sees quorum, or with a service that is registered while it runs.
    Exec(exec::Exec),
    /// Tell the agent that the service beside it is well, where `beat_within` asks for it.
    Beat(beat::Beat),
    /// Dial further seeds now.
    Join(change::Join),
    /// Say good-bye to the cluster and stop the agent.
    Leave,
    /// Restart the agent, under whatever starts it again; the others wait and raise no alarm.
    Restart(change::Restart),
    /// Tell the members that the agent of this socket has ended, if it has and could not say good-bye. For service
    /// managers, after its end: `ExecStopPost=` of systemd.
    LastWords,
    /// Drop a member that is down or has left from every view.
    Forget(change::Forget),
    /// Say that the machine of a member is off or gone, as a source outside the cluster knows: a hypervisor, a cloud,
    /// a BMC. The member is down as soon as its witnesses get no answer, without the acceptable pause; if it lives, its
    /// next heartbeat undoes the word. For a hook of that source, on any member.
    Testify(change::Testify),
    /// Show or change the tags of this member.
    Tags(change::Tags),
    /// Have the agent read its settings again: says what is taken over and what needs a restart. Exit code 1, with
    /// the reason, when they are refused; those before it then hold.
    Reload,
    /// The agent's settings: every one explained, those in force, a file checked.
    #[command(subcommand)]
    Config(setup::Config),
    /// Print a shell's completion script.
    Completions(completions::Completions),
    /// Version of this program and of the agent.
    Version,
    /// Make a new cluster key.
    Keygen(setup::Keygen),
    /// Show and change the keys of the agent, by their ids.
    #[command(subcommand)]
    Keys(keys::Keys),
    /// Taints on the nodes of Kubernetes whose members are down.
    #[cfg(feature = "kubernetes")]
    #[command(subcommand)]
    Kubernetes(kubernetes::Kubernetes),
}

fn run(global: &Global, verb: Verb) -> anyhow::Result<Exit> {
    let output = Output::new(global.output);
    let client = || Client::new(global.socket.as_deref());
    match verb {
        Verb::Agent(verb) => verb.run().map(Exit::Code),
        Verb::Config(verb) => verb.run(&output),
        Verb::Completions(verb) => ask(verb.run(global.socket.as_deref())),
        Verb::Keygen(verb) => verb.run(&output),
        Verb::Keys(verb) => ask(verb.run(&client(), &output)),
        #[cfg(feature = "kubernetes")]
        Verb::Kubernetes(verb) => drive(verb.run(client(), &output)),
        Verb::Reload => ask(change::reload(&client(), &output)),
        Verb::Dev(verb) => drive(verb.run(&output)),
        Verb::Members(verb) => ask(verb.run(&client(), &output)),
        Verb::Doctor(verb) => ask(verb.run(&client(), &output)),
        Verb::Top(verb) => drive(verb.run(&client(), &output)),
        Verb::Web(verb) => ask(verb.run(&client(), &output)),
        Verb::Status => ask(status::status(&client(), &output)),
        Verb::Why(verb) => ask(verb.run(&client(), &output)),
        Verb::History(verb) => ask(verb.run(&client(), &output)),
        Verb::Bundle(verb) => ask(verb.run(&client(), &output)),
        Verb::Paths(verb) => ask(verb.run(&client(), &output)),
        Verb::Phi(verb) => ask(verb.run(&client(), &output)),
        Verb::Watch(verb) => drive(verb.run(&client(), &output)),
        Verb::Export(verb) => ask(verb.run(&client(), &output)),
        Verb::Service(verb) => ask(verb.run(&client(), &output)),
        Verb::Wait(verb) => ask(verb.run(&client(), &output)),
        Verb::Quorum => ask(status::quorum(&client(), &output)),
        Verb::Exec(verb) => drive(verb.run(&client())),
        Verb::Beat(verb) => ask(verb.run(&client(), &output)),
        Verb::Join(verb) => ask(verb.run(&client(), &output)),
        Verb::Leave => ask(change::leave(&client(), &output)),
        Verb::Restart(verb) => ask(verb.run(&client(), &output)),
        Verb::LastWords => last_words::run(&client(), &output),
        Verb::Forget(verb) => ask(verb.run(&client(), &output)),
        Verb::Testify(verb) => ask(verb.run(&client(), &output)),
        Verb::Tags(verb) => ask(verb.run(&client(), &output)),
        Verb::Version => ask(status::version(&client(), &output)),
    }
}

/// The same for a verb that has nothing to tidy up when a signal ends it.
fn ask(verb: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    drive(unless_ended(Box::pin(verb)))
}

/// Runs one verb to its end on this thread.
fn drive(verb: impl Future<Output = anyhow::Result<Exit>>) -> anyhow::Result<Exit> {
    block_on(Box::pin(verb))
}

/// A verb that has begun. Boxed, so that what drives it is compiled once and not for each verb.
type Begun<'a> = Pin<Box<dyn Future<Output = anyhow::Result<Exit>> + 'a>>;

async fn unless_ended(verb: Begun<'_>) -> anyhow::Result<Exit> {
    tokio::select! {
        done = verb => done,
        ended = exec::ended_as_first() => ended,
    }
}

fn block_on(verb: Begun<'_>) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(verb);
    // Name look-ups may hang for long; they are not waited for.
    runtime.shutdown_background();
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_has_no_contradictions() {
        use clap::CommandFactory as _;
        Cli::command().debug_assert();
    }

    /// Clap breaks what is longer than the terminal; lines that were broken by hand as well come out in shreds.
    #[test]
    fn help_is_broken_by_hand_in_lists_only_and_these_are_narrow() {
        use clap::CommandFactory as _;
        let all = Cli::command();
        for command in all.get_subcommands().chain([&all]) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let is_prose = |line: &str| !line.is_empty() && !line.starts_with("  ") && !line.ends_with(':');
            for (line, next) in help.lines().zip(help.lines().skip(1).chain([""])) {
                assert!(!(is_prose(line) && is_prose(next)), "{}: {line:?}", command.get_name());
                assert!(
                    !line.starts_with("  ") || line.chars().count() < 80,
                    "{}: {line:?}",
                    command.get_name()
                );
            }
        }
    }
}
