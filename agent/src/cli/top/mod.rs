//! `top`: the cluster on one screen, the trouble first, for the person who has been called.
//!
//! [`feed`] asks the agent, [`model`] draws the conclusions, [`view`] draws the picture: neither of the last two knows a
//! clock, an agent or a terminal.

mod facts;
mod fault;
mod feed;
mod filter;
mod habits;
#[cfg(test)]
mod invented;
mod keys;
mod list;
mod model;
mod order;
mod pane;
mod pen;
mod plain;
mod problem;
mod screen;
#[cfg(test)]
mod tests;
mod trouble;
mod view;

use std::env;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;
use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use self::facts::Wishes;
use self::feed::Feed;
use self::filter::Filter;
use self::keys::{Decoder, Effect, Key};
use self::list::Pane;
use self::model::Model;
use self::pen::{Paint, Pen};
use self::screen::Screen;
use self::view::{Scene, draw};
use super::exec::signals;
use super::exit::{Exit, say};
use super::output::Output;
use crate::client::Client;
use crate::task;

/// Arguments of `top`.
#[derive(Args)]
#[command(after_help = HELP)]
pub(super) struct Top {
    /// Only these members at first: parts of names, status=down,suspect, tag=KEY[=VALUE], zone=ZONE.
    #[arg(value_name = "FILTER", num_args = 0..)]
    filter: Vec<String>,
    /// Print one picture and end, as wide as COLUMNS says, or the terminal, or 80.
    #[arg(long)]
    once: bool,
}

impl Top {
    /// Shows the cluster until a key ends it.
    pub(super) async fn run(self, client: &Client, output: &Output) -> anyhow::Result<Exit> {
        if !output.is_text() {
            return Ok(usage(
                "this is a picture for people; the same as JSON: heartsay status, members, paths, service list, with -o json",
            ));
        }
        let filter: Filter = match self.filter.join(" ").parse() {
            Ok(filter) => filter,
            Err(why) => return Ok(usage(&why)),
        };
        let mut model = Model::default();
        model.filter = filter;
        if self.once {
            for news in feed::once(client).await? {
                model.take(news, Timestamp::now());
            }
            model.settle();
            let terminal = terminal_size::terminal_size().map(|(width, _)| width.0);
            output.say(&plain::picture(
                &model,
                Timestamp::now(),
                plain::width(terminal),
                output.is_coloured(),
            ))?;
            return Ok(Exit::Done);
        }
        if !is_terminal() {
            return Ok(usage("no terminal to draw on; --once prints one picture"));
        }
        show(client, &mut model, Paint { colour: output.is_coloured() }).await
    }
}

/// Draws and listens to keys.
async fn show(client: &Client, model: &mut Model, paint: Paint) -> anyhow::Result<Exit> {
    let (to, mut news) = mpsc::channel(64);
    let (ask, wishes) = watch::channel(Wishes::default());
    let mut signals = signals()?;
    let mut resized = signal(SignalKind::window_change())?;
    let mut typed = screen::typed()?;
    let mut decoder = Decoder::default();
    let mut screen = Screen::take()?;
    task::start(Feed::new(client.clone(), to, wishes).run());
    let mut last = Instant::now();
    let mut due = last;
    loop {
        tokio::select! {
            bytes = typed.recv() => {
                let Some(bytes) = bytes else { return Ok(Exit::Done) };
                model.settle();
                let page = usize::from(screen.terminal.size()?.height) / 2;
                for key in decoder.keys(&bytes) {
                    if !press(model, key, page, &ask, &mut screen)? {
                        return Ok(Exit::Done);
                    }
                }
                let reach = model.pane == Pane::Paths;
                ask.send_if_modified(|wishes| std::mem::replace(&mut wishes.reach, reach) != reach);
                due = Instant::now();
            }
            Some(some) = news.recv() => {
                model.take(some, Timestamp::now());
                due = due.min((last + FRAME).max(Instant::now()));
            }
            Some(()) = resized.recv() => due = Instant::now(),
            Some(signal) = signals.recv() => {
                if !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2) {
                    let number = u8::try_from(signal as i32).unwrap_or(0);
                    return Ok(Exit::Code(ExitCode::from(ENDED_BY_SIGNAL.saturating_add(number))));
                }
            }
            () = tokio::time::sleep_until(due) => {
                let now = Timestamp::now();
                model.settle();
                screen.terminal.draw(|frame| {
                    draw(Scene { model, now, once: false }, &mut Pen::new(frame.buffer_mut(), paint));
                })?;
                last = Instant::now();
                due = last + SECOND;
            }
        }
    }
}

/// Whether to go on.
fn press(
    model: &mut Model,
    key: Key,
    page: usize,
    ask: &watch::Sender<Wishes>,
    screen: &mut Screen,
) -> anyhow::Result<bool> {
    match model.press(key, page) {
        Effect::Quit => return Ok(false),
        Effect::Redraw => screen.terminal.clear()?,
        Effect::Ask(wish) => ask.send_modify(|wishes| wishes.add(wish)),
        Effect::Nothing => {}
    }
    Ok(true)
}

/// The word for where to look for what has this code; the page says the same.
#[cfg(test)]
pub(crate) fn whose_fault(code: &str) -> &'static str {
    fault::Side::of(code).word()
}

fn is_terminal() -> bool {
    let is_dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
    io::stdin().is_terminal() && io::stdout().is_terminal() && !is_dumb
}

fn usage(text: &str) -> Exit {
    say(text);
    Exit::Code(ExitCode::from(2))
}

const HELP: &str = "\
The first lines say how many members are alive, whether this side has quorum, and whose fault it is: US (this host), THEM \
(another one), PATH (what lies between the two) or ALL (settings that differ). Then each problem with what to do, as \
`heartsay doctor --no-probe` has it, then the members, those in trouble first.

Keys:
  Tab, 1 to 5    members, services, events, paths, problems
  j k, arrows    move; PgUp, PgDn, g, G
  Enter          why a member has its status, as `heartsay why` tells it
  /              filter: parts of names, status=down tag=role=web zone=east
  s              sort the members
  ?              what the letters and columns mean
  Esc, q         back, quit

It asks the agent of this host alone, every 2 s to 10 s by the number of members, and at once when something happens; \
while the list of paths is shown, the agent asks the other members, once in 10 s, how they reach one another. \
When the agent is away, it says so, shows what was said last, and goes on when it is back.

Exit codes:
  0    quit; with --once, the picture is printed
  2    no terminal, or a filter that makes no sense
  3    with --once, no agent
  128 and the number of the signal that ended it";

/// Least time between two pictures, unless a key is pressed.
const FRAME: Duration = Duration::from_millis(300);
/// Ages go on.
const SECOND: Duration = Duration::from_secs(1);
/// What shells add to the number of a signal.
const ENDED_BY_SIGNAL: u8 = 128;
