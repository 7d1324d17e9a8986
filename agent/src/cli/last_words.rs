//! `last-words`: says those of an agent that has ended.

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use nix::libc;
use serde_json::json;

use super::exit::Exit;
use super::output::Output;
use crate::api::socket;
use crate::client::{Address, Client};
use crate::file;
use crate::last_words::guardian;
use crate::last_words::will::{Testament, Will};

/// Says them, once.
pub(super) fn run(client: &Client, output: &Output) -> anyhow::Result<Exit> {
    let Address::Socket(socket) = client.address() else {
        bail!("this is said by a host itself: give --socket PATH")
    };
    let path = Will::path(socket);
    let (told, said) = match open(&path)? {
        Some(will) => {
            // No agent begins while this is held, and none runs.
            let _held = socket::hold(socket).context("nothing was said")?;
            say(&will, &path)?
        }
        None => (0, format!("nothing to say: there is no {}", path.display())),
    };
    let answer = json!({ "told": told });
    output.show(&answer, |_: serde_json::Value| said)?;
    Ok(Exit::Done)
}

/// What is at the path was written by us, and is no link or pipe that another laid there. `None`: nothing is.
fn open(path: &Path) -> anyhow::Result<Option<File>> {
    let refused = || format!("cannot read {}", path.display());
    let opened = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path);
    match opened {
        Ok(file) => {
            socket::only_ours(&file).with_context(refused)?;
            Ok(Some(file))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(refused),
    }
}

fn say(will: &File, path: &Path) -> anyhow::Result<(usize, String)> {
    if file::is_at(will, path) {
        fs::remove_file(path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    let Some(testament) = Testament::read(will) else {
        bail!("{} is not whole: the agent ended while it wrote it, or had not begun to", path.display())
    };
    let told = guardian::speak(&testament);
    if told == 0 && !testament.heirs.is_empty() {
        bail!("none of {} members can be reached from here: there is no route", testament.heirs.len());
    }
    Ok((told, format!("told {told} members")))
}
